package embedded

import (
	"testing"
	"testing/synctest"
	"time"
)

// took has one take so long, and lets d pass behind it.
func (l *latency) took(t, d time.Duration) {
	began := l.begin()
	time.Sleep(t)
	l.end(began)
	time.Sleep(d)
}

func wantLatency(t *testing.T, l *latency, want time.Duration, when string) {
	t.Helper()
	if got := l.get(); got != want {
		t.Errorf("%s: %v, want %v", when, got, want)
	}
}

func TestLatencyIsAMeanThatFades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l latency
		wantLatency(t, &l, 0, "at first")
		l.took(2*time.Second, 0)
		l.took(4*time.Second, 0) // a new stretch
		wantLatency(t, &l, 3*time.Second, "after two")
		time.Sleep(latencySpan - time.Second)
		wantLatency(t, &l, 3*time.Second, "before the next stretch")
		time.Sleep(time.Second)
		wantLatency(t, &l, 4*time.Second, "when the first has faded")
		time.Sleep(latencySpan)
		wantLatency(t, &l, 0, "when both have")
	})
}

func TestLatencyOfOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l latency
		l.took(time.Second, 0)
		first := l.begin()
		time.Sleep(time.Second / 2)
		wantLatency(t, &l, time.Second, "hanging for less than the mean")
		second := l.begin()
		time.Sleep(time.Minute)
		wantLatency(t, &l, time.Minute+time.Second/2, "hanging")
		l.end(first)
		time.Sleep(2 * latencySpan)
		wantLatency(t, &l, 2*latencySpan, "the other hangs still")
		l.end(second)
		time.Sleep(2 * latencySpan)
		wantLatency(t, &l, 0, "quiet")
	})
}

// TestLatencyCostsNothing: it stands on the path of every message.
func TestLatencyCostsNothing(t *testing.T) {
	var l latency
	if n := testing.AllocsPerRun(100, func() { l.end(l.begin()); l.get() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
