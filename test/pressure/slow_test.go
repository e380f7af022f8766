package pressure

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"postern/internal/mail"
	"postern/test/harness"
)

// slowDown makes every wait for the disk take long, until what it returns is
// called.
func (in *instance) slowDown() (end func()) {
	in.t.Helper()
	strace := exec.CommandContext(in.ctx, "strace", "-f", "-q", "-o", "/dev/null", "-p", strconv.Itoa(in.PID()),
		"-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_exit=2s")
	if err := strace.Start(); err != nil {
		lack(in.t, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- strace.Wait() }()
	in.until("the process is traced", func() bool {
		select {
		case err := <-ended:
			lack(in.t, fmt.Errorf("strace: %w", err))
		default:
		}
		return in.traced()
	})
	return func() {
		in.must(strace.Process.Signal(syscall.SIGTERM)) // it lets go of the process
		<-ended
	}
}

// traced reports whether somebody traces the process (proc_pid_status(5)).
func (in *instance) traced() bool {
	in.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", in.PID()))
	in.must(err)
	return !strings.Contains(string(status), "TracerPid:\t0\n")
}

// traffic sends messages until what it returns is called, which returns the
// ids of those that were accepted.
func (in *instance) traffic() (end func() []string) {
	var next atomic.Int64
	var over atomic.Bool
	var mu sync.Mutex
	var accepted []string
	source := harness.Source{Addr: in.Addr(), Sessions: 2, Keep: true, Redial: true,
		Next: func() *harness.Message {
			if over.Load() {
				return nil
			}
			id := fmt.Sprintf("traffic-%d", next.Add(1))
			return &harness.Message{ID: id, From: "a@source.example", To: []string{"b@elsewhere.example"},
				Content: harness.Header(id, "a@source.example", "b@elsewhere.example")}
		},
		Done: func(m *harness.Message, o harness.Outcome, _ error) {
			mu.Lock()
			defer mu.Unlock()
			if o == harness.Accepted {
				accepted = append(accepted, m.ID)
			}
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- source.Run(in.ctx) }()
	return func() []string {
		over.Store(true)
		in.must(<-ended)
		return accepted
	}
}

// served is how many connections the second listener serves at present.
func (in *instance) served() int { return in.status().Listeners[1].Limit }

// TestSlowDisk: fewer connections are served, none is cut off in the midst of
// a message, and when the disk is quick again more are.
func TestSlowDisk(t *testing.T) {
	const most, idlers, half = 40, 30, 20
	port, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := harness.Loopback(port)
	in := newInstance(t, fmt.Sprintf("[[listener]]\nname = 'second'\naddress = '%s'\nmax_connections = %d\n", addr, most))
	in.start()
	underWay := in.open(addr)
	underWay.begin("under-way")
	var idle []*session
	for range idlers {
		idle = append(idle, in.open(addr))
	}
	endTraffic := in.traffic()
	speedUp := in.slowDown()

	in.until("fewer connections are served", func() bool { return in.served() <= half })
	underWay.end()
	if _, greeting := in.dial(addr); !strings.HasPrefix(greeting, "421 4.3.2 ") {
		t.Errorf("one more client was greeted with %s", greeting)
	}
	stayed := 0
	for _, s := range idle {
		reply := s.say("MAIL FROM:<a@source.example>")
		switch {
		case strings.HasPrefix(reply, "250 "):
			stayed++
		case !strings.HasPrefix(reply, "421 4.3.2 "):
			t.Errorf("MAIL was answered %s", reply)
		}
	}
	if stayed == 0 || stayed > half {
		t.Errorf("%d sessions stayed, want up to %d", stayed, half)
	}
	t.Logf("of %d sessions %d stayed; status: %+v", idlers, stayed, in.status().Pressures)

	slow := in.served()
	speedUp()
	accepted := endTraffic()
	in.until("more connections are served again", func() bool { return in.served() > slow })
	in.must(harness.UntilEmpty(in.ctx, in))
	for _, id := range append(accepted, "under-way") {
		if in.arrivals(id) != 1 {
			t.Errorf("%s arrived %d times", id, in.arrivals(id))
		}
	}
	if told := in.facts(mail.ReasonPressed); len(told) != 1 || !strings.HasPrefix(told[0], "slow: ") {
		t.Errorf("pressed: %q", told)
	}
}
