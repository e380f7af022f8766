package selftest

import (
	"strings"
	"testing"
	"time"
)

// healthy is the report of a good disk.
func healthy() Report {
	return Report{
		FileSystem: FileSystem{Name: "ext4", Kind: Local},
		Overwrite:  Syncs{Median: 100 * time.Microsecond},
		Commits:    []Commits{{Writers: 1, PerSecond: 80}, {Writers: 100, PerSecond: 15000}},
		Kills:      Kills{Kills: 20, Acknowledged: 2000, Settled: 1000},
	}
}

func TestVerdicts(t *testing.T) {
	const clean = "good: Nothing was lost: a process was killed 20 times while it accepted 2000 messages and delivered 1000"
	for _, test := range []struct {
		name   string
		change func(*Report)
		want   []string // how each finding begins
		failed bool
	}{
		{"a good disk", func(*Report) {}, []string{"good: A sync takes 100µs: 100 clients at once get about 15000 messages", clean}, false},
		{"just honest", func(r *Report) { r.Overwrite.Median = freeSync }, []string{"good: A sync takes 20µs", clean}, false},
		{"a sync for nothing", func(r *Report) { r.Overwrite.Median = freeSync - time.Microsecond },
			[]string{"warning: A sync costs nothing here (19µs): this is memory, or a disk or hypervisor that does not do what it is told", clean}, false},
		{"just quick enough", func(r *Report) { r.Overwrite.Median = slowSync }, []string{"good: A sync takes 5ms", clean}, false},
		{"a slow disk", func(r *Report) { r.Overwrite.Median = 12 * time.Millisecond },
			[]string{"warning: A sync is slow here (12ms): a client that waits for each 250 gets about 80 messages a second accepted, and 100 clients at once get about 15000", clean}, false},
		{"memory", func(r *Report) { r.FileSystem = FileSystem{Name: "tmpfs", Kind: Memory}; r.Overwrite.Median = 1000 },
			[]string{"warning: This is memory (tmpfs)", clean}, false},
		{"a file server", func(r *Report) { r.FileSystem = FileSystem{Name: "nfs", Kind: Network} },
			[]string{"good: A sync takes", "warning: This is not a disk of this machine (nfs)", clean}, false},
		{"lost", func(r *Report) { r.Kills.Lost = 1 }, []string{"good: A sync", "failure: MAIL WAS LOST: after 20 kills, of 2000 acknowledged messages 1 are missing and 0 are not"}, true},
		{"changed", func(r *Report) { r.Kills.Changed = 2 }, []string{"good: A sync", "failure: MAIL WAS LOST: after 20 kills, of 2000 acknowledged messages 0 are missing and 2 are not"}, true},
		{"came back", func(r *Report) { r.Kills.Returned = 3 }, []string{"good: A sync", "failure: MAIL WAS LOST"}, true},
	} {
		r := healthy()
		test.change(&r)
		r.Findings = r.judge()
		if len(r.Findings) != len(test.want) || r.Failed() != test.failed {
			t.Errorf("%s: got %q, failed %v", test.name, r.Findings, r.Failed())
			continue
		}
		for i, f := range r.Findings {
			if text := string(f.Level) + ": " + f.Text; !strings.HasPrefix(text, test.want[i]) {
				t.Errorf("%s: got %q, want %q", test.name, text, test.want[i])
			}
		}
	}
}

func TestShort(t *testing.T) {
	for given, want := range map[time.Duration]string{
		1234: "1µs", 95_262: "95µs", 999_400: "999µs", 1_234_567: "1.23ms", 12_345_678: "12.35ms",
	} {
		if got := Short(given).String(); got != want {
			t.Errorf("%v: got %s, want %s", given, got, want)
		}
	}
}
