package limit

import (
	"testing"
	"time"

	"postern/internal/mail"
)

func TestSet(t *testing.T) {
	clock := mail.NewManualClock(noon)
	s := NewSet(clock)
	two, three := Rate{2, time.Hour, ""}, Rate{3, time.Hour, ""}
	want(t, "first", s.Take("a", "k", two, 2), Result{Allowed: true})
	want(t, "another limit", s.Take("b", "k", two, 1), Result{Allowed: true, Left: 1})
	want(t, "looked at", s.Look("a", "k", two, 1), Result{Wait: time.Hour})
	clock.Step(5*time.Hour, func(_ time.Time, by time.Duration) { s.Shift(by) })
	want(t, "the clock was set", s.Take("a", "k", two, 1), Result{Wait: time.Hour})
	want(t, "another rate", s.Take("a", "k", three, 1), Result{Allowed: true, Left: 2})
	s.Keep([]string{"a"})
	want(t, "kept", s.Look("a", "k", three, 0), Result{Allowed: true, Left: 2})
	want(t, "forgotten", s.Look("b", "k", two, 0), Result{Allowed: true, Left: 2})
}
