package limit

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestTurns: what is too much has its turn when there is room for it, behind what came
// before; nobody else gets that room.
func TestTurns(t *testing.T) {
	k, clock := newKeyed(t, "3/1h", 0)
	for i, wait := range []time.Duration{0, 0, 0, time.Hour, time.Hour, time.Hour, 2 * time.Hour} {
		r := Result{Booked: true, Wait: wait}
		if wait == 0 {
			r = Result{Allowed: true, Left: int64(2 - i)}
		}
		want(t, fmt.Sprint("message ", i), k.Book("a", 1), r)
	}
	want(t, "taken behind them", k.Take("a", 1), Result{Wait: 2 * time.Hour})
	want(t, "of another", k.Book("b", 3), Result{Allowed: true})
	want(t, "too much at all", k.Book("b", 4), Result{Never: true})
	clock.Advance(time.Hour)
	want(t, "when the first turns have come", k.Take("a", 1), Result{Wait: time.Hour})
	clock.Advance(time.Hour)
	want(t, "beside the last turn", k.Take("a", 2), Result{Allowed: true})
	want(t, "behind the last turn", k.Take("a", 1), Result{Wait: time.Hour})
	clock.Advance(time.Hour)
	want(t, "when all is over", k.Take("a", 3), Result{Allowed: true})
}

// TestManyTurns: turns are bounded, and what has none does not count.
func TestManyTurns(t *testing.T) {
	k, clock := newKeyed(t, "1/1h", 0)
	for range 1 + maxTurns {
		if r := k.Book("a", 1); !r.Allowed && !r.Booked {
			t.Fatalf("%+v", r)
		}
	}
	want(t, "one more", k.Book("a", 1), Result{Wait: (1 + maxTurns) * time.Hour})
	clock.Advance(time.Hour)
	want(t, "when one has come", k.Book("a", 1), Result{Booked: true, Wait: maxTurns * time.Hour})
	clock.Advance(-100 * time.Hour) // set back, and nobody was told
	if r := k.Look("a", 1); r.Wait > (2+maxTurns)*time.Hour {
		t.Errorf("after the clock was set back %v", r.Wait)
	}
}

// TestTurnsKeepTheRate: whatever is booked and taken when, there is never more than the
// rate in any of its times.
func TestTurnsKeepTheRate(t *testing.T) {
	for _, rate := range []string{"5/1h", "100/1h"} {
		random := rand.New(rand.NewPCG(5, 6))
		k, clock := newKeyed(t, rate, 0)
		type event struct {
			at time.Time
			n  int64
		}
		var events []event
		booked := 0
		for range 2000 {
			n := 1 + random.Int64N(k.Rate().Max/2)
			ask := k.Take
			if random.IntN(3) > 0 {
				ask = k.Book
			}
			switch r := ask("a", n); {
			case r.Allowed:
				events = append(events, event{clock.Now(), n})
			case r.Booked:
				events = append(events, event{clock.Now().Add(r.Wait), n})
				booked++
			}
			clock.Advance(time.Duration(random.Int64N(int64(20 * time.Minute))))
		}
		for _, e := range events {
			var sum int64
			for _, o := range events {
				if !o.at.After(e.at) && o.at.After(e.at.Add(-k.Rate().Per)) {
					sum += o.n
				}
			}
			if sum > k.Rate().Max {
				t.Fatalf("%s: %d in the time before %v", rate, sum, e.at)
			}
		}
		if booked < 100 {
			t.Errorf("%s: only %d turns", rate, booked)
		}
	}
}
