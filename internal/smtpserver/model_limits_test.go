package smtpserver

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// limits and counts are for the counters of a session. Zero: no limit.
type limits struct{ errors, mails int }
type counts struct{ errors, mails, chatter int }

// chatterVerbs are those that bring no mail nearer.
const chatterVerbs = " EHLO HELO RSET NOOP VRFY HELP "

// count counts what a session may do only so often (docs/decisions.md).
func (m *machine) count(s *step, w *want, between bool) {
	if w.message != nil {
		m.counts.errors, m.counts.chatter = 0, 0
	}
	if m.limits.errors == 0 || m.over && !w.refused() {
		return
	}
	tooMany := false
	chatters := strings.Contains(chatterVerbs, " "+s.verb+" ") && s.form != unreadable
	if chatters && !(between && w.refused()) {
		if m.counts.chatter++; m.counts.chatter > maxChatter {
			m.counts.errors++
			tooMany = m.counts.errors >= m.limits.errors
		}
	}
	if w.refused() && !(s.verb == "RCPT" && w.silently) {
		m.counts.errors++
		tooMany = tooMany || m.counts.errors >= m.limits.errors
	}
	if last := len(w.replies) - 1; tooMany && !m.over {
		w.replies[last] = []int{421}
		m.over = true
	}
}

// TestModelLimits walks at random with low limits of what a session may do,
// until one of them ends it. The reference counts for itself.
func TestModelLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &graph{world: newWorld(t), steps: modelSteps()}
		count, _ := walks()
		random := rand.New(rand.NewPCG(9422, 1))
		for _, l := range []limits{{errors: 8, mails: 12}, {errors: 8, mails: never}, {errors: never, mails: 12}, {errors: 1, mails: 1}} {
			for _, kind := range []bool{false, true} {
				g.world.limits = l
				ends := map[string]int{}
				for range count {
					ends[g.runUntilOver(t, random, kind)]++
				}
				t.Logf("%+v, kind %v: ended at %v", l, kind, ends)
			}
		}
	})
}

// runUntilOver takes steps that do not end the session by themselves, until
// their number does. A kind client takes none that are refused, if it can know.
// It returns which command was one too many.
func (g *graph) runUntilOver(t *testing.T, random *rand.Rand, kind bool) string {
	t.Helper()
	tr, err := g.world.connect()
	defer tr.end()
	if err != nil {
		t.Fatal(err)
	}
	var path []int
	for !tr.machine.over {
		i := random.IntN(len(g.steps))
		alone := tr.machine
		alone.limits = limits{}
		w := alone.does(g.steps[i])
		if alone.over || g.steps[i].act == overtakes || kind && w.refused() {
			continue
		}
		path = append(path, i)
		if err := tr.take(g.steps[i]); err != nil {
			t.Fatalf("%s: %v", g.names(path), err)
		}
	}
	return g.steps[path[len(path)-1]].verb
}

// TestModelStop stops the server at random, in each state that a walk leads to: a
// session ends at once, or with its transaction, however that ends.
func TestModelStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &graph{world: newWorld(t), steps: modelSteps()}
		g.steps = slices.DeleteFunc(g.steps, func(s *step) bool { return s.act == overtakes })
		count, _ := walks()
		random := rand.New(rand.NewPCG(5321, 421))
		for n := range 10 * count {
			g.runUntilStopped(t, random, n%20)
		}
	})
}

// runUntilStopped takes so many steps that do not end the session, stops the
// server, and goes on until the session is over.
func (g *graph) runUntilStopped(t *testing.T, random *rand.Rand, before int) {
	t.Helper()
	tr, err := g.world.connect()
	defer tr.end()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for n := 0; !tr.machine.over; {
		s := g.steps[random.IntN(len(g.steps))]
		alone := tr.machine
		w := alone.does(s)
		switch {
		case n == before:
			s = &step{act: stops, name: "the server stops"}
		case alone.over && !w.stopped, !tr.machine.open() && w.refused() && random.IntN(4) > 0:
			continue // or few would have a transaction
		}
		n++
		names = append(names, s.name)
		if err := tr.take(s); err != nil {
			t.Fatalf("%s: %v", strings.Join(names, " · "), err)
		}
	}
}
