package smtpserver

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// testUnpruned tries all sequences of two steps, or three, each for itself. They
// are as many as the graph says, and each ends where it says.
func testUnpruned(t *testing.T, g *graph) {
	length := 2
	if long() {
		length = 3
	}
	tried := 0
	var extend func(path []int)
	extend = func(path []int) {
		if len(path) == length {
			tried++
			g.check(t, path)
			return
		}
		for i := range g.steps {
			if next := append(slices.Clone(path), i); len(next) == length || g.ends(next) != over {
				extend(next)
			}
		}
	}
	extend(nil)
	if want := g.sequences(length); tried != want {
		t.Errorf("%d sequences of length %d, the graph stands for %d", tried, length, want)
	}
	t.Logf("%d sequences of length %d", tried, length)
}

// check takes a path, which must lead where the graph says.
func (g *graph) check(t *testing.T, path []int) {
	t.Helper()
	state := g.run(t, path)
	if got, known := g.index[state]; state != "" && (!known || got != g.ends(path)) || state == "" && g.ends(path) != over {
		t.Errorf("%s: state %q is another than when it was first reached", g.names(path), state)
	}
}

// testOtherWays goes on from states that were reached by another way than before:
// the longest, with a third of the steps; or in the long form by every step that
// leads there, with all.
func testOtherWays(t *testing.T, g *graph) {
	ways := make([][][]int, len(g.nodes))
	for _, n := range g.nodes {
		for i, to := range n.next {
			if way := append(slices.Clone(n.path), i); to != over && !slices.Equal(way, g.nodes[to].path) {
				ways[to] = append(ways[to], way)
			}
		}
	}
	tried := 0
	for n, all := range ways {
		if !long() && len(all) > 1 {
			all = all[len(all)-1:]
		}
		for _, way := range all {
			for i := range g.steps {
				if !long() && i%3 != n%3 {
					continue
				}
				tried++
				g.check(t, append(slices.Clone(way), i))
			}
		}
	}
	t.Logf("%d steps behind other ways", tried)
}

// walks is how many sequences are tried at random, of walk steps each.
func walks() (count, length int) {
	if long() {
		return 20_000, 100
	}
	return 200, 40
}

// randomPath is a path that does not end before its last step: most of the steps
// that end a session are passed over.
func (g *graph) randomPath(random *rand.Rand, length int) []int {
	var path []int
	for at := 0; len(path) < length && at != over; {
		i := random.IntN(len(g.steps))
		if g.nodes[at].next[i] == over && len(path) < length-1 {
			continue
		}
		path = append(path, i)
		at = g.nodes[at].next[i]
	}
	return path
}

func testAtRandom(t *testing.T, g *graph) {
	count, length := walks()
	random := rand.New(rand.NewPCG(5321, 3030))
	for range count {
		g.check(t, g.randomPath(random, length))
		if t.Failed() {
			return
		}
	}
	t.Logf("%d sequences of length %d", count, length)
}

// TestModelStrict walks at random where TLS is required.
func TestModelStrict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &graph{world: newWorld(t), steps: modelSteps()}
		g.world.strict = true
		count, length := walks()
		random := rand.New(rand.NewPCG(3207, 4))
		secured := 0
		for range 5 * count {
			if g.walk(t, random, length) {
				secured++
			}
			if t.Failed() {
				return
			}
		}
		if secured < count {
			t.Errorf("only %d walks went on under TLS", secured)
		}
	})
}

// walk takes steps at random, of which only the last may end the session. It reports
// whether the session came to be under TLS.
func (g *graph) walk(t *testing.T, random *rand.Rand, length int) bool {
	t.Helper()
	tr, err := g.world.connect()
	defer tr.end()
	if err != nil {
		t.Fatal(err)
	}
	var path []int
	for len(path) < length && !tr.machine.over {
		i := random.IntN(len(g.steps))
		if !tr.machine.secure && random.IntN(10) == 0 { // or few would come to be
			i = g.towardsTLS(tr.machine.greeted != "")
		}
		if alone := tr.machine; len(path) < length-1 {
			if alone.does(g.steps[i]); alone.over {
				continue
			}
		}
		path = append(path, i)
		if err := tr.take(g.steps[i]); err != nil {
			t.Errorf("%s: %v", g.names(path), err)
			return false
		}
	}
	return tr.machine.secure
}

// towardsTLS returns the step that leads to TLS.
func (g *graph) towardsTLS(greeted bool) int {
	return slices.IndexFunc(g.steps, func(s *step) bool {
		return s.at == "" && s.form == fine && (greeted && s.act == secures || !greeted && s.verb == "EHLO")
	})
}

// TestModelInPieces sends whole sequences, cut into packets anywhere or not at
// all. Pipelined or not, the replies are the same (RFC 2920 3.2): what was read
// ahead must not be taken for something else.
func TestModelInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &graph{world: newWorld(t), steps: modelSteps()}
		g.steps = slices.DeleteFunc(g.steps, func(s *step) bool { return s.act != nothing || s.at != "" })
		count, length := walks()
		random := rand.New(rand.NewPCG(2920, 1))
		for n := range 5 * count {
			g.runInPieces(t, random, length, 1<<(n%12))
			if t.Failed() {
				return
			}
		}
	})
}

// runInPieces takes steps at random, of which only the last may end the session,
// in packets of at most so many octets.
func (g *graph) runInPieces(t *testing.T, random *rand.Rand, length, most int) {
	t.Helper()
	tr, err := g.world.connect()
	defer tr.end()
	if err != nil {
		t.Fatal(err)
	}
	var said []byte
	var due want
	var kept []message
	var path []int
	for len(path) < length && !tr.machine.over {
		i := random.IntN(len(g.steps))
		s := g.steps[i]
		if alone := tr.machine; len(path) < length-1 {
			if alone.does(s); alone.over {
				continue
			}
		}
		path = append(path, i)
		w := tr.machine.does(s)
		said = append(said, s.say...)
		switch {
		case s.verb == "BDAT" && s.form != malformed:
			said = append(said, s.content...)
		case slices.ContainsFunc(w.replies, func(codes []int) bool { return codes[0] == 354 }):
			said = append(said, s.content+".\r\n"...)
		case w.replies[0][0] == 334:
			said = append(said, strings.Join(s.answers, "")...)
		}
		due.replies = append(due.replies, w.replies...)
		kept = append(kept, messages(w.message)...)
	}
	tr.sending.Go(func() {
		for len(said) > 0 {
			n := min(len(said), 1+random.IntN(most))
			_, _ = tr.rw.Write(said[:n]) // it may have closed
			said = said[n:]
		}
	})
	replies, closed := tr.hear(instant)
	synctest.Wait()
	if fault := compare(due.replies, replies); fault != "" || closed != tr.machine.over {
		t.Errorf("%s: %s; closed %v", g.names(path), fault, closed)
	}
	if !slices.Equal(tr.handler.messages, kept) {
		t.Errorf("%s: accepted %+v, want %+v", g.names(path), tr.handler.messages, kept)
	}
}
