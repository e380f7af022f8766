//go:build !crashpoints

package crashpoint

import (
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Reach does nothing.
func Reach(Step) {}

// Files returns the file system as it is.
func Files(files vfs.FS) vfs.FS { return files }

// Size returns the size as it is.
func Size(_ string, octets int64) int64 { return octets }

// OpenFile is os.OpenFile.
func OpenFile(name string, flag int, perm os.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}

// Remove is os.Remove.
func Remove(name string) error { return os.Remove(name) }
