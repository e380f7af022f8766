package limit

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errTest = errors.New("test")

// TestBreaker: the pause doubles up to its limit, one question tries, and a clock that is
// set back does not make a pause longer.
func TestBreaker(t *testing.T) {
	start := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	now := start
	b := &Breaker{First: time.Second, Longest: time.Minute}
	var pauses []time.Duration
	for i := range 9 {
		if !b.Begin(now) || i > 0 && b.Begin(now) {
			t.Fatal("not asked, or twice")
		}
		p, news := b.Settle(errTest, now)
		if news != (i == 0) || p != b.Pause() {
			t.Errorf("failure %d is news: %t, with the pause %v", i, news, p)
		}
		pauses = append(pauses, p.Until.Sub(now))
		if b.Begin(now) {
			t.Fatal("asked in the pause")
		}
		now = b.Pause().Until
	}
	const s = time.Second
	if diff := cmp.Diff([]time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s, 60 * s}, pauses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if p := b.Pause(); !p.Since.Equal(start) || p.Err != errTest {
		t.Errorf("it fails since %s: %v", p.Since, p.Err)
	}
	now = now.Add(-24 * time.Hour)
	if !b.Begin(now) {
		t.Error("a clock set back has made the pause a day longer")
	}
	b.Abandon()
	if b.Pause().Err == nil || !b.Begin(now) {
		t.Error("a question that was given up counts")
	}
	for first := range 2 {
		if p, news := b.Settle(nil, now); news != (first == 0) || p != (Pause{}) {
			t.Errorf("that it works is news: %t, with the pause %v", news, p)
		}
	}
	b.Settle(errTest, now)
	if p, news := b.Settle(errTest, now); news || !p.Until.Equal(now.Add(s)) {
		t.Error("what was asked before the failure made the pause longer")
	}
}

// TestBreakerTolerates: so many failures in a row make no pause, and an answer between them begins
// the count anew; what is not tolerated makes one at once.
func TestBreakerTolerates(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	b := &Breaker{First: time.Second, Longest: time.Minute, Tolerated: 2}
	for i, err := range []error{errTest, errTest, nil, errTest, errTest} {
		if _, news := b.Settle(err, now); news || !b.Begin(now) {
			t.Errorf("question %d (%v) has made a pause", i, err)
		}
	}
	if _, news := b.Settle(errTest, now); !news || b.Begin(now) {
		t.Error("the third failure in a row is no news, or makes no pause")
	}
	b = &Breaker{First: time.Second, Longest: time.Minute, Tolerated: 2}
	if p, news := b.Break(errTest, now); !news || p.Err != errTest || b.Begin(now) {
		t.Error("what is not tolerated is no news, or makes no pause")
	}
}
