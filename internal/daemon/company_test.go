package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/internal/lists"
	"postern/internal/mail"
	"postern/internal/route"
)

var shared = []config.Company{
	{Name: "acme", Domains: []string{"acme.example", ".acme.example", "xn--bcher-kva.example"}, Hostname: "mail.acme.example",
		SourceIPv4: netip.MustParseAddr("192.0.2.1"), Postmaster: mail.Address{Local: "pm", Domain: "acme.example"}},
	{Name: "shop", Domains: []string{"shop.acme.example", ".eu.shop.acme.example"}, SourceIPv6: netip.MustParseAddr("2001:db8::2")},
	{Name: "twin", Domains: []string{"twin.example"}, Hostname: "mail.acme.example", Postmaster: mail.Address{Local: "pm", Domain: "twin.example"}},
}

// TestCompanyOf: the domain that is named goes before those below which it is, and the
// longest of these before the others; whatever form it is written in.
func TestCompanyOf(t *testing.T) {
	c := newCompanies(shared)
	for domain, want := range map[string]string{
		"acme.example": "acme", "ACME.Example": "acme", "x.acme.example": "acme", "y.x.acme.example": "acme", "bücher.example": "acme", "xn--bcher-kva.example": "acme",
		"shop.acme.example": "shop", "x.shop.acme.example": "acme", "x.eu.shop.acme.example": "shop", "eu.shop.acme.example": "acme",
		"example": "", "notacme.example": "", "x.bücher.example": "", "[192.0.2.1]": "", "": "", "twin.example": "twin",
	} {
		got := ""
		if company := c.of(domain); company != nil {
			got = company.Name
		}
		if got != want {
			t.Errorf("%q: %q, want %q", domain, got, want)
		}
	}
	for domain, want := range map[string]string{
		"acme.example": "pm@acme.example", "Mail.acme.example": "pm@acme.example", "shop.acme.example": "", "mail.gate.example": "",
	} {
		if got := c.postmaster(domain); got.IsNull() != (want == "") || want != "" && got.String() != want {
			t.Errorf("postmaster of %s: %v, want %q", domain, got, want)
		}
	}
}

// TestPostmasterOfNoDomain: postmaster without a domain is that of the server, and not of a
// company that has no hostname of its own.
func TestPostmasterOfNoDomain(t *testing.T) {
	c := newCompanies([]config.Company{{Name: "shop", Domains: []string{"shop.example"}, Postmaster: mail.Address{Local: "pm", Domain: "shop.example"}}})
	if got := c.postmaster(""); !got.IsNull() {
		t.Errorf("it is %v", got)
	}
}

// TestFinishIdentity: mail is of the company of its sender, and a report of that of its
// recipient; what the transport has goes before what the company has, the name and the
// addresses apart.
func TestFinishIdentity(t *testing.T) {
	c := &config.Config{Hostname: "mail.gate.example", Companies: shared}
	g := newGraph(c, mail.SystemClock{})
	from := func(hostname, four, six string) route.Identity {
		i := route.Identity{Hostname: hostname}
		if four != "" {
			i.IPv4 = netip.MustParseAddr(four)
		}
		if six != "" {
			i.IPv6 = netip.MustParseAddr(six)
		}
		return i
	}
	own := from("exit.gate.example", "", "2001:db8::9")
	for _, x := range []struct {
		name         string
		transport    route.Identity
		sender       string
		to           mail.Destination
		want         route.Identity
		wantHostname string
	}{
		{"of nobody", route.Identity{}, "joe@other.example", "acme.example", route.Identity{}, "mail.gate.example"},
		{"by its sender", route.Identity{}, "joe@acme.example", "twin.example", from("mail.acme.example", "192.0.2.1", ""), "mail.acme.example"},
		{"a company without a name", route.Identity{}, "joe@shop.acme.example", "x.example", from("", "", "2001:db8::2"), "mail.gate.example"},
		{"a report", route.Identity{}, "", "acme.example/~partners", from("mail.acme.example", "192.0.2.1", ""), "mail.gate.example"},
		{"a report to somebody else", route.Identity{}, "", "other.example", route.Identity{}, "mail.gate.example"},
		{"all of the transport", own, "joe@acme.example", "x.example", own, "mail.acme.example"},
		{"the name of the transport", from("exit.gate.example", "", ""), "joe@acme.example", "x.example", from("exit.gate.example", "192.0.2.1", ""), "mail.acme.example"},
		{"the addresses of the transport", from("", "", "2001:db8::9"), "joe@acme.example", "x.example", from("mail.acme.example", "", "2001:db8::9"), "mail.acme.example"},
	} {
		var sender mail.Address
		if local, domain, named := strings.Cut(x.sender, "@"); named {
			sender = mail.Address{Local: local, Domain: domain}
		}
		l := route.Lane{From: x.transport}
		g.finish(&l, route.Question{Sender: sender, Destination: x.to})
		if l.From != x.want {
			t.Errorf("%s: %+v, want %+v", x.name, l.From, x.want)
		}
		if got := g.company(sender).Hostname; got != x.wantHostname {
			t.Errorf("%s: the name %s, want %s", x.name, got, x.wantHostname)
		}
	}
}

// TestNearOfCompanies: what is near for a company is so for its mail alone, beside what is
// near for all.
func TestNearOfCompanies(t *testing.T) {
	text := func(s ...string) (list []config.Text) {
		for _, x := range s {
			list = append(list, config.Text{Text: x})
		}
		return list
	}
	c := &config.Config{Hostname: "mail.gate.example", Routing: config.Routing{Near: text("all.example")}, Companies: []config.Company{
		{Name: "acme", Domains: []string{"acme.example"}, Near: text("partner.example", ".lab.example")},
		{Name: "shop", Domains: []string{"shop.example"}},
	}}
	g := newGraph(c, mail.SystemClock{})
	var err error
	if _, is := g.isNear(mail.Address{}, "all.example"); is {
		t.Error("something is near before anything was read")
	}
	if g.lists, err = lists.Open(nil, lists.Options{Clock: mail.SystemClock{}}); err != nil {
		t.Fatal(err)
	}
	if g.near, err = g.loadNear(); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		sender, to string
		want       bool
	}{
		{"acme.example", "partner.example", true}, {"acme.example", "x.lab.example", true}, {"acme.example", "all.example", true},
		{"shop.example", "partner.example", false}, {"shop.example", "all.example", true}, {"other.example", "partner.example", false},
		{"", "partner.example", false}, {"acme.example", "elsewhere.example", false},
	} {
		var sender mail.Address
		if x.sender != "" {
			sender = mail.Address{Local: "joe", Domain: x.sender}
		}
		if entry, is := g.isNear(sender, x.to); is != x.want {
			t.Errorf("from %q to %s: near %v (%q), want %v", x.sender, x.to, is, entry, x.want)
		}
	}
	c.Companies[1].Near = text("list:nobody")
	if _, err := g.loadNear(); err == nil || !strings.Contains(err.Error(), `company.near: there is no list "nobody"`) {
		t.Errorf("a list that is not there: %v", err)
	}
}
