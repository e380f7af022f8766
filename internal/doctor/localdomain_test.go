package doctor

import (
	"context"
	"net/netip"
	"testing"

	"postern/internal/dns"
)

// TestLocalDomains: a domain whose servers are elsewhere is a trap, with their names; one
// of this host, by name or address, or of which nobody knows, is none.
func TestLocalDomains(t *testing.T) {
	var m dns.Memory
	own := netip.MustParseAddr("203.0.113.5")
	m.Set("gate.test", netip.MustParseAddr("203.0.113.9"))
	m.Set("alias-of-gate.test", own)
	m.Set("mx.other.test", netip.MustParseAddr("192.0.2.1"))
	m.Set("mx2.other.test", netip.MustParseAddr("192.0.2.2"))
	m.Fail("broken.test", dns.ErrTemporary)
	for domain, servers := range map[string][]dns.MX{
		"elsewhere.test": {{Host: "mx2.other.test", Preference: 20}, {Host: "mx.other.test", Preference: 10}},
		"byname.test":    {{Host: "GATE.test", Preference: 10}},
		"byaddress.test": {{Host: "mx.other.test", Preference: 10}, {Host: "alias-of-gate.test", Preference: 20}},
		"null.test":      {{Host: ""}},
		"unknown.test":   {{Host: "broken.test"}},
		"gone.test":      {{Host: "nowhere.test"}},
		"many.test":      {{Host: "a.other.test"}, {Host: "b.other.test"}, {Host: "c.other.test"}, {Host: "d.other.test"}, {Host: "e.other.test"}, {Host: "f.other.test"}},
	} {
		m.SetMX(domain, servers...)
	}
	l := LocalDomains{Resolver: &m, IsName: func(host string) bool { return host == "GATE.test" }, Addresses: []netip.Addr{own}}
	const trapped = ": what this host is given for it is TRAPPED here, and never gets there"
	for domain, want := range map[string]string{
		"elsewhere.test": "the domain elsewhere.test is local here, but the world sends its mail to mx.other.test, mx2.other.test" + trapped,
		"gone.test":      "the domain gone.test is local here, but the world sends its mail to nowhere.test" + trapped,
		"many.test":      "the domain many.test is local here, but the world sends its mail to a.other.test, b.other.test, c.other.test, d.other.test, e.other.test, 1 more" + trapped,
		"byname.test":    "", "byaddress.test": "", "null.test": "", "unknown.test": "", "none.test": "",
	} {
		if got := l.Trap(t.Context(), domain); got != want {
			t.Errorf("%s: %q, want %q", domain, got, want)
		}
	}
	found := l.Check(context.Background(), []string{"byname.test", "elsewhere.test", "gone.test"})
	if len(found) != 2 || found[0].Hint != "if it is not meant so: postern domain delete elsewhere.test" {
		t.Errorf("found %v", found)
	}
}
