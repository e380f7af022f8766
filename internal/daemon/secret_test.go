package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	write := func(text string, mode fs.FileMode) string {
		path := filepath.Join(dir, "password")
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, text := range []string{"hunter2", "hunter2\n", "hunter2\r\n"} {
		for _, mode := range []fs.FileMode{0o600, 0o400, 0o640} {
			if got, err := readSecret(write(text, mode)); string(got) != "hunter2" || err != nil {
				t.Errorf("%q, mode %o: %q, %v", text, mode, string(got), err)
			}
		}
	}
	if got, err := readSecret(write(strings.Repeat("x", maxSecret)+"\r\n", 0o600)); len(got) != maxSecret || err != nil {
		t.Errorf("the longest: %d octets, %v", len(got), err)
	}
	for _, c := range []struct {
		text string
		mode fs.FileMode
		want error
	}{
		{"hunter2\n", 0o604, errOpenToAll},
		{"hunter2\n", 0o602, errOpenToAll},
		{"", 0o600, errNotAPassword},
		{"\n", 0o600, errNotAPassword},
		{"hunter2\nhunter3\n", 0o600, errNotAPassword},
		{"hun\x00ter2\n", 0o600, errNotAPassword},
		{strings.Repeat("hunter2", 100), 0o600, errNotAPassword},
	} {
		_, err := readSecret(write(c.text, c.mode))
		if !errors.Is(err, c.want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%.20q, mode %o: %v, want %v", c.text, c.mode, err, c.want)
		}
	}
	if _, err := readSecret(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := readSecret(dir); !errors.Is(err, errNoFile) {
		t.Errorf("a directory: %v", err)
	}
}
