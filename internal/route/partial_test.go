package route

import (
	"net/netip"
	"testing"

	"postern/internal/dns"
	"postern/internal/mail"
)

// TestPartial: a way says when there are servers of which DNS does not tell now; what it
// is certain of is no such server.
func TestPartial(t *testing.T) {
	var names dns.Memory
	names.Set("known.test", netip.MustParseAddr("192.0.2.1"))
	names.Fail("silent.test", dns.ErrTemporary)
	names.SetMX("some.test", dns.MX{Host: "known.test", Preference: 1}, dns.MX{Host: "silent.test", Preference: 2})
	names.SetMX("all.test", dns.MX{Host: "known.test", Preference: 1}, dns.MX{Host: "gone.test", Preference: 2})
	lookup := Lookup{Resolver: &names}
	hosts := func(mx bool, list ...string) Transport {
		o := Options{Lookup: lookup, LookupMX: mx}
		for _, h := range list {
			o.Hosts = append(o.Hosts, mail.HostPort{Host: h, Port: 25})
		}
		return NewSmarthosts(o)
	}
	direct := NewMX(MXOptions{Lookup: lookup, Port: 25})
	for name, c := range map[string]struct {
		transport Transport
		to        mail.Destination
		want      bool
	}{
		"hosts":                       {hosts(false, "known.test", "silent.test"), "", true},
		"hosts, one is none":          {hosts(false, "known.test", "gone.test"), "", false},
		"MX of a hub":                 {hosts(true, "some.test"), "", true},
		"MX of a hub that are known":  {hosts(true, "all.test"), "", false},
		"MX":                          {direct, "some.test", true},
		"MX that are known":           {direct, "all.test", false},
		"several":                     {inOrder{hosts(false, "known.test"), hosts(false, "silent.test")}, "", true},
		"several, of which one is so": {inOrder{hosts(false, "known.test"), hosts(false, "known.test", "silent.test")}, "", true},
		"several that are known":      {inOrder{hosts(false, "known.test"), direct}, "all.test", false},
	} {
		r, err := c.transport.Route(t.Context(), Question{Destination: c.to})
		if err != nil || r.Partial != c.want {
			t.Errorf("%s: %v, %v", name, r.Partial, err)
		}
	}
}
