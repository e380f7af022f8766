package config

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"unicode/utf8"

	"postern/internal/mail"
)

// source is a file that was read.
type source struct {
	file string // as its reader named it
	dir  string // from which relative paths in it are taken; may be empty
	data []byte
	// lines are the offsets of its lines.
	lines []int
	// by is the file that includes it; nil for the first.
	by *source
}

// system is where files are read from.
type system interface {
	fs.FS
	fs.ReadDirFS
	// dirOf returns the directory from which relative paths in a file are
	// taken, when they name what package config does not open itself.
	dirOf(file string) (string, error)
}

// machine reads the files of this machine.
type machine struct{}

func (machine) Open(name string) (fs.File, error)          { return os.Open(name) }
func (machine) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
func (machine) dirOf(file string) (string, error)          { return filepath.Abs(filepath.Dir(file)) }

// within reads the files of a file system, in which paths stay as they are
// written.
type within struct{ fs.FS }

func (w within) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(w.FS, name) }
func (within) dirOf(string) (string, error)                 { return "", nil }

// maxFile bounds a configuration file, in octets.
const maxFile = 1 << 20

var errTooLarge = fmt.Errorf("larger than %s", formatSize(maxFile))

// openSource reads a file.
func openSource(from system, file string) (*source, error) {
	dir, err := from.dirOf(file)
	if err != nil {
		return nil, err
	}
	f, err := from.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, &fs.PathError{Op: "read", Path: file, Err: errTooLarge}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	return &source{file: file, dir: dir, data: data, lines: lineOffsets(data)}, nil
}

// place turns an offset into line and column; a column is a character.
func (s *source) place(at int) mail.Place {
	line := sort.SearchInts(s.lines, at+1)
	start := s.lines[line-1]
	return mail.Place{File: s.file, Line: line, Column: utf8.RuneCount(s.data[start:at]) + 1}
}

func lineOffsets(data []byte) []int {
	lines := []int{0}
	for i, c := range data {
		if c == '\n' {
			lines = append(lines, i+1)
		}
	}
	return lines
}
