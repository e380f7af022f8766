//go:build crashpoints

package crashpoint

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestPlan(t *testing.T) {
	for _, text := range []string{"settled", ":1", "settled:", "settled:0", "settled:-1", "settled:x"} {
		if _, err := newPlan(text); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v, want an error that names it", text, err)
		}
	}
	for _, test := range []struct {
		text  string
		steps string
		due   int // which of the steps it is
	}{
		{"", "settled settled", -1},
		{"settled:1", "claimed settled", 1},
		{"settled:2", "settled claimed settled settled", 2},
		{"any:2", "claimed settled claimed", 1},
		{"before:wal:1", "wal before:wal", 1},
		{"settled:3", "settled settled", -1},
	} {
		p, err := newPlan(test.text)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		due := -1
		for i, step := range strings.Fields(test.steps) {
			if p.due(step) {
				due = i
			}
		}
		if due != test.due {
			t.Errorf("%q in %q: due at %d, want %d", test.text, test.steps, due, test.due)
		}
	}
}

func TestKinds(t *testing.T) {
	for name, want := range map[string]string{
		"data/journal/journal-0000000012-20260102T150405Z.jsonl": "journal",
		"queue/db-2/000004.log":                                  "wal",
		"queue/db-2/000005.sst":                                  "table",
		"queue/db-2/MANIFEST-000001":                             "manifest",
		"queue/db-2/marker.manifest.000002":                      "manifest",
		"queue/db-2/OPTIONS-000003":                              "options",
		"queue/bodies/0000000000000001.seg":                      "segment",
		"queue/bodies/spare":                                     "segment",
		"queue/bodies/38g934p3c85iftp8.msg":                      "content",
		"queue/incoming/17":                                      "draft",
		"queue/db-2":                                             "directory",
	} {
		if got := kindOf(name); got != want {
			t.Errorf("%s: a %s, want a %s", name, got, want)
		}
	}
}

// TestFilesPassThrough: what Pebble and the body log ask for is the file's own.
func TestFilesPassThrough(t *testing.T) {
	files := Files(vfs.Default)
	if files.Unwrap() != vfs.Default {
		t.Error("the file system below is hidden")
	}
	f, err := files.Create(filepath.Join(t.TempDir(), "1.seg"), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Fd() == vfs.InvalidFd {
		t.Error("the descriptor is hidden")
	}
	if err := f.Preallocate(0, 1<<20); err != nil && err != syscall.EOPNOTSUPP {
		t.Error(err)
	}
	if n, err := f.Write([]byte("four")); n != 4 || err != nil {
		t.Errorf("wrote %d octets, %v", n, err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 4 {
		t.Errorf("stat: %v, %v", info, err)
	}
	if _, err := files.Create("/nowhere/1.seg", vfs.WriteCategoryUnspecified); err == nil {
		t.Error("a file was made nowhere")
	}
}

func TestSize(t *testing.T) {
	if n := Size("TEST", 5); n != 5 {
		t.Errorf("a size of 5 became %d", n)
	}
	t.Setenv("POSTERN_SIZE_TEST", "7")
	if n := Size("TEST", 5); n != 7 {
		t.Errorf("a size of 7 became %d", n)
	}
}

// TestProcessEnds: a process ends between the two things that its plan says.
func TestProcessEnds(t *testing.T) {
	if dir := os.Getenv("CRASHPOINT_DIR"); dir != "" {
		writeThree(t, dir)
		return
	}
	for at, want := range map[string]string{
		"before segment write:2": "a",
		"after segment write:2":  "ab",
		"before segment sync:3":  "abc",
		"after journal open:1":   "abc",
		"any:3":                  "", // before and after create, then before the first write
		"committed:1":            "abcd",
	} {
		dir := t.TempDir()
		child := exec.Command(os.Args[0], "-test.run=^TestProcessEnds$")
		child.Env = append(os.Environ(), "CRASHPOINT_DIR="+dir, variable+"="+at)
		out, err := child.CombinedOutput()
		status, ok := child.ProcessState.Sys().(syscall.WaitStatus)
		if !ok || status.Signal() != syscall.SIGKILL {
			t.Errorf("%s: %v, want SIGKILL; it said %s", at, err, out)
		}
		step, _, _ := strings.Cut(at, ":")
		if step != anyStep && !strings.Contains(string(out), saysReached+step+"\n") || !strings.Contains(string(out), saysEnds) {
			t.Errorf("%s: it said %q", at, out)
		}
		got, err := os.ReadFile(filepath.Join(dir, "1.seg"))
		if string(got) != want || err != nil {
			t.Errorf("%s: the file has %q, %v; want %q", at, got, err, want)
		}
	}
}

// writeThree writes a, b and c, each synced, opens a journal, and writes d.
func writeThree(t *testing.T, dir string) {
	f, err := Files(vfs.Default).Create(filepath.Join(dir, "1.seg"), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	for _, letter := range []string{"a", "b", "c"} {
		if _, err := f.Write([]byte(letter)); err != nil {
			t.Fatal(err)
		}
		if err := f.SyncData(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenFile(filepath.Join(dir, "x.jsonl"), os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("d")); err != nil {
		t.Fatal(err)
	}
	Reach(Committed)
}
