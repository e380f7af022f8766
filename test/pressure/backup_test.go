package pressure

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/test/harness"
)

// fails runs a command that must fail, and say so.
func (in *instance) fails(want string, args ...string) {
	in.t.Helper()
	out, err := in.Command(in.ctx, args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) {
		in.t.Errorf("%v: %v: %s\nwant %q", args, err, out, want)
	}
}

// works runs a command that must not fail.
func (in *instance) works(args ...string) {
	in.t.Helper()
	if out, err := in.Command(in.ctx, args...).CombinedOutput(); err != nil {
		in.t.Fatalf("%v: %v: %s", args, err, out)
	}
}

// wantOnly looks whether a directory has nothing in it but these names.
func (in *instance) wantOnly(dir string, names ...string) {
	in.t.Helper()
	entries, err := os.ReadDir(dir)
	in.must(err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		in.t.Errorf("%s has %v, want %v", dir, got, names)
	}
}

// TestBackupOnFullDisk: a backup that finds no room, here or there, leaves
// nothing behind and the server at work; so does a restore.
func TestBackupOnFullDisk(t *testing.T) {
	in := newInstance(t, "[pressure]\nmin_free_space = '64MiB'\nmin_free_inodes = 0\n")
	in.mount(in.Data(), "size=300m")
	in.start()
	in.works("suspend", "delivery")
	s := in.open(in.Addr())
	for i := range 20 {
		s.begin(fmt.Sprint("m", i))
		for range 300 {
			in.must(s.PrintfLine("%s", strings.Repeat("x", 900)))
		}
		s.end()
	}

	// Where it goes to. Another file system: all of it is copied.
	there := t.TempDir()
	in.mount(there, "size=20m")
	free := in.fill(there, 1*mib)
	target := filepath.Join(there, "backup")
	in.fails("no space left on device", "backup", target)
	in.wantOnly(there, "ballast")
	free()
	in.works("backup", target)

	// Where the queue is.
	free = in.fill(in.Data(), 30*mib)
	in.fails("the queue is full", "backup", filepath.Join(there, "another"))
	in.wantOnly(there, "backup")
	free()
	in.until("mail is taken again", func() bool { return in.pressures() == "" })
	s.begin("afterwards")
	s.end()

	// Where it is restored to.
	settings := "[pressure]\nmin_free_space = '64MiB'\nmin_free_inodes = 0\n"
	other, err := harness.NewPostern(harness.PosternOptions{Binary: in.Binary(), Dir: filepath.Join(t.TempDir(), "other"), NextHop: in.Addr(), Settings: settings})
	in.must(err)
	in.mount(other.Data(), "size=120m")
	free = in.fill(other.Data(), 40*mib)
	out, err := other.Command(in.ctx, "restore", target).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "40 MiB are free in ") {
		t.Errorf("a restore without room: %v: %s", err, out)
	}
	in.wantOnly(other.Data(), "ballast")
	free()
	if out, err := other.Command(in.ctx, "restore", target).CombinedOutput(); err != nil {
		t.Errorf("a restore with room: %v: %s", err, out)
	}

	in.works("resume", "delivery")
	in.must(harness.UntilEmpty(in.ctx, in))
	for i := range 20 {
		if id := fmt.Sprint("m", i); in.arrivals(id) != 1 {
			t.Errorf("%s arrived %d times", id, in.arrivals(id))
		}
	}
}
