package privatedir

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/internal/mail"
)

// held is what a test makes of a directory: its files, and what is noted of them.
type held struct {
	notes  map[string]int
	names  []string
	before *held
}

func open(t *testing.T, dir string) *Store[map[string]int, held] {
	t.Helper()
	s, err := Open(dir, mail.SystemClock{}, Form[map[string]int, held]{
		Read: func(f *Found[map[string]int], before *held) (*held, error) {
			if slices.Contains(f.Names, "refused") {
				return nil, errors.New("refused")
			}
			h := &held{notes: f.Records, before: before}
			for _, name := range f.Names {
				if name != LockFile && name != RecordsFile {
					h.names = append(h.names, name)
				}
			}
			if !f.Noted {
				h.notes = map[string]int{}
			}
			return h, nil
		},
		Records: func(h *held) map[string]int { return h.notes },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// note writes a file, and notes a number of it.
func note(name string, n int) func(*held) (Files, error) {
	return func(h *held) (Files, error) {
		h.notes[name] = n
		return Files{name: []byte(name)}, nil
	}
}

func wantHeld(t *testing.T, h *held, notes map[string]int, names ...string) {
	t.Helper()
	if !maps.Equal(h.notes, notes) || !slices.Equal(h.names, names) {
		t.Errorf("held are %v, %v; want %v, %v", h.notes, h.names, notes, names)
	}
}

// TestStoreChanges: what was changed is in use at once, is there for the next, and is about
// what another process has made meanwhile.
func TestStoreChanges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	one := open(t, dir)
	wantHeld(t, one.Content(), nil)
	if err := one.Change(note("a", 1)); err != nil {
		t.Fatal(err)
	}
	two := open(t, dir)
	wantHeld(t, two.Content(), map[string]int{"a": 1}, "a")
	err := one.Change(func(h *held) (Files, error) {
		if h.before != nil {
			t.Error("a change is about what was in use, and not about what is there")
		}
		h.notes["b"] = 2
		delete(h.notes, "a")
		return Files{"a": nil, "b": []byte("b")}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := two.Change(note("c", 3)); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, two.Content(), map[string]int{"b": 2, "c": 3}, "b", "c")
	wantHeld(t, one.Content(), map[string]int{"b": 2}, "b")
	before, err := one.Look()
	if err != nil || before == nil || one.Content().before != before {
		t.Fatalf("what was in use before: %v, %v", before, err)
	}
	wantHeld(t, before, map[string]int{"b": 2}, "b")
	wantHeld(t, one.Content(), map[string]int{"b": 2, "c": 3}, "b", "c")
}

// TestStoreFails: what cannot be read leaves in use what was, and a change that fails leaves
// no record of a file that is not there.
func TestStoreFails(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "keys"))
	if err := s.Change(note("a", 1)); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("no")
	err := s.Change(func(h *held) (Files, error) {
		h.notes["b"] = 2
		return Files{"b": []byte("b")}, failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("the error of a change: %v", err)
	}
	wantHeld(t, open(t, string(s.Dir())).Content(), map[string]int{"a": 1}, "a")

	// Nothing can be written to the place of a directory.
	if err := os.MkdirAll(s.Dir().Path("c/d"), 0o700); err != nil {
		t.Fatal(err)
	}
	err = s.Change(func(h *held) (Files, error) {
		h.notes = map[string]int{"b": 2, "c": 3}
		return Files{"a": nil, "b": []byte("b"), "c": []byte("c")}, nil
	})
	if err == nil {
		t.Error("a file took the place of a directory")
	}
	wantHeld(t, s.Content(), map[string]int{"a": 1}, "a", "b", "c")

	// What cannot be removed is noted no more.
	err = s.Change(func(h *held) (Files, error) {
		delete(h.notes, "a")
		return Files{"c": nil}, nil
	})
	if err == nil {
		t.Error("a directory was removed as a file is")
	}
	wantHeld(t, s.Content(), map[string]int{}, "a", "b", "c")

	for _, spoilt := range []string{"refused", RecordsFile} {
		if err := os.WriteFile(s.Dir().Path(spoilt), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Look(); err == nil || spoilt == RecordsFile && !strings.Contains(err.Error(), s.Dir().Path(RecordsFile)) {
			t.Errorf("with %s: %v", spoilt, err)
		}
		wantHeld(t, s.Content(), map[string]int{}, "a", "b", "c")
		if err := s.Change(note("e", 5)); err == nil {
			t.Errorf("with %s there was a change", spoilt)
		}
		if err := os.Remove(s.Dir().Path(spoilt)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecordsAreWrittenWhenTheyChange: a change of files alone leaves the records as they lie.
func TestRecordsAreWrittenWhenTheyChange(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "keys"))
	if err := s.Change(func(*held) (Files, error) { return Files{"a": []byte("a")}, nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir().Path(RecordsFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing was noted, and there are records: %v", err)
	}
}

// TestStoreOfMany: changes of several at once, of which each has its own store, are all kept.
func TestStoreOfMany(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	var all sync.WaitGroup
	for i := range 4 {
		s := open(t, dir)
		for n := range 4 {
			all.Go(func() {
				if err := s.Change(note(string(rune('a'+4*i+n)), n)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	if s := open(t, dir); len(s.Content().notes) != 16 || len(s.Content().names) != 16 {
		t.Errorf("kept are %v, %v", s.Content().notes, s.Content().names)
	}
}

// TestFirstChangeCutShort: the first change of all that ends midway leaves nothing that reads like a
// directory whose records were lost, which some refuse.
func TestFirstChangeCutShort(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := os.MkdirAll(filepath.Join(dir, "z", "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	form := Form[map[string]int, held]{
		Read: func(f *Found[map[string]int], _ *held) (*held, error) {
			if !f.Noted && slices.Contains(f.Names, "a") {
				return nil, errors.New("the records are lost")
			}
			return &held{notes: map[string]int{}, names: f.Names}, nil
		},
		Records: func(h *held) map[string]int { return h.notes },
	}
	s, err := Open(dir, mail.SystemClock{}, form)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Change(func(h *held) (Files, error) {
		h.notes["a"], h.notes["z"] = 1, 2
		return Files{"a": []byte("a"), "z": []byte("z")}, nil // z cannot be written: it is a directory
	})
	if err == nil {
		t.Fatal("a file took the place of a directory")
	}
	again, err := Open(dir, mail.SystemClock{}, form)
	if err != nil {
		t.Fatalf("opened again: %v", err)
	}
	if err := again.Change(note("a", 1)); err != nil {
		t.Errorf("changed again: %v", err)
	}
}
