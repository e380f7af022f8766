package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestParseGoesOn looks at what is still read after a fault.
func TestParseGoesOn(t *testing.T) {
	for _, c := range []struct {
		name, text string
		keys       []string // of the entries; "[]" for a header that could not be read
		faults     []int    // offsets
	}{
		{"no fault", "a = 1\n[b]\nc.d = 2\n", []string{"a", "b", "c.d"}, nil},
		{"one line", "a = x\nb = 1\n", []string{"b"}, []int{4}},
		{"the last line", "a = 1\nb = x", []string{"a"}, []int{10}},
		{"list not closed", "a = [1,\nb = 2\n[c]\n", []string{"b", "c"}, []int{8}},
		{"list not closed before a table", "a = [1\n[c]\nd = 3\n", []string{"c", "d"}, []int{7}},
		{"list not closed at the end", "a = 1\nb = [\n  2,\n", []string{"a"}, []int{6}},
		{"within a list", "a = [\n  1,\n  x,\n]\nb = 2\n", []string{"b"}, []int{13}},
		{"header", "[a\nb = 1\n[c]\nd = 2\n", []string{"[]", "b", "c", "d"}, []int{2}},
		{"comment with a fault in it", "a = 1\n# b = \x01\nc = 2\n", []string{"a", "c"}, []int{12}},
		{"blank lines and comments", "a = x\n\n# b = 1\n\n  c = 2\n", []string{"c"}, []int{4}},
		{"nothing", "", nil, nil},
		{"no key", "= 1\na = 2\n", []string{"a"}, []int{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			entries, faults := parse([]byte(c.text))
			var keys []string
			for _, e := range entries {
				key := join(e.key)
				if len(e.key) == 0 {
					key = "[]"
				}
				keys = append(keys, key)
			}
			var offsets []int
			for _, f := range faults {
				offsets = append(offsets, f.at)
			}
			if diff := cmp.Diff(c.keys, keys); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.faults, offsets); diff != "" {
				t.Errorf("offsets of faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValuesHavePlaces(t *testing.T) {
	entries, _ := parse([]byte("a = [ [1], { b = 2, c = \"x\" } ]\nd  =\t[]\n"))
	list := entries[0].value
	want := []int{4, 4, 11, 17, 24, 37}
	got := []int{list.at, list.items[0].at, list.items[1].at, list.items[1].pairs[0].value.at, list.items[1].pairs[1].value.at, entries[1].value.at}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBeginsExpression(t *testing.T) {
	for line, want := range map[string]bool{
		"a = 1":         true,
		"  a.b-c_9=1":   true,
		"[listener]":    true,
		"[[listener]]":  true,
		"[ a.b ] # x":   true,
		"":              false,
		"]":             false,
		"# a = 1":       false,
		`"a",`:          false,
		`"a" = 1`:       false,
		"[1, 2],":       false,
		"some text a=1": false,
		"= 1":           false,
	} {
		if got := beginsExpression([]byte(line)); got != want {
			t.Errorf("beginsExpression(%q) = %v, want %v", line, got, want)
		}
	}
}
