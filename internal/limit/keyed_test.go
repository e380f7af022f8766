package limit

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mail"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func newKeyed(t *testing.T, rate string, keys int) (*Keyed, *mail.ManualClock) {
	t.Helper()
	r, err := Parse(rate)
	if err != nil {
		t.Fatal(err)
	}
	clock := mail.NewManualClock(noon)
	return New(Options{Rate: r, MaxKeys: keys, Clock: clock}), clock
}

func want(t *testing.T, what string, got, want Result) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

// TestEdges: the n-th passes, the one after it does not, and not before its time.
func TestEdges(t *testing.T) {
	for _, rate := range []string{"3/1h", "100/1h", "50MiB/1d", "1 connections per 1s"} {
		k, clock := newKeyed(t, rate, 0)
		most, per := k.Rate().Max, k.Rate().Per
		want(t, rate+" all but one", k.Take("a", most-1), Result{Allowed: true, Left: 1})
		want(t, rate+" the last", k.Take("a", 1), Result{Allowed: true})
		want(t, rate+" one more", k.Take("a", 1), Result{Wait: per})
		want(t, rate+" of another", k.Take("b", most), Result{Allowed: true})
		want(t, rate+" too much for ever", k.Take("c", most+1), Result{Left: most, Never: true})
		clock.Advance(per - 1)
		want(t, rate+" too early", k.Take("a", 1), Result{Wait: 1})
		clock.Advance(1)
		want(t, rate+" in time", k.Take("a", most), Result{Allowed: true})
	}
}

// TestSlides: what was used comes back in the order in which it was used, and what
// is not allowed is not counted.
func TestSlides(t *testing.T) {
	k, clock := newKeyed(t, "10/1h", 0)
	for i := range int64(5) {
		want(t, "two", k.Take("a", 2), Result{Allowed: true, Left: 8 - 2*i})
		clock.Advance(time.Minute)
	}
	for range 100 {
		want(t, "refused", k.Take("a", 1), Result{Wait: 55 * time.Minute})
	}
	want(t, "three", k.Look("a", 3), Result{Wait: 56 * time.Minute})
	want(t, "all", k.Look("a", 10), Result{Wait: 59 * time.Minute})
	clock.Advance(55 * time.Minute)
	want(t, "the first are back", k.Look("a", 2), Result{Allowed: true})
	want(t, "to look uses nothing", k.Take("a", 2), Result{Allowed: true})
	want(t, "again none", k.Take("a", 1), Result{Wait: time.Minute})
	want(t, "nothing", k.Take("a", 0), Result{Allowed: true})
}

// TestNeverMoreThanMax: in no time of the length of the rate there is more than it
// allows, and what was used is back after that time and one slot more at the latest.
func TestNeverMoreThanMax(t *testing.T) {
	for _, rate := range []string{"5/1m", "100/1m", "1000/1m"} {
		k, clock := newKeyed(t, rate, 0)
		most, per := k.Rate().Max, k.Rate().Per
		random := rand.New(rand.NewPCG(1, 2))
		type taken struct {
			at time.Time
			n  int64
		}
		var all []taken
		within := func(d time.Duration) (sum int64) {
			for i := len(all) - 1; i >= 0 && clock.Now().Sub(all[i].at) < d; i-- {
				sum += all[i].n
			}
			return sum
		}
		for range 2000 {
			clock.Advance(time.Duration(random.Int64N(int64(per) / 40)))
			n := 1 + random.Int64N(max(1, most/10))
			result := k.Take("a", n)
			if result.Allowed {
				all = append(all, taken{clock.Now(), n})
			}
			if sum := within(per); sum > most {
				t.Fatalf("%s: %d in %s", rate, sum, per)
			}
			if !result.Allowed && within(per+k.slot)+n <= most {
				t.Fatalf("%s: %d refused although only %d were used", rate, n, within(per+k.slot))
			}
			if !result.Allowed {
				for _, x := range []struct {
					by      time.Duration
					allowed bool
				}{{result.Wait - 1, false}, {1, true}} {
					clock.Advance(x.by)
					if got := k.Look("a", n); got.Allowed != x.allowed {
						t.Fatalf("%s: told to wait %s; then %+v", rate, result.Wait, got)
					}
				}
			}
			if uses := len(k.keys["a"].uses); uses > slots+2 {
				t.Fatalf("%s: a key takes %d records", rate, uses)
			}
		}
	}
}

// TestClockIsSet: an hour lasts an hour, whatever the clock does.
func TestClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{-25 * time.Hour, 25 * time.Hour, -time.Second} {
		k, clock := newKeyed(t, "2/1h", 0)
		k.Take("a", 2)
		clock.Advance(10 * time.Minute)
		clock.Step(by, func(_ time.Time, by time.Duration) { k.Shift(by) })
		want(t, "set and told", k.Take("a", 1), Result{Wait: 50 * time.Minute})
		clock.Advance(50 * time.Minute)
		want(t, "after an hour", k.Take("a", 2), Result{Allowed: true})

		// Untold, nobody waits longer than the time of the rate.
		k, clock = newKeyed(t, "2/1h", 0)
		k.Take("a", 2)
		clock.Advance(by)
		if got := k.Take("a", 1); got.Wait > time.Hour {
			t.Errorf("set by %s, untold: %+v", by, got)
		}
		clock.Advance(time.Hour)
		if got := k.Take("a", 1); !got.Allowed {
			t.Errorf("set by %s, untold, after an hour: %+v", by, got)
		}
	}
}

// TestManyKeys: whoever makes up keys does not get rid of what another has used.
func TestManyKeys(t *testing.T) {
	const keys = 100
	k, clock := newKeyed(t, "8/1h", keys)
	k.Take("victim", 8)
	k.Take("half", 4)
	for i := range 100 * keys {
		k.Take(fmt.Sprint("flood ", i), 1)
		clock.Advance(time.Millisecond)
		if k.Len() > keys {
			t.Fatalf("%d keys", k.Len())
		}
	}
	if k.Look("victim", 1).Allowed || k.Look("half", 5).Allowed {
		t.Error("a flood of keys made others forget what they have used")
	}
	// Among those that have used as much, the one that was not asked for longest goes.
	if k.Look(fmt.Sprint("flood ", 100*keys-1), 8).Allowed || !k.Look("flood 0", 8).Allowed {
		t.Error("not the oldest of those that used least has gone")
	}
	// Those that have nothing to remember go first, whatever they once used.
	clock.Advance(time.Hour)
	for i := range keys - 2 {
		k.Take(fmt.Sprint("now ", i), 1)
	}
	if k.keys["victim"] != nil && k.keys["half"] != nil && k.Len() > keys {
		t.Error("keys that have nothing to remember are kept")
	}
	for i := range keys - 2 {
		if got := k.Look(fmt.Sprint("now ", i), 8); got.Allowed {
			t.Fatalf("now %d has gone before a key that has nothing to remember", i)
		}
	}
}

// TestExpiredGoFirst: a key that used all, long ago, goes before one that used little.
func TestExpiredGoFirst(t *testing.T) {
	k, clock := newKeyed(t, "8/1h", 2)
	k.Take("old", 8)
	clock.Advance(time.Hour)
	k.Take("little", 1)
	k.Take("new", 1)
	if k.keys["old"] != nil || k.keys["little"] == nil || k.keys["new"] == nil {
		t.Errorf("kept: %v", k.keys)
	}
}

// TestRefusedAreKept: whoever keeps asking over its limit is not forgotten for it.
func TestRefusedAreKept(t *testing.T) {
	k, _ := newKeyed(t, "1/1h", 3)
	k.Take("stubborn", 1)
	for i := range 20 {
		k.Take(fmt.Sprint(i), 1)
		if k.Take("stubborn", 1).Allowed {
			t.Fatalf("forgotten after %d", i)
		}
	}
}

// TestLookAdmitsNobody: explain asks for keys that nobody uses.
func TestLookAdmitsNobody(t *testing.T) {
	k, _ := newKeyed(t, "1/1h", 3)
	k.Look("a", 1)
	k.Take("b", 2)
	k.Take("c", 0)
	if k.Len() != 0 {
		t.Errorf("%d keys for nothing", k.Len())
	}
}

func TestForget(t *testing.T) {
	k, _ := newKeyed(t, "2/1h", 10)
	k.Take("a", 2)
	k.Take("b", 1)
	k.Forget("a")
	k.Forget("c")
	if left := k.Look("a", 0).Left; left != 2 || k.Len() != 1 {
		t.Errorf("of what was forgotten %d are left, and %d keys are counted", left, k.Len())
	}
	if left := k.Take("b", 0).Left; left != 1 {
		t.Errorf("of another %d are left", left)
	}
}

func TestTogether(t *testing.T) {
	k, clock := newKeyed(t, "500/1h", 10)
	var allowed atomic.Int64
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range 200 {
				if k.Take("a", 1).Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	asking.Go(func() {
		for range 100 {
			clock.Step(time.Hour, func(_ time.Time, by time.Duration) { k.Shift(by) })
		}
	})
	asking.Wait()
	if allowed.Load() != 500 {
		t.Errorf("%d were allowed together, want 500", allowed.Load())
	}
}

func TestAllocations(t *testing.T) {
	k, _ := newKeyed(t, "1000000/1h", 10)
	k.Take("a", 1)
	if n := testing.AllocsPerRun(100, func() { k.Take("a", 1) }); n > 0 {
		t.Errorf("%v allocations for a key that is there", n)
	}
}
