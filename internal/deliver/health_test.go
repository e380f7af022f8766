package deliver

import (
	"testing"
	"time"

	"postern/internal/mail"
)

var noConnection = mail.Outcome{State: mail.Deferred, Command: "connect", Reply: mail.LocalError}

// TestDown: after some failures in a row a site is left alone, for ever longer
// times, and one transaction at a time finds out whether it is back.
func TestDown(t *testing.T) {
	s := newSites(20, patience)
	s.learn("d", "site")
	now := begin
	enter := func() *place {
		p := s.enter("d", mail.Normal)
		p.seek()
		return p
	}
	may := func(p *place) bool {
		_, may := p.try(now)
		return may
	}
	for i := range downAfter {
		p := enter()
		if !may(p) {
			t.Fatalf("left alone after %d failures", i)
		}
		if down := p.failed(&noConnection, now); down.IsZero() != (i < downAfter-1) {
			t.Fatalf("after %d failures: down until %v", i+1, down)
		}
		p.leave()
	}
	for _, pause := range []time.Duration{1, 2, 4, 8, 15, 15} {
		now = now.Add(pause*time.Minute - time.Second)
		if p := enter(); may(p) {
			t.Fatalf("tried before %d minutes were over", pause)
		} else {
			p.leave()
		}
		now = now.Add(time.Second)
		probe, other := enter(), enter()
		if !may(probe) || may(other) {
			t.Fatalf("after %d minutes one may try, and no other", pause)
		}
		other.failed(&noConnection, now) // it began before
		other.leave()
		probe.failed(&noConnection, now)
		probe.leave()
	}
	now = now.Add(lastPause)
	cut := enter()
	if !may(cut) {
		t.Fatal("no probe")
	}
	cut.leave() // the probe came to nothing
	probe := enter()
	if !may(probe) {
		t.Fatal("no probe after one that came to nothing")
	}
	if back, _ := probe.reached(); !back {
		t.Fatal("the site is not back")
	}
	probe.leave()
	p := enter()
	if back, first := p.reached(); !may(p) || back || first {
		t.Error("it is not as any other site")
	}
	p.leave()
}

// TestFailuresTogether: connections that fail while they are looked for at the
// same time are one failure.
func TestFailuresTogether(t *testing.T) {
	s := newSites(20, patience)
	s.learn("d", "site")
	var places []*place
	for range 2 * downAfter {
		p := s.enter("d", mail.Normal)
		p.seek()
		places = append(places, p)
	}
	for _, p := range places {
		if down := p.failed(&noConnection, begin); !down.IsZero() {
			t.Fatal("the site is left alone")
		}
		p.leave()
	}
	if n := s.byName["site"].failures; n != 1 {
		t.Errorf("%d failures", n)
	}
}

// TestWindow: a site has two transactions until it is heard, few at first, more with each that is
// answered, half as many after a failure, and then more again, slowly.
func TestWindow(t *testing.T) {
	s := newSites(20, patience)
	s.learn("d", "site")
	p := s.enter("d", mail.Normal)
	window := func(want int) {
		t.Helper()
		if got := int(p.site.window); got != want {
			t.Errorf("the window is %d, want %d", got, want)
		}
	}
	answered := func(n int, o mail.Outcome) {
		for range n {
			p.answered(&o)
		}
	}
	taken := mail.Outcome{State: mail.Delivered, Remote: true, Command: "end of data", Reply: mail.NewReply(250, "2.0.0", "Taken")}
	busy := mail.Outcome{State: mail.Deferred, Remote: true, Command: "MAIL", Reply: mail.NewReply(421, "4.3.2", "Busy")}
	window(2)
	if _, first := p.reached(); !first {
		t.Error("it was heard before")
	}
	window(10)
	answered(5, taken)
	window(15)
	answered(100, taken)
	window(40)
	p.seek()
	p.failed(&noConnection, begin)
	window(20)
	answered(1, busy)
	window(10)
	answered(9, taken)
	window(10)
	answered(2, taken)
	window(11)
}
