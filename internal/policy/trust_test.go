package policy

import (
	"net/netip"
	"strings"
	"testing"
)

// TestTrusts: who is trusted for an address, at which listener, and why not.
func TestTrusts(t *testing.T) {
	text := strings.Replace(head, `relay = "everybody"`, `trust = ["10.0.0.0/8", "2001:db8::/32", "fe80::/10"]`, 1) + `
[[listener]]
name = "gateway"
address = "127.0.0.1:2527"
trust = ["10.0.0.0/8"]
trust_gateway = true
[[listener]]
name = "nobody"
address = "127.0.0.1:2528"
trust = []
`
	o := options(load(t, text))
	gateway := netip.MustParseAddr("10.0.0.1")
	o.Masks = func(client netip.Addr) string {
		if client == gateway {
			return "10.0.0.1 is the gateway"
		}
		return ""
	}
	e, problems := Compile(o)
	for _, p := range problems {
		t.Fatal(p)
	}
	for _, c := range []struct {
		listener, client string
		trusted          bool
		masked           string
	}{
		{"smtp", "10.1.2.3", true, ""},
		{"smtp", "::ffff:10.1.2.3", true, ""},
		{"smtp", "11.1.2.3", false, ""},
		{"smtp", "2001:db8::1", true, ""},
		{"smtp", "2001:db9::1", false, ""},
		{"smtp", "fe80::1%eth0", true, ""},
		{"smtp", "10.0.0.1", false, "10.0.0.1 is the gateway"},
		{"gateway", "10.0.0.1", true, ""},
		{"nobody", "10.1.2.3", false, ""},
		{"nobody", "10.0.0.1", false, ""},
		{"sendmail", "10.1.2.3", false, ""},
		{"none", "10.1.2.3", false, ""},
	} {
		trusted, masked := e.Trusts(c.listener, netip.MustParseAddr(c.client))
		if trusted != c.trusted || masked != c.masked {
			t.Errorf("%s at %s: %v %q, want %v %q", c.client, c.listener, trusted, masked, c.trusted, c.masked)
		}
	}
	// What is around the machine may change from one command to the next.
	s := &talk{t: t, Session: e.Begin(origin("10.0.0.1"))}
	s.mail("joe@example.com")
	d, _ := s.rcpt("ann@elsewhere.example")
	const denied = "Relaying denied: 10.0.0.1 is the gateway; it is not trusted for its address"
	if d.Verdict != Reject || d.Reply.Text != denied || !strings.Contains(d.Trail[0].Effect, denied) {
		t.Errorf("the gateway: %+v", d)
	}
	gateway = netip.MustParseAddr("10.0.0.2")
	if d, _ := s.rcpt("ann@elsewhere.example"); d.Verdict != Accept {
		t.Errorf("it is no gateway any more: %+v", d)
	}
}

// TestWithdraw: a recipient that the server refused is none.
func TestWithdraw(t *testing.T) {
	e := compile(t, handler("rule", "rcpt", `{ log = "${smtp.rcpt.recipients}" }`))
	s := begin(t, e, "192.0.2.66")
	s.Withdraw() // there is none
	s.mail("joe@example.com")
	s.rcpt("ann@example.org")
	s.rcpt("nobody@mail.postern.net")
	s.Withdraw()
	if d, _ := s.rcpt("bob@example.org"); d.Trail[0].Effect != `logs "ann@example.org"` {
		t.Errorf("%+v", d)
	}
	(*Session)(nil).Withdraw()
}

// TestListsOfSettings: what lists have counts as what stands beside them.
func TestListsOfSettings(t *testing.T) {
	const lists = `
[[list]]
name = "partners"
kind = "networks"
file = "partners"
[[list]]
name = "near"
kind = "domains"
file = "near"
`
	settings := `relay = "both"
trust = ["10.0.0.0/8", "list:partners"]
near = ["near.example", "list:near"]`
	e := compileAll(t, strings.Replace(head, `relay = "everybody"`, settings, 1)+lists)
	for _, c := range []struct {
		client, to string
		want       Verdict
	}{
		{"192.0.2.7", "ann@far.example", Accept}, // of partners
		{"10.0.0.7", "ann@far.example", Accept},
		{"198.51.100.7", "ann@far.example", Reject},
		{"198.51.100.7", "ann@near.example", Accept},
		{"198.51.100.7", "ann@listed.example", Accept}, // of near
		{"198.51.100.7", "ann@BÜCHER.example", Accept},
		{"198.51.100.7", "ann@sub.listed.example", Reject},
	} {
		s := &talk{t: t, Session: e.Begin(origin(c.client))}
		s.mail("joe@example.com")
		if d, _ := s.rcpt(c.to); d.Verdict != c.want {
			t.Errorf("%s to %s: %v, want %v", c.client, c.to, d.Verdict, c.want)
		}
	}
	e = compileAll(t, strings.Replace(head, `relay = "everybody"`, "relay = \"everybody\"\nreject_clients = [\"list:partners\"]", 1)+lists)
	for client, want := range map[string]Verdict{"192.0.2.7": Reject, "198.51.100.7": Accept} {
		s := &talk{t: t, Session: e.Begin(origin(client))}
		if d := s.connect(); d.Verdict != want {
			t.Errorf("%s: %v, want %v", client, d.Verdict, want)
		}
	}
}

// TestProxiesAreNotTrusted for their addresses, because anybody may be behind them,
// unless the listener says that nobody else is.
func TestProxiesAreNotTrusted(t *testing.T) {
	text := strings.Replace(head, `relay = "everybody"`, "trust = [\"10.0.0.0/8\"]\nproxy_from = [\"10.0.0.7\"]", 1) + `
[[listener]]
name = "alone"
address = "127.0.0.1:2527"
trust = ["10.0.0.0/8"]
proxy_from = ["10.0.0.7"]
trust_gateway = true
`
	e, problems := Compile(options(load(t, text)))
	for _, p := range problems {
		t.Fatal(p)
	}
	for client, want := range map[string]bool{"10.0.0.7": false, "10.0.0.8": true} {
		trusted, masked := e.Trusts("smtp", netip.MustParseAddr(client))
		if trusted != want || trusted != (masked == "") {
			t.Errorf("%s: %v %q", client, trusted, masked)
		}
		if trusted, masked := e.Trusts("alone", netip.MustParseAddr(client)); !trusted || masked != "" {
			t.Errorf("%s, with trust_gateway: %v %q", client, trusted, masked)
		}
	}
}
