package stamp

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestStands: a file that has not changed for a while stands until it changes, and one
// that changed a moment ago does not, because it can change again within the same time.
func TestStands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write := func(text string, at time.Time) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		at     time.Time
		change func()
		stands bool
	}{
		{"old", now.Add(-time.Hour), func() {}, true},
		{"a moment ago", now.Add(-time.Second), func() {}, false},
		{"in a moment", now.Add(time.Second), func() {}, false},
		{"another size", now.Add(-time.Hour), func() { write("other", now.Add(-time.Hour)) }, false},
		{"another time", now.Add(-time.Hour), func() { write("text", now.Add(-time.Minute)) }, false},
		{"gone", now.Add(-time.Hour), func() { os.Remove(path) }, false},
	} {
		write("text", c.at)
		data, read, err := Read(path, 4, now)
		if err != nil || string(data) != "text" || !read.Changed().Equal(c.at) {
			t.Fatalf("%s: %q at %v, error %v", c.name, data, read.Changed(), err)
		}
		c.change()
		if read.Stands(path) != c.stands {
			t.Errorf("%s: stands %v, want %v", c.name, !c.stands, c.stands)
		}
	}
	if (Stamp{}).Stands(path) || !(Stamp{}).Changed().IsZero() {
		t.Error("the zero Stamp stands")
	}
}

func TestOf(t *testing.T) {
	dir := t.TempDir()
	later := time.Now().Add(time.Hour)
	if s := Of(dir, later); !s.Stands(dir) {
		t.Error("a directory that has not changed does not stand")
	}
	if s := Of(filepath.Join(dir, "none"), later); s.Stands(filepath.Join(dir, "none")) {
		t.Error("what is not there stands")
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		want error
	}{
		{filepath.Join(dir, "none"), fs.ErrNotExist},
		{dir, ErrNotRegular},
		{path, ErrTooLarge},
	} {
		_, s, err := Read(c.path, 4, time.Now())
		if _, ok := errors.AsType[*fs.PathError](err); !ok || !errors.Is(err, c.want) || s.Stands(c.path) {
			t.Errorf("%s: error %v, want %v of package fs", c.path, err, c.want)
		}
	}
}
