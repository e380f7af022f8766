//go:build !crashpoints

package crashpoint_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/crashpoint"
)

// TestNormalBuild: nothing is added to the system's own, whatever the
// environment says.
func TestNormalBuild(t *testing.T) {
	t.Setenv("POSTERN_CRASH_AT", "any:1")
	t.Setenv("POSTERN_SIZE_SEGMENT", "1")
	crashpoint.Reach(crashpoint.Before250)
	if files := crashpoint.Files(vfs.Default); files != vfs.Default {
		t.Errorf("the file system is wrapped: %T", files)
	}
	if n := crashpoint.Size("SEGMENT", 5); n != 5 {
		t.Errorf("a size of 5 became %d", n)
	}
	path := filepath.Join(t.TempDir(), "x.jsonl")
	f, err := crashpoint.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := crashpoint.Remove(path); err != nil {
		t.Error(err)
	}
	if n := testing.AllocsPerRun(100, func() { crashpoint.Reach(crashpoint.Settled) }); n != 0 {
		t.Errorf("Reach allocates %v times", n)
	}
}
