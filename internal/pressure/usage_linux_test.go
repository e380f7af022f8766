package pressure

import (
	"math"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUsageOf(t *testing.T) {
	for name, c := range map[string]struct {
		st   unix.Statfs_t
		want usage
	}{
		"plain":           {unix.Statfs_t{Frsize: 512, Bsize: 4096, Bfree: 9, Bavail: 7, Files: 5, Ffree: 3}, usage{7 * 512, 3}},
		"no inodes left":  {unix.Statfs_t{Frsize: 1, Bavail: 7, Files: 5}, usage{7, 0}},
		"none counted":    {unix.Statfs_t{Frsize: 1, Bavail: 7}, usage{7, math.MaxInt64}},
		"more than fits":  {unix.Statfs_t{Frsize: 4096, Bavail: 1 << 60, Files: 1, Ffree: 1 << 63}, usage{math.MaxInt64, math.MaxInt64}},
		"no size of unit": {unix.Statfs_t{Bavail: 7}, usage{7, math.MaxInt64}},
	} {
		if got := usageOf(&c.st); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestStatfs(t *testing.T) {
	if u, err := statfs(t.TempDir()); err != nil || u.octets <= 0 || u.inodes <= 0 {
		t.Errorf("a directory: %+v, %v", u, err)
	}
	if _, err := statfs(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no directory: no error")
	}
}
