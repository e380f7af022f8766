package selftest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postern/internal/mail"
)

// childDirectory in the environment makes this program the child.
const childDirectory = "SELFTEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDirectory); dir != "" {
		if err := Accept(context.Background(), dir, os.Stdout); err != nil {
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// child is what a test kills.
func child(dir string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childDirectory+"="+dir)
	return c
}

// quick is a test in a directory of its own that does little of everything.
func quick(t *testing.T) Options {
	return Options{Dir: t.TempDir(), Child: child, Syncs: 5, Load: 20 * time.Millisecond, Kills: 3}
}

// wantEmpty wants nothing to be left in a directory.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRun(t *testing.T) {
	o := quick(t)
	var steps []string
	o.Progress = func(what string) { steps = append(steps, what) }
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Overwrite.Count != 5 || r.Append.Count != 5 || len(r.Commits) != len(writers) || r.Kills.Kills != 3 {
		t.Errorf("measured too little: %+v", r)
	}
	for _, c := range r.Commits {
		if c.Messages == 0 || c.PerSecond <= 0 || c.PerSync <= 0 {
			t.Errorf("commits: %+v", c)
		}
	}
	if r.Failed() || len(r.Findings) < 2 {
		t.Errorf("findings: %+v", r.Findings)
	}
	if want := 2 + len(writers) + 3; len(steps) != want {
		t.Errorf("told of %d steps, want %d: %q", len(steps), want, steps)
	}
	wantEmpty(t, o.Dir)
}

// TestInterrupted: wherever a run is interrupted, it leaves nothing behind, and
// says that it was interrupted.
func TestInterrupted(t *testing.T) {
	for _, at := range []string{"syncs", "committed from 20", "kill 2"} {
		ctx, cancel := context.WithCancel(t.Context())
		o := quick(t)
		o.Progress = func(what string) {
			if strings.Contains(what, at) {
				cancel()
			}
		}
		if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
			t.Errorf("at %q: %v, want %v", at, err, context.Canceled)
		}
		wantEmpty(t, o.Dir)
		cancel()
	}
}

// TestChildren: a child that does not do what it should is told as such.
func TestChildren(t *testing.T) {
	const id = "38g934p3c85iftp8"
	for _, test := range []struct {
		name, script string
		err          string
		want         Kills // but for Kills and what was said
	}{
		{"ends", "echo broken >&2; exit 3", "ended by itself, with exit status 3: broken", Kills{}},
		{"babbles", "exec yes hello", `the process said "hello\n": that is not understood`, Kills{}},
		{"has no hash", "exec yes stored " + id, "that is not understood", Kills{}},
		{"loses", "exec yes stored " + id + " 00", "", Kills{Lost: 1}},
	} {
		o := quick(t)
		o.Kills = 1
		o.Child = func(string) *exec.Cmd { return exec.Command("sh", "-c", test.script) }
		r, err := Run(t.Context(), o)
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.err)
		}
		if r.Kills.Lost != test.want.Lost || r.Failed() != (test.want.Lost > 0) {
			t.Errorf("%s: %+v, %+v", test.name, r.Kills, r.Findings)
		}
		wantEmpty(t, o.Dir)
	}
}

func TestCompare(t *testing.T) {
	const hash = "aa"
	for _, test := range []struct {
		said  string
		found map[mail.ID]string
		want  Kills
	}{
		{"stored x aa", map[mail.ID]string{"x": hash}, Kills{Acknowledged: 1}},
		{"stored x aa", nil, Kills{Acknowledged: 1, Lost: 1}},
		{"stored x aa", map[mail.ID]string{"x": "bb"}, Kills{Acknowledged: 1, Changed: 1}},
		{"stored x aa", map[mail.ID]string{"x": unreadable}, Kills{Acknowledged: 1, Changed: 1}},
		{"stored x aa;settling x", nil, Kills{Acknowledged: 1}},
		{"stored x aa;settling x", map[mail.ID]string{"x": hash}, Kills{Acknowledged: 1}},
		{"stored x aa;settling x;settled x", nil, Kills{Acknowledged: 1, Settled: 1}},
		{"settling x;settled x;stored x aa", nil, Kills{Acknowledged: 1, Settled: 1}},
		{"settling x;stored x aa", nil, Kills{Acknowledged: 1}},
		{"stored x aa;settling x;settled x", map[mail.ID]string{"x": hash}, Kills{Acknowledged: 1, Settled: 1, Returned: 1}},
		{"", map[mail.ID]string{"x": hash}, Kills{}}, // stored, and killed before it could say so
		{"", map[mail.ID]string{"x": unreadable}, Kills{Changed: 1}},
	} {
		to := newTorture("", nil)
		for line := range strings.SplitSeq(test.said, ";") {
			if line == "" {
				continue
			}
			if err := to.note(strings.Fields(line)); err != nil {
				t.Fatal(err)
			}
		}
		to.compare(test.found)
		if to.result != test.want {
			t.Errorf("said %q, found %v: got %+v, want %+v", test.said, test.found, to.result, test.want)
		}
		to.compare(test.found) // what is as it was is not told again
		if to.result != test.want && test.want.Changed == 0 {
			t.Errorf("said %q, found %v: told again, %+v", test.said, test.found, to.result)
		}
	}
}

func TestSummary(t *testing.T) {
	var took []time.Duration
	for i := range 200 {
		took = append(took, time.Duration(200-i))
	}
	if got, want := summary(took), (Syncs{Count: 200, Min: 1, Median: 100, P99: 198, Max: 200}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := summary(took[:1]), (Syncs{Count: 1, Min: 1, Median: 1, P99: 1, Max: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := summary(nil); got != (Syncs{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestPlacesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"): "missing does not exist: make it, or name",
		file:                          "file is not a directory",
		"/proc":                       "/proc has 0 MiB free, and the test takes up to 512",
	} {
		if _, err := Run(t.Context(), Options{Dir: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if err := (FileSystem{Free: MinRoom}).checkRoom("x"); err != nil {
		t.Error(err)
	}
}

func TestUnwritable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "cannot be written to") {
		t.Errorf("got %v", err)
	}
}

func TestFileSystems(t *testing.T) {
	for number, want := range map[uint32]FileSystem{
		unix.TMPFS_MAGIC:      {Name: "tmpfs", Kind: Memory},
		unix.EXT4_SUPER_MAGIC: {Name: "ext4", Kind: Local},
		unix.NFS_SUPER_MAGIC:  {Name: "nfs", Kind: Network},
		0x12345:               {Name: "unknown (0x12345)", Kind: Local},
	} {
		if got := fileSystemOf(number); got != want {
			t.Errorf("%#x: got %+v, want %+v", number, got, want)
		}
	}
}
