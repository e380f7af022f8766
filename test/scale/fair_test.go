package scale

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"postern/internal/mail"
	"postern/test/harness"
)

// shares are kinds for n sites of which a tenth is slow and a tenth is dead:
// by turns nobody is there, and nobody says a word.
func shares(n int) []kind {
	kinds := slices.Repeat([]kind{healthy}, n)
	for i := range n {
		switch i % 20 {
		case 1, 11:
			kinds[i] = slow
		case 6:
			kinds[i] = refusing
		case 16:
			kinds[i] = silent
		}
	}
	return kinds
}

// gate holds who comes to it until it is lifted, or the test is over.
type gate struct {
	lifted chan struct{}
	over   <-chan struct{}
}

func newGate(ctx context.Context) *gate {
	return &gate{lifted: make(chan struct{}), over: ctx.Done()}
}

func (g *gate) wait() {
	select {
	case <-g.lifted:
	case <-g.over:
	}
}

func (g *gate) lift() { close(g.lifted) }

// The slots of the test below, and how many of them may go to sites that are
// not known to be quick.
const (
	slots      = 100
	slowAtOnce = slots - slots/4
)

// TestSlowAndDeadSites: ten thousand messages for 160 sites, those for the slow
// and the dead ones first. The slow ones here are as slow as can be: they take
// nothing before the healthy ones have everything, and hold every slot that
// they can get. The healthy ones, of which each has had a message before, get
// all of theirs at the first attempt, the dead ones are left in peace, and the
// slow ones lose nothing.
func TestSlowAndDeadSites(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	const sites, each = 160, 62
	w := newWorld(shares(sites)...)
	g := newGate(ctx)
	var held atomic.Int64
	w.hold = func(s *site) {
		if s.kind == slow {
			held.Add(1)
			g.wait()
		}
	}
	w.open(t)
	in := newInstance(ctx, t, harness.PosternOptions{
		Settings: w.settings(fmt.Sprintf("max_connections = %d", slots)), Retry: "1h, every 1h until 5d",
	})
	in.start()
	first := &letters{prefix: "first", sites: w.of(healthy), each: 1}
	bad := &letters{prefix: "bad", sites: w.of(slow, refusing, silent), each: each}
	good := &letters{prefix: "good", sites: w.of(healthy), each: each - 1}
	in.submit(first.next)
	in.await("each healthy site has a message", func() bool { return w.arrived(healthy) == first.count() })
	in.submit(bad.next)
	in.await("the slow sites hold all that they can get", func() bool { return held.Load() >= slowAtOnce })
	in.submit(good.next)
	in.await("the healthy sites have all of their mail", func() bool { return w.arrived(healthy) == first.count()+good.count() })
	if n := w.arrived(slow); n > 0 {
		t.Errorf("%d messages came to the slow sites, which take none yet", n)
	}
	g.lift()
	in.await("the slow sites have all of theirs", func() bool { return w.arrived(slow) == each*len(w.of(slow)) })
	dead := each * len(w.of(refusing, silent))
	in.await("the mail for the dead ones is deferred", func() bool { return in.recipients()[mail.Deferred] == dead })
	checkShares(t, w, in.stopped(), each)
}

// checkShares asserts what each site saw, and what the journal says of it.
func checkShares(t *testing.T, w *world, facts []mail.Fact, each int) {
	t.Helper()
	if doubled := w.doubled(); len(doubled) > 0 {
		t.Errorf("came more than once: %v", doubled)
	}
	for _, s := range w.of(healthy, slow) {
		c := w.census(s)
		if c.transactions != each || len(c.messages) != each || c.connections > each {
			t.Errorf("%s (%s): %d messages in %d transactions over %d connections, want %d", s.domain, s.kind, len(c.messages), c.transactions, c.connections, each)
		}
	}
	checkOnce(t, facts, "good")
	checkDown(t, w, facts)
	for _, s := range w.of(refusing, silent) {
		checkDials(t, facts, s)
		if said, seen := len(dials(facts, s)), w.census(s).connections; s.kind == silent && said != seen {
			t.Errorf("%s: the journal tells of %d connections, and %d were made", s.domain, said, seen)
		}
	}
	attempts := map[string]int{}
	for i := range facts {
		if f := &facts[i]; f.Reason == mail.ReasonDeferred {
			for _, to := range f.To {
				attempts[to]++
			}
		}
	}
	if want := each * len(w.of(refusing, silent)); len(attempts) != want {
		t.Errorf("%d messages were deferred, want the %d for the dead sites", len(attempts), want)
	}
	for to, n := range attempts {
		if n != 1 {
			t.Errorf("%s was deferred %d times before its hour was over", to, n)
		}
	}
}
