package directory

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// namesIn returns the files of a directory.
func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestView: what is on the disk is seen while another has it open, and when nobody has;
// nothing is made or locked, and nothing can be changed.
func TestView(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "directory")
	view := func() *Directory {
		t.Helper()
		v, err := View(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := view(); v.IsLocal("x.example") || v.Counts() != (Counts{}) {
		t.Error("one that is not there has something in it")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("it was made: %v", err)
	}
	d, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	add := func(name string) {
		t.Helper()
		if err := d.Change(t.Context(), "test", func(tx *Tx) error { return tx.PutDomain(Domain{Name: name}) }); err != nil {
			t.Fatal(err)
		}
	}
	add("x.example")
	before := namesIn(t, dir)
	v := view()
	if got := namesIn(t, dir); !slices.Equal(got, before) {
		t.Errorf("while it is open there are %q then, were %q", got, before)
	}
	add("y.example")
	if !v.IsLocal("X.example") || v.IsLocal("y.example") || !view().IsLocal("y.example") {
		t.Error("it does not show what is there at the time")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	before = namesIn(t, dir)
	if v = view(); !v.IsLocal("y.example") {
		t.Error("of one that nobody has open it does not show what is there")
	}
	if got := namesIn(t, dir); !slices.Equal(got, before) {
		t.Errorf("when nobody has it open there are %q then, were %q", got, before)
	}
	if err := v.Change(t.Context(), "test", func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("a change: %v", err)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

func TestViewFails(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, File)
	if err := os.WriteFile(file, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := View(t.Context(), dir); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), file) {
		t.Errorf("what is no database: %v", err)
	}
	if err := VerifyFiles(t.Context(), dir); !errors.Is(err, ErrDamaged) {
		t.Errorf("what is no database is verified: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := View(ctx, dir); err == nil {
		t.Error("it does not end with its context")
	}
}

// TestOlderSchema: what an earlier release has written is seen as it is, and brought up to
// date when it is opened.
func TestOlderSchema(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(User{Login: "joe", Enabled: true, Note: "old"}))
	o.backTo(withRoutes - 1)
	v, err := View(t.Context(), o.dir)
	if err != nil {
		t.Fatal(err)
	}
	if u, found := v.User("joe"); !found || u.Note != "old" {
		t.Errorf("it is seen as %+v, %v", u, found)
	}
	o.reopen()
	if u, found := o.User("joe"); !found || u.Note != "old" {
		t.Errorf("it is opened as %+v, %v", u, found)
	}
	o.change(putAll(User{Login: "joe", Route: "partners"}))
	if u, _ := o.User("joe"); u.Route != "partners" {
		t.Errorf("it has the route %q", u.Route)
	}
}
