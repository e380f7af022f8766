package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"postern/test/harness"
)

// All mail has the same next hop, and so is for one site. Half of the backlog
// goes to the domain to which live mail goes too, the rest to a number of
// others.
const (
	backlogDomain  = "backlog.example"
	backlogDomains = 500
	waiter         = "waits@"
	live           = "live@" + backlogDomain
	// largeEvery is which of the messages are large.
	largeEvery           = 10
	smallSize, largeSize = 4 << 10, 32 << 10
)

// The probe is a message that is due every second and always deferred: the
// first attempt after a start is one at it.
const (
	probeDomain = "probe.example"
	probeWait   = 1500 * time.Millisecond
)

// deferring is a sink that defers the backlog and the probe.
type deferring struct {
	ownSink
	deferred atomic.Int64 // attempts at the backlog
	probed   atomic.Int64 // the time of the first attempt at the probe since 0 was stored
}

func newDeferring() *deferring {
	s := &deferring{}
	s.server.Take, s.server.Rcpt = s.take, s.rcpt
	return s
}

// rcpt answers a recipient.
func (s *deferring) rcpt(_, to string) string {
	switch {
	case strings.HasPrefix(to, waiter):
		s.deferred.Add(1)
	case strings.HasSuffix(to, probeDomain):
		s.probed.CompareAndSwap(0, time.Now().UnixNano())
	default:
		return ""
	}
	return "451 4.2.1 not now"
}

// waiting makes messages of the backlog.
type waiting struct {
	made         atomic.Int64 // so far
	small, large []byte
}

func (w *waiting) next() *harness.Message {
	n := w.made.Add(1) - 1
	domain := backlogDomain
	if n%2 == 1 {
		domain = fmt.Sprintf("d%d.%s", n/2%backlogDomains, backlogDomain)
	}
	id, rcpt, text := fmt.Sprintf("waits-%d", n), waiter+domain, w.small
	if n%largeEvery == 0 {
		text = w.large
	}
	return &harness.Message{ID: id, From: from, To: []string{rcpt}, Content: append(harness.Header(id, from, rcpt), text...)}
}

// chunk is how many messages are submitted between two lines of progress.
const chunk = 10_000

// fill makes a backlog of n messages.
func (i *instance) fill(ctx context.Context, n int) error {
	made := waiting{small: harness.Text(smallSize), large: harness.Text(largeSize)}
	all := time.Now()
	for i.backlog < n {
		part, began := min(chunk, n-i.backlog), time.Now()
		if err := i.fillPart(ctx, &made, part); err != nil {
			return err
		}
		i.backlog += part
		fmt.Fprintf(os.Stderr, "%s %d/%d  %.0f msg/s  load %s\n", i.name, i.backlog, n, float64(part)/time.Since(began).Seconds(), harness.LoadAverage())
	}
	i.filled = float64(n) / time.Since(all).Seconds()
	return nil
}

// fillPart submits n messages, and waits until all so far are deferred.
func (i *instance) fillPart(ctx context.Context, made *waiting, n int) error {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	var left atomic.Int64
	left.Store(int64(n))
	source := harness.Source{Addr: i.line.addr(), Sessions: 20, Keep: true, Next: func() *harness.Message {
		if left.Add(-1) < 0 {
			return nil
		}
		return made.next()
	}}
	if err := source.Run(ctx); err != nil {
		return err
	}
	return harness.Until(ctx, "the backlog is deferred", func() (bool, error) {
		have, err := i.waiting(ctx)
		return int64(have) == made.made.Load(), err
	})
}
