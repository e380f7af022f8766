package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

// oracle says where the mail for a domain goes that no explicit route is for. It was
// written from the text of the mail servers that have these settings, not from ours: "the
// mail router is the system where mail is routed if it is not local", "when it cannot
// locate the recipient's exact IP address"; "recipients whose domain is not on the system go
// through the router when the firewall support is on"; near domains "do not send mail
// through the firewall"; the mailhub gets "all nonlocal mail". The first row that fits is
// taken; "." is either. Behind the way: whether the domain is looked up.
const oracle = `
local hub router firewall near | DNS says   | way     | looks up
yes   .   .      .        .    | .          | here    | no
no    yes .      .        .    | .          | hub     | no
no    no  yes    yes      no   | .          | router  | no
no    no  .      .        .    | servers    | direct  | yes
no    no  yes    .        .    | nodomain   | router  | yes
no    no  yes    .        .    | noserver   | router  | yes
no    no  no     .        .    | nodomain   | refused | yes
no    no  no     .        .    | noserver   | refused | yes
no    no  .      .        .    | nomail     | refused | yes
no    no  .      .        .    | noanswer   | waits   | yes
no    no  .      .        .    | halfanswer | waits   | yes
no    no  .      .        .    | back       | refused | yes
`

// counted counts what is asked of a resolver.
type counted struct {
	dns.Resolver
	mu    sync.Mutex
	names []string
}

func (c *counted) count(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = append(c.names, strings.TrimSuffix(name, "."))
}

func (c *counted) LookupAddr(ctx context.Context, host string) ([]netip.Addr, error) {
	c.count(host)
	return c.Resolver.LookupAddr(ctx, host)
}

func (c *counted) LookupMX(ctx context.Context, domain string) ([]dns.MX, error) {
	c.count(domain)
	return c.Resolver.LookupMX(ctx, domain)
}

// oracleNames answer about <what DNS says>.test.
func oracleNames() *dns.Memory {
	var m dns.Memory
	m.SetMX("servers.test", dns.MX{Host: "mx.test"})
	m.Set("mx.test", netip.MustParseAddr("192.0.2.10"))
	m.Fail("nodomain.test", dns.ErrNoName)
	m.SetMX("noserver.test", dns.MX{Host: "gone1.test"}, dns.MX{Host: "gone2.test"})
	m.SetMX("nomail.test", dns.MX{})
	m.Fail("noanswer.test", dns.ErrTemporary)
	m.SetMX("halfanswer.test", dns.MX{Host: "gone1.test"}, dns.MX{Host: "broken.test"})
	m.Fail("broken.test", dns.ErrTemporary)
	m.SetMX("back.test", dns.MX{Host: "self.test"})
	m.Set("hub.test", netip.MustParseAddr("192.0.2.20"))
	m.Set("router.test", netip.MustParseAddr("192.0.2.30"))
	return &m
}

var oracleAnswers = []string{"servers", "nodomain", "noserver", "nomail", "noanswer", "halfanswer", "back"}

// settings are one combination of what the oracle is asked.
type oracleCase struct {
	local, hub, router, firewall, near bool
	says                               string
}

// want returns the first row that fits.
func (c oracleCase) want(t *testing.T) (way, lookup string) {
	t.Helper()
	for row := range strings.Lines(oracle) {
		fields := strings.Fields(strings.ReplaceAll(row, "|", " "))
		if len(fields) != 8 || fields[0] == "local" {
			continue
		}
		fits := fields[5] == "." || fields[5] == c.says
		for i, is := range []bool{c.local, c.hub, c.router, c.firewall, c.near} {
			fits = fits && (fields[i] == "." || fields[i] == map[bool]string{true: "yes", false: "no"}[is])
		}
		if fits {
			return fields[6], fields[7]
		}
	}
	t.Fatalf("the oracle is silent about %+v", c)
	return "", ""
}

// oracleWay is where mail went.
type oracleWay struct {
	way   string
	reply mail.Reply // if it went nowhere
	asked []string   // of DNS
}

// got routes the mail of the case.
func (c oracleCase) got(t *testing.T) oracleWay {
	resolver := &counted{Resolver: oracleNames()}
	lookup := Lookup{Resolver: resolver}
	smarthost := func(name string) Transport {
		return NewSmarthosts(Options{Lookup: lookup, Name: name, Hosts: []mail.HostPort{{Host: name + ".test", Port: 25}}})
	}
	isSelf := func(name string) bool { return name == "self.test" }
	g := &General{Firewall: c.firewall, Direct: NewMX(MXOptions{Lookup: lookup, Name: "direct", Port: 25, IsName: isSelf}),
		Near:    func(mail.Address, string) (string, bool) { return "x.test", c.near },
		IsLocal: func(string) bool { return c.local }}
	if c.hub {
		g.Mailhub = smarthost("hub")
	}
	if c.router {
		g.Router = smarthost("router")
	}
	r, err := NewTable(TableOptions{Otherwise: g}).Route(t.Context(), Question{Destination: mail.Destination(c.says + ".test")})
	e, _ := errors.AsType[*mail.Error](err)
	switch {
	case err == nil:
		return oracleWay{way: r.Name, asked: resolver.names}
	case e == nil:
		t.Fatalf("%+v: %v, which has no reply", c, err)
		return oracleWay{}
	}
	got := oracleWay{"refused", e.Reply, resolver.names}
	switch {
	case e.Reply == errHere.Reply:
		got.way = "here"
	case e.Reply.Temporary():
		got.way = "waits"
	}
	return got
}

// TestOracle goes through all combinations, and counts the questions to DNS.
func TestOracle(t *testing.T) {
	cases := 0
	observed := map[oracleCase]oracleWay{}
	for bits := range 32 {
		for _, says := range oracleAnswers {
			c := oracleCase{bits&1 > 0, bits&2 > 0, bits&4 > 0, bits&8 > 0, bits&16 > 0, says}
			if c.firewall && !c.router {
				continue // which the configuration refuses
			}
			cases++
			want, lookup := c.want(t)
			got := c.got(t)
			way, asked := got.way, got.asked
			observed[c] = got
			if way != want {
				t.Errorf("%+v: %s, want %s", c, way, want)
			}
			if looked := slices.Contains(asked, says+".test"); looked != (lookup == "yes") {
				t.Errorf("%+v: the domain was looked up: %v, want %s; asked: %q", c, looked, lookup, asked)
			}
			if want == "hub" && fmt.Sprint(asked) != "[hub.test]" || want == "here" && len(asked) > 0 {
				t.Errorf("%+v: asked for %q", c, asked)
			}
		}
	}
	if cases != 24*len(oracleAnswers) {
		t.Errorf("%d cases", cases)
	}
	part := mailtest.PagePart{Page: "../../docs/ways-out.md", Name: "combinations", Command: "go test ./internal/route -run TestOracle"}
	part.Compare(t, oracleTable(observed), *update)
}

// TestRouterDoesNotResolve: mail waits, and never goes round a router or mailhub that does
// not resolve, whatever the domain's own servers are.
func TestRouterDoesNotResolve(t *testing.T) {
	for _, failure := range []error{dns.ErrNoName, dns.ErrNotFound, dns.ErrTemporary} {
		for _, hub := range []bool{true, false} {
			m := oracleNames()
			m.Fail("way.test", failure)
			resolver := &counted{Resolver: m}
			lookup := Lookup{Resolver: resolver}
			way := NewSmarthosts(Options{Lookup: lookup, Name: "way", Hosts: []mail.HostPort{{Host: "way.test", Port: 25}}})
			g := &General{Router: way, Firewall: true, Direct: NewMX(MXOptions{Lookup: lookup, Port: 25})}
			if hub {
				g.Mailhub = way
			}
			_, err := g.Route(t.Context(), Question{Destination: "servers.test"})
			if e, ok := errors.AsType[*mail.Error](err); !ok || !e.Reply.Temporary() {
				t.Errorf("%v: %v, want an error that passes", failure, err)
			}
			if fmt.Sprint(resolver.names) != "[way.test]" {
				t.Errorf("%v: asked for %q", failure, resolver.names)
			}
		}
	}
}
