package lists

import (
	"errors"
	"strings"
	"testing"

	"postern/internal/config"
)

// TestListInDirectory: what the directory has is in force when it is looked at; a list
// that is not there is empty, one that cannot be used stays as it was, and each is told
// once.
func TestListInDirectory(t *testing.T) {
	records := map[string]*List{}
	made := func(kind Kind, entry string) *List {
		l, err := Parse(kind, "", []byte(entry))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	gone := new(List)
	var told []string
	o := Options{
		Records: func(name string) *List { return records[name] },
		Check: func(_ string, l *List) error {
			if _, is := l.Find("forbidden.example"); is {
				return errors.New("forbidden")
			}
			return nil
		},
		Tell: func(e Event) {
			text := "good"
			if e.Err != nil {
				text = e.Err.Error()
			}
			told = append(told, text)
		},
	}
	open := func() *Book {
		b, err := Open([]config.List{{Name: "partners", Kind: Domains, Source: config.ListInDirectory}}, o)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open()
	if b.Contains("partners", "a.example") {
		t.Error("a list that nobody has made has an entry")
	}
	for _, step := range []struct {
		name  string
		is    *List
		a, b  bool   // whether a.example and b.example are on it
		told  string // of the last event; "" for none
		stale bool
	}{
		{"not there", nil, false, false, "the directory has no such list", true},
		{"still not there", nil, false, false, "", true},
		{"made", made(Domains, "A.example"), true, false, "good", false},
		{"the same", nil, true, false, "", false},
		{"changed", made(Domains, "b.example"), false, true, "", false},
		{"changed again", made(Domains, "a.example"), true, false, "", false},
		{"of another kind", made(Networks, "192.0.2.1"), true, false, "in the directory it is one of networks", true},
		{"what the check refuses", made(Domains, "forbidden.example"), true, false, "forbidden", true},
		{"gone", gone, false, false, "the directory has no such list", true},
	} {
		switch {
		case step.is == nil:
		case step.is == gone:
			delete(records, "partners")
		default:
			records["partners"] = step.is
		}
		told = nil
		b.Look()
		if gotA, gotB := b.Contains("partners", "a.example"), b.Contains("partners", "b.example"); gotA != step.a || gotB != step.b {
			t.Errorf("%s: a is on it: %v, b is: %v", step.name, gotA, gotB)
		}
		if got := strings.Join(told, "; "); !strings.HasPrefix(got, step.told) || got != "" && step.told == "" {
			t.Errorf("%s: told %q, want %q", step.name, got, step.told)
		}
		if stale := len(b.Stale()) > 0; stale != step.stale {
			t.Errorf("%s: stale: %v", step.name, stale)
		}
	}
	if n := b.List("partners").Changes(); n != 4 { // made, changed twice, gone
		t.Errorf("%d changes, want 4", n)
	}
	records["partners"] = made(Domains, "a.example")
	b.Look()
	next := open()
	next.Follow(b)
	if !next.Contains("partners", "a.example") {
		t.Error("the book after another begins empty")
	}
}
