package config

import (
	"fmt"
	"io/fs"
)

// Load reads the configuration from the file name of fsys, and from those that
// it includes. Relative paths of other things stay as they are written.
//
// It fails with *Errors when a file is wrong or one that is included cannot be
// read, and with an error of package fs, wrapped, when the first cannot.
func Load(fsys fs.FS, name string) (*Config, error) { return loadFrom(within{fsys}, name) }

// LoadFile reads the configuration from a file of the machine, and from those
// that it includes. Relative paths in a file are taken from the directory it
// is in; places name a file as path does, or as path and the include setting
// do together. It fails as Load does.
func LoadFile(path string) (*Config, error) { return loadFrom(machine{}, path) }

func loadFrom(from system, name string) (*Config, error) {
	first, err := openSource(from, name)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return newDecoder(from).decode(first)
}
