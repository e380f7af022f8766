package mailtest

import (
	"testing"

	"github.com/miekg/dns"
)

// TestNamesOfDNS: the server finds names in any case, knows those that only
// stand above others (RFC 8020 2) or below a wildcard (RFC 4592), and fails for the
// types and zones it was told to.
func TestNamesOfDNS(t *testing.T) {
	d := NewDNS(t, `
test. SOA ns.test. root.test. 1 2 3 4 60
deep.below.test. MX 10 b.test.
deep.below.test. MX 5 a.test.
alias.test. CNAME Deep.Below.test.
_fault.MX.broken.test. TXT servfail
broken.test. MX 10 b.test.
broken.test. A 127.0.0.1
*.wild.test. A 127.0.0.2
known.wild.test. MX 10 b.test.
plain.test. TXT "a text"
_fault.*.dead.test. TXT refused
`)
	for _, c := range []struct {
		name    string
		kind    uint16
		code    int
		answers int
		soa     bool
	}{
		{"DEEP.below.test.", dns.TypeMX, dns.RcodeSuccess, 2, false},
		{"deep.below.test.", dns.TypeA, dns.RcodeSuccess, 0, true},
		{"alias.test.", dns.TypeMX, dns.RcodeSuccess, 3, false},
		{"below.test.", dns.TypeMX, dns.RcodeSuccess, 0, true},
		{"beside.test.", dns.TypeMX, dns.RcodeNameError, 0, true},
		{"elsewhere.", dns.TypeMX, dns.RcodeNameError, 0, false},
		{"broken.test.", dns.TypeMX, dns.RcodeServerFailure, 0, false},
		{"broken.test.", dns.TypeA, dns.RcodeSuccess, 1, false},
		{"a.b.wild.test.", dns.TypeA, dns.RcodeSuccess, 1, false},
		{"a.wild.test.", dns.TypeMX, dns.RcodeSuccess, 0, true},
		{"wild.test.", dns.TypeA, dns.RcodeSuccess, 0, true},
		{"known.wild.test.", dns.TypeA, dns.RcodeSuccess, 0, true},
		{"a.known.wild.test.", dns.TypeA, dns.RcodeNameError, 0, true},
		{"plain.test.", dns.TypeTXT, dns.RcodeSuccess, 1, false},
		{"a.b.dead.test.", dns.TypeA, dns.RcodeRefused, 0, false},
		{"dead.test.", dns.TypeA, dns.RcodeRefused, 0, false},
	} {
		reply, err := dns.Exchange(new(dns.Msg).SetQuestion(c.name, c.kind), d.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if reply.Rcode != c.code || len(reply.Answer) != c.answers || (len(reply.Ns) > 0) != c.soa {
			t.Errorf("%s %s: %s", c.name, dns.TypeToString[c.kind], reply)
		}
	}
}
