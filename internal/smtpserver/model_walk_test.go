package smtpserver

import (
	"math/rand/v2"
	"slices"
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
