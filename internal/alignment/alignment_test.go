package alignment

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/dkim"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

// bench is a Checker before a name server, with keys of example.org: "a" is active, "w"
// waits.
type bench struct {
	Checker
	dns     *mailtest.DNS
	records map[string]string // what should stand at the name of a key
}

func newBench(t *testing.T) *bench {
	t.Helper()
	clock := mail.NewManualClock(time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC))
	store, err := dkim.OpenStore(filepath.Join(t.TempDir(), "dkim"), clock)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{dns: mailtest.NewDNS(t, ""), records: map[string]string{}}
	keeper := dkim.Keeper{Store: store, Clock: clock, Overlap: func() time.Duration { return time.Hour }}
	for _, o := range []dkim.KeyOrder{{Selector: "a", Algorithm: dkim.Ed25519, Now: true}, {Selector: "w", Algorithm: dkim.RSA}} {
		o.Domain = "example.org"
		made, err := keeper.Add("", o)
		if err != nil {
			t.Fatal(err)
		}
		b.records[o.Selector] = made[0].Record
	}
	b.Checker = Checker{
		Signing: &dkim.Signing{Store: store, Parents: true, Clock: clock}, Hostname: "mx.example.org",
		Sources: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
	}
	return b
}

// txt is a TXT record of a zone.
func txt(name, text string) string {
	return strings.ReplaceAll(dkim.ZoneLine(name, text), " IN TXT", " 60 IN TXT") + "\n"
}

// check looks at a domain with a zone, by a resolver that remembers nothing of another.
func (b *bench) check(t *testing.T, domain, zone string) *Alignment {
	t.Helper()
	if err := b.dns.Set(zone); err != nil {
		t.Fatal(zone, err)
	}
	b.Resolver = dns.NewClient(dns.Options{Servers: []netip.AddrPort{b.dns.Addr()}, Timeout: time.Minute, Hosts: "/dev/null"})
	r, err := b.Check(t.Context(), domain)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// said are the findings, a line each.
func said(r *Alignment) string {
	var list []string
	for _, f := range r.Findings {
		list = append(list, fmt.Sprintf("%s: %s", f.Level, f.Text))
	}
	return strings.Join(list, "\n")
}

const good = "\"v=spf1 ip4:192.0.2.1 ip6:2001:db8::/64 -all\""

// TestKeys: what can be wrong with the record of a key.
func TestKeys(t *testing.T) {
	b := newBench(t)
	const a, w = "a._domainkey.example.org", "w._domainkey.example.org"
	rest := "example.org. 60 IN TXT " + good + "\n" + txt("_dmarc.example.org", "v=DMARC1; p=reject; rua=mailto:x@example.org")
	for _, c := range []struct {
		name, zone string
		want       string // "" for nothing
	}{
		{"all well", txt(a, b.records["a"]) + txt(w, b.records["w"]), ""},
		{"nothing there", "", "problem: the key " + a + " (active) has no record in DNS\nnote: the key " + w + " (waiting) has no record in DNS"},
		{"the next one is missing", txt(a, b.records["a"]), "note: the key " + w + " (waiting) has no record in DNS"},
		{"another key", txt(a, b.records["w"]) + txt(w, b.records["w"]), "problem: the record " + a + " is that of another key"},
		{"revoked", txt(a, "v=DKIM1; k=ed25519; p=") + txt(w, b.records["w"]), "problem: the key " + a + " is revoked: its record has an empty p="},
		{"not a record", txt(a, "v=DKIM1; k=ed25519") + txt(w, b.records["w"]), "problem: the record " + a + " is wrong: it has no p=, which would be the key"},
		{"two records", txt(a, b.records["a"]) + txt(a, "v=DKIM1; p=") + txt(w, b.records["w"]), "problem: there are 2 TXT records at " + a + ", of which a verifier takes any (RFC 6376 3.6.2.2)"},
		{"tried out", txt(a, b.records["a"]+"; t=y:s") + txt(w, b.records["w"]), "warning: the record " + a + " says that signatures are only tried out (t=y): verifiers may take no notice of them"},
		{"for SHA-1", txt(a, b.records["a"]+"; h=sha1") + txt(w, b.records["w"]), "problem: the record " + a + " does not allow SHA-256 (h=)"},
		{"not for mail", txt(a, b.records["a"]+"; s=tlsrpt") + txt(w, b.records["w"]), "problem: the record " + a + " is not for mail (s=)"},
		{"an alias", a + ". 60 IN CNAME k.provider.example.\n" + txt("k.provider.example", b.records["a"]) + txt(w, b.records["w"]), ""},
		{"an alias of another", a + ". 60 IN CNAME k.provider.example.\n" + txt("k.provider.example", b.records["w"]) + txt(w, b.records["w"]),
			"problem: the record " + a + " is that of another key (it is an alias of k.provider.example, CNAME: what stands there counts)"},
		{"too long", txt(a, b.records["a"]+"; n="+strings.Repeat("x", 400)) + txt(w, b.records["w"]),
			fmt.Sprintf("warning: the record %s has %d octets: some resolvers lose what does not fit 512", a, len(b.records["a"])+404)},
		{"no answer", "_fault.a._domainkey.example.org. 60 IN TXT refused\n" + txt(w, b.records["w"]), "warning: the record " + a + " could not be looked up: "},
	} {
		r := b.check(t, "Example.ORG", rest+c.zone)
		if got := said(r); got != c.want && (c.name != "no answer" || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s:\n%s\nnot\n%s", c.name, got, c.want)
		}
		if r.Signer != "example.org" || len(r.Keys) != 2 || r.Keys[0].Good != !strings.Contains(c.want, " "+a) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// TestSPF (RFC 7208): whether the addresses from which mail leaves are covered.
func TestSPF(t *testing.T) {
	b := newBench(t)
	rest := txt("a._domainkey.example.org", b.records["a"]) + txt("w._domainkey.example.org", b.records["w"]) + txt("_dmarc.example.org", "v=DMARC1; p=none; rua=mailto:x@example.org") +
		"mx.example.org. 60 IN A 192.0.2.1\nmx.example.org. 60 IN AAAA 2001:db8::1\nexample.org. 60 IN MX 10 mx.example.org.\n1.2.0.192.in-addr.arpa. 60 IN PTR mx.example.org.\n"
	for _, c := range []struct{ record, want string }{
		{"v=spf1 mx -all", ""},
		{"v=spf1 a:mx.example.org ~all", ""},
		{"v=spf1 include:_spf.example.org -all", ""},
		{"v=spf1 ip4:192.0.2.1 -all", "problem: SPF of example.org does not cover 2001:db8::1, and asks for its mail to be refused (fail)"},
		{"v=spf1 ip6:2001:db8::1 ~all", "warning: SPF of example.org does not cover 192.0.2.1 (softfail)"},
		{"v=spf1 ip6:2001:db8::1", "warning: SPF of example.org does not cover 192.0.2.1 (neutral)"},
		{"v=spf1 ptr:example.org ip6:2001:db8::1 -all", ""},
		{"v=spf1 nonsense:x -all", "problem: the SPF record of example.org cannot be understood: unknown field\nproblem: the SPF record of example.org cannot be understood: unknown field"},
		{"v=spf1 include:_loop.example.org -all", "problem: the SPF record of example.org cannot be understood: lookup limit reached\nproblem: the SPF record of example.org cannot be understood: lookup limit reached"},
		{"hello", "warning: example.org has no SPF record"},
	} {
		zone := rest + "example.org. 60 IN TXT \"" + c.record + "\"\n_spf.example.org. 60 IN TXT " + good + "\n_loop.example.org. 60 IN TXT \"v=spf1 include:_loop.example.org -all\"\n"
		if got := said(b.check(t, "example.org", zone)); got != c.want {
			t.Errorf("%s:\n%s\nnot\n%s", c.record, got, c.want)
		}
	}
	twice := "example.org. 60 IN TXT \"v=spf1 -all\"\nexample.org. 60 IN TXT \"v=spf1 +all\"\n"
	if got := said(b.check(t, "example.org", rest+twice)); !strings.Contains(got, "more than one SPF record") {
		t.Errorf("two records: %s", got)
	}
	b.Sources = nil
	if got := said(b.check(t, "example.org", rest+"example.org. 60 IN TXT "+good+"\n")); !strings.HasPrefix(got, "note: whether SPF of example.org covers this host is not known") {
		t.Errorf("without addresses: %s", got)
	}
}

// TestRelayed: where another server sends on what leaves, SPF is not asked about this one, and must
// not be told to name it.
func TestRelayed(t *testing.T) {
	b := newBench(t)
	b.Relayed, b.Sources = true, nil
	for zone, want := range map[string]string{
		"": "warning: example.org has no SPF record",
		"example.org. 60 IN TXT \"v=spf1 include:spf.relay.example -all\"\n": "note: whether SPF of example.org covers its mail is not known: another server sends that on",
	} {
		r := b.check(t, "example.org", zone)
		at := slices.IndexFunc(r.Findings, func(f Finding) bool { return strings.Contains(f.Text, "SPF") })
		if at < 0 || string(r.Findings[at].Level)+": "+r.Findings[at].Text != want || !strings.Contains(r.Findings[at].Hint, "include:") {
			t.Errorf("%+v, want %s", r.Findings, want)
		}
	}
}

// TestDMARC (RFC 7489): what the domain asks for, and whether our mail is that.
func TestDMARC(t *testing.T) {
	b := newBench(t)
	keys := txt("a._domainkey.example.org", b.records["a"]) + txt("w._domainkey.example.org", b.records["w"])
	spf := func(domain string) string { return domain + ". 60 IN TXT " + good + "\n" }
	for _, c := range []struct {
		name, domain, zone string
		at                 string
		policy             Policy
		want               string
	}{
		{"none", "example.org", spf("example.org"), "", "", "note: example.org has no DMARC record, which large receivers ask of who sends much"},
		{"a domain below", "news.example.org", spf("news.example.org") + txt("_dmarc.example.org", "v=DMARC1; p=reject; sp=quarantine"), "example.org", PolicyQuarantine, ""},
		{"with a record of its own", "news.example.org", spf("news.example.org") + txt("_dmarc.news.example.org", "v=DMARC1;p=none"), "news.example.org", PolicyNone, ""},
		{"strict", "news.example.org", spf("news.example.org") + txt("_dmarc.example.org", "v=DMARC1; p=reject; adkim=s"), "example.org", PolicyReject,
			"warning: From news.example.org is signed by example.org, which DMARC does not take for the same domain"},
		{"strict, and without SPF", "news.example.org", txt("_dmarc.example.org", "v=DMARC1; p=reject; adkim=s"), "example.org", PolicyReject,
			"problem: neither DKIM nor SPF speaks for mail of news.example.org, and DMARC asks for p=reject\nwarning: news.example.org has no SPF record\nwarning: From news.example.org is signed by example.org, which DMARC does not take for the same domain"},
		{"no key and no SPF", "example.net", txt("_dmarc.example.net", "v=DMARC1; p=quarantine"), "example.net", PolicyQuarantine,
			"problem: neither DKIM nor SPF speaks for mail of example.net, and DMARC asks for p=quarantine\nwarning: mail of example.net is signed by no key\nwarning: example.net has no SPF record"},
		{"no key, with SPF", "example.net", spf("example.net") + txt("_dmarc.example.net", "v=DMARC1; p=reject"), "example.net", PolicyReject, "warning: mail of example.net is signed by no key"},
		{"wrong", "example.org", spf("example.org") + txt("_dmarc.example.org", "v=DMARC1; p=refuse"), "", "", "problem: the DMARC record of example.org is wrong: its p= is none of none, quarantine and reject: \"refuse\""},
		{"wrong, with reports", "example.org", spf("example.org") + txt("_dmarc.example.org", "v=DMARC1; p=refuse; rua=mailto:x@example.org"), "example.org", PolicyNone, ""},
		{"two", "example.org", spf("example.org") + txt("_dmarc.example.org", "v=DMARC1; p=none") + txt("_dmarc.example.org", "v=DMARC1; p=reject"), "", "",
			"problem: the DMARC record of example.org is wrong: there are two, which is as none (RFC 7489 6.6.3)"},
	} {
		r := b.check(t, c.domain, keys+c.zone)
		if got := said(r); got != c.want {
			t.Errorf("%s:\n%s\nnot\n%s", c.name, got, c.want)
		}
		var at string
		var policy Policy
		if r.DMARC != nil {
			at, policy = r.DMARC.At, r.DMARC.Policy
		}
		if at != c.at || policy != c.policy {
			t.Errorf("%s: %+v", c.name, r.DMARC)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	b := newBench(t)
	if _, err := b.Check(t.Context(), "[192.0.2.1]"); !errors.Is(err, dkim.ErrDomain) {
		t.Error(err)
	}
	b.Signing = nil
	if got := said(b.check(t, "example.org", "")); !strings.Contains(got, "which keys there are is not known") || strings.Contains(got, "signed by no key") {
		t.Error(got)
	}
}

func FuzzParseDMARC(f *testing.F) {
	for _, s := range []string{"v=DMARC1; p=none", "v=DMARC1;p=reject;sp=none;adkim=s;aspf=r;pct=50;rua=mailto:a@b.example!10m", " v = DMARC1 ; p=", "v=DMARC1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDMARC(text)
		if (d == nil) != (err != nil) {
			t.Fatalf("%q: %v, %v", text, d, err)
		}
		if d == nil {
			return
		}
		if _, known := policyOf(string(d.Policy)); !known || !strings.Contains(text, "DMARC1") {
			t.Errorf("%q: %+v", text, d)
		}
	})
}
