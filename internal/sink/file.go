package sink

import (
	"os"
	"path/filepath"
)

// writeFile writes the content of m into dir. The file has its name only when
// it is whole.
func writeFile(dir string, m Message) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".*.part")
	if err != nil {
		return err
	}
	_, err = f.Write(m.Content)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		name := m.At.UTC().Format("20060102T150405Z") + "-" + string(m.ID) + ".eml"
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says more
	}
	return err
}
