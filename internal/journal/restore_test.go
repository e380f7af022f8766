package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

// journalOf writes a journal with the queue's facts 1 to n.
func journalOf(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	j := mustOpen(t, dir, options())
	s := newSource()
	s.commit(n)
	copyAll(t, j, s)
	mustClose(t, j)
	return dir
}

// spoilLine writes over the middle of one line, counted from 1.
func spoilLine(b []byte, line int) []byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	spoilt := bytes.Clone(lines[line-1])
	copy(spoilt[5:], "\x00\x00\x00\x00\"\"\"")
	lines[line-1] = spoilt
	return bytes.Join(lines, nil)
}

func TestOpenAfterACrash(t *testing.T) {
	for title, test := range map[string]struct {
		crash func(b []byte) []byte // what it makes of the only file
		want  []string              // of three facts, those that are left
	}{
		"nothing lost":      {func(b []byte) []byte { return b }, queueNames(1, 3)},
		"no newline":        {func(b []byte) []byte { return b[:len(b)-1] }, queueNames(1, 2)},
		"half a line":       {func(b []byte) []byte { return b[:len(b)-20] }, queueNames(1, 2)},
		"last line damaged": {func(b []byte) []byte { return spoilLine(b, 4) }, queueNames(1, 2)},
		"a block of zeros":  {func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, queueNames(1, 3)},
		"a huge torn line":  {func(b []byte) []byte { return append(b, bytes.Repeat([]byte("x"), maxLine+9)...) }, queueNames(1, 3)},
		"half a header":     {func(b []byte) []byte { return b[:20] }, nil},
		"empty":             {func(b []byte) []byte { return nil }, nil},
	} {
		t.Run(title, func(t *testing.T) {
			dir := journalOf(t, 3)
			path := files(t, dir)[0]
			writeFile(t, path, test.crash(readFile(t, path)))
			j := mustOpen(t, dir, options())
			want(t, names(t, dir, Query{}), test.want)
			s := newSource()
			s.commit(4) // as the source holds them all: none was forgotten
			copyAll(t, j, s)
			mustClose(t, j)
			want(t, names(t, dir, Query{}), queueNames(1, 4))
		})
	}
}

// A crash while the second file was begun: its marks are those of the first.
func TestOpenAfterACrashInRotation(t *testing.T) {
	for title, content := range map[string]string{"empty": "", "half a header": `{"journal":1,"ti`} {
		t.Run(title, func(t *testing.T) {
			dir := journalOf(t, 3)
			writeFile(t, filepath.Join(dir, segment{number: 2, started: noon}.name()), []byte(content))
			j := mustOpen(t, dir, options())
			s := newSource()
			if err := j.Trim(t.Context(), "queue", s); err != nil || s.last != 3 {
				t.Errorf("trimmed to %d, want 3; error %v", s.last, err)
			}
			mustClose(t, j)
			want(t, names(t, dir, Query{}), queueNames(1, 3))
		})
	}
}

func TestDamagedLineInTheMiddle(t *testing.T) {
	dir := journalOf(t, 5)
	path := files(t, dir)[0]
	writeFile(t, path, spoilLine(readFile(t, path), 3)) // the line of fact 2
	j := mustOpen(t, dir, options())
	mustClose(t, j)

	got, err := readNames(dir, Query{})
	want(t, got, append(queueNames(1, 1), queueNames(3, 5)...))
	var damage *DamageError
	if !errors.As(err, &damage) {
		t.Fatalf("Read: %v, want a DamageError", err)
	}
	if diff := cmp.Diff([]mail.Place{{File: path, Line: 3}}, damage.Places); diff != "" || damage.Count != 1 {
		t.Errorf("%d damaged lines; -want +got\n%s", damage.Count, diff)
	}
	if !strings.HasPrefix(damage.Error(), path+":3: damaged line") {
		t.Errorf("error %q does not begin with the place", damage)
	}
}

// A power cut can tear the middle out of a group that was not synced yet. The
// source still has those facts; they must not be taken for copied because
// later ones stand in the file.
func TestPowerCutInAGroup(t *testing.T) {
	for title, test := range map[string]struct {
		held []mail.Fact // what the source still has
		want []string
	}{
		"still held": {
			[]mail.Fact{queueFact(2), queueFact(3), queueFact(4), queueFact(5)},
			[]string{"queue 1 accepted", "queue 4 accepted", "queue 5 accepted", "queue 2 accepted", "queue 3 accepted", "queue 6 accepted"},
		},
		"forgotten": {nil, []string{"queue 1 accepted", "queue 4 accepted", "queue 5 accepted", "queue 6 accepted"}},
	} {
		t.Run(title, func(t *testing.T) {
			dir := journalOf(t, 5)
			path := files(t, dir)[0]
			writeFile(t, path, spoilLine(spoilLine(readFile(t, path), 3), 4))
			for range 2 { // the second start must not copy them again
				j := mustOpen(t, dir, options())
				s := sourceOf(test.held...)
				s.last = 5
				if err := j.Trim(t.Context(), "queue", s); err != nil {
					t.Fatal(err)
				}
				if len(damagedNames(t, dir)) < len(test.want) {
					s.commit(1)
				}
				copyAll(t, j, s)
				mustClose(t, j)
			}
			want(t, damagedNames(t, dir), test.want)
		})
	}
}

// damagedNames reads a journal that has damaged lines.
func damagedNames(t *testing.T, dir string) []string {
	t.Helper()
	got, err := readNames(dir, Query{})
	var damage *DamageError
	if !errors.As(err, &damage) {
		t.Fatalf("Read: %v, want a DamageError", err)
	}
	return got
}

func TestDamagedHeaderFallsBackToTheFileBefore(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Limits.MaxFile = 1
	j := mustOpen(t, dir, o)
	s := newSource()
	for range 3 {
		s.commit(1)
		copyAll(t, j, s)
	}
	j.Record(mail.Fact{Reason: mail.ReasonStopped})
	mustClose(t, j)
	paths := files(t, dir)
	last := paths[len(paths)-1]
	writeFile(t, last, spoilLine(readFile(t, last), 1))
	j = mustOpen(t, dir, o)
	s = newSource()
	if err := j.Trim(t.Context(), "queue", s); err != nil || s.last != 3 {
		t.Errorf("trimmed to %d, want 3; error %v", s.last, err)
	}
}

func TestUnknownVersionIsRefused(t *testing.T) {
	for _, number := range []uint64{1, 2} {
		dir := journalOf(t, 1)
		path := filepath.Join(dir, segment{number: number, started: noon}.name())
		writeFile(t, path, []byte("{\"journal\":2}\n"))
		const text = "unknown format version 2: this program reads version 1"
		if _, err := Open(dir, options()); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), text) {
			t.Errorf("Open: %v", err)
		}
		if _, err := readNames(dir, Query{}); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), text) {
			t.Errorf("Read: %v", err)
		}
	}
}

func TestLedger(t *testing.T) {
	l := newLedger()
	l.raise(map[string]uint64{"queue": 3, "directory": 9})
	l.raise(map[string]uint64{"queue": 2})
	l.add("queue", 4)
	l.damage++
	l.add("queue", 5) // nothing is missing
	l.add("queue", 7) // 6 is, but no line between was damaged
	l.damage++
	l.add("queue", 10) // 8 and 9 may have been
	for n, has := range map[uint64]bool{1: true, 5: true, 6: true, 7: true, 8: false, 9: false, 10: true, 11: false} {
		if l.has("queue", n) != has {
			t.Errorf("has(%d) = %v, want %v", n, !has, has)
		}
	}
	for _, step := range []struct{ add, complete uint64 }{{0, 7}, {8, 8}, {9, 10}, {11, 11}} {
		l.add("queue", step.add)
		if got := l.complete("queue"); got != step.complete {
			t.Errorf("after fact %d: complete to %d, want %d", step.add, got, step.complete)
		}
	}
	l.settle()
	l.add("directory", 12)
	if got := l.complete("directory"); got != 12 {
		t.Errorf("directory is complete to %d, want 12: its gap is no damage", got)
	}
}

func TestNames(t *testing.T) {
	s := segment{number: 12, started: noon}
	if s.name() != "journal-0000000012-20260102T120000Z.jsonl" {
		t.Errorf("name %s", s.name())
	}
	if got, ok := parseName(s.name()); !ok || got != s {
		t.Errorf("parsed %v, %v", got, ok)
	}
	for _, bad := range []string{
		"", "journal-", "journal-1.jsonl", "journal-0-20260102T120000Z.jsonl", "journal-x-20260102T120000Z.jsonl",
		"journal-1-yesterday.jsonl", "journal-1-20260102T120000Z.jsonl.gz", "x-1-20260102T120000Z.jsonl",
	} {
		if s, ok := parseName(bad); ok {
			t.Errorf("%q is taken for %v", bad, s)
		}
	}
}

func TestSegmentsAreOrderedByNumber(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"journal-10000000000-20260102T120000Z.jsonl", "journal-9999999999-20260103T120000Z.jsonl", "notes.txt",
	} {
		writeFile(t, filepath.Join(dir, name), nil)
	}
	list, err := segments(dir)
	if err != nil || len(list) != 2 || list[0].number != 9999999999 {
		t.Errorf("segments %v, error %v", list, err)
	}
	if _, err := segments(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
}

// TestMark: the headers tell of facts whose files were removed.
func TestMark(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Limits.MaxFile, o.Limits.Keep = 1, 1
	j := mustOpen(t, dir, o)
	s := newSource()
	for range 3 {
		s.commit(1)
		copyAll(t, j, s)
	}
	j.Record(mail.Fact{Reason: mail.ReasonStarted})
	mustClose(t, j)
	want(t, names(t, dir, Query{}), []string{"direct 1 started"})
	for source, want := range map[string]uint64{"queue": 3, Direct: 1, "other": 0} {
		if n, err := Mark(dir, source); err != nil || n != want {
			t.Errorf("mark of %s: %d, %v; want %d", source, n, err, want)
		}
	}
	if n, err := Mark(t.TempDir(), "queue"); err != nil || n != 0 {
		t.Errorf("mark in an empty journal: %d, %v", n, err)
	}
}
