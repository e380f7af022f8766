package pressure

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postern/internal/mail"
	"postern/test/harness"
)

const mib = 1 << 20

// mount mounts a file system in memory for the length of the test.
func (in *instance) mount(dir, options string) {
	in.t.Helper()
	in.must(os.MkdirAll(dir, 0o700))
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "postern-test", dir).CombinedOutput(); err != nil {
		lack(in.t, fmt.Errorf("mount: %w: %s", err, out))
	}
	in.t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			in.t.Errorf("umount: %v: %s", err, out)
		}
	})
}

// fill takes all room of dir's file system but so many octets. What it
// returns gives the room back.
func (in *instance) fill(dir string, leave int64) (free func()) {
	in.t.Helper()
	var st unix.Statfs_t
	in.must(unix.Statfs(dir, &st))
	name := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	in.must(err)
	defer f.Close()
	in.must(unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Frsize-leave))
	return func() { in.must(os.Remove(name)) }
}

// shortage is something that runs short.
type shortage struct {
	settings string
	mount    string // a directory in data_dir
	options  string // of the file system there
	kinds    []string
	press    func(in *instance, dir string) (ease func())
}

var shortages = map[string]shortage{
	"disk": {
		settings: "[pressure]\nmin_free_space = '100MiB'\nmin_free_inodes = 0\n",
		options:  "size=200m",
		kinds:    []string{"disk"},
		press:    func(in *instance, dir string) func() { return in.fill(dir, 90*mib) },
	},
	"inodes": {
		settings: "[pressure]\nmin_free_space = '64MiB'\nmin_free_inodes = 1000\n",
		options:  "size=200m,nr_inodes=2000",
		kinds:    []string{"inodes"},
		press: func(in *instance, dir string) func() {
			many := filepath.Join(dir, "many")
			in.must(os.Mkdir(many, 0o700))
			for i := range 1200 {
				in.must(os.WriteFile(filepath.Join(many, fmt.Sprint(i)), nil, 0o600))
			}
			return func() { in.must(os.RemoveAll(many)) }
		},
	},
	"journal": {
		settings: "[pressure]\nmin_free_space = '64MiB'\nmin_free_inodes = 0\n",
		mount:    "journal",
		options:  "size=100m",
		kinds:    []string{"disk", "journal"},
		press:    func(in *instance, dir string) func() { return in.fill(dir, 0) },
	},
}

// TestShortage: what runs short is told to clients before they send, a message
// under way is finished, and nothing that was accepted is lost.
func TestShortage(t *testing.T) {
	for name, s := range shortages {
		t.Run(name, func(t *testing.T) {
			in := newInstance(t, s.settings)
			dir := filepath.Join(in.Data(), s.mount)
			in.mount(dir, s.options)
			in.start()
			underWay := in.open(in.Addr())
			underWay.begin("under-way")

			ease := s.press(in, dir)
			in.until("pressure is on", func() bool {
				in.tryMail() // a refusal is a fact, which the journal cannot take
				return in.pressures() == strings.Join(s.kinds, " ")
			})
			if got := in.tryMail(); got != "452 4.3.1 Insufficient system storage, please try again later" {
				t.Errorf("MAIL was answered %q", got)
			}
			if out, err := in.Command(in.ctx, "status").Output(); err != nil || strings.Count(string(out), "UNDER PRESSURE for ") != len(s.kinds) {
				t.Errorf("status says %s, %v", out, err)
			}
			underWay.end()
			in.until("it was delivered", func() bool { return in.arrivals("under-way") == 1 })
			underWay.want("452 4.3.1", "MAIL FROM:<> SIZE=10")

			ease()
			in.until("pressure is off", func() bool { return in.pressures() == "" })
			underWay.begin("afterwards")
			underWay.end()
			in.must(harness.UntilEmpty(in.ctx, in))
			if in.arrivals("under-way") != 1 || in.arrivals("afterwards") != 1 {
				t.Errorf("arrived: %v", in.arrived)
			}
			in.wantFacts(s.kinds)
		})
	}
}

// tryMail returns what a new client is answered at MAIL.
func (in *instance) tryMail() string {
	in.t.Helper()
	s := in.open(in.Addr())
	defer s.Close()
	return s.say("MAIL FROM:<a@source.example>")
}

// wantFacts wants one beginning and one end of each kind, and all that is to
// be told of two messages, in the journal.
func (in *instance) wantFacts(kinds []string) {
	in.t.Helper()
	in.until("the journal has it all", func() bool {
		return len(in.facts(mail.ReasonDelivered)) == 2 && len(in.facts(mail.ReasonEased)) == len(kinds)
	})
	if n := len(in.facts(mail.ReasonAccepted)); n != 2 {
		in.t.Errorf("%d messages accepted, want 2", n)
	}
	for _, reason := range []mail.Reason{mail.ReasonPressed, mail.ReasonEased} {
		var told []string
		for _, text := range in.facts(reason) {
			kind, _, _ := strings.Cut(text, ":")
			told = append(told, kind)
			in.t.Logf("%s: %s", reason, text)
		}
		slices.Sort(told)
		if !slices.Equal(told, kinds) {
			in.t.Errorf("%s: %q, want %q", reason, told, kinds)
		}
	}
}

// TestDeclaredSize: a message may not take the room that must be left.
func TestDeclaredSize(t *testing.T) {
	in := newInstance(t, "[pressure]\nmin_free_space = '64MiB'\nmin_free_inodes = 0\n")
	in.mount(in.Data(), "size=200m")
	in.start()
	in.fill(in.Data(), 80*mib)
	s := in.open(in.Addr())
	in.until("a large message is refused", func() bool {
		reply := s.say("MAIL FROM:<> SIZE=40000000")
		if strings.HasPrefix(reply, "250 ") {
			s.want("250", "RSET")
		}
		return strings.HasPrefix(reply, "452 4.3.1 ")
	})
	if kinds := in.pressures(); kinds != "" {
		t.Errorf("under pressure by %s", kinds)
	}
	s.want("250", "MAIL FROM:<a@source.example> SIZE=400")
}

// TestTrialInSmallDirectory: the trial makes do with little.
func TestTrialInSmallDirectory(t *testing.T) {
	in := newInstance(t, "")
	in.mount(in.Data(), "size=64m,nr_inodes=500")
	demo := exec.CommandContext(in.ctx, in.Binary(), "demo")
	demo.Env = append(os.Environ(), "TMPDIR="+in.Data())
	if out, err := demo.CombinedOutput(); err != nil {
		t.Errorf("postern demo: %v\n%s", err, out)
	}
}
