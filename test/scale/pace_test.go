package scale

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// The pace of a start: so many transactions at once in the first second, twice
// as many in each that follows, up to max_connections, which is set to this.
const (
	firstSecond = 5
	mostAtOnce  = 40
)

// paced is how many transactions may be under way so long after a start.
func paced(after time.Duration) int {
	limit := firstSecond
	for range after / time.Second {
		limit = min(2*limit, mostAtOnce)
	}
	return limit
}

func TestPaced(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]int{0: 5, 999 * time.Millisecond: 5, time.Second: 10, 2 * time.Second: 20, 3 * time.Second: 40, time.Hour: 40} {
		if got := paced(after); got != want {
			t.Errorf("after %v %d, want %d", after, got, want)
		}
	}
}

// rush watches how many transactions are under way at many sites together. It
// defers everybody until the first life, and then holds each transaction until
// that life is over.
type rush struct {
	ctx  context.Context
	mu   sync.Mutex
	life *life
}

// life is from one start of the server to the next.
type life struct {
	began          time.Time // before the process was started
	over           chan struct{}
	deaf           bool // the server was killed, and hears no reply
	underWay, most int
	storms         []string
}

// rcpt answers the one recipient of a message.
func (r *rush) rcpt(_, _ string) string {
	const later = "451 4.2.0 not now"
	l := r.enter()
	if l == nil {
		return later
	}
	select {
	case <-l.over:
	case <-r.ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l.underWay--
	if l.deaf {
		return later
	}
	return ""
}

// enter notes that a transaction came.
func (r *rush) enter() *life {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.life
	if l == nil {
		return nil
	}
	l.underWay++
	l.most = max(l.most, l.underWay)
	if after := time.Since(l.began); l.underWay > paced(after) {
		l.storms = append(l.storms, fmt.Sprintf("%d after %v", l.underWay, after))
	}
	return l
}

// begin begins a life.
func (r *rush) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.life = &life{began: time.Now(), over: make(chan struct{})}
}

// end lets go what is held.
func (r *rush) end(deaf bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.life.deaf = deaf
	close(r.life.over)
}

// reached returns the most transactions of this life that were under way at
// once.
func (r *rush) reached() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.life.most
}

// TestDueAfterRestart: three thousand messages are due when the server starts,
// is killed, starts and is killed again, starts and is stopped, and starts for
// good. Each time mail goes out slowly at first.
func TestDueAfterRestart(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	w := newWorld(slices.Repeat([]kind{healthy}, 30)...)
	r := &rush{ctx: ctx}
	w.rcpt = r.rcpt
	w.open(t)
	in := newInstance(ctx, t, harness.PosternOptions{Settings: w.settings(fmt.Sprintf("max_connections = %d", mostAtOnce)), Retry: "2s, every 2s until 5d"})
	in.start()
	mails := &letters{prefix: "due", sites: w.of(healthy), each: 100}
	in.submit(mails.next)
	in.await("all are deferred", func() bool { return in.recipients()[mail.Deferred] == mails.count() })
	due := latest(in.stopped())
	in.await("all are due", func() bool { return time.Now().After(due) })

	restart := func(goal int, end func()) {
		r.begin()
		in.start()
		in.await(fmt.Sprintf("%d transactions are under way", goal), func() bool { return r.reached() >= goal })
		end()
		if len(r.life.storms) > 0 {
			t.Errorf("so many transactions were under way so short after a start: %v", r.life.storms)
		}
	}
	killed := func() {
		in.Kill()
		r.end(true)
		mailtest.Must(t, w.sink.Settle(ctx)) // what the dead one has said is no part of the next life
	}
	restart(firstSecond, killed)
	restart(firstSecond, killed)
	restart(firstSecond, func() { r.end(false); in.stopped() })
	restart(mostAtOnce-mostAtOnce/4, func() { r.end(false) }) // the rest is for sites that are known to be quick
	in.await("all has come", func() bool { return w.arrived(healthy) == mails.count() })
	mailtest.Must(t, harness.UntilEmpty(ctx, in))
	in.stopped()
	if doubled := w.doubled(); len(doubled) > 0 {
		t.Errorf("came more than once: %v", doubled)
	}
}

// latest is the latest time at which something is due.
func latest(facts []mail.Fact) time.Time {
	var next time.Time
	for i := range facts {
		if facts[i].Next.After(next) {
			next = facts[i].Next
		}
	}
	return next
}
