package config

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile bounds a configuration file, in octets.
const maxFile = 1 << 20

// Load reads the configuration from the file name of fsys. Relative paths in
// it stay as they are written.
//
// It fails with *Errors when the file is wrong, and with an error of package
// fs, wrapped, when it cannot be read.
func Load(fsys fs.FS, name string) (*Config, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return read(f, source{file: name})
}

// LoadFile reads the configuration from a file of the machine. Relative paths
// in it are taken from the directory the file is in; places name the file as
// path does. It fails as Load does.
func LoadFile(path string) (*Config, error) {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return read(f, source{file: path, dir: dir})
}

// read reads and closes f, which is what from names.
func read(f fs.File, from source) (*Config, error) {
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("configuration: %s is larger than %s", from.file, formatSize(maxFile))
	}
	from.data = data
	return decode(from)
}
