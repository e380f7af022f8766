package privatedir

import (
	"errors"
	"io/fs"
	"maps"
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

// TestFile: a file among others is written whole, by whoever may, and what a crash has left
// of it goes.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path, left := filepath.Join(dir, "key"), filepath.Join(dir, "key.new")
	for name, text := range map[string]string{left: "half", filepath.Join(dir, "other.new"): "other"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var before []error
	f := File{Path: path, Written: func() {
		_, err := os.Stat(path)
		before = append(before, err)
	}}
	for _, text := range []string{"one", "two"} {
		if err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		info, wrong := os.Stat(path)
		if err != nil || wrong != nil || string(data) != text || info.Mode() != 0o600 {
			t.Errorf("%q, mode %v, %v, %v", data, info.Mode(), err, wrong)
		}
	}
	if len(before) != 2 || !errors.Is(before[0], fs.ErrNotExist) || before[1] != nil {
		t.Errorf("there when the new one was written: %v", before)
	}
	if err := (File{Path: dir}).Write([]byte("x")); err == nil {
		t.Error("a file took the place of a directory")
	}
	for name, want := range map[string]error{left: fs.ErrNotExist, dir + ".new": fs.ErrNotExist, filepath.Join(dir, "other.new"): nil} {
		if _, err := os.Stat(name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

// TestReadAll: what is read is what there is between two changes, and no lock or half a file.
func TestReadAll(t *testing.T) {
	d := Dir(filepath.Join(t.TempDir(), "keys"))
	got := map[string]string{}
	note := func(name string, data []byte) error {
		got[name] = string(data)
		return nil
	}
	if err := d.ReadAll(note); err != nil || len(got) > 0 {
		t.Errorf("of one that is not there: %v, %v", got, err)
	}
	if _, err := os.Stat(string(d)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made to be read: %v", err)
	}
	within, done := make(chan struct{}), make(chan error)
	go func() {
		done <- d.Change(func() error {
			err := d.Write("a", []byte("1"))
			close(within)
			return errors.Join(err, d.Write("b", []byte("2")), os.Mkdir(d.Path("c"), 0o700), os.WriteFile(d.Path(".new-1"), []byte("half"), 0o600))
		})
	}()
	<-within
	if err := errors.Join(d.ReadAll(note), <-done); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"a": "1", "b": "2"}; !maps.Equal(got, want) {
		t.Errorf("read is %v, want %v", got, want)
	}
	failure := errors.New("no")
	if err := d.ReadAll(func(string, []byte) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("the error of who is told: %v", err)
	}
	if err := syscall.Mkfifo(d.Path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.ReadAll(note); err == nil {
		t.Error("what is no file is passed over in silence")
	}
}

// TestReadAllFollowsNoLink: who may write in the directory gets nothing else of whoever reads it all.
func TestReadAllFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("of root"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := Dir(filepath.Join(dir, "keys"))
	if err := d.Change(func() error { return os.Symlink(secret, d.Path("a.pem")) }); err != nil {
		t.Fatal(err)
	}
	err := d.ReadAll(func(name string, data []byte) error {
		t.Errorf("%s: read %q", name, data)
		return nil
	})
	if err == nil {
		t.Error("a link out of the directory is no fault")
	}
}
