package pressure

import (
	"fmt"
	"time"
)

const (
	// maxHalvings is how often the number of connections is halved at most:
	// to a sixteenth.
	maxHalvings = 4
	// fewest is how many are served at least, unless fewer are configured.
	fewest = 10
	// quickLooks is how many looks in a row must find the disk quick before a
	// halving is taken back. It is slower to trust than to doubt, so that the
	// clients that come back do not make the disk slow again at once.
	quickLooks = 5
)

// throttle halves the number of connections at each look that finds the disk
// slow, and doubles it when it has been quick for a while. In between, above
// half of what is slow, it leaves it.
type throttle struct {
	latency  func() time.Duration
	limits   *Limits
	halvings int
	quick    int // looks in a row
}

func (t *throttle) read() reading {
	latency, slow := t.latency(), t.limits.SlowCommit
	switch {
	case latency > slow:
		t.halvings, t.quick = min(t.halvings+1, maxHalvings), 0
	case latency > slow/2:
		t.quick = 0
	case t.halvings > 0:
		t.recover()
	}
	r := reading{ample, fmt.Sprintf("the disk takes %s to make mail durable; more than %s is slow", latency.Round(time.Millisecond), slow)}
	if t.halvings > 0 {
		r.verdict = short
	}
	return r
}

// now is how often the number is halved at present.
func (t *throttle) now() int {
	if t.limits.SlowCommit == 0 {
		return 0
	}
	return t.halvings
}

// recover takes a halving back after enough quick looks.
func (t *throttle) recover() {
	if t.quick++; t.quick == quickLooks {
		t.halvings--
		t.quick = 0
	}
}

// allowed returns how many of most connections are left after that many
// halvings.
func allowed(most, halvings int) int { return max(most>>halvings, min(most, fewest)) }
