package pool

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

func addresses(list ...string) []netip.Addr {
	var all []netip.Addr
	for _, a := range list {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

// TestNames: addresses of a name, servers of a domain by their preference, and what is
// left out of both.
func TestNames(t *testing.T) {
	w := newWorld(t, with("a.test", "mx.test mx", "192.0.2.9", "192.0.2.7 port=2525"))
	w.names.Set("a.test", addresses("192.0.2.1", "192.0.2.2", "0.0.0.0")...)
	w.names.SetMX("mx.test", dns.MX{Host: "second.test", Preference: 20}, dns.MX{Host: "first.test", Preference: 10}, dns.MX{})
	w.names.Set("first.test", addresses("192.0.2.3", "192.0.2.9")...)
	w.names.Set("second.test", addresses("192.0.2.4")...)
	if got := order(w.hops(route.Question{})); got != "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.9 192.0.2.4" {
		t.Error(got)
	}
	warnings := strings.Join(w.Pools()[0].Warnings, "\n")
	for _, part := range []string{"a.test has the address 0.0.0.0", "takes no mail", "192.0.2.9 [192.0.2.9:25] is the same server as mx.test [192.0.2.9:25]", "192.0.2.7 [192.0.2.7:2525] is this server itself"} {
		if !strings.Contains(warnings, part) {
			t.Errorf("no %q in:\n%s", part, warnings)
		}
	}
}

// TestDomainIsItsServer: one without MX records (RFC 5321 5.1).
func TestDomainIsItsServer(t *testing.T) {
	w := newWorld(t, with("a.test mx"))
	w.names.Set("a.test", addresses("192.0.2.1")...)
	if got := order(w.hops(route.Question{})); got != "192.0.2.1" {
		t.Error(got)
	}
}

// TestRefresh: what a name has now is in force; what is still there keeps its state; and
// where DNS gives no answer all stays.
func TestRefresh(t *testing.T) {
	w := newWorld(t, with("a.test", "192.0.2.9"))
	w.names.Set("a.test", addresses("192.0.2.1", "192.0.2.2")...)
	gone := w.at("192.0.2.1", route.Question{})
	w.at("192.0.2.2", route.Question{}).Target.Connected(full10)
	w.names.Set("a.test", addresses("192.0.2.2", "192.0.2.3")...)
	refresh := func() []View {
		t.Helper()
		views, err := w.Refresh(t.Context(), "hubs")
		if err != nil {
			t.Fatal(err)
		}
		return views
	}
	refresh()
	if got := order(w.hops(route.Question{})); got != "192.0.2.2 192.0.2.3 192.0.2.9" {
		t.Error(got)
	}
	if got := w.state("192.0.2.2"); got.State != Active || got.Learned.Size != 10_000 {
		t.Errorf("%+v", got)
	}
	if gone.Target.Enter() {
		t.Error("a connection to a server that is none any more")
	}
	w.names.Fail("a.test", dns.ErrTemporary)
	if views := refresh(); len(views) != 1 || len(views[0].Servers) != 3 || len(views[0].Warnings) != 1 {
		t.Errorf("%+v", views)
	}
	w.names.Set("a.test")
	if views := refresh(); len(views[0].Servers) != 1 {
		t.Errorf("a name that is none any more leads to %+v", views[0].Servers)
	}
	if _, err := w.Refresh(t.Context(), "other"); !errors.Is(err, ErrNoPool) || !strings.Contains(err.Error(), "hubs") {
		t.Errorf("%v", err)
	}
}

// TestRefreshAsksDNS: a person who has changed a name need not wait until what is remembered of it
// has expired.
func TestRefreshAsksDNS(t *testing.T) {
	server := mailtest.NewDNS(t, "a.test. 3600 A 192.0.2.1")
	w := newWorld(t)
	w.Change(Around{Resolver: dns.NewClient(dns.Options{Servers: []netip.AddrPort{server.Addr()}, Clock: mail.SystemClock{}}), Probe: w.probe}, []Settings{with("a.test")})
	for range 2 {
		if _, err := w.Refresh(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.Asked("a.test. A"); n < 2 {
		t.Errorf("DNS was asked %d times", n)
	}
}

// TestReload: a server of which nothing has changed that matters keeps all; others begin
// anew.
func TestReload(t *testing.T) {
	w := newWorld(t, with("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"))
	for _, h := range w.hops(route.Question{}) {
		h.Target.Enter()
		h.Target.Connected(full10)
		h.Target.Settled(taken)
	}
	before := w.hops(route.Question{})
	w.change(with("192.0.2.5", "192.0.2.3 max=1", "192.0.2.2 secure", "192.0.2.1"))
	after := w.hops(route.Question{})
	if got := order(after); got != "192.0.2.5 192.0.2.2 192.0.2.1 192.0.2.3" {
		t.Fatalf("%s: the last has as many connections as it may", got)
	}
	if after[2].Target != before[0].Target {
		t.Error("a connection to a server that is as before could not be used again")
	}
	for address, want := range map[string]State{"192.0.2.1": Active, "192.0.2.2": Unknown, "192.0.2.3": Active, "192.0.2.5": Unknown} {
		got := w.state(address)
		if got.State != want || (got.Sent == 1) != (address != "192.0.2.5") {
			t.Errorf("%+v, want %s", got, want)
		}
	}
	if _, err := w.Find("192.0.2.4"); !errors.Is(err, ErrNoTarget) {
		t.Errorf("%v", err)
	}
	// What is told of before holds for the counts alone.
	before[1].Target.Failed(nobody)
	before[1].Target.Settled(taken)
	if got := w.state("192.0.2.2"); got.State != Unknown || got.Sent != 2 || got.ConnectFailures != 1 {
		t.Errorf("%+v", got)
	}
	strict := with("192.0.2.1")
	strict.Lane.TLS.Level = tlspolicy.Verify
	w.change(strict)
	w.hops(route.Question{})
	if got := w.state("192.0.2.1"); got.State != Unknown {
		t.Errorf("with other demands of TLS it is %s", got.State)
	}
	w.change()
	if _, err := w.Transport("hubs").Route(t.Context(), route.Question{}); err == nil || !strings.Contains(err.Error(), "451 4.3.5") || len(w.Pools()) != 0 {
		t.Errorf("the pool is still there, %v", err)
	}
}

// TestChangeEndsWhatRuns: after the time for it, and not before.
func TestChangeEndsWhatRuns(t *testing.T) {
	for name, change := range map[string]func(*world) error{
		"reconnected": func(w *world) error { _, err := w.Reconnect("192.0.2.1", "anna"); return err },
		"drained":     func(w *world) error { _, err := w.Drain("hubs/192.0.2.1:25", "anna"); return err },
		"taken away":  func(w *world) error { w.change(with("192.0.2.2")); return w.pool("hubs").ready(w.t.Context()) },
		"no pool":     func(w *world) error { w.change(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, with("192.0.2.1", "192.0.2.2"))
				stop := w.tend()
				defer stop()
				running := w.at("192.0.2.1", route.Question{}).Target.(visit)
				running.Enter()
				running.Connected(full10)
				if err := change(w); err != nil {
					t.Fatal(err)
				}
				if running.Enter() {
					t.Error("another connection begins")
				}
				time.Sleep(time.Minute - time.Second)
				select {
				case <-running.Ended():
					t.Error("ended before its time")
				default:
				}
				time.Sleep(time.Second)
				<-running.Ended()
				running.Leave()
				if said := w.said(mail.ReasonTargetChanged); said[len(said)-1] != "target-changed 192.0.2.1" && name != "no pool" {
					t.Errorf("%q", said)
				}
			})
		})
	}
}

// TestStopEndsNothingThatRuns: who runs it does. Of what was taken away nothing is left behind.
func TestStopEndsNothingThatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, with("192.0.2.1"))
		stop := w.tend()
		running := w.at("192.0.2.1", route.Question{}).Target
		if _, err := w.Drain("192.0.2.1", "anna"); err != nil {
			t.Fatal(err)
		}
		stop()
		time.Sleep(time.Hour)
		select {
		case <-running.Ended():
			t.Error("ended by nobody who is there")
		default:
		}
	})
}

// TestVaryingOffers: what several servers behind one address offer is told when it differs; that one
// was changed is not.
func TestVaryingOffers(t *testing.T) {
	w := newWorld(t, with("192.0.2.1"))
	small := route.Capabilities{ESMTP: true, StartTLS: true, Size: 1000, Auth: []string{"PLAIN"}}
	warned := func(offers ...route.Capabilities) bool {
		t.Helper()
		target := w.at("192.0.2.1", route.Question{}).Target
		for _, c := range offers {
			target.Connected(c)
		}
		return len(w.Pools()[0].Warnings) > 0
	}
	other := full10
	other.Auth = []string{"LOGIN"}
	if warned(full10, other, full10, other, small, small) {
		t.Error("it was changed once")
	}
	if !warned(full10) || !strings.Contains(w.Pools()[0].Warnings[0], "192.0.2.1 [192.0.2.1:25]") {
		t.Errorf("%q", w.Pools()[0].Warnings)
	}
	if _, err := w.Reconnect("192.0.2.1", "anna"); err != nil || len(w.Pools()[0].Warnings) > 0 {
		t.Errorf("it begins anew: %q, %v", w.Pools()[0].Warnings, err)
	}
}

// TestDrain: no mail goes there until it is undone; what was known stays.
func TestDrain(t *testing.T) {
	w := newWorld(t, with("192.0.2.1", "192.0.2.2"))
	w.at("192.0.2.1", route.Question{}).Target.Connected(full10)
	for range 2 {
		if v, err := w.Drain("192.0.2.1", "anna"); err != nil || len(v) != 1 || v[0].Drained != "anna" || v[0].State != Active {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	if got := order(w.hops(route.Question{})); got != "192.0.2.2" {
		t.Error(got)
	}
	w.change(with("192.0.2.1"))
	if _, err := w.Transport("hubs").Route(t.Context(), route.Question{}); err == nil || !strings.Contains(err.Error(), "drained by anna") {
		t.Errorf("after a reload: %v", err)
	}
	was := w.told()
	if v, err := w.Undrain("hubs", "anna"); err != nil || v[0].Drained != "" || w.told() == was {
		t.Errorf("%+v, %v, told %d times", v, err, w.told()-was)
	}
	if got := order(w.hops(route.Question{})); got != "192.0.2.1" {
		t.Error(got)
	}
}

// TestFind: by all the names that a person may use.
func TestFind(t *testing.T) {
	other := with("192.0.2.1")
	other.Name = "other"
	w := newWorld(t, with("a.test", "192.0.2.1 port=26", "2001:db8::1"), other)
	w.names.Set("a.test", addresses("192.0.2.1", "192.0.2.2")...)
	w.hops(route.Question{})
	if _, err := w.Transport("other").Route(t.Context(), route.Question{}); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"192.0.2.2": "hubs/192.0.2.2:25", "192.0.2.1:25": "hubs/192.0.2.1:25 other/192.0.2.1:25", "A.test": "hubs/192.0.2.1:25 hubs/192.0.2.2:25",
		"192.0.2.1": "hubs/192.0.2.1:25 hubs/192.0.2.1:26 other/192.0.2.1:25", "hubs/192.0.2.1:26": "hubs/192.0.2.1:26", "hubs/a.test:25": "hubs/192.0.2.1:25 hubs/192.0.2.2:25",
		"[2001:db8::1]:25": "hubs/[2001:db8::1]:25", "2001:DB8::1": "hubs/[2001:db8::1]:25", "[2001:db8::1]": "hubs/[2001:db8::1]:25",
		"other": "other/192.0.2.1:25", "other/192.0.2.2": "", "": "", "hub": "", "192.0.2": "",
	} {
		found, err := w.Find(text)
		var got []string
		for _, v := range found {
			got = append(got, v.Pool+"/"+v.Address.String())
		}
		if strings.Join(got, " ") != want || errors.Is(err, ErrNoTarget) != (want == "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

// TestRouteWaitsForNames, but not for ever.
func TestRouteWaitsForNames(t *testing.T) {
	w := newWorld(t, with("a.test"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Transport("hubs").Route(ended, route.Question{}); err == nil || !strings.Contains(err.Error(), "4.4.1") {
		t.Errorf("%v", err)
	}
	if _, err := w.Transport("hubs").Route(t.Context(), route.Question{}); err == nil || !strings.Contains(err.Error(), "no target has an address") {
		t.Errorf("%v", err)
	}
}
