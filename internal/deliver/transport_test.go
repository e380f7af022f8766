package deliver

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/limit"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/route"
	"postern/internal/smtpclient"
)

// by is a way by a transport of a name.
func by(name string, r route.Route) route.Route {
	r.Name = name
	for i := range r.Hops {
		r.Hops[i].Transport = name
	}
	return r
}

// withTransport are options with one transport, "t".
func withTransport(t Transport) Options {
	return Options{Settings: Settings{Transports: map[string]Transport{"t": t}}}
}

// TestMaxConnections: the site of a transport has as many connections as that says, at
// the same time as others have theirs; a reload changes it.
func TestMaxConnections(t *testing.T) {
	var mu sync.Mutex
	open, most := 0, 0
	gate := make(chan struct{})
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		mu.Lock()
		open++
		most = max(most, open)
		mu.Unlock()
		<-gate
		converse(c, func(string) string { return "" })
		mu.Lock()
		open--
		mu.Unlock()
	}})
	h := start(t, routes{"": by("t", to("site", peer.Addr()))}, withTransport(Transport{MaxConnections: 2, IdleTimeout: patience}))
	h.advance(time.Hour)
	var ids []mail.ID
	for i := range 10 {
		ids = append(ids, h.submit("joe@sender.example", fmt.Sprintf("a@d%d.example", i)))
	}
	await(t, "two are connected", func() bool { mu.Lock(); defer mu.Unlock(); return open == 2 })
	close(gate)
	for _, id := range ids {
		h.awaitFacts(id, mail.ReasonDelivered, 1)
	}
	if most != 2 {
		t.Errorf("%d connections at once, want 2", most)
	}
	h.sites.mu.Lock()
	if x := h.sites.byName["site"]; x.limit != 2 || x.most != 4 {
		t.Errorf("the site has %d connections and %v transactions", x.limit, x.most)
	}
	h.sites.mu.Unlock()
	s := *h.settings.Load()
	s.Transports = map[string]Transport{"t": {MaxConnections: 7}}
	h.Change(s)
	h.sites.mu.Lock()
	defer h.sites.mu.Unlock()
	if x := h.sites.byName["site"]; x.limit != 7 {
		t.Errorf("after a reload the site has %d connections", x.limit)
	}
}

// connections lists the recipients by the connections over which they came.
func connections(sink *mailtest.Sink) map[int][]string {
	all := make(map[int][]string)
	for _, r := range sink.Received() {
		all[r.Connection] = append(all[r.Connection], strings.Join(r.To(), " "))
	}
	return all
}

// TestMaxMessages: after so many messages a connection is closed and another is opened.
func TestMaxMessages(t *testing.T) {
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": by("t", to("site", sink.Addr()))},
		withTransport(Transport{IdleTimeout: patience, Client: smtpclient.Options{MaxMessages: 2}}))
	for i := range 5 {
		h.awaitFacts(h.submit("joe@sender.example", fmt.Sprintf("%d@x.example", i)), mail.ReasonDelivered, 1)
	}
	want := map[int][]string{0: {"0@x.example", "1@x.example"}, 1: {"2@x.example", "3@x.example"}, 2: {"4@x.example"}}
	if diff := cmp.Diff(want, connections(sink)); diff != "" {
		t.Error(diff)
	}
}

// TestMaxRecipientsOfTransport: each transaction has as many recipients as the transport says,
// and each connection as many transactions.
func TestMaxRecipientsOfTransport(t *testing.T) {
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": by("t", to("site", sink.Addr()))},
		withTransport(Transport{MaxRecipients: 2, IdleTimeout: patience, Client: smtpclient.Options{MaxMessages: 2}}))
	h.awaitFacts(h.submit("joe@sender.example", "1@x.example", "2@x.example", "3@x.example", "4@x.example", "5@x.example"), mail.ReasonDelivered, 1)
	want := map[int][]string{0: {"1@x.example 2@x.example", "3@x.example 4@x.example"}, 1: {"5@x.example"}}
	if diff := cmp.Diff(want, connections(sink)); diff != "" {
		t.Error(diff)
	}
}

// TestNoIdleTime: without one the connection ends with its message.
func TestNoIdleTime(t *testing.T) {
	peer := mailtest.NewPeer(t, hello+accept+quit)
	h := start(t, routes{"": by("t", to("site", peer.Addr()))}, withTransport(Transport{}))
	for range 2 {
		h.awaitFacts(h.submit("joe@sender.example", "a@x.example"), mail.ReasonDelivered, 1)
	}
	if n := peer.Connections(); n != 2 {
		t.Errorf("%d connections, want one each", n)
	}
}

// TestMaxSize: what is larger is undeliverable at once, and nobody is asked.
func TestMaxSize(t *testing.T) {
	h := start(t, routes{"": by("t", to("site", refused))}, withTransport(Transport{MaxSize: int64(len(content)) - 1}))
	id := h.submit("", "a@x.example")
	f := h.awaitFacts(id, mail.ReasonDead, 1)[0]
	want := fmt.Sprintf("dead 1 a@x.example: route: 552 5.3.4 Message of %d octets exceeds the limit of the transport, %d octets", len(content), len(content)-1)
	if brief(f) != want {
		t.Errorf("%s\nwant %s", brief(f), want)
	}
}

// TestMaxSizeOfSeveral: of several transports in order only those take a message that let
// one of its size go, and it comes back only when none does.
func TestMaxSizeOfSeveral(t *testing.T) {
	small, large := mailtest.NewSink(t), mailtest.NewSink(t)
	size := int64(len(content))
	o := Options{Settings: Settings{Transports: map[string]Transport{"small": {MaxSize: size - 1}, "large": {MaxSize: size}}}}
	behind := func(first, then route.Route) route.Route {
		first.Hops = append(first.Hops, then.Hops...)
		return first
	}
	h := start(t, routes{
		"a.example": behind(by("small", to("small+large", small.Addr())), by("large", to("", large.Addr()))),
		"b.example": behind(by("large", to("large+small", refused)), by("small", to("", small.Addr()))),
		"c.example": by("small", to("small", small.Addr())),
	}, o)
	h.awaitFacts(h.submit("", "a@a.example"), mail.ReasonDelivered, 1)
	h.awaitFacts(h.submit("", "b@b.example"), mail.ReasonDeferred, 1)
	h.awaitFacts(h.submit("", "c@c.example"), mail.ReasonDead, 1)
	if n := len(small.Received()); n != 0 || len(large.Received()) != 1 {
		t.Errorf("the one for small messages got %d, the other %d", n, len(large.Received()))
	}
}

// TestRate: a site gets as many messages in a time as its transport sends. What is more
// waits its turn: no attempt is counted, and the slots are free for others.
func TestRate(t *testing.T) {
	slow, other := mailtest.NewSink(t), mailtest.NewSink(t)
	o := withTransport(Transport{IdleTimeout: patience, Rate: limit.Rate{Max: 3, Per: time.Minute}})
	h := start(t, routes{"": by("t", to("site", slow.Addr())), "other.example": to("other", other.Addr())}, o)
	h.advance(time.Hour) // the start is over
	var ids []mail.ID
	for i := range 10 {
		ids = append(ids, h.submit("joe@sender.example", fmt.Sprintf("a@d%d.example", i%3)))
	}
	idle := func() bool {
		h.sites.mu.Lock()
		defer h.sites.mu.Unlock()
		return h.active.Load() == 0 && h.sites.byName["site"].isBlocked()
	}
	for sent := 3; sent < 10; sent += 3 {
		await(t, fmt.Sprintf("%d are sent, and the rest waits", sent), func() bool { return len(slow.Received()) == sent && idle() })
		if n := h.store.Leased(); n != 0 {
			t.Errorf("%d leases are held meanwhile", n)
		}
		h.awaitFacts(h.submit("joe@sender.example", "a@other.example"), mail.ReasonDelivered, 1)
		h.advance(time.Minute - time.Second)
		h.awaitFacts(h.submit("joe@sender.example", "a@other.example"), mail.ReasonDelivered, 1)
		if n := len(slow.Received()); n != sent {
			t.Errorf("%d are sent before the time, want %d", n, sent)
		}
		h.advance(time.Second)
	}
	for _, id := range ids {
		if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; f.Attempt != 1 {
			t.Errorf("%s: waiting counted as an attempt", brief(f))
		}
	}
}

// TestIdentity: what a server is told of this one, and from where, is of its lane; an address
// that is not here is no fault of the server.
func TestIdentity(t *testing.T) {
	var hellos []string
	var mu sync.Mutex
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		c.Send("220 peer")
		line := c.Expect("EHLO")
		mu.Lock()
		hellos = append(hellos, line)
		mu.Unlock()
		c.Send("250 peer")
		c.Play(accept + quit)
	}})
	from := func(site, hostname, address string) route.Route {
		r := to(site, peer.Addr())
		r.Hops[0].From = route.Identity{Hostname: hostname, IPv4: netip.MustParseAddr(address), IPv6: netip.MustParseAddr("2001:db8::1")}
		return r
	}
	h := start(t, routes{"": from("site", "a.example", "127.0.0.2"), "b.example": from("site", "b.example", "127.0.0.1"), "bad.example": from("bad", "", "192.0.2.1")}, withTransport(Transport{}))
	h.awaitFacts(h.submit("joe@sender.example", "a@x.example"), mail.ReasonDelivered, 1)
	h.awaitFacts(h.submit("joe@sender.example", "b@b.example"), mail.ReasonDelivered, 1)
	if diff := cmp.Diff([]string{"EHLO a.example", "EHLO b.example"}, hellos); diff != "" {
		t.Error(diff)
	}
	for range 2 * downAfter {
		id := h.submit("joe@sender.example", "c@bad.example")
		f := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
		if f.Reply.Code != 451 || !strings.Contains(f.Text, "connecting from 192.0.2.1: this machine does not have the address") {
			t.Fatalf("%s: %s", brief(f), f.Text)
		}
	}
	if n := h.SitesDown(); n != 0 {
		t.Error("the site is taken for dead")
	}
}

// TestLMTP: a server behind a Unix socket takes a message for one recipient and not for the
// other, which comes again alone.
func TestLMTP(t *testing.T) {
	const lhlo = "S: 220 peer\nC: LHLO gate.example\nS: 250-peer\nS: 250 PIPELINING\nC: MAIL\n"
	path := filepath.Join(t.TempDir(), "lmtp")
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Socket: path, Scripts: []string{
		lhlo + "C: RCPT TO:<a@x.example>\nC: RCPT TO:<b@x.example>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 2.0.0 saved\nS: 452 4.2.2 full" + quit,
		lhlo + "C: RCPT TO:<b@x.example>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 2.0.0 saved" + quit,
	}})
	way := route.Route{Name: "t", Site: "t:unix:" + path, Hops: []route.Hop{{Lane: route.Lane{Host: "unix:" + path, Socket: path, Transport: "t"}}}}
	h := start(t, routes{"": way}, withTransport(Transport{Client: smtpclient.Options{LMTP: true}}))
	id := h.submit("joe@sender.example", "a@x.example", "b@x.example")
	h.awaitFacts(id, mail.ReasonDeferred, 1)
	h.advance(time.Hour)
	h.awaitFacts(id, mail.ReasonDelivered, 2)
	h.wantFacts(id, "routed 1 ", "attempted 1 ", "delivered 1 a@x.example: end of data: 250 2.0.0 saved", "deferred 1 b@x.example: end of data: 452 4.2.2 full",
		"routed 2 ", "attempted 2 ", "delivered 2 b@x.example: end of data: 250 2.0.0 saved")
	if f := h.awaitFacts(id, mail.ReasonAttempted, 2)[0]; f.Host != "unix:"+path || f.Address.IsValid() {
		t.Errorf("attempted at %s %s", f.Host, f.Address)
	}
	if n := peer.Connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// TestDiscard: the mail is gone, with its fact, and nobody gets a report.
func TestDiscard(t *testing.T) {
	h := start(t, routes{"": route.Route{Name: "nowhere", Site: "nowhere:", Discard: true}}, Options{})
	id := h.submit("joe@sender.example", "a@x.example NEVER", "b@x.example SUCCESS,FAILURE,DELAY")
	h.awaitFacts(id, mail.ReasonDiscarded, 1)
	h.wantFacts(id, "routed 1 ", "discarded 1 a@x.example,b@x.example: route: 250 2.0.0 The transport discards all mail")
	h.wantOnly()
}

// place is a target of a pool as the tests need it.
type pooled struct {
	mu                        sync.Mutex
	room                      int
	most                      int // that were in use at once
	used                      int
	refusals                  atomic.Int32
	connected, failed, broken int
	offered                   route.Capabilities
	outcomes                  map[mail.State]int
	ended                     chan struct{} // nil: it never does
}

func (p *pooled) Enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used >= p.room {
		p.refusals.Add(1)
		return false
	}
	p.used++
	p.most = max(p.most, p.used)
	return true
}

func (p *pooled) Leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used--; p.used < 0 {
		p.broken++
	}
}

func (p *pooled) Connected(c route.Capabilities) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected++
	p.offered = c
}

func (p *pooled) Failed(error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed++
}

func (p *pooled) Settled(outcomes []mail.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.outcomes == nil {
		p.outcomes = make(map[mail.State]int)
	}
	for _, o := range outcomes {
		p.outcomes[o.State]++
	}
}

func (p *pooled) Ended() <-chan struct{} { return p.ended }

// pool is a way over targets, in their order.
func pool(targets []*pooled, addresses ...netip.AddrPort) route.Route {
	r := to("pool", addresses...)
	for i := range r.Hops {
		r.Hops[i].Target = targets[i]
	}
	return r
}

// TestTargets: no target has more connections than it gives places, those that are idle
// among them; each place is given back once; and what finds no room at any waits without an attempt.
func TestTargets(t *testing.T) {
	first, second := &pooled{room: 1}, &pooled{room: 2}
	one, two := mailtest.NewSink(t), mailtest.NewSink(t)
	h := start(t, routes{"": pool([]*pooled{first, second}, one.Addr(), two.Addr())}, Options{})
	h.advance(time.Hour)
	var ids []mail.ID
	for i := range 60 {
		ids = append(ids, h.submit("joe@sender.example", fmt.Sprintf("a@d%d.example", i)))
	}
	for _, id := range ids {
		if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; f.Attempt != 1 {
			t.Errorf("%s: waiting counted as an attempt", brief(f))
		}
		if n := len(h.awaitFacts(id, mail.ReasonDeferred, 0)); n > 0 {
			t.Errorf("%s was deferred", id)
		}
	}
	h.finish()
	for i, p := range []*pooled{first, second} {
		if p.most > p.room || p.used != 0 || p.broken != 0 || p.connected == 0 || !p.offered.ESMTP {
			t.Errorf("target %d: %d of %d at once, %d left in use, %d given back too often, %d connected, offers %+v", i, p.most, p.room, p.used, p.broken, p.connected, p.offered)
		}
	}
	if n := first.outcomes[mail.Delivered] + second.outcomes[mail.Delivered]; n != 60 || len(one.Received())+len(two.Received()) != 60 {
		t.Errorf("the targets know of %d, %d came", n, len(one.Received())+len(two.Received()))
	}
}

// TestNoRoom: while no target has any, the mail waits and nobody asks again and again; it
// goes when there is some.
func TestNoRoom(t *testing.T) {
	full := &pooled{}
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": pool([]*pooled{full}, sink.Addr())}, Options{})
	id := h.submit("joe@sender.example", "a@x.example")
	waits := func() bool {
		h.sites.mu.Lock()
		defer h.sites.mu.Unlock()
		x := h.sites.byName["pool"]
		return x != nil && len(x.wanting) == 1 && h.active.Load() == 0 && h.store.Leased() == 0
	}
	await(t, "it waits for room", waits)
	h.wantStates(id, "a@x.example queued 0")
	asked := full.refusals.Load()
	for range 10 {
		h.free() // the scheduler looks, and finds nothing to do
	}
	await(t, "it still waits", waits)
	if n := full.refusals.Load(); n != asked || asked > 2 {
		t.Errorf("asked %d times, and %d while it waited", asked, n-asked)
	}
	full.mu.Lock()
	full.room = 1
	full.mu.Unlock()
	h.advance(roomWait)
	h.awaitFacts(id, mail.ReasonDelivered, 1)
	h.wantFacts(id, "routed 1 ", "attempted 1 ", brief(h.awaitFacts(id, mail.ReasonDelivered, 1)[0]))
}

// TestTargetFails: what cannot be reached is told, its place is given back, and the next
// target is used.
func TestTargetFails(t *testing.T) {
	dead, good := &pooled{room: 5}, &pooled{room: 5}
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": pool([]*pooled{dead, good}, refused, sink.Addr())}, Options{})
	h.awaitFacts(h.submit("joe@sender.example", "a@x.example"), mail.ReasonDelivered, 1)
	h.finish()
	if dead.failed != 1 || dead.used != 0 || dead.broken != 0 || good.failed != 0 || good.outcomes[mail.Delivered] != 1 {
		t.Errorf("failed %d and %d times, %d in use", dead.failed, good.failed, dead.used)
	}
}

// TestSpentTarget: a target that takes only some of the recipients leaves the others to
// the next: the message goes over both, in parts.
func TestSpentTarget(t *testing.T) {
	var taken atomic.Int32
	few := answering(t, func(line string) string {
		if strings.HasPrefix(line, "RCPT") && taken.Add(1) > 2 {
			return "452 4.5.3 enough of it"
		}
		return ""
	})
	sink := mailtest.NewSink(t)
	first, second := &pooled{room: 5}, &pooled{room: 5}
	h := start(t, routes{"": pool([]*pooled{first, second}, few.Addr(), sink.Addr())}, Options{})
	id := h.submit("joe@sender.example", "1@x.example", "2@x.example", "3@x.example", "4@x.example", "5@x.example")
	await(t, "all are delivered", func() bool { return h.store.Entries() == 0 })
	for _, f := range h.facts(id) {
		if f.Attempt > 1 || f.Reason == mail.ReasonDeferred {
			t.Errorf("%s", brief(f))
		}
	}
	got := sink.Received()
	if len(got) != 1 || !slices.Equal(got[0].To(), []string{"3@x.example", "4@x.example", "5@x.example"}) {
		t.Errorf("the second target got %v", got)
	}
	if first.outcomes[mail.Delivered] != 2 || second.outcomes[mail.Delivered] != 3 {
		t.Errorf("the targets took %v and %v", first.outcomes, second.outcomes)
	}
}

// TestRecovered: mail for a site that has no server now keeps its schedule, and comes back
// long before that when the site has one.
func TestRecovered(t *testing.T) {
	var usable atomic.Bool
	sink := mailtest.NewSink(t)
	router := routerFunc(func() (route.Route, error) {
		if usable.Load() {
			return to("pool", sink.Addr()), nil
		}
		return route.Route{Name: "pool", Site: "pool"}, mail.Refuse(451, "4.4.5", "No target can be used")
	})
	h := start(t, router, Options{})
	h.advance(time.Hour)
	const messages = 50
	var ids []mail.ID
	for range messages {
		ids = append(ids, h.submit("joe@sender.example", "a@x.example"))
	}
	for _, id := range ids {
		h.awaitFacts(id, mail.ReasonDeferred, 1)
	}
	await(t, "all are noted", func() bool { h.sites.mu.Lock(); defer h.sites.mu.Unlock(); return h.sites.passed == messages })
	usable.Store(true)
	h.Recovered("pool")
	for _, id := range ids {
		if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; f.Attempt != 2 {
			t.Errorf("%s", brief(f))
		}
	}
	h.Recovered("nobody knows this one")
}

// TestRecoveredIsTried: what was passed over at a site that is down comes back when it is told
// that it has a server again: one finds out, and the others follow.
func TestRecoveredIsTried(t *testing.T) {
	peer, alive := dying(t)
	schedule, err := mail.ParseSchedule("5h, every 5h until 1d")
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{Retry: schedule}})
	ids := h.bringDown(50)
	_, _, suspended := h.answers(ids)
	await(t, "all that was passed over is noted", func() bool {
		h.sites.mu.Lock()
		defer h.sites.mu.Unlock()
		return h.sites.passed == suspended
	})
	alive.Store(true)
	h.Recovered("site")
	await(t, "what was passed over is delivered", func() bool { n, _, _ := h.answers(ids); return n == suspended })
}

type routerFunc func() (route.Route, error)

func (f routerFunc) Route(_ context.Context, _ route.Question) (route.Route, error) { return f() }
