package cli

import (
	"bytes"
	"strings"
	"testing"

	"postern/internal/queue"
)

// TestShowStat: what is there only at times has its line only then.
func TestShowStat(t *testing.T) {
	show := func(st queue.Stat) string {
		var out bytes.Buffer
		(&app{out: &output{Writer: &out}}).showStat(&st)
		return out.String()
	}
	for word, st := range map[string]queue.Stat{
		"\noldest    m1, accepted ": {Oldest: "m1", Accepted: at(3)},
		"\nspare     1 file ":       {Spare: true},
		"\nSEGMENT  SIZE  NEEDED  ": {Segments: []queue.Segment{{Number: 7, Created: at(3)}}},
	} {
		if got := show(st); !strings.Contains(got, word) {
			t.Errorf("no %q in\n%s", word, got)
		}
		if got := show(queue.Stat{}); strings.Contains(got, word) {
			t.Errorf("%q for an empty store, in\n%s", word, got)
		}
	}
}

// TestShowVerified: where the database is damaged, that no entry was read is
// not told as if there were none.
func TestShowVerified(t *testing.T) {
	whole := queue.Verified{Octets: 2048, Entries: 1, Bodies: 2}
	content := queue.Verified{Octets: 10, Entries: 2, Bodies: 1}
	content.Flaws.Add(queue.Flaw{Body: "b1", Cause: "bodies/1.seg, offset 9: a bit"})
	database := queue.Verified{Octets: 10}
	database.Flaws.Add(queue.Flaw{File: "db-2/1.log", Offset: 7, Cause: "a bit"})
	database.Flaws.Count += 2
	for _, test := range []struct {
		verified *queue.Verified
		want     string
	}{
		{&whole, "read 2.0 KiB: 2 contents, 1 entry; nothing is damaged\n"},
		{&content, "read 10 B: 1 content, 2 entries\ncontent b1: bodies/1.seg, offset 9: a bit\n"},
		{&database, "read 10 B: 0 contents; entries are not looked at while the database is damaged\ndb-2/1.log, offset 7: a bit\nand 2 more\n"},
	} {
		var out bytes.Buffer
		(&app{out: &output{Writer: &out}}).showVerified(test.verified)
		if out.String() != test.want {
			t.Errorf("got\n%swant\n%s", out.String(), test.want)
		}
	}
}

func TestShowSalvaged(t *testing.T) {
	show := func(s queue.Salvaged) string {
		var out bytes.Buffer
		(&app{out: &output{Writer: &out}}).showSalvaged(&s)
		return out.String()
	}
	if got := show(queue.Salvaged{}); !strings.HasPrefix(got, "the database is whole; nothing was changed\n") {
		t.Errorf("a whole one: got %s", got)
	}
	s := queue.Salvaged{Entries: 3, Held: 1, Facts: 1, Old: "db-2.damaged-1"}
	s.Found.Add(queue.Flaw{File: "db-2/1.log", Offset: 7, Cause: "a bit"})
	s.Lost.Add(queue.Flaw{Entry: "m1", Cause: "its header is lost"})
	want := `the database was damaged in 1 place:
db-2/1.log, offset 7: a bit

in the store now: 3 messages
held, because what became of them before is not certain: 1 (postern queue list 'state = held')
not brought back: 1 message (postern queue damaged):
message m1: its header is lost
lost on the way to the journal: 1 fact
the damaged database is in db-2.damaged-1; remove it when you do not need it any more
`
	if got := show(s); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
