package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"postern/test/harness"
)

// sink is where messages end.
type sink interface {
	addr() string
	// expect begins to count. The channel is closed when n have come.
	expect(n int) <-chan struct{}
	count() int
	// fault says what arrived and should not have.
	fault() error
	close() error
}

func newSink(ctx context.Context, w workload) (sink, error) {
	if w.tools {
		return newToolSink(ctx)
	}
	s := &ownSink{}
	s.server.Take = s.take
	return s, s.server.Listen()
}

const from, to = "source@example.org", "sink@example.net"

// send submits n messages.
func (l *line) send(ctx context.Context, n int) error {
	if l.workload.tools {
		return sendWithTool(ctx, l.addr(), l.workload, n)
	}
	body := harness.Text(l.workload.size)
	var made atomic.Int64
	source := harness.Source{Addr: l.addr(), Sessions: l.workload.sessions, Keep: l.workload.keep, TLS: l.tls, Next: func() *harness.Message {
		i := int(made.Add(1)) - 1
		if i >= n {
			return nil
		}
		id := strconv.Itoa(i)
		return &harness.Message{ID: id, From: from, To: []string{l.to}, Content: append(harness.Header(id, from, l.to), body...)}
	}}
	return source.Run(ctx)
}

// ownSink checks that each id comes, and only once.
type ownSink struct {
	server harness.Sink

	mu     sync.Mutex
	seen   []bool
	left   int
	all    chan struct{}
	faults int
}

func (s *ownSink) addr() string { return s.server.Addr() }
func (s *ownSink) close() error { return s.server.Close() }

func (s *ownSink) expect(n int) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.left, s.all = make([]bool, n), n, make(chan struct{})
	return s.all
}

func (s *ownSink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen) - s.left
}

func (s *ownSink) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults > 0 {
		return fmt.Errorf("%d messages came twice or were never sent", s.faults)
	}
	return nil
}

func (s *ownSink) take(a *harness.Arrival) string {
	id, err := strconv.Atoi(harness.IDOf(a.Content))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || id < 0 || id >= len(s.seen) || s.seen[id] {
		s.faults++
		return ""
	}
	s.seen[id] = true
	if s.left--; s.left == 0 {
		close(s.all)
	}
	return ""
}

// toolSink is smtp-sink, which counts messages.
type toolSink struct {
	address string
	cmd     *exec.Cmd
	cancel  context.CancelFunc
	read    chan struct{} // closed when its output has ended

	mu    sync.Mutex
	total int
	base  int // the total when expect was called
	goal  int
	all   chan struct{}
}

func newToolSink(ctx context.Context) (*toolSink, error) {
	port, err := harness.FreePort()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &toolSink{address: harness.Loopback(port), cancel: cancel, read: make(chan struct{})}
	s.cmd = exec.CommandContext(ctx, "smtp-sink", "-u", "nobody", "-c", s.address, "256")
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	go s.follow(out)
	err = harness.Until(ctx, "smtp-sink answers", func() (bool, error) {
		select {
		case <-s.read:
			return false, errors.New("it has ended")
		default:
		}
		c, err := harness.Dial(ctx, s.address)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// follow reads the counters, which look like "sess=1 quit=1 mesg=1\r".
func (s *toolSink) follow(out io.Reader) {
	defer close(s.read)
	counters := bufio.NewScanner(out)
	counters.Split(func(data []byte, _ bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, '\r'); i >= 0 {
			return i + 1, data[:i], nil
		}
		return 0, nil, nil
	})
	for counters.Scan() {
		_, digits, _ := strings.Cut(counters.Text(), "mesg=")
		if n, err := strconv.Atoi(strings.TrimSpace(digits)); err == nil {
			s.counted(n)
		}
	}
}

func (s *toolSink) counted(total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.total
	s.total = total
	if s.all != nil && before < s.base+s.goal && total >= s.base+s.goal {
		close(s.all)
	}
}

func (s *toolSink) addr() string { return s.address }

func (s *toolSink) expect(n int) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base, s.goal, s.all = s.total, n, make(chan struct{})
	return s.all
}

func (s *toolSink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total - s.base
}

// fault is always nil: smtp-sink does not tell messages apart.
func (s *toolSink) fault() error { return nil }

func (s *toolSink) close() error {
	s.cancel()
	<-s.read
	s.cmd.Wait() // it was killed: the error says so
	return nil
}

// sendWithTool sends with smtp-source.
func sendWithTool(ctx context.Context, addr string, w workload, n int) error {
	args := []string{"-s", strconv.Itoa(w.sessions), "-m", strconv.Itoa(n), "-l", strconv.Itoa(w.size), "-f", from, "-t", to}
	if w.keep {
		args = append(args, "-d")
	}
	source := exec.CommandContext(ctx, "smtp-source", append(args, addr)...)
	if out, err := source.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", source.Args, err, out)
	}
	return nil
}
