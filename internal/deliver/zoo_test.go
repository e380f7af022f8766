package deliver

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

var update = flag.Bool("update", false, "write the tables of docs/dns.md and docs/tls-out.md")

// exhibit is one way in which DNS can be, and what mail must come to by it.
type exhibit struct {
	what string
	// zone are its records, relative to a domain of its own. "_fault" makes
	// the name server fail (mailtest.DNS).
	zone string
	// domain is the recipient's; empty for the one of the zone.
	domain string
	// silent says that there will be no answer, and none is waited for.
	silent bool

	state mail.State
	reply string // how it must begin
	host  string // the server that answered; relative if it has no dot
}

// In the zones 127.0.0.1 takes mail, at 127.0.0.9 nobody does, and 127.0.0.7
// and gate.example are this server.
var zoo = []exhibit{
	{what: "one server", zone: "@ MX 10 mx; mx A 127.0.0.1", state: mail.Delivered, reply: "250", host: "mx"},
	{what: "two servers", zone: "@ MX 20 b; @ MX 10 a; a A 127.0.0.1; b A 127.0.0.1", state: mail.Delivered, reply: "250", host: "a"},
	{what: "the preferred server is down", zone: "@ MX 10 a; @ MX 20 b; a A 127.0.0.9; b A 127.0.0.1", state: mail.Delivered, reply: "250", host: "b"},
	{what: "every server is down", zone: "@ MX 10 a; @ MX 20 b; a A 127.0.0.9; b A 127.0.0.9", state: mail.Deferred, reply: "451 4.4.1", host: "b"},
	{what: "the first address is down", zone: "@ MX 10 mx; mx A 127.0.0.9; mx A 127.0.0.1", state: mail.Delivered, reply: "250", host: "mx"},
	{what: "IPv6 does not work", zone: "@ MX 10 mx; mx AAAA ::1; mx A 127.0.0.1", state: mail.Delivered, reply: "250", host: "mx"},
	{what: "no MX records, but an address", zone: "@ A 127.0.0.1", state: mail.Delivered, reply: "250", host: "@"},
	{what: "capital letters", zone: "@ MX 10 MX; mX A 127.0.0.1", domain: "CAPITALS.Test", state: mail.Delivered, reply: "250", host: "mx.capitals.test"},
	{what: "a server with an underscore", zone: "@ MX 10 m_x; m_x A 127.0.0.1", state: mail.Delivered, reply: "250", host: "m_x"},
	{what: "a domain in another alphabet", zone: "@ MX 10 mx; mx A 127.0.0.1", domain: "bücher.test", state: mail.Delivered, reply: "250", host: "mx.xn--bcher-kva.test"},
	{what: "a domain that is not a name", domain: "a…b.test", state: mail.Bounced, reply: "550 5.1.2"},
	{what: "an address literal", domain: "[127.0.0.1]", state: mail.Delivered, reply: "250", host: "127.0.0.1"},
	{what: "an address literal where nobody is", domain: "[127.0.0.9]", state: mail.Deferred, reply: "451 4.4.1", host: "127.0.0.9"},
	{what: "an IPv6 literal where nobody is", domain: "[IPv6:::1]", state: mail.Deferred, reply: "451 4.4.1", host: "::1"},
	{what: "an address without brackets", domain: "127.0.0.1", state: mail.Bounced, reply: "550 5.4.4"},

	{what: "the domain does not exist", state: mail.Bounced, reply: "550 5.1.2"},
	{what: "the domain has names below it and nothing of its own", zone: "www A 127.0.0.1", state: mail.Bounced, reply: "550 5.4.4"},
	{what: "it says that it takes no mail", zone: "@ MX 0 .; @ A 127.0.0.1", state: mail.Bounced, reply: "556 5.1.10"},
	{what: "it says so, and names a server", zone: "@ MX 0 .; @ MX 10 mx; mx A 127.0.0.1", state: mail.Delivered, reply: "250", host: "mx"},
	{what: "its server does not exist", zone: "@ MX 10 mx; @ A 127.0.0.1", state: mail.Bounced, reply: "550 5.4.4"},
	{what: "its server has no address", zone: "@ MX 10 mx; below.mx A 127.0.0.1", state: mail.Bounced, reply: "550 5.4.4"},
	{what: "one server does not exist", zone: "@ MX 10 a; @ MX 20 b; b A 127.0.0.1", state: mail.Delivered, reply: "250", host: "b"},
	{what: "an address in place of a server", zone: "@ MX 10 127.0.0.1.", state: mail.Bounced, reply: "550 5.4.4"},
	{what: "an address, and a server", zone: "@ MX 10 127.0.0.1.; @ MX 20 mx; mx A 127.0.0.1", state: mail.Delivered, reply: "250", host: "mx"},
	{what: "a server that is no name", zone: `@ MX 10 a\032b; @ MX 20 mx; mx A 127.0.0.1`, state: mail.Delivered, reply: "250", host: "mx"},
	{what: "an address that is none", zone: "@ MX 10 mx; mx A 0.0.0.0", state: mail.Bounced, reply: "550 5.4.4"},
	{what: "a multicast address", zone: "@ MX 10 mx; mx A 224.0.0.1", state: mail.Bounced, reply: "550 5.4.4"},

	{what: "the domain is an alias", zone: "@ CNAME real; real MX 10 mx; mx A 127.0.0.1", state: mail.Delivered, reply: "250", host: "mx"},
	{what: "the domain is an alias of an address", zone: "@ CNAME real; real A 127.0.0.1", state: mail.Delivered, reply: "250", host: "@"},
	{what: "the server is an alias", zone: "@ MX 10 mx; mx CNAME real; real A 127.0.0.1", state: mail.Delivered, reply: "250", host: "mx"},
	{what: "an alias of what does not exist", zone: "@ CNAME nothing", state: mail.Bounced, reply: "550 5.1.2"},
	{what: "aliases in a circle", zone: "@ CNAME a; a CNAME @", state: mail.Deferred, reply: "451 4.4.3"},
	{what: "the server is an alias in a circle", zone: "@ MX 10 mx; mx CNAME a; a CNAME mx", state: mail.Deferred, reply: "451 4.4.3"},
	{what: "an alias without what it leads to", zone: "@ CNAME real; _fault TXT dangling; real MX 10 mx; mx A 127.0.0.1", state: mail.Delivered, reply: "250", host: "mx"},

	{what: "the name server fails", zone: "@ MX 10 mx; mx A 127.0.0.1; _fault TXT servfail", state: mail.Deferred, reply: "451 4.4.3"},
	{what: "it refuses", zone: "@ MX 10 mx; mx A 127.0.0.1; _fault TXT refused", state: mail.Deferred, reply: "451 4.4.3"},
	{what: "it says nothing", zone: "@ MX 10 mx; mx A 127.0.0.1; _fault TXT drop", silent: true, state: mail.Deferred, reply: "451 4.4.3"},
	{what: "it does not know the zone", zone: "@ MX 10 mx; mx A 127.0.0.1; _fault TXT lame", state: mail.Deferred, reply: "451 4.4.3"},
	{what: "it says what is no message", zone: "@ MX 10 mx; mx A 127.0.0.1; _fault TXT garbage", state: mail.Deferred, reply: "451 4.4.3"},
	{what: "it answers another question", zone: "@ MX 10 mx; mx A 127.0.0.1; _fault TXT question", state: mail.Deferred, reply: "451 4.4.3"},
	{what: "somebody else answers first", zone: "@ MX 10 mx; mx A 127.0.0.1; _fault TXT id", state: mail.Delivered, reply: "250", host: "mx"},
	{what: "only somebody else answers", zone: "@ MX 10 mx; mx A 127.0.0.1; _fault TXT forged", silent: true, state: mail.Deferred, reply: "451 4.4.3"},
	{what: "the answer has records of others", zone: "@ MX 10 relay; relay A 127.0.0.1; _fault TXT stranger; _fault.relay TXT stranger", state: mail.Delivered, reply: "250", host: "relay"},
	{what: "the answer is cut off by UDP", zone: "@ MX 10 relay; relay A 127.0.0.1; _fault TXT truncate; _fault.relay TXT truncate", state: mail.Delivered, reply: "250", host: "relay"},
	{what: "the answer is cut off by TCP too", zone: "@ MX 10 mx; mx A 127.0.0.1; _fault TXT cut", state: mail.Deferred, reply: "451 4.4.3"},
	{what: "the name server is older than EDNS", zone: "@ MX 10 relay; relay A 127.0.0.1; _fault TXT noedns; _fault.relay TXT noedns", state: mail.Delivered, reply: "250", host: "relay"},
	{what: "no answer for the server", zone: "@ MX 10 relay; relay A 127.0.0.1; _fault.relay TXT servfail", state: mail.Deferred, reply: "451 4.4.3"},
	{what: "no answer for one of two servers", zone: "@ MX 10 a; @ MX 20 b; a A 127.0.0.1; _fault.a TXT servfail; b A 127.0.0.1", state: mail.Delivered, reply: "250", host: "b"},
	{what: "no answer for one, the other does not exist", zone: "@ MX 10 a; @ MX 20 b; b A 127.0.0.1; _fault.b TXT servfail", state: mail.Deferred, reply: "451 4.4.3"},
	{what: "no answer for AAAA alone", zone: "@ MX 10 relay; relay A 127.0.0.1; _fault.aaaa.relay TXT servfail", state: mail.Delivered, reply: "250", host: "relay"},
	{what: "no A record, and no answer for AAAA", zone: "@ MX 10 relay; relay MX 0 relay; _fault.aaaa.relay TXT servfail", state: mail.Deferred, reply: "451 4.4.3"},
	{what: "no answer for MX, but an address", zone: "@ A 127.0.0.1; _fault.mx TXT servfail", state: mail.Deferred, reply: "451 4.4.3"},

	{what: "this server is preferred", zone: "@ MX 10 us; @ MX 20 mx; us A 127.0.0.7; mx A 127.0.0.1", state: mail.Bounced, reply: "554 5.4.6"},
	{what: "this server is preferred, by its name", zone: "@ MX 10 gate.example.; @ MX 20 mx; mx A 127.0.0.1", state: mail.Bounced, reply: "554 5.4.6"},
	{what: "this server is one of equals", zone: "@ MX 10 mx; @ MX 10 us; us A 127.0.0.7; mx A 127.0.0.1", state: mail.Bounced, reply: "554 5.4.6"},
	{what: "this server is the domain's address", zone: "@ A 127.0.0.7", state: mail.Bounced, reply: "554 5.4.6"},
	{what: "this server is a backup", zone: "@ MX 10 mx; @ MX 20 us; @ MX 30 b; us A 127.0.0.7; mx A 127.0.0.1; b A 127.0.0.1", state: mail.Delivered, reply: "250", host: "mx"},
	{what: "a backup, and the server before it is down", zone: "@ MX 10 mx; @ MX 20 us; @ MX 30 b; us A 127.0.0.7; mx A 127.0.0.9; b A 127.0.0.1", state: mail.Deferred, reply: "451 4.4.1", host: "mx"},
	{what: "a backup, and the server before it does not exist", zone: "@ MX 10 mx; @ MX 20 us; us A 127.0.0.7", state: mail.Deferred, reply: "451 4.4.4"},
	{what: "an address literal of this server", domain: "[127.0.0.7]", state: mail.Bounced, reply: "554 5.4.6"},
}

// origin is the name to which the zone of exhibit n is relative.
func (e *exhibit) origin(n int) string {
	switch e.domain {
	case "CAPITALS.Test":
		return "Capitals.test"
	case "bücher.test":
		return "xn--bcher-kva.test"
	}
	return fmt.Sprintf("d%d.test", n)
}

// recipient is an address in the domain of exhibit n.
func (e *exhibit) recipient(n int) string {
	if e.domain != "" {
		return "joe@" + e.domain
	}
	return "joe@" + e.origin(n)
}

// records writes the zone of exhibit n as a zone file.
func (e *exhibit) records(n int) string {
	return "$ORIGIN " + e.origin(n) + ".\n" + strings.ReplaceAll(e.zone, "; ", "\n") + "\n"
}

// menagerie routes by MX, and does not wait long where nobody will answer.
type menagerie struct {
	patient, brief *route.MX
	silent         map[mail.Destination]bool
}

func (m *menagerie) Route(ctx context.Context, q route.Question) (route.Route, error) {
	if m.silent[q.Destination] {
		return m.brief.Route(ctx, q)
	}
	return m.patient.Route(ctx, q)
}

func newMenagerie(t *testing.T, port uint16) *menagerie {
	m := &menagerie{silent: map[mail.Destination]bool{}}
	zone := "test. SOA ns.test. root.test. 1 2 3 4 60\n. SOA ns.test. root.test. 1 2 3 4 60\n"
	for n := range zoo {
		zone += zoo[n].records(n)
		if zoo[n].silent {
			m.silent[address(t, zoo[n].recipient(n)).Destination()] = true
		}
	}
	server := mailtest.NewDNS(t, zone)
	by := func(timeout time.Duration) *route.MX {
		return route.NewMX(route.MXOptions{
			Port: port, Lane: route.Lane{TLS: tlspolicy.Policy{Level: tlspolicy.None}}, IsName: func(name string) bool { return strings.EqualFold(name, "gate.example") },
			Lookup: route.Lookup{
				Resolver: dns.NewClient(dns.Options{Servers: []netip.AddrPort{server.Addr()}, Timeout: timeout}),
				Self:     func(a netip.AddrPort) bool { return a.Addr() == netip.MustParseAddr("127.0.0.7") },
				Prefer:   route.IPv6,
			},
		})
	}
	m.patient, m.brief = by(patience), by(200*time.Millisecond)
	return m
}

// TestZoo sends a message to each exhibit, by a real client of a real name
// server, and compares what becomes of it with what must, and all that was
// observed with docs/dns.md.
func TestZoo(t *testing.T) {
	sink := mailtest.NewSink(t)
	h := start(t, newMenagerie(t, sink.Addr().Port()), Options{})
	ids := make([]mail.ID, len(zoo))
	for n := range zoo {
		ids[n] = h.submit("joe@sender.example", zoo[n].recipient(n))
	}
	var table strings.Builder
	table.WriteString("| | case | DNS | the recipient is | reply | at |\n|---|---|---|---|---|---|\n")
	for n := range zoo {
		e := &zoo[n]
		seen := h.settled(ids[n])
		e.compare(t, n, &seen)
		records := "`" + strings.ReplaceAll(e.zone, "; ", "`<br>`") + "`"
		if e.zone == "" {
			records = ""
		}
		what := e.what
		if e.domain != "" {
			what += ": `joe@" + e.domain + "`"
		}
		fmt.Fprintf(&table, "| %d | %s | %s | %s | %s | %s |\n", n+1, what, records, seen.Reason, seen.Reply, shown(seen.Host, e.origin(n)))
	}
	comparePage(t, "dns.md", table.String())
}

// settled waits for the fact that says what became of a message's recipient.
func (h *harness) settled(id mail.ID) (seen mail.Fact) {
	h.Helper()
	await(h.T, "the outcome of "+string(id), func() bool {
		for _, f := range h.facts(id) {
			if f.Message == id && f.Reply != nil {
				seen = f
				return true
			}
		}
		return false
	})
	return seen
}

func (e *exhibit) compare(t *testing.T, n int, seen *mail.Fact) {
	t.Helper()
	if want := mail.ReasonFor(e.state); seen.Reason != want || !strings.HasPrefix(seen.Reply.String(), e.reply) {
		t.Errorf("%s: %s, want %s %s (%s)", e.what, brief(*seen), want, e.reply, seen.Text)
	}
	if host := shown(seen.Host, e.origin(n)); host != e.host {
		t.Errorf("%s: at %q, want %q", e.what, host, e.host)
	}
}

// shown is the name of a server, relative to the origin of its zone if the
// zone has a name that says nothing.
func shown(host, origin string) string {
	if !strings.HasPrefix(origin, "d") {
		return host
	}
	if host == origin {
		return "@"
	}
	return strings.TrimSuffix(host, "."+origin)
}

// comparePage compares a table with the end of a page of docs, behind the mark.
func comparePage(t *testing.T, name, table string) {
	t.Helper()
	page, mark := "../../docs/"+name, "<!-- go test ./internal/deliver -update writes what follows -->\n\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, shown, found := strings.Cut(string(text), mark)
	if !found {
		t.Fatalf("%s has no line %q", page, mark)
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(page, []byte(head+mark+table), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(table, shown); diff != "" {
		t.Errorf("%s is not what was observed; run go test ./internal/deliver -update (-observed +page):\n%s", page, diff)
	}
}
