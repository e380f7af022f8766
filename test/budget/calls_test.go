package budget

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// TestSystemCalls: how often the built program asks the system for something,
// by strace, which slows it: so calls that only say how Go's scheduler waits
// are not among them (see waiting), nor what it does of itself (see own), and syncs are shared as on a slow disk.
func TestSystemCalls(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		if harness.Required() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for _, w := range []struct {
		name     string
		sessions int
		keep     bool
		// most calls of a kind; "all" of them together. Kinds that are not
		// named are bounded by that alone.
		most map[string]float64
	}{
		{"a connection per message", 20, false, map[string]float64{
			"write":    13, // 7 replies, 2 to the next server, 2 lines of the log, one share of log and journal
			"read":     13, // 6 commands, 2 of content, the end; 2 replies of the next server; those that find nothing yet
			"accept4":  1.5,
			"recvfrom": 2.5, // is the next server there: before the message and behind it
			"sync":     1.5, // alone it would be 2, and those of the journal; how many share one depends on the disk
			"all":      43,  // of these 9 are for the connection: accept4, 5 setsockopt, epoll_ctl, shutdown, close
		}},
		{"kept sessions", 20, true, map[string]float64{
			"write":    10, // without greeting, EHLO and QUIT
			"read":     9.5,
			"recvfrom": 2.5,
			"sync":     1.5,
			"all":      26,
		}},
		{"one session", 1, false, map[string]float64{
			"sync": 2.6, // its acceptance, its settlement if nothing came in time, a share of those of the journal, every 50 ms
			"all":  46,
		}},
	} {
		t.Run(w.name, func(t *testing.T) {
			calls, err := traced(bounded(t), t.TempDir(), w.sessions, w.keep)
			mailtest.Must(t, err)
			for kind, most := range w.most {
				within(t, kind, calls[kind]/messages, most)
			}
		})
	}
}

// traced counts the calls of the program while it relays messages.
func traced(ctx context.Context, dir string, sessions int, keep bool) (calls map[string]float64, err error) {
	taken := make(chan struct{}, messages)
	next := harness.Sink{Take: func(*harness.Arrival) string { taken <- struct{}{}; return "" }}
	if err := next.Listen(); err != nil {
		return nil, err
	}
	defer next.Close()
	p, err := harness.NewPostern(harness.PosternOptions{Binary: binary, Dir: filepath.Join(dir, "instance"), NextHop: next.Addr()})
	if err == nil {
		err = p.Start(ctx)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	relay := func() error {
		source := harness.Source{Addr: p.Addr(), Sessions: sessions, Keep: keep, Next: numbered()}
		if err := source.Run(ctx); err != nil {
			return err
		}
		for range messages {
			select {
			case <-taken:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	if err := relay(); err != nil { // to warm up
		return nil, err
	}
	report := filepath.Join(dir, "calls")
	detach, err := attach(ctx, p.PID(), report)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := errors.Join(relay(), detach()); err != nil {
		return nil, err
	}
	if calls, err = counts(report); err != nil {
		return nil, err
	}
	for kind, rate := range own {
		calls[kind] -= rate * time.Since(began).Seconds()
	}
	return calls, nil
}

// own are the calls that a server makes in a second of itself, without any mail: it looks at disks, at files of lists
// and certificates, and at the routes of the machine, and its timers wake it. The slower the machine, the
// more of them come on a message.
var own = map[string]float64{"write": 3, "read": 5, "all": 17}

// numbered makes messages of 4 KiB.
func numbered() func() *harness.Message {
	var made atomic.Int64
	body := harness.Text(4 << 10)
	return func() *harness.Message {
		n := made.Add(1)
		if n > messages {
			return nil
		}
		id := strconv.FormatInt(n, 10)
		const from, to = "a@example.org", "b@example.net"
		return &harness.Message{ID: id, From: from, To: []string{to}, Content: append(harness.Header(id, from, to), body...)}
	}
}

// attach begins to count the calls of a process. The function it returns ends
// that, and has the report written.
func attach(ctx context.Context, pid int, report string) (detach func() error, err error) {
	strace := exec.CommandContext(ctx, "strace", "-f", "-c", "-o", report, "-p", strconv.Itoa(pid))
	messages, err := strace.StderrPipe()
	if err == nil {
		err = strace.Start()
	}
	if err != nil {
		return nil, err
	}
	attached := bufio.NewScanner(messages)
	if !attached.Scan() || !strings.Contains(attached.Text(), "attached") {
		return nil, errors.Join(fmt.Errorf("strace: %q", attached.Text()), strace.Process.Kill(), strace.Wait())
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, messages)
	}()
	return func() error {
		err := strace.Process.Signal(os.Interrupt)
		<-drained
		_ = strace.Wait() // it was interrupted: the error says so
		return err
	}, nil
}

// waiting are the calls by which Go's scheduler waits, wakes and interrupts
// its threads, and gives memory back. How many there are depends on the load.
var waiting = map[string]bool{
	"nanosleep": true, "futex": true, "epoll_pwait": true, "sched_yield": true, "rt_sigreturn": true, "getpid": true, "tgkill": true,
	"madvise": true, "rt_sigprocmask": true, "restart_syscall": true, "clone": true, "clone3": true, "mmap": true, "munmap": true, "gettid": true,
	"sigaltstack": true, "rseq": true, "set_robust_list": true, "prctl": true, "exit": true,
}

// counts reads strace's report: a line for each call, with its number in the
// fourth column and its name in the last.
func counts(report string) (map[string]float64, error) {
	text, err := os.ReadFile(report)
	if err != nil {
		return nil, err
	}
	calls := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		n, err := strconv.ParseFloat(fields[3], 64)
		name := fields[len(fields)-1]
		if err != nil || name == "total" || waiting[name] {
			continue
		}
		calls[name] += n
		calls["all"] += n
		if name == "fsync" || name == "fdatasync" {
			calls["sync"] += n
		}
	}
	if calls["write"] == 0 {
		return nil, fmt.Errorf("strace saw nothing: %q", text)
	}
	return calls, nil
}
