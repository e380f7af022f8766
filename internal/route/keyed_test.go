package route

import (
	"context"
	"errors"
	"testing"

	"postern/internal/mail"
)

type fixed Route

func (f fixed) Route(context.Context, mail.Destination) (Route, error) { return Route(f), nil }

// TestKeyed: a route that policy chose leads to that server alone, whatever the
// domain's own is; the password of the smarthosts goes to nobody else.
func TestKeyed(t *testing.T) {
	secret := mail.Credentials{User: "postern"}
	k := NewKeyed(Options{Lookup: Lookup{Resolver: names()}, Hosts: hosts(t, "a.test:587"), TLS: "verify", Credentials: secret}, fixed{Name: "other"})
	for d, want := range map[mail.Destination]string{
		"x.test":                         "other:  ",
		"x.test/b.test:587":              "smarthost: b.test:587=192.0.2.2:587 ",
		"x.test/b.test":                  "smarthost: b.test:25=192.0.2.2:25 ",
		"x.test/[2001:db8::7]:25":        "smarthost: 2001:db8::7:25=[2001:db8::7]:25 ",
		"[192.0.2.9]/A.test:587":         "smarthost: a.test:587=192.0.2.1:587 [2001:db8::1]:587 postern",
		"x.test/a.test:25":               "smarthost: a.test:25=192.0.2.1:25 [2001:db8::1]:25 ",
		"nothing.test/198.51.100.7:2525": "smarthost: 198.51.100.7:2525=198.51.100.7:2525 ",
	} {
		r, err := k.Route(t.Context(), d)
		user := ""
		for _, h := range r.Hops {
			user = h.Credentials.User
			if h.TLS != "verify" {
				t.Errorf("%s: TLS %q", d, h.TLS)
			}
		}
		if got := r.Name + ": " + show(r) + " " + user; got != want || err != nil {
			t.Errorf("%s leads to %q, %v; want %q", d, got, err, want)
		}
	}
	for _, d := range []mail.Destination{"x.test/two words", "x.test/b.test:0", "x.test/b.test/c", "x.test/unknown.test:25"} {
		_, err := k.Route(t.Context(), d)
		if e, ok := errors.AsType[*mail.Error](err); !ok || !e.Reply.Temporary() {
			t.Errorf("%s: %v, want an error that passes", d, err)
		}
	}
	// Mail by the key and mail by the configured list of that one host share
	// their site and its connections.
	one, _ := NewSmarthosts(k.options).Route(t.Context(), "x.test")
	if keyed, _ := k.Route(t.Context(), "x.test/a.test:587"); !keyed.SameWay(one) {
		t.Errorf("by the key it is %+v, by the configuration %+v", keyed, one)
	}
}

func TestDemand(t *testing.T) {
	for _, c := range []struct {
		tls    string
		demand mail.TLSDemand
		want   string
	}{
		{"none", "", "none"}, {"opportunistic", "", "opportunistic"}, {"required", "", "required"}, {"verify", "", "verify"},
		{"none", mail.TLSRequired, "required"}, {"opportunistic", mail.TLSRequired, "required"},
		{"required", mail.TLSRequired, "required"}, {"verify", mail.TLSRequired, "verify"},
		{"none", mail.TLSVerified, "verify"}, {"required", mail.TLSVerified, "verify"}, {"verify", mail.TLSVerified, "verify"},
	} {
		r := Route{Site: "s", Hops: []Hop{{Host: "a", TLS: c.tls}}}
		if got := r.Demand(c.demand).Hops[0].TLS; got != c.want {
			t.Errorf("%s with the demand %q: %s, want %s", c.tls, c.demand, got, c.want)
		}
		if r.Hops[0].TLS != c.tls {
			t.Error("the route of others was changed")
		}
	}
}
