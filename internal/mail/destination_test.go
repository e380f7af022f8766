package mail

import "testing"

func TestDestination(t *testing.T) {
	for _, c := range []struct {
		d      Destination
		domain string
		route  RouteKey
	}{
		{"example.com", "example.com", ""},
		{"example.com/relay2.example.com:587", "example.com", "relay2.example.com:587"},
		{"[ipv6:2001:db8::1]/[2001:db8::7]:25", "[ipv6:2001:db8::1]", "[2001:db8::7]:25"},
		{"", "", ""},
	} {
		if c.d.Domain() != c.domain || c.d.Route() != c.route {
			t.Errorf("%q is %q by %q, want %q by %q", c.d, c.d.Domain(), c.d.Route(), c.domain, c.route)
		}
		if back := Destination(c.domain).Via(c.route); back != c.d {
			t.Errorf("%q by %q is %q", c.domain, c.route, back)
		}
		if other := c.d.Via("x:1"); other.Domain() != c.domain || other.Route() != "x:1" {
			t.Errorf("%q by another route is %q", c.d, other)
		}
	}
}

// TestNoDomainHasARoute: whatever may stand behind the @ of an address, its
// destination has no route that nobody chose.
func TestNoDomainHasARoute(t *testing.T) {
	for _, s := range []string{"a@b/c", "a@[x/y]", "a@[IPv6:::1/64]", `"a/b"@c`, "a@b.c/d:25"} {
		if a, err := ParseAddress(s); err == nil && a.Destination().Route() != "" {
			t.Errorf("%s has the destination %q", s, a.Destination())
		}
	}
}

func TestTLSDemand(t *testing.T) {
	for d, want := range map[TLSDemand]bool{"": true, TLSRequired: true, TLSVerified: true, "none": false, "Verify": false} {
		if d.Valid() != want {
			t.Errorf("%q is valid: %t", d, d.Valid())
		}
	}
}

func TestParseDestination(t *testing.T) {
	for s, want := range map[string]Destination{
		"Example.COM": "example.com", "example.com/Relay2.test:587": "example.com/relay2.test:587", "[192.0.2.1]": "[192.0.2.1]",
		"a.test/Relay.test": "a.test/relay.test:25", "a.test/[2001:DB8:0::7]": "a.test/[2001:db8::7]:25",
		"a.test/[2001:db8::7]:25": "a.test/[2001:db8::7]:25", "": "", "a..b": "", "a.test/": "", "a.test/b:0": "", "/b:25": "", "a.test/b/c": "",
	} {
		if got, err := ParseDestination(s); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", s, got, err, want)
		}
	}
}
