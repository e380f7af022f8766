package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// problemsOf loads what can be wrong, and returns all that is, each in a line.
func problemsOf(t *testing.T, text string) []string {
	t.Helper()
	_, err := Load(fstest.MapFS{"f": {Data: []byte(text)}}, "f")
	var wrong *Errors
	if err != nil && !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	if wrong == nil {
		return nil
	}
	return strings.Split(wrong.Error(), "\n")
}

// TestTooManyTables: each section that is bounded takes as many tables as its text says, and the
// next one is a fault at its place.
func TestTooManyTables(t *testing.T) {
	before := strings.Count(minimal, "\n")
	for i := range sections {
		s := &sections[i]
		if s.most == 0 {
			continue
		}
		want := fmt.Sprintf("f:%d:3: %s: is one too many; there can be %d (leave out some)", before+s.most+1, s.name, s.most)
		for tables, tooMany := range map[int]bool{s.most: false, s.most + 1: true} {
			got := problemsOf(t, minimal+strings.Repeat(s.header()+"\n", tables))
			if slices.Contains(got, want) != tooMany {
				t.Errorf("%d tables %s: want %q: %v", tables, s.name, want, tooMany)
			}
		}
	}
}

// TestUniqueSettings: two tables with the same value of a unique setting are a fault at the
// second; others that are the same, and those that are empty, are none.
func TestUniqueSettings(t *testing.T) {
	before := strings.Count(minimal, "\n")
	for i := range settings {
		row := &settings[i]
		if s := row.table(); !s.repeated() || row.example == "" || strings.HasPrefix(row.example, "[") {
			continue
		}
		_, name := row.split()
		table := fmt.Sprintf("%s\n%s = %s\n", row.table().header(), name, row.example)
		isFault := fmt.Sprintf(": %s is also that of the %s in line %d (give each %s its own %s)", row.example, row.table().name, before+2, row.table().name, name)
		found := slices.ContainsFunc(problemsOf(t, minimal+table+table), func(s string) bool {
			return strings.HasPrefix(s, fmt.Sprintf("f:%d:%d: %s", before+4, len(name)+4, row.key)) && strings.HasSuffix(s, isFault)
		})
		if found != row.unique && row.key != "listener.address" {
			t.Errorf("%s twice: a fault %v, want %v", row.key, found, row.unique)
		}
	}
	if got := problemsOf(t, minimal+"[[handler]]\nat = \"rcpt\"\nsteps = [\"accept\"]\n[[handler]]\nat = \"rcpt\"\nsteps = [\"accept\"]\n"); got != nil {
		t.Errorf("two handlers without names: %q", got)
	}
}
