package deliver

import (
	"context"
	"errors"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

// changed returns the settings that are in force, with a change.
func (h *harness) changed(change func(*Settings)) Settings {
	s := *h.settings.Load()
	change(&s)
	return s
}

// TestChangeOfRoute: mail that waits goes the new way at its next attempt, and
// an attempt that is under way ends as it began.
func TestChangeOfRoute(t *testing.T) {
	answer := make(chan struct{})
	first := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		converse(c, func(line string) string {
			if strings.HasPrefix(line, "RCPT TO:<later") {
				return "451 4.3.0 not now"
			}
			if strings.HasPrefix(line, "RCPT TO:<now") {
				<-answer
			}
			return ""
		})
	}})
	second := mailtest.NewSink(t)
	h := start(t, routes{"": to("first", first.Addr())}, Options{})
	waits := h.submit("joe@sender.example", "later@one.example")
	h.awaitFacts(waits, mail.ReasonDeferred, 1)
	under := h.submit("joe@sender.example", "now@one.example")
	await(t, "the attempt is under way", func() bool {
		return strings.Contains(strings.Join(first.Lines(), " "), "RCPT TO:<now@one.example>")
	})
	h.Change(h.changed(func(s *Settings) {
		s.Router, s.Hostname = routes{"": to("second", second.Addr())}, "other.example"
	}))
	close(answer)
	h.awaitFacts(under, mail.ReasonDelivered, 1)
	h.advance(h.settings.Load().Retry.Until / 2)
	h.awaitFacts(waits, mail.ReasonDelivered, 1)
	h.finish()
	if n := len(first.Contents()); n != 1 {
		t.Errorf("the first server got %d messages, want 1", n)
	}
	received := second.Received()
	if len(received) != 1 || received[0].To()[0] != "later@one.example" {
		t.Errorf("the second server got %+v", received)
	}
}

// TestChangeClosesConnections: none that was made under other settings carries
// mail, whether it was idle at the change or in use.
func TestChangeClosesConnections(t *testing.T) {
	release := make(chan struct{})
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(n int, c *mailtest.PeerConn) {
		converse(c, func(line string) string {
			if n == 1 && line == "DATA" {
				<-release
			}
			return ""
		})
	}})
	h := start(t, routes{"": to("site", peer.Addr())}, Options{})
	h.awaitFacts(h.submit("joe@sender.example", "a@one.example"), mail.ReasonDelivered, 1)
	h.Change(h.changed(func(s *Settings) { s.Hostname = "two.example" }))
	inUse := h.submit("joe@sender.example", "b@one.example")
	await(t, "the second connection is in use", func() bool { return peer.Connections() == 2 })
	h.Change(h.changed(func(s *Settings) { s.Hostname = "three.example" }))
	close(release)
	h.awaitFacts(inUse, mail.ReasonDelivered, 1)
	h.awaitFacts(h.submit("joe@sender.example", "c@one.example"), mail.ReasonDelivered, 1)
	h.finish()
	var names []string
	for _, line := range peer.Lines() {
		if name, hello := strings.CutPrefix(line, "EHLO "); hello {
			names = append(names, name)
		}
	}
	if got := strings.Join(names, " "); got != "gate.example two.example three.example" {
		t.Errorf("the server was greeted as %s", got)
	}
}

// TestChangeOfTransactions: those that wait for a slot go on when there are
// more.
func TestChangeOfTransactions(t *testing.T) {
	slow, sink := mailtest.NewPeer(t, "STALL"), mailtest.NewSink(t)
	h := start(t, routes{"": to("slow", slow.Addr()), "quick.example": to("quick", sink.Addr())},
		Options{Settings: Settings{MaxTransactions: 1}, Grace: 1})
	h.submit("joe@sender.example", "a@slow.example")
	await(t, "the only slot is in use", func() bool { return slow.Connections() == 1 })
	waits := h.submit("joe@sender.example", "b@quick.example")
	h.Change(h.changed(func(s *Settings) { s.MaxTransactions = 2 }))
	h.awaitFacts(waits, mail.ReasonDelivered, 1)
	h.Change(h.changed(func(s *Settings) { s.MaxTransactions = 1 })) // fewer than there may be under way
	h.finish()
}

// TestSlotsFollowTheLimit: with a higher limit those who wait go on, the
// longest first; with a lower one nobody does until so many have ended.
func TestSlotsFollowTheLimit(t *testing.T) {
	s := newSites(1, patience)
	s.learn("d", "site")
	x := s.byName["site"]
	got := make(chan int, 9)
	waitFor := func(n int) {
		t.Helper()
		await(t, "so many wait", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(x.slots.waiting) == n
		})
	}
	occupy := func(n int) {
		go func() {
			if err := s.occupy(t.Context(), x); err != nil {
				t.Error(err)
			}
			got <- n
		}()
	}
	occupy(0)
	if n := <-got; n != 0 {
		t.Fatal(n)
	}
	for n := range 4 {
		occupy(n + 1)
		waitFor(n + 1)
	}
	s.change(Settings{MaxPerSite: 3, IdleTimeout: patience}.withDefaults())
	if a, b := <-got, <-got; a+b != 1+2 {
		t.Errorf("%d and %d go on, want 1 and 2", a, b)
	}
	s.change(Settings{MaxPerSite: 2, IdleTimeout: patience}.withDefaults())
	s.vacate(x) // two are left, as many as may be
	waitFor(2)
	s.vacate(x)
	if n := <-got; n != 3 {
		t.Errorf("%d goes on, want 3", n)
	}
	s.vacate(x)
	if n := <-got; n != 4 {
		t.Errorf("%d goes on, want 4", n)
	}
	s.vacate(x)
	s.vacate(x)
	if x.slots.used != 0 {
		t.Errorf("%d are in use", x.slots.used)
	}
}

// TestSlotsGivenUp: one who waits no longer takes no slot, even if it came at
// the same moment.
func TestSlotsGivenUp(t *testing.T) {
	s := newSites(1, patience)
	s.learn("d", "site")
	x := s.byName["site"]
	if err := s.occupy(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.occupy(ctx, x); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	turn := make(chan struct{})
	x.slots.waiting = append(x.slots.waiting, turn)
	s.vacate(x) // to the one who waits
	s.giveUp(x, turn)
	if x.slots.used != 0 || len(x.slots.waiting) != 0 {
		t.Errorf("%d in use, %d wait", x.slots.used, len(x.slots.waiting))
	}
}

// TestBound: how much a site may have in hand follows the limit. One that
// never failed grows to the new one as quickly as to the old.
func TestBound(t *testing.T) {
	for _, c := range []struct {
		name                           string
		shrunk                         bool
		most                           int
		wantWindow, wantCalm, wantMost float64
	}{
		{"more", false, 40, 10, 40, 40},
		{"fewer", false, 4, 4, 4, 4},
		{"more, after a failure", true, 40, 5, 5, 40},
		{"fewer, after a failure", true, 4, 4, 4, 4},
	} {
		h := newHealth(20)
		h.window = firstWindow // as of one that was heard
		if c.shrunk {
			h.shrink()
		}
		h.bound(c.most)
		if h.window != c.wantWindow || h.calm != c.wantCalm || h.most != c.wantMost {
			t.Errorf("%s: window %v, calm %v, most %v", c.name, h.window, h.calm, h.most)
		}
	}
}
