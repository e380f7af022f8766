package deliver

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// neverZone has the only way, and everything that could be taken for another: servers of the
// domain, and of that to which somebody reroutes.
const neverZone = `
test. SOA ns.test. root.test. 1 2 3 4 60
way.test. A 127.0.0.1
customer.test. MX 10 decoy.test.
decoy.test. A 127.0.0.1
`

// neverFailures are the ways in which the only way fails, by what is said of it in DNS, what its
// server does, and what TLS it must have.
var neverFailures = []struct {
	name   string
	zone   string // instead of "way.test. A 127.0.0.1"
	script string // of every connection; "": it is not listening
	answer func(line string) string
	tls    tlspolicy.Level
	final  bool // its server has the last word, which ends the mail
}{
	{name: "DNS fails", zone: "way.test. A 127.0.0.1\n_fault.way.test. TXT servfail"},
	{name: "DNS refuses", zone: "way.test. A 127.0.0.1\n_fault.way.test. TXT refused"},
	{name: "no such name", zone: "another.test. A 127.0.0.1"},
	{name: "no address", zone: "way.test. MX 10 decoy.test."},
	{name: "an alias of nothing", zone: "way.test. CNAME nothing.test."},
	{name: "the host is down"},
	{name: "421 greeting", script: "S: 421 4.3.2 busy\nDROP"},
	{name: "450 greeting", script: "S: 450 4.3.2 later\nDROP"},
	{name: "554 greeting", script: "S: 554 5.3.2 no mail here\nDROP"},
	{name: "no greeting", script: "DROP"},
	{name: "lost at EHLO", script: "S: 220 peer\nC: EHLO\nDROP"},
	{name: "no STARTTLS", script: "S: 220 peer\nC: EHLO\nS: 250 peer\nCLOSED", tls: tlspolicy.Required},
	{name: "TLS breaks", script: brokenTLS + "RAW \"this is no TLS\\r\\n\"\nDROP", tls: tlspolicy.Required},
	{name: "4xx to MAIL", answer: saying("MAIL", "451 4.3.0 not now")},
	{name: "4xx to RCPT", answer: saying("RCPT", "450 4.2.0 not now")},
	{name: "4xx to DATA", answer: saying("DATA", "451 4.3.0 not now")},
	{name: "4xx to the content", answer: saying(".", "451 4.3.0 not now")},
	{name: "421 to RCPT", script: hello + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 421 4.3.2 bye\nDROP"},
	{name: "5xx to MAIL", answer: saying("MAIL", "550 5.7.1 no"), final: true},
	{name: "5xx to RCPT", answer: saying("RCPT", "550 5.1.1 nobody"), final: true},
	{name: "5xx to the content", answer: saying(".", "554 5.6.0 no"), final: true},
}

// saying answers one command so, and the others with yes.
func saying(command, reply string) func(string) string {
	return func(line string) string {
		if strings.HasPrefix(line, command) {
			return reply
		}
		return ""
	}
}

// neverWays are the ports of the only way and of the decoy, and what is demanded of the former.
type neverWays struct {
	level      tlspolicy.Level
	way, decoy uint16
	hub        bool // it is the mailhub
}

// neverRouter makes the table of a test: the only way is that of a route with never_bypass, or
// the mailhub; all other ways lead to a decoy.
func neverRouter(t *testing.T, resolver *mailtest.DNS, n neverWays) *route.Table {
	t.Helper()
	lookup := route.Lookup{Resolver: dns.NewClient(dns.Options{Servers: []netip.AddrPort{resolver.Addr()}, Hosts: "/dev/null", Timeout: patience})}
	smarthost := func(name, host string, port uint16, level tlspolicy.Level) route.Transport {
		return route.NewSmarthosts(route.Options{Lookup: lookup, Name: name, Hosts: []mail.HostPort{{Host: host, Port: port}}, Lane: route.Lane{TLS: tlspolicy.Policy{Level: level}}})
	}
	only, other := smarthost("only", "way.test", n.way, n.level), smarthost("other", "decoy.test", n.decoy, tlspolicy.None)
	direct := route.NewMX(route.MXOptions{Lookup: lookup, Port: n.decoy})
	o := route.TableOptions{
		Transports: map[string]route.Transport{"only": only, "other": other, "mx": direct},
		Server:     func(h mail.HostPort) route.Transport { return smarthost("smarthost", h.Host, h.Port, tlspolicy.None) },
		Otherwise:  &route.General{Router: other, Firewall: true, Direct: direct},
	}
	if n.hub {
		o.Otherwise = &route.General{Mailhub: only, Router: other, Firewall: true, Direct: direct}
		return route.NewTable(o)
	}
	o.OfUser = func(string) mail.RouteKey { return "other" }
	rules, err := route.NewRules(route.RulesOptions{Routes: []config.Route{
		{Name: "only", Recipients: []config.Text{{Text: "*@customer.test"}}, Transport: config.Text{Text: "only"}, NeverBypass: true},
		{Name: "after it", Transport: config.Text{Text: "other"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	o.Rules = rules
	return route.NewTable(o)
}

// TestNeverRound counts every question to DNS and every connection while the only way fails, for
// mail that was queued for it, and that policy, a person, an older route or its sender's own would
// have go elsewhere: there is none but those of that way, whatever fails, and none is lost.
func TestNeverRound(t *testing.T) {
	elsewhere := []mail.Destination{"customer.test", "customer.test/other", "customer.test/~other+mx", "customer.test/mx", "decoy.test", "decoy.test/mx"}
	for _, hub := range []bool{false, true} {
		for _, f := range neverFailures {
			name := map[bool]string{false: "never_bypass: ", true: "mailhub: "}[hub] + f.name
			t.Run(name, func(t *testing.T) {
				at := elsewhere
				if hub { // which what was chosen on purpose goes round
					at = elsewhere[:1]
				}
				neverRound(t, f.zone, at, func(names *mailtest.DNS, decoy uint16) *route.Table {
					return neverRouter(t, names, neverWays{f.tls, onlyServer(t, f.script, f.answer), decoy, hub})
				}, f.final)
			})
		}
	}
}

// onlyServer is the port of the server of the only way.
func onlyServer(t *testing.T, script string, answer func(string) string) uint16 {
	t.Helper()
	switch {
	case answer != nil:
		return answering(t, answer).Addr().Port()
	case script != "":
		return mailtest.NewPeer(t, script).Addr().Port()
	}
	return refused.Port()
}

func neverRound(t *testing.T, zone string, at []mail.Destination, table func(*mailtest.DNS, uint16) *route.Table, final bool) {
	text := neverZone
	if zone != "" {
		text = strings.Replace(text, "way.test. A 127.0.0.1", zone, 1)
	}
	names := mailtest.NewDNS(t, text)
	decoy := mailtest.NewPeer(t, "S: 421 4.3.2 decoy\nDROP")
	router := table(names, decoy.Addr().Port())
	h := start(t, router, Options{Settings: Settings{Choose: router.Choose, RetryReports: mail.Schedule{Every: time.Hour, Until: 240 * time.Hour}}})
	var ids []mail.ID
	for _, d := range at {
		ids = append(ids, h.submitWith("", func(e *queue.Entry) {
			e.Deliveries[0].Destination = d
			e.Origin.Account = &mail.Account{Name: "ann", Source: "directory"}
		}, "joe@customer.test"))
	}
	for attempt := 1; attempt <= 3 && !final; attempt++ {
		for _, id := range ids {
			h.awaitFacts(id, mail.ReasonDeferred, attempt)
		}
		h.advance(2 * time.Hour)
	}
	if final {
		for _, id := range ids {
			h.awaitFacts(id, mail.ReasonDead, 1)
		}
	}
	h.finish()
	if n := decoy.Connections(); n > 0 {
		t.Errorf("%d connections went round", n)
	}
	for _, question := range names.Questions() {
		if !strings.HasPrefix(question, "way.test. ") && !strings.HasPrefix(question, "nothing.test. ") {
			t.Errorf("DNS was asked for %s", question)
		}
	}
	if stored := h.store.Entries(); stored != len(ids) {
		t.Errorf("%d messages are stored, of %d", stored, len(ids))
	}
}
