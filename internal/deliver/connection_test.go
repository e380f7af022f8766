package deliver

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/tlspolicy"
)

func TestDomainsOfOneSiteShareATransaction(t *testing.T) {
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": to("site", sink.Addr())}, Options{})
	id := h.submit("joe@sender.example", "a@one.example", "b@two.example", "c@one.example", "d@three.example")
	h.awaitFacts(id, mail.ReasonDelivered, 3)
	h.finish()

	received := sink.Received()
	if len(received) != 1 {
		t.Fatalf("%d messages, want 1", len(received))
	}
	// In which order a claim brings deliveries is for the queue to say.
	want := []string{"a@one.example", "b@two.example", "c@one.example", "d@three.example"}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(received[0].To()))); diff != "" {
		t.Error(diff)
	}
	if got := string(received[0].Content); got != content {
		t.Errorf("content %q", got)
	}
	facts := briefs(h.facts(id))
	slices.Sort(facts[2:])
	want = []string{
		"routed 1 ", "attempted 1 ",
		"delivered 1 a@one.example,c@one.example: end of data: 250 2.0.0 Taken",
		"delivered 1 b@two.example: end of data: 250 2.0.0 Taken",
		"delivered 1 d@three.example: end of data: 250 2.0.0 Taken",
	}
	if diff := cmp.Diff(want, facts); diff != "" {
		t.Error(diff)
	}
	routed := h.facts(id)[0]
	if routed.Route != "test" || routed.Text != "site" {
		t.Errorf("routed %q to %q", routed.Route, routed.Text)
	}
	for _, f := range h.facts(id)[1:] {
		if f.Host != "mx0.example" || f.Address != sink.Addr() {
			t.Errorf("%s: at %q %s", f.Reason, f.Host, f.Address)
		}
	}
	h.wantOnly()
}

func TestRecipientLimitSplits(t *testing.T) {
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": to("site", sink.Addr())}, Options{Settings: Settings{MaxRecipients: 2}})
	id := h.submit("joe@sender.example", "a@one.example", "b@one.example", "c@one.example", "d@two.example", "e@two.example")
	h.awaitFacts(id, mail.ReasonDelivered, 2)
	var sizes []int
	var all []string
	for _, r := range sink.Received() {
		sizes = append(sizes, len(r.To()))
		all = append(all, r.To()...)
		if string(r.Content) != content || r.Connection != 0 {
			t.Errorf("on connection %d: content %q", r.Connection, r.Content)
		}
	}
	if diff := cmp.Diff([]int{2, 2, 1}, sizes); diff != "" {
		t.Error(diff)
	}
	slices.Sort(all)
	if diff := cmp.Diff([]string{"a@one.example", "b@one.example", "c@one.example", "d@two.example", "e@two.example"}, all); diff != "" {
		t.Error(diff)
	}
}

func TestConnectionIsKept(t *testing.T) {
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": to("site", sink.Addr())}, Options{})
	for range 3 {
		h.awaitFacts(h.submit("joe@sender.example", "a@one.example"), mail.ReasonDelivered, 1)
	}
	for _, r := range sink.Received() {
		if r.Connection != 0 {
			t.Errorf("a message came over connection %d", r.Connection)
		}
	}
}

func TestConnectionIsClosedWhenIdle(t *testing.T) {
	closed := make(chan struct{})
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		c.Play(hello + accept + quit)
		close(closed)
	}})
	h := start(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{IdleTimeout: 1}})
	h.submit("joe@sender.example", "a@one.example")
	receive(t, "the idle connection is closed", closed)
	h.finish()
}

// TestPeerHangsUp: that a server has closed an idle connection is no failed
// attempt, however it did so.
func TestPeerHangsUp(t *testing.T) {
	for name, farewell := range map[string]string{
		"without a word":     "DROP",
		"with a farewell":    "S: 421 4.4.2 idle for too long\nDROP",
		"at the next MAIL":   "C: MAIL\nS: 421 4.3.2 going down\nDROP",
		"silently at MAIL":   "C: MAIL\nDROP",
		"out of step before": "S: 250 one too many\nSTALL",
	} {
		t.Run(name, func(t *testing.T) {
			dropping := make(chan struct{})
			peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(n int, c *mailtest.PeerConn) {
				if n > 0 {
					c.Play(hello + accept + quit)
					return
				}
				c.Play(hello + accept)
				if strings.HasPrefix(farewell, "C:") {
					close(dropping)
					c.Play(farewell)
					return
				}
				said, stays := strings.CutSuffix(farewell, "STALL")
				c.Play(said)
				close(dropping)
				if stays {
					c.Stall()
				}
			}})
			h := start(t, routes{"": to("site", peer.Addr())}, Options{})
			h.awaitFacts(h.submit("joe@sender.example", "a@one.example"), mail.ReasonDelivered, 1)
			receive(t, "the peer hangs up", dropping)
			id := h.submit("joe@sender.example", "b@one.example")
			h.awaitFacts(id, mail.ReasonDelivered, 1)
			h.wantFacts(id, "routed 1 ", "attempted 1 ", "delivered 1 b@one.example: end of data: 250 taken")
			if n := peer.Connections(); n != 2 {
				t.Errorf("%d connections, want 2", n)
			}
		})
	}
}

// TestBreakDuringMessage: a connection that breaks later than MAIL is a failed
// attempt, and the message is not sent again at once.
func TestBreakDuringMessage(t *testing.T) {
	peer := mailtest.NewPeer(t, hello+accept+"C: MAIL\nS: 250 ok\nC: RCPT\nDROP", hello+accept+quit)
	h := start(t, routes{"": to("site", peer.Addr())}, Options{})
	h.awaitFacts(h.submit("joe@sender.example", "a@one.example"), mail.ReasonDelivered, 1)
	id := h.submit("joe@sender.example", "b@one.example")
	deferred := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
	if deferred.Command != "RCPT" || deferred.Reply.Enhanced != "4.4.2" || peer.Connections() != 1 {
		t.Errorf("%s, after %d connections", brief(deferred), peer.Connections())
	}
	h.advance(deferred.Next.Sub(h.clock.Now()))
	if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; f.Attempt != 2 {
		t.Errorf("delivered at attempt %d, want 2", f.Attempt)
	}
}

func TestNextHop(t *testing.T) {
	busy := mailtest.NewPeer(t, "S: 421 4.3.2 busy\nSTALL")
	later := mailtest.NewPeer(t, "S: 450 4.3.2 later\nC: QUIT\nCLOSED")
	never := mailtest.NewPeer(t, "S: 554 5.3.2 no mail here\nC: QUIT\nCLOSED")
	deaf := mailtest.NewPeer(t, "S: 220 peer\nC: EHLO\nDROP")
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": to("site", refused, busy.Addr(), later.Addr(), never.Addr(), deaf.Addr(), sink.Addr())}, Options{})
	id := h.submit("joe@sender.example", "a@one.example")
	f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]
	if f.Host != "mx5.example" || f.Attempt != 1 {
		t.Errorf("delivered by %s at attempt %d", f.Host, f.Attempt)
	}
	for i, peer := range []*mailtest.Peer{busy, later, never, deaf} {
		if n := peer.Connections(); n != 1 {
			t.Errorf("server %d was tried %d times", i, n)
		}
	}
}

// TestNoHop: a refusal of the whole server is never one of the recipient.
func TestNoHop(t *testing.T) {
	never := mailtest.NewPeer(t, "S: 554 5.3.2 no mail here\nC: QUIT\nCLOSED")
	h := start(t, routes{
		"refused.example": to("refused", refused),
		"never.example":   to("never", netip.MustParseAddrPort("127.0.0.1:2"), never.Addr()),
		"nowhere.example": to("nowhere"),
	}, Options{})
	for domain, want := range map[string]string{
		"refused.example": "connect: 451 4.4.1 Could not connect to mx0.example",
		"never.example":   "greeting: 554 5.3.2 no mail here",
		"nowhere.example": "connect: 451 4.4.4 No address to connect to",
	} {
		id := h.submit("joe@sender.example", "a@"+domain)
		f := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
		if got, want := brief(f), "deferred 1 a@"+domain+": "+want; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		h.wantStates(id, "a@"+domain+" deferred 1")
		attempted := slices.ContainsFunc(h.facts(id), func(f mail.Fact) bool { return f.Reason == mail.ReasonAttempted })
		if attempted == (domain == "nowhere.example") {
			t.Errorf("%s: attempted: %v", domain, attempted)
		}
	}
}

func TestAddressesTriedAreBounded(t *testing.T) {
	never := mailtest.NewPeer(t, "S: 554 5.3.2 no mail here\nC: QUIT\nCLOSED")
	way := to("site", never.Addr())
	way.Hops[0].Addresses = slices.Repeat([]netip.AddrPort{never.Addr()}, 3*maxAddresses)
	h := start(t, routes{"": way}, Options{})
	h.awaitFacts(h.submit("joe@sender.example", "a@one.example"), mail.ReasonDeferred, 1)
	if n := never.Connections(); n != maxAddresses {
		t.Errorf("%d connections, want %d", n, maxAddresses)
	}
}

const brokenTLS = `
	S: 220 peer
	C: EHLO
	S: 250-peer
	S: 250 STARTTLS
	C: STARTTLS
	S: 220 go on
`

func TestOpportunisticTLS(t *testing.T) {
	clear := "S: 220 peer\nC: EHLO\nS: 250-peer\nS: 250 STARTTLS\n" + accept + quit
	peer := mailtest.NewPeer(t, brokenTLS+`RAW "this is no TLS\r\n"`+"\nSTALL", clear)
	h := start(t, routes{"": withTLS(to("site", peer.Addr()), "opportunistic")}, Options{})
	id := h.submit("joe@sender.example", "a@one.example")
	if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; f.Attempt != 1 {
		t.Errorf("delivered at attempt %d", f.Attempt)
	}
	if n := peer.Connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// TestOpportunisticTLSRefusedLate: with TLS 1.3 the client has done its part
// of the handshake before the server refuses its certificate, or the lack of
// one.
func TestOpportunisticTLSRefusedLate(t *testing.T) {
	config, _ := mailtest.ServerTLS(t, "mx0.example")
	config.ClientAuth = tls.RequireAnyClientCert
	sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config})
	h := start(t, routes{"": withTLS(to("site", sink.Addr()), "opportunistic")}, Options{})
	id := h.submit("joe@sender.example", "a@one.example")
	if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; f.Attempt != 1 {
		t.Errorf("delivered at attempt %d", f.Attempt)
	}
	if sink.Received()[0].TLS {
		t.Error("delivered under TLS")
	}
}

func TestTLSIsUsed(t *testing.T) {
	for _, policy := range []tlspolicy.Level{tlspolicy.Opportunistic, tlspolicy.Required} {
		config, _ := mailtest.ServerTLS(t, "mx0.example")
		sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config})
		h := start(t, routes{"": withTLS(to("site", sink.Addr()), policy)}, Options{})
		id := h.submit("joe@sender.example", "a@one.example")
		h.awaitFacts(id, mail.ReasonDelivered, 1)
		attempted := h.awaitFacts(id, mail.ReasonAttempted, 1)[0]
		if !sink.Received()[0].TLS || attempted.TLS == nil || attempted.TLS.Version == "" {
			t.Errorf("%s: delivered in clear, or without the facts of TLS: %+v", policy, attempted.TLS)
		}
	}
}

// TestDemandedTLS: mail that must go under TLS never goes without, whatever
// the server does.
func TestDemandedTLS(t *testing.T) {
	untrusted, _ := mailtest.ServerTLS(t, "mx0.example")
	for _, c := range []struct {
		name   string
		policy tlspolicy.Level
		script string
	}{
		{"no TLS on offer", "required", hello + "STALL"},
		{"refused", "required", strings.Replace(brokenTLS, "220 go on", "454 4.7.0 no", 1) + "STALL"},
		{"broken", "required", brokenTLS + `RAW "this is no TLS\r\n"` + "\nSTALL"},
		{"dropped", "verify", brokenTLS + "DROP"},
		{"unknown certificate", "verify", brokenTLS + "TLS\nSTALL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Scripts: []string{c.script}, TLS: untrusted})
			h := start(t, routes{"": withTLS(to("site", peer.Addr(), peer.Addr()), c.policy)}, Options{})
			id := h.submit("joe@sender.example", "a@one.example")
			f := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
			if f.Command != "STARTTLS" || !strings.HasPrefix(f.Reply.Enhanced, "4.7.") {
				t.Errorf("deferred with %s", brief(f))
			}
			h.finish()
			if n := peer.Connections(); n != 2 {
				t.Errorf("%d connections, want one to each hop", n)
			}
			for _, line := range peer.Lines() {
				if strings.HasPrefix(line, "MAIL") {
					t.Errorf("the server got %q", line)
				}
			}
		})
	}
}

// crowd counts who is inside at once.
type crowd struct {
	mu           sync.Mutex
	inside, most int
	full         chan struct{} // closed when as many as want were inside
	want         int
}

func (c *crowd) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside++
	c.most = max(c.most, c.inside)
	if c.inside == c.want && c.full != nil {
		close(c.full)
		c.full = nil
	}
}

func (c *crowd) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside--
}

// TestSiteLimit: a site gets all the connections it is allowed, and not one
// more, whatever the number of its destinations.
func TestSiteLimit(t *testing.T) {
	const limit = 3
	full := make(chan struct{})
	connections := &crowd{want: limit, full: full}
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		connections.enter()
		defer connections.leave()
		converse(c, func(line string) string {
			if strings.HasPrefix(line, "MAIL") {
				<-full // so that all that are allowed must come
			}
			return ""
		})
	}})
	h := newHarness(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{MaxPerSite: limit, MaxTransactions: 50}})
	var ids []mail.ID
	for _, domain := range []string{"one", "two", "three", "four", "five", "six"} {
		for range 5 {
			ids = append(ids, h.submit("joe@sender.example", "a@"+domain+".example"))
		}
	}
	h.start()
	receive(t, "all connections are in use", full)
	for _, id := range ids {
		h.awaitFacts(id, mail.ReasonDelivered, 1)
	}
	h.finish()
	if connections.most > limit || peer.Connections() > limit {
		t.Errorf("%d connections at once, %d in all, the limit is %d", connections.most, peer.Connections(), limit)
	}
	if n := len(peer.Contents()); n != len(ids) {
		t.Errorf("%d messages, want %d", n, len(ids))
	}
}

// TestSlowSite: a site that stalls does not hold up others, not even with
// more destinations, none of them known before, than there are slots.
func TestSlowSite(t *testing.T) {
	slow := mailtest.NewPeer(t, "STALL")
	sink := mailtest.NewSink(t)
	h := newHarness(t, routes{"": to("slow", slow.Addr()), "quick.example": to("quick", sink.Addr())},
		Options{Settings: Settings{MaxPerSite: 1, MaxTransactions: 4}, Grace: 1})
	var stalled []mail.ID
	for _, domain := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		stalled = append(stalled, h.submit("joe@sender.example", "x@"+domain+".example"))
	}
	h.start()
	await(t, "the slow site is in use", func() bool { return slow.Connections() == 1 })
	for range 5 {
		h.awaitFacts(h.submit("joe@sender.example", "x@quick.example"), mail.ReasonDelivered, 1)
	}
	h.finish()
	if n := slow.Connections(); n != 1 {
		t.Errorf("%d connections to the slow site", n)
	}
	for _, id := range stalled {
		entry, err := h.store.Get(t.Context(), id)
		if err != nil || entry.Deliveries[0].Attempts != 0 {
			t.Errorf("%d attempts are counted at the stop, %v", entry.Deliveries[0].Attempts, err)
		}
	}
}
