package explain

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/config"
	"postern/internal/directory"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// who has the addresses of gate.example: staff is two, gone nobody.
type who struct{}

func (who) IsLocal(domain string) bool { return domain == "gate.example" }

func (who) ResolveFor(_ string, a mail.Address) (directory.Resolution, bool) {
	targets := []mail.Address{{Local: "ann", Domain: "partner.example"}, {Local: "bob", Domain: "other.example"}}
	return directory.Resolution{Kind: directory.KindAlias, Address: a, Targets: targets}, a.Local == "staff"
}

// routed is a server with a route, and with DNS in memory.
func routed(t *testing.T) *Server {
	t.Helper()
	s := server(t, head)
	var names dns.Memory
	names.Set("relay.example", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"))
	names.SetMX("other.example", dns.MX{Host: "relay.example"})
	lookup := route.Lookup{Resolver: &names}
	rules, err := route.NewRules(route.RulesOptions{Routes: []config.Route{{
		Placed: config.Placed{Place: mail.Place{File: "postern.toml", Line: 9}}, Name: "to-partners", Transport: config.Text{Text: "partners"},
		Recipients: []config.Text{{Text: "*@partner.example"}}, Accounts: []config.Text{{Text: "ann"}}, Tags: []config.Text{{Text: "bulk"}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	lane := route.Lane{TLS: tlspolicy.Policy{Level: tlspolicy.Verify, Source: "transport partners"}, Login: route.Password{User: "us"}, From: route.Identity{Hostname: "us.example"}}
	table := route.NewTable(route.TableOptions{
		Rules: rules, Otherwise: &route.General{Direct: route.NewMX(route.MXOptions{Lookup: lookup, Port: 25})},
		Transports: map[string]route.Transport{"partners": route.NewSmarthosts(route.Options{Lookup: lookup, Name: "partners", Lane: lane,
			Hosts: []mail.HostPort{{Host: "relay.example", Port: 587}}})},
	})
	s.Router, s.Door.Choose, s.Door.Local.Directory = table, table.Choose, who{}
	s.Outgoing = Outgoing{
		Limits: func(name string, bears int) Limits {
			if name == "partners" {
				return Limits{Connections: 3, Recipients: 7, Messages: 9, Rate: "100/1h", Size: 5000}
			}
			return Limits{Connections: 20 + bears, Recipients: 100}
		},
		Login: func(l *route.Lane) Login {
			if l.Login == nil {
				return Login{}
			}
			return Login{"us", "credential us", "named for the transport " + l.Transport}
		},
		Whose: func(sender mail.Address, domain string) string {
			if sender.Domain == "acme.example" {
				return "acme to " + domain
			}
			return ""
		},
	}
	s.Outgoing.Refused = func(credential, host string) string {
		if credential == "us" && host == "relay.example" {
			return "is refused"
		}
		return ""
	}
	s.Account = func(name string) (mail.Principal, bool) {
		return mail.Principal{Account: mail.Account{Name: name, Source: "directory"}}, name == "ann"
	}
	return s
}

func TestWhither(t *testing.T) {
	s := routed(t)
	for _, c := range []struct {
		question RouteQuestion
		want     string
	}{
		{RouteQuestion{To: address(t, "x@partner.example"), User: "ann", Tags: []string{"bulk"}}, `
<x@partner.example>: by partners: the route to-partners at postern.toml:9
  destination partner.example/~partners
  * relay.example:587 at 192.0.2.1:587, [2001:db8::1]:587; TLS verify (transport partners): TLS 1.2 or newer; shows credential us (named for the transport partners); EHLO us.example
    NOT AT PRESENT: credential us is refused
  at most 3 connections, 7 recipients at a time, 9 messages over a connection, messages at 100/1h, 5000 octets in a message

asked: from <> at listener smtp as ann, tagged bulk
`},
		{RouteQuestion{To: address(t, "x@partner.example"), User: "eve", From: address(t, "e@x.example"), Listener: "inside"}, `
<x@partner.example>: directly: there is neither mailhub nor router
  destination partner.example
  no way now: 550 5.1.2 The domain does not exist: not in DNS: no such name: partner.example.
  - to-partners at postern.toml:9: it is not for mail of this account

asked: from <e@x.example> at listener inside as eve
`},
		{RouteQuestion{To: address(t, "staff@gate.example"), User: "ann", Tags: []string{"bulk"}}, `
<staff@gate.example>: for <ann@partner.example>, by partners: the route to-partners at postern.toml:9
  destination partner.example/~partners
  * relay.example:587 at 192.0.2.1:587, [2001:db8::1]:587; TLS verify (transport partners): TLS 1.2 or newer; shows credential us (named for the transport partners); EHLO us.example
    NOT AT PRESENT: credential us is refused
  at most 3 connections, 7 recipients at a time, 9 messages over a connection, messages at 100/1h, 5000 octets in a message
<staff@gate.example>: for <bob@other.example>, by mx: directly: there is neither mailhub nor router
  destination other.example
  * relay.example:25 at 192.0.2.1:25, [2001:db8::1]:25; TLS : TLS 1.2 or newer
  at most 20 connections, 100 recipients at a time
  - to-partners at postern.toml:9: it is not for this recipient

asked: from <> at listener smtp as ann, tagged bulk
`},
		{RouteQuestion{To: address(t, "gone@gate.example")}, `
<gone@gate.example> is refused: 550 5.1.1 No such user here

asked: from <> at listener smtp
`},
	} {
		r, err := s.Whither(t.Context(), c.question)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want[1:], b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.question.To, diff)
		}
	}
	if _, err := s.Whither(t.Context(), RouteQuestion{To: address(t, "a@b.example"), Listener: "none"}); err == nil {
		t.Error("no listener, and no error")
	}
}

// TestWalkTellsTheWay: at the end of a walk stands what the table does, with servers only if
// DNS is asked.
func TestWalkTellsTheWay(t *testing.T) {
	for _, resolve := range []bool{true, false} {
		s := routed(t)
		s.Resolve = resolve
		r, err := s.Walk(t.Context(), &Mail{Listener: "inside", Client: client("192.0.2.50"), User: "ann", From: address(t, "e@x.example"), To: addresses(t, "x@other.example")})
		if err != nil {
			t.Fatal(err)
		}
		to := &r.Recipients[0]
		if to.Way == nil || to.Way.Destination != to.Destination || (len(to.Way.Hops) == 1) != resolve {
			t.Errorf("resolve %v: %+v, to go to %s", resolve, to.Way, to.Destination)
		}
		var b strings.Builder
		if err := r.Write(&b); err != nil || !strings.Contains(b.String(), "\nWAYS\n<x@other.example>: ") {
			t.Errorf("%v:\n%s", err, b.String())
		}
	}
}
