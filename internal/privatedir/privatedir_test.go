package privatedir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestChange(t *testing.T) {
	d := Dir(filepath.Join(t.TempDir(), "keys"))
	err := d.Change(func() error { return errors.Join(d.Write("a", []byte("secret")), d.Write("b", []byte("other"))) })
	if err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]fs.FileMode{string(d): 0o700 | fs.ModeDir, filepath.Join(string(d), "a"): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	left := filepath.Join(string(d), ".new-1")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Change(func() error { return d.Write("a", nil) }); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(string(d), "a"), left} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", path, err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(string(d), "b")); err != nil || string(data) != "other" {
		t.Errorf("b: %q, %v", data, err)
	}
	failure := errors.New("no")
	if err := d.Change(func() error { return failure }); !errors.Is(err, failure) {
		t.Errorf("the error of the change: %v", err)
	}
}

// TestLocked: while one changes the directory, nobody else has the lock.
func TestLocked(t *testing.T) {
	d := Dir(t.TempDir())
	held := func() error {
		f, err := os.Open(filepath.Join(string(d), LockFile))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	err := d.Change(func() error {
		if err := held(); !errors.Is(err, syscall.EWOULDBLOCK) {
			t.Errorf("within a change: %v", err)
		}
		return nil
	})
	if err != nil || held() != nil {
		t.Errorf("behind it: %v, %v", err, held())
	}
}
