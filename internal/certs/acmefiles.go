package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"postern/internal/stamp"
)

// How often, and for how long, a certificate and a key may not belong together while they are
// being stored, one after the other.
const (
	wholeTries = 20
	wholePause = 100 * time.Millisecond
)

// ReadACME returns what lies in the directory of a Manager, by names with slashes: accounts, keys and
// certificates. A certificate that is being stored is waited for, two seconds at most. It fails when a file
// cannot be read; a directory that is not there is empty.
func ReadACME(ctx context.Context, dir string) (map[string][]byte, error) {
	for tries := 1; ; tries++ {
		files, err := readACME(dir)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist): // one that is being replaced goes meanwhile
			return nil, err
		case err == nil && (belong(files) || tries >= wholeTries):
			return files, nil
		case tries >= wholeTries:
			return nil, err
		}
		select {
		case <-time.After(wholePause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func readACME(dir string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if file == dir && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) {
			return filepath.SkipAll
		}
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if file == filepath.Join(dir, "locks") {
				return filepath.SkipDir
			}
			return nil
		}
		if path.Ext(file) == "" { // it is being written
			return nil
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], _, err = stamp.Read(file, maxFile, time.Time{})
		return err
	})
	return files, err
}

// belong reports whether each certificate belongs to the key beside it.
func belong(files map[string][]byte) bool { return len(unpaired(files)) == 0 }

// unpaired returns why certificates cannot be used with the keys beside them, by their names.
func unpaired(files map[string][]byte) map[string]error {
	wrong := make(map[string]error)
	for name, data := range files {
		base, is := strings.CutSuffix(name, ".crt")
		if !is {
			continue
		}
		if _, err := tls.X509KeyPair(data, files[base+".key"]); err != nil {
			wrong[name] = err
		}
	}
	return wrong
}

// VerifyACME says which certificates in the directory of a Manager cannot be used, or why it cannot
// be read; nil if all is well. Nobody may write there.
func VerifyACME(dir string) error {
	files, err := readACME(dir)
	if err != nil {
		return err
	}
	wrong := unpaired(files)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		errs = append(errs, fmt.Errorf("%s: %w", filepath.Join(dir, filepath.FromSlash(name)), wrong[name]))
	}
	return errors.Join(errs...)
}
