package deliver

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/route"
)

// upTo is a peer that takes a message up to its content, which end decides about.
func upTo(t *testing.T, end func(c *mailtest.PeerConn)) *mailtest.Peer {
	t.Helper()
	return mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		c.Send("220 peer")
		for _, step := range []string{"EHLO", "MAIL", "RCPT"} {
			c.Expect(step)
			c.Send("250 ok")
		}
		c.Expect("DATA")
		end(c)
	}})
}

// TestBrokenOff: what a target breaks off goes by the next one in the same attempt, unless
// it may have the message.
func TestBrokenOff(t *testing.T) {
	for name, c := range map[string]struct {
		end       func(c *mailtest.PeerConn)
		elsewhere bool
	}{
		"before the content": {(*mailtest.PeerConn).Drop, true},
		"with a farewell": {func(c *mailtest.PeerConn) {
			c.Send("421 4.3.2 going down")
			c.Drop()
		}, true},
		"refused for now": {func(c *mailtest.PeerConn) {
			c.Send("450 4.3.0 not now")
			c.Drop()
		}, true},
		"after its end": {func(c *mailtest.PeerConn) {
			c.Send("354 go")
			c.Content()
			c.Drop()
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := &pooled{room: 5}, &pooled{room: 5}
			sink := mailtest.NewSink(t)
			h := start(t, routes{"": pool([]*pooled{first, second}, upTo(t, c.end).Addr(), sink.Addr())}, Options{})
			id := h.submit("joe@sender.example", "a@x.example")
			if !c.elsewhere {
				h.awaitFacts(id, mail.ReasonDeferred, 1)
			} else if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; f.Attempt != 1 || f.Address != sink.Addr() {
				t.Errorf("%s", brief(f))
			}
			h.finish()
			if came := len(sink.Received()) == 1; came != c.elsewhere || first.outcomes[mail.Deferred] != 1 || first.used != 0 {
				t.Errorf("it came to the second: %t; the first was told of %v, and has %d connections", came, first.outcomes, first.used)
			}
		})
	}
}

// TestPutOff: recipients that a target puts off are offered to the next in the same attempt, and they
// alone; to so many targets in all and no more. What the last has said stands, also when
// the next cannot be reached.
func TestPutOff(t *testing.T) {
	busy := func(reply string) netip.AddrPort {
		return answering(t, refusing(map[string]string{"b": reply})).Addr()
	}
	one := busy("450 4.2.1 one")
	for name, c := range map[string]struct {
		others []netip.AddrPort
		want   string
	}{
		"the next takes it":         {[]netip.AddrPort{mailtest.NewSink(t).Addr()}, "delivered 1 b@x.example: end of data: 250"},
		"the next puts it off, too": {[]netip.AddrPort{busy("451 4.2.2 two")}, "deferred 1 b@x.example: RCPT: 451 4.2.2 two"},
		"the next is down":          {[]netip.AddrPort{refused}, "deferred 1 b@x.example: RCPT: 450 4.2.1 one"},
		"too many of them": {[]netip.AddrPort{busy("450 two"), busy("450 three"), busy("450 four"), mailtest.NewSink(t).Addr()},
			"deferred 1 b@x.example: RCPT: 450 four"},
	} {
		t.Run(name, func(t *testing.T) {
			addresses := append([]netip.AddrPort{one}, c.others...)
			var targets []*pooled
			for range addresses {
				targets = append(targets, &pooled{room: 5})
			}
			h := start(t, routes{"": pool(targets, addresses...)}, Options{})
			id := h.submit("joe@sender.example", "a@x.example", "b@x.example")
			reason := mail.ReasonDeferred
			if strings.HasPrefix(c.want, "delivered") {
				reason = mail.ReasonDelivered
			}
			n := 1
			if reason == mail.ReasonDelivered {
				n = 2
			}
			facts := h.awaitFacts(id, reason, n)
			if got := brief(facts[n-1]); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s, want %s", got, c.want)
			}
			h.finish()
			if targets[0].outcomes[mail.Delivered]+targets[0].outcomes[mail.Relayed] != 1 {
				t.Errorf("the first was told of %v", targets[0].outcomes)
			}
			for i, p := range targets {
				if p.used != 0 {
					t.Errorf("target %d has %d connections", i, p.used)
				}
			}
		})
	}
}

// TestTargetEnds: what runs at a target that is to end is broken off, and goes by the next.
func TestTargetEnds(t *testing.T) {
	stalls := make(chan struct{})
	silent := upTo(t, func(c *mailtest.PeerConn) {
		close(stalls)
		c.Stall()
	})
	sink := mailtest.NewSink(t)
	first, second := &pooled{room: 5, ended: make(chan struct{})}, &pooled{room: 5}
	h := start(t, routes{"": pool([]*pooled{first, second}, silent.Addr(), sink.Addr())}, Options{})
	id := h.submit("joe@sender.example", "a@x.example")
	receive(t, "the first says nothing", stalls)
	close(first.ended)
	if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; f.Attempt != 1 || f.Address != sink.Addr() {
		t.Errorf("%s", brief(f))
	}
}

// TestOldConnection: a connection at a target that has begun anew is not used again.
func TestOldConnection(t *testing.T) {
	var way atomic.Pointer[route.Route]
	sink := mailtest.NewSink(t)
	set := func(p *pooled) {
		r := pool([]*pooled{p}, sink.Addr())
		way.Store(&r)
	}
	h := start(t, routerFunc(func() (route.Route, error) { return *way.Load(), nil }), Options{Settings: Settings{IdleTimeout: time.Hour}})
	first, anew := &pooled{room: 5}, &pooled{room: 5}
	for _, p := range []*pooled{first, first, anew} {
		set(p)
		h.awaitFacts(h.submit("joe@sender.example", "a@x.example"), mail.ReasonDelivered, 1)
	}
	got := sink.Received()
	if got[0].Connection != got[1].Connection || got[1].Connection == got[2].Connection || anew.connected != 1 {
		t.Errorf("messages came over the connections %d, %d and %d", got[0].Connection, got[1].Connection, got[2].Connection)
	}
}

// TestPoolBears: a site has as many connections as its pool says that it bears, over all
// its targets, and as many messages over each as a target takes.
func TestPoolBears(t *testing.T) {
	first, second := &pooled{room: 5}, &pooled{room: 5}
	one, two := mailtest.NewSink(t), mailtest.NewSink(t)
	r := pool([]*pooled{first, second}, one.Addr(), two.Addr())
	r.Connections, r.Hops[0].MaxMessages, r.Hops[1].MaxMessages = 1, 2, 2
	h := start(t, routes{"": r}, Options{Settings: Settings{IdleTimeout: time.Hour}})
	h.advance(time.Hour)
	var ids []mail.ID
	for i := range 6 {
		ids = append(ids, h.submit("joe@sender.example", fmt.Sprintf("a%d@x.example", i)))
	}
	for _, id := range ids {
		h.awaitFacts(id, mail.ReasonDelivered, 1)
	}
	h.finish()
	if first.most+second.most > 1 {
		t.Errorf("%d and %d connections at once, want 1 in all", first.most, second.most)
	}
	per := map[int]int{}
	for _, m := range one.Received() {
		per[m.Connection]++
	}
	if len(per) != 3 || first.connected != 3 {
		t.Errorf("6 messages over %v", per)
	}
}

// TestPoolComesBack: mail for which no target could be reached comes back as soon as one
// is well, and the site is not left alone for it.
func TestPoolComesBack(t *testing.T) {
	var well atomic.Bool
	dead, sink := &pooled{room: 50}, mailtest.NewSink(t)
	h := start(t, routerFunc(func() (route.Route, error) {
		if well.Load() {
			return pool([]*pooled{dead}, sink.Addr()), nil
		}
		return pool([]*pooled{dead}, refused), nil
	}), Options{})
	const messages = 3 * downAfter
	var ids []mail.ID
	for range messages {
		ids = append(ids, h.submit("joe@sender.example", "a@x.example"))
	}
	for _, id := range ids {
		h.awaitFacts(id, mail.ReasonDeferred, 1)
	}
	if counts, _ := h.Sites(); counts.Down != 0 {
		t.Error("the site is left alone")
	}
	await(t, "all are noted", func() bool { h.sites.mu.Lock(); defer h.sites.mu.Unlock(); return h.sites.passed == messages })
	well.Store(true)
	h.Recovered("pool")
	for _, id := range ids {
		h.awaitFacts(id, mail.ReasonDelivered, 1)
	}
}

// TestTally: recipients are counted by what became of them, and by how far they came in
// the schedule.
func TestTally(t *testing.T) {
	var c tally
	of := func(attempt int, states ...mail.State) *verdict {
		v := &verdict{}
		for _, s := range states {
			v.outcomes = append(v.outcomes, mail.Outcome{State: s, Attempt: attempt})
		}
		return v
	}
	const listed = 2
	for _, v := range []*verdict{
		of(1, mail.Delivered, mail.Deferred, mail.Deferred, mail.Bounced), of(2, mail.Deferred, mail.Relayed),
		of(3, mail.Deferred), of(4, mail.Deferred), of(5, mail.Expired), of(1, mail.Dead),
	} {
		c.count(v, listed)
	}
	if want := (Tally{Sent: 2, Retried: 2, Extended: 1, DeadLetters: 1, Undeliverable: 3}); c.Tally != want {
		t.Errorf("%+v, want %+v", c.Tally, want)
	}
}
