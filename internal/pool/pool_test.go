package pool

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// world is a Set with what is around it.
type world struct {
	*Set
	t     *testing.T
	names dns.Memory

	mu sync.Mutex
	// probes are the answers to probes: by address and, where there is one, by that and the
	// level behind a space.
	probes    map[string]error
	asked     []string
	facts     mailtest.Facts
	recovered int
}

func newWorld(t *testing.T, pools ...Settings) *world {
	w := &world{t: t, probes: make(map[string]error)}
	w.Set = New(Options{
		Record:    w.facts.Record,
		Recovered: func(string) { w.mu.Lock(); w.recovered++; w.mu.Unlock() },
	})
	w.change(pools...)
	return w
}

func (w *world) change(pools ...Settings) {
	w.Change(Around{Resolver: &w.names, Probe: w.probe, Self: func(a netip.AddrPort) bool { return a.Port() == 2525 }}, pools)
}

var plain = route.Capabilities{ESMTP: true}
var full10 = route.Capabilities{ESMTP: true, StartTLS: true, Size: 10_000}

func (w *world) probe(_ context.Context, to route.Lane, at netip.AddrPort) (route.Capabilities, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, at.Addr().String()+" "+string(to.TLS.Level))
	if err, set := w.probes[at.Addr().String()+" "+string(to.TLS.Level)]; set {
		return full10, err
	}
	return full10, w.probes[at.Addr().String()]
}

// said are the facts as "reason address".
func (w *world) said(reasons ...mail.Reason) []string {
	var said []string
	for _, f := range w.facts.All() {
		if slices.Contains(reasons, f.Reason) {
			said = append(said, string(f.Reason)+" "+f.Address.Addr().String())
		}
	}
	return said
}

// with is a pool of targets, each as "host" or "host option=value …".
func with(targets ...string) Settings {
	s := Settings{Name: "hubs", Refresh: 5 * time.Minute, ConnectRetry: 2 * time.Minute, Drain: time.Minute, Lane: route.Lane{TLS: tlspolicy.Policy{Level: tlspolicy.Opportunistic}}}
	for _, text := range targets {
		words := strings.Fields(text)
		target := Target{Source: Address, Host: words[0], Port: 25, MaxConnections: 5, AssumedSize: 1000}
		if strings.HasSuffix(words[0], ".test") {
			target.Source = Name
		}
		for _, word := range words[1:] {
			key, value, _ := strings.Cut(word, "=")
			n := 0
			fmt.Sscan(value, &n)
			switch key {
			case "mx":
				target.Source = MX
			case "pref":
				target.Preference = n
			case "weight":
				target.Weight = n
			case "max":
				target.MaxConnections = n
			case "secure":
				target.Secure = true
			case "charset":
				target.Charset = value
			case "port":
				target.Port = uint16(n)
			}
		}
		s.Targets = append(s.Targets, target)
	}
	return s
}

// hops asks for a way, and returns the hops by their addresses.
func (w *world) hops(q route.Question) []route.Hop {
	w.t.Helper()
	way, err := w.Transport("hubs").Route(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	return way.Hops
}

// at returns the server as a hop, as it is when all is well.
func (w *world) at(address string, q route.Question) route.Hop {
	w.t.Helper()
	for _, h := range w.hops(q) {
		if h.Addresses[0].Addr().String() == address {
			return h
		}
	}
	w.t.Fatalf("no hop %s", address)
	return route.Hop{}
}

func order(hops []route.Hop) string {
	var list []string
	for _, h := range hops {
		list = append(list, h.Addresses[0].Addr().String())
	}
	return strings.Join(list, " ")
}

// refused is a failure to connect.
func refused(command, enhanced string, remote bool) error {
	return broken{mail.Outcome{State: mail.Deferred, Command: command, Remote: remote, Reply: mail.NewReply(451, enhanced, "no"), Cause: "because"}}
}

type broken struct{ o mail.Outcome }

func (b broken) Error() string         { return b.o.Command + ": " + b.o.Reply.String() }
func (b broken) Outcome() mail.Outcome { return b.o }

var (
	nobody   = refused("connect", "4.4.1", false)
	badTLS   = refused("STARTTLS", "4.7.5", false)
	noTLS    = broken{mail.Outcome{State: mail.Deferred, Command: "STARTTLS", Reply: mail.NewReply(451, "4.7.4", "no")}}
	busy     = refused("greeting", "4.3.2", true)
	taken    = []mail.Outcome{{State: mail.Delivered, Remote: true, Command: "end of data", Reply: mail.NewReply(250, "2.0.0", "ok")}}
	unheard  = []mail.Outcome{{State: mail.Deferred, Command: "end of data", Reply: mail.NewReply(451, "4.4.2", "timed out")}}
	rejected = []mail.Outcome{{State: mail.Bounced, Remote: true, Command: "RCPT", Reply: mail.NewReply(550, "5.1.1", "who?")}}
	misfit   = []mail.Outcome{{State: mail.Bounced, Command: "MAIL", Reply: mail.NewReply(554, "5.6.3", "no")}}
)

// state returns how a server stands.
func (w *world) state(address string) Server {
	w.t.Helper()
	found, err := w.Find(address)
	if err != nil || len(found) != 1 {
		w.t.Fatal(found, err)
	}
	return found[0]
}

// TestOrder: preference first, those that are full last, equals by their weights, or in
// the order of the file.
func TestOrder(t *testing.T) {
	w := newWorld(t, with("192.0.2.1 max=1", "192.0.2.5 pref=5", "192.0.2.2 pref=5 weight=1", "192.0.2.3 pref=5 weight=1", "192.0.2.4 pref=5"))
	q := route.Question{}
	if got := order(w.hops(q)); got != "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.5 192.0.2.4" {
		t.Error(got)
	}
	if got := order(w.hops(q)); got != "192.0.2.1 192.0.2.3 192.0.2.2 192.0.2.5 192.0.2.4" {
		t.Errorf("equals do not take turns: %s", got)
	}
	first := w.hops(q)[0]
	if !first.Target.Enter() || first.Target.Enter() {
		t.Fatal("one connection may be, and no more")
	}
	if got := order(w.hops(q)); got != "192.0.2.3 192.0.2.2 192.0.2.5 192.0.2.4 192.0.2.1" {
		t.Errorf("with the first full: %s", got)
	}
	first.Target.Leave()
	if got := order(w.hops(q)); got[:9] != "192.0.2.1" {
		t.Errorf("when it has room again: %s", got)
	}
}

// TestWeights: over time each is first as often as its weight says, whatever the others
// do in between.
func TestWeights(t *testing.T) {
	w := newWorld(t, with("192.0.2.1 pref=0 weight=5", "192.0.2.2 pref=0 weight=2", "192.0.2.3 pref=0 weight=1"))
	first := map[string]int{}
	longest, last, run := 0, "", 0
	for range 800 {
		at := order(w.hops(route.Question{})[:1])
		first[at]++
		if at != last {
			last, run = at, 0
		}
		run++
		longest = max(longest, run)
	}
	if first["192.0.2.1"] != 500 || first["192.0.2.2"] != 200 || first["192.0.2.3"] != 100 {
		t.Errorf("shares %v, want 5 : 2 : 1 of 800", first)
	}
	if longest > 3 {
		t.Errorf("one was first %d times in a row", longest)
	}
}

// TestLane: a secure target demands TLS of its own, and the server's name is what its
// certificate must be for.
func TestLane(t *testing.T) {
	w := newWorld(t, with("a.test port=26", "192.0.2.2 secure"))
	w.names.Set("a.test", netip.MustParseAddr("192.0.2.1"))
	hops := w.hops(route.Question{})
	a, b := hops[0].Lane, hops[1].Lane
	if a.Host != "a.test" || a.Port != 26 || a.Transport != "hubs" || a.TLS.Level != tlspolicy.Opportunistic {
		t.Errorf("%+v", a)
	}
	if b.Host != "192.0.2.2" || b.TLS.Level != (tlspolicy.Policy{Level: tlspolicy.Opportunistic}).Demand(mail.TLSRequired).Level {
		t.Errorf("%+v", b)
	}
	again := w.hops(route.Question{})
	if again[0].Lane != a || again[0].Target != hops[0].Target {
		t.Error("a connection could not be used again")
	}
	if w.at("192.0.2.1", route.Question{TLS: mail.TLSVerified}).Target == hops[0].Target {
		t.Error("what fails for mail that demands TLS would be held against all")
	}
}

// TestIncapable: what no server can take comes back at once, but never while one that
// cannot be used may be able (RFC 3463 3.4, RFC 3463 3.8).
func TestIncapable(t *testing.T) {
	secret, large := route.Question{TLS: mail.TLSRequired}, route.Question{Size: 5_000}
	huge := route.Question{Size: 20_000}
	for name, c := range map[string]struct {
		// offers is what each of two servers says; nil: it cannot be reached.
		offers [2]*route.Capabilities
		q      route.Question
		want   string // the hops, or the enhanced code
	}{
		"both do":                         {[2]*route.Capabilities{&full10, &full10}, secret, "192.0.2.1 192.0.2.2"},
		"one has no STARTTLS":             {[2]*route.Capabilities{&plain, &full10}, secret, "192.0.2.2"},
		"which plain mail does not need":  {[2]*route.Capabilities{&plain, &full10}, route.Question{}, "192.0.2.1 192.0.2.2"},
		"none has":                        {[2]*route.Capabilities{&plain, &plain}, secret, "5.7.4"},
		"one may have":                    {[2]*route.Capabilities{&plain, nil}, secret, "4.4.1"},
		"without SIZE any size":           {[2]*route.Capabilities{&plain, &full10}, huge, "192.0.2.1"},
		"without EHLO that is assumed":    {[2]*route.Capabilities{{}, &full10}, large, "192.0.2.2"},
		"and suffices for small ones":     {[2]*route.Capabilities{{}, &full10}, route.Question{Size: 1000}, "192.0.2.1 192.0.2.2"},
		"too large for both":              {[2]*route.Capabilities{{}, &full10}, huge, "5.3.4"},
		"too large, and no TLS":           {[2]*route.Capabilities{&plain, &full10}, route.Question{Size: 20_000, TLS: mail.TLSRequired}, "5.3.4"},
		"too large for one, other down":   {[2]*route.Capabilities{nil, &full10}, huge, "4.4.1"},
		"none can be reached":             {[2]*route.Capabilities{nil, nil}, route.Question{}, "4.4.1"},
		"down, but it is known to do":     {[2]*route.Capabilities{nil, {}}, large, "4.4.1"},
		"and where the other does":        {[2]*route.Capabilities{nil, &full10}, large, "192.0.2.2"},
		"what is exactly as large passes": {[2]*route.Capabilities{nil, &full10}, route.Question{Size: 10_000}, "192.0.2.2"},
	} {
		w := newWorld(t, with("192.0.2.1", "192.0.2.2"))
		for i, h := range w.hops(route.Question{}) {
			if c.offers[i] == nil {
				h.Target.Failed(nobody)
			} else {
				h.Target.Connected(*c.offers[i])
			}
		}
		way, err := w.Transport("hubs").Route(t.Context(), c.q)
		got := order(way.Hops)
		if e, ok := errors.AsType[*mail.Error](err); ok {
			got = e.Reply.Enhanced
			if e.Cause == nil || e.Reply.Permanent() != strings.HasPrefix(got, "5") {
				t.Errorf("%s: %v", name, err)
			}
			if way.Site != "hubs:pool" || way.Name != "hubs" {
				t.Errorf("%s: of the site %q", name, way.Site)
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s (%v)", name, got, c.want, err)
		}
	}
}

// TestSecureTarget: nothing goes in clear to a target that is secure.
func TestSecureTarget(t *testing.T) {
	w := newWorld(t, with("192.0.2.1 secure"))
	hop := w.hops(route.Question{})[0]
	if got := hop.TLS.Source; got != "secure of the target 192.0.2.1" {
		t.Errorf("TLS is demanded by %q", got)
	}
	hop.Target.Connected(plain)
	_, err := w.Transport("hubs").Route(t.Context(), route.Question{})
	if e, ok := errors.AsType[*mail.Error](err); !ok || e.Reply.Enhanced != "5.7.4" {
		t.Errorf("%v", err)
	}
}

// TestDomainDemands: what the domain of a recipient demands of TLS is known to the choice. Where no server
// offers STARTTLS, its mail comes back at once, and where TLS does not work for what demands as much, it waits;
// that of other domains goes.
func TestDomainDemands(t *testing.T) {
	w := newWorld(t, with("192.0.2.1", "192.0.2.2"))
	w.around.Demand = func(l *route.Lane, q route.Question) {
		if q.Destination.Domain() == "partner.test" {
			l.TLS = l.TLS.Through(tlspolicy.Policy{Level: tlspolicy.Required, Source: "tls partner.test"})
		}
	}
	ask := func(domain mail.Destination) string {
		way, err := w.Transport("hubs").Route(t.Context(), route.Question{Destination: domain})
		if err != nil {
			return err.Error()
		}
		return order(way.Hops)
	}
	both := "192.0.2.1 192.0.2.2"
	if got := ask("partner.test"); got != both {
		t.Errorf("nothing was heard of the servers: %s", got)
	}
	w.at("192.0.2.1", route.Question{}).Target.Connected(plain)
	if got := ask("partner.test"); got != "192.0.2.2" {
		t.Errorf("where one offers STARTTLS: %s", got)
	}
	w.at("192.0.2.2", route.Question{}).Target.Connected(full10)
	w.at("192.0.2.2", route.Question{TLS: mail.TLSRequired}).Target.Failed(badTLS)
	if got := ask("partner.test"); !strings.Contains(got, "4.4.1") {
		t.Errorf("where TLS does not work: %s", got)
	}
	w.at("192.0.2.2", route.Question{}).Target.Connected(plain)
	got := ask("partner.test")
	if !strings.Contains(got, "5.7.4") || !strings.Contains(got, "192.0.2.1 [192.0.2.1:25] offers no STARTTLS, which is demanded by tls partner.test") {
		t.Errorf("where none offers STARTTLS: %s", got)
	}
	if got := ask("other.test"); got != both {
		t.Errorf("that of others: %s", got)
	}
}

// TestTLSFault: what is wrong with TLS of a server keeps the mail away that demands it,
// and all, where all demands it.
func TestTLSFault(t *testing.T) {
	secret := route.Question{TLS: mail.TLSVerified}
	w := newWorld(t, with("192.0.2.1", "192.0.2.2 secure"))
	w.at("192.0.2.1", secret).Target.Failed(badTLS)
	w.at("192.0.2.2", route.Question{}).Target.Failed(badTLS)
	if got := order(w.hops(route.Question{})); got != "192.0.2.1" {
		t.Errorf("plain mail goes to %s", got)
	}
	if _, err := w.Transport("hubs").Route(t.Context(), secret); err == nil || !strings.Contains(err.Error(), "4.4.1") {
		t.Errorf("secure mail: %v", err)
	}
	a, b := w.state("192.0.2.1"), w.state("192.0.2.2")
	if a.State != Unknown || len(a.Faults) != 1 || a.Faults[0].TLS != "verify" || !strings.Contains(a.Faults[0].Reason, "STARTTLS") {
		t.Errorf("%+v", a)
	}
	if b.State != NotUsable || !strings.Contains(b.Reason, "because") {
		t.Errorf("%+v", b)
	}
	// Over opportunistic TLS the mail goes on in clear.
	w = newWorld(t, with("192.0.2.1"))
	w.hops(route.Question{})[0].Target.Failed(badTLS)
	if v := w.state("192.0.2.1"); v.State == NotUsable || len(v.Faults) > 0 {
		t.Errorf("%+v", v)
	}
}

// TestFailures: what is held against a server, and what is not.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		why  error
		want State
	}{
		"nobody answers":          {nobody, NotUsable},
		"it is busy":              {busy, NotUsable},
		"a time-out":              {refused("greeting", "4.4.2", false), NotUsable},
		"not a failure of SMTP":   {errors.New("what"), NotUsable},
		"AUTH is refused":         {refused("AUTH", "4.7.8", true), NotUsable},
		"AUTH is not answered":    {refused("AUTH", "4.4.2", false), NotUsable},
		"no STARTTLS":             {noTLS, Active},
		"we stop":                 {fmt.Errorf("given up: %w", context.Canceled), Unknown},
		"there is no credential":  {refused("AUTH", "4.7.0", false), Unknown},
		"STARTTLS, not important": {badTLS, Unknown},
	} {
		w := newWorld(t, with("192.0.2.1"))
		h := w.hops(route.Question{})[0]
		h.Target.Enter()
		h.Target.Failed(c.why)
		if got := w.state("192.0.2.1"); got.State != c.want {
			t.Errorf("%s: %s, want %s", name, got.State, c.want)
		} else if counted := got.ConnectFailures > 0; counted != (c.want != Unknown || c.why == badTLS) {
			t.Errorf("%s: %d failures counted", name, got.ConnectFailures)
		}
	}
	// One that has connections, and refuses one more, is full.
	w := newWorld(t, with("192.0.2.1"))
	h := w.hops(route.Question{})[0]
	h.Target.Enter()
	h.Target.Connected(plain)
	h.Target.Enter()
	h.Target.Failed(busy)
	if got := w.state("192.0.2.1"); got.State != Active {
		t.Errorf("%s", got.State)
	}
	h.Target.Failed(nobody)
	if got := w.state("192.0.2.1"); got.State != NotUsable {
		t.Errorf("gone although it had connections: %s", got.State)
	}
}

// TestLoginRefused: a server that does not take the credentials is not usable until a message shows
// that it does: a probe, which shows nothing, lets one go there and says nothing of it.
func TestLoginRefused(t *testing.T) {
	w := newWorld(t, with("192.0.2.1"))
	v := w.hops(route.Question{})[0].Target
	v.Enter()
	v.Failed(broken{mail.Outcome{Command: "AUTH", Remote: true, Reply: mail.NewReply(535, "5.7.8", "no")}})
	v.Leave()
	w.do(func() {
		server := w.all()[0].servers[0]
		server.probed(server.level(), plain, nil)
	})
	if got := w.state("192.0.2.1"); got.State != NotUsable || !strings.Contains(got.Reason, "AUTH") {
		t.Errorf("behind the probe it is %s: %s", got.State, got.Reason)
	}
	if !v.Enter() || v.Enter() {
		t.Error("not one message may go there, or more")
	}
	v.Connected(plain)
	v.Settled(taken)
	if got := w.state("192.0.2.1"); got.State != Active {
		t.Errorf("behind the message it is %s", got.State)
	}
}

// TestLoginUnderTLS: a login that fails is no failure of TLS, though there is TLS, and mail must have it.
func TestLoginUnderTLS(t *testing.T) {
	under := func(enhanced string) error {
		return broken{mail.Outcome{Command: "AUTH", TLS: new(mail.TLS), Reply: mail.NewReply(451, enhanced, "no"), Cause: "because"}}
	}
	for name, c := range map[string]struct {
		why   error
		want  State
		trial bool // a probe, which does not log in, lets but one message go there
	}{
		"nothing to show": {under("4.7.0"), Unknown, false},
		"no mechanism":    {under("4.7.4"), NotUsable, true},
		"no answer":       {under("4.4.2"), NotUsable, true},
	} {
		pool := with("192.0.2.1")
		pool.Lane.TLS = tlspolicy.Policy{Level: tlspolicy.Verify}
		w := newWorld(t, pool)
		v := w.hops(route.Question{})[0].Target
		v.Enter()
		v.Failed(c.why)
		if got := w.state("192.0.2.1"); got.State != c.want {
			t.Errorf("%s: it is %s: %s", name, got.State, got.Reason)
		}
		w.do(func() {
			server := w.all()[0].servers[0]
			server.probed(server.level(), plain, nil)
		})
		if got := w.state("192.0.2.1"); got.OnTrial != c.trial {
			t.Errorf("%s: behind a probe it is %s, on trial: %t", name, got.State, got.OnTrial)
		}
	}
}

// TestCounts: by the words of the operator's display.
func TestCounts(t *testing.T) {
	w := newWorld(t, with("192.0.2.1"))
	h := w.hops(route.Question{})[0]
	h.Target.Connected(plain)
	h.Target.Settled(taken)
	h.Target.Settled(slices.Concat(taken, rejected))
	h.Target.Settled(rejected)
	h.Target.Settled(misfit)
	h.Target.Settled(unheard)
	h.Target.Failed(nobody)
	if got, want := w.state("192.0.2.1").Counts, (Counts{Attempts: 5, Sent: 2, ConnectFailures: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestTLSOfOthers: what a domain demands beyond the pool is held against no server.
func TestTLSOfOthers(t *testing.T) {
	pool := with("192.0.2.1")
	pool.Lane.TLS = tlspolicy.Policy{Level: tlspolicy.Required, Source: "transport hubs"}
	for source, want := range map[string]State{"transport hubs": NotUsable, "tls partner.test": Unknown} {
		w := newWorld(t, pool)
		failure := broken{mail.Outcome{Command: "EHLO", TLS: &mail.TLS{}, TLSPolicy: &mail.TLSPolicy{Level: "required", Source: source}, Reply: mail.NewReply(451, "4.4.2", "lost")}}
		w.hops(route.Question{})[0].Target.Failed(failure)
		if got := w.state("192.0.2.1"); got.State != want {
			t.Errorf("%s: %s, want %s", source, got.State, want)
		}
	}
}
