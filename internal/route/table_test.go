package route

import (
	"context"
	"errors"
	"testing"

	"postern/internal/mail"
	"postern/internal/tlspolicy"
)

type fixed Route

func (f fixed) Route(context.Context, Question) (Route, error) { return Route(f), nil }

func byTable(t *testing.T, to mail.Destination) (Route, error) {
	t.Helper()
	server := func(h mail.HostPort) Transport {
		return NewSmarthosts(Options{Lookup: Lookup{Resolver: names()}, Hosts: []mail.HostPort{h}})
	}
	table := NewTable(TableOptions{
		Transports: map[string]Transport{"partners": fixed{Name: "partners"}}, Server: server, Otherwise: fixed{Name: "other"},
	})
	return table.Route(t.Context(), Question{Destination: to})
}

// TestTable: a route that was chosen leads there alone, whatever the domain's own
// is, and whoever chose it.
func TestTable(t *testing.T) {
	for d, want := range map[mail.Destination]string{
		"x.test":                         "other: ",
		"x.test/partners":                "partners: ",
		"x.test/~partners":               "partners: ",
		"x.test/b.test:587":              "smarthost: b.test:587=192.0.2.2:587",
		"x.test/~b.test:587":             "smarthost: b.test:587=192.0.2.2:587",
		"x.test/b.test":                  "smarthost: b.test:25=192.0.2.2:25",
		"x.test/[2001:db8::7]:25":        "smarthost: 2001:db8::7:25=[2001:db8::7]:25",
		"[192.0.2.9]/A.test:587":         "smarthost: a.test:587=192.0.2.1:587 [2001:db8::1]:587",
		"nothing.test/198.51.100.7:2525": "smarthost: 198.51.100.7:2525=198.51.100.7:2525",
	} {
		r, err := byTable(t, d)
		if got := r.Name + ": " + show(r); got != want || err != nil {
			t.Errorf("%s leads to %q, %v; want %q", d, got, err, want)
		}
	}
	for _, d := range []mail.Destination{"x.test/two words", "x.test/b.test:0", "x.test/b.test/c", "x.test/unknown.test:25", "x.test/unknown", "x.test/~"} {
		_, err := byTable(t, d)
		if e, ok := errors.AsType[*mail.Error](err); !ok || !e.Reply.Temporary() {
			t.Errorf("%s: %v, want an error that passes", d, err)
		}
	}
}

func TestDemand(t *testing.T) {
	for _, c := range []struct {
		tls    tlspolicy.Level
		demand mail.TLSDemand
		want   tlspolicy.Level
	}{
		{"none", "", "none"}, {"opportunistic", "", "opportunistic"}, {"required", "", "required"}, {"verify", "", "verify"},
		{"none", mail.TLSRequired, "required"}, {"opportunistic", mail.TLSRequired, "required"},
		{"required", mail.TLSRequired, "required"}, {"verify", mail.TLSRequired, "verify"},
		{"none", mail.TLSVerified, "verify"}, {"required", mail.TLSVerified, "verify"}, {"verify", mail.TLSVerified, "verify"},
	} {
		r := Route{Site: "s", Hops: []Hop{{Lane: Lane{Host: "a", TLS: tlspolicy.Policy{Level: c.tls}}}}}
		if got := r.Demand(c.demand).Hops[0].TLS.Level; got != c.want {
			t.Errorf("%s with the demand %q: %s, want %s", c.tls, c.demand, got, c.want)
		}
		if r.Hops[0].TLS.Level != c.tls {
			t.Error("the route of others was changed")
		}
	}
}
