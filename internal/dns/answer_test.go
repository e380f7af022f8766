package dns

import (
	"testing"

	"github.com/miekg/dns"
)

// FuzzRead reads any message as the answer to a question: nothing that comes
// from it may be of another name or type, and a failure is one of the kinds.
func FuzzRead(f *testing.F) {
	for _, text := range []string{"x.test. 60 IN A 192.0.2.1", "x.test. 60 IN CNAME y.test.", "y.test. 60 IN A 192.0.2.1"} {
		m := new(dns.Msg).SetQuestion("x.test.", dns.TypeA)
		m.Response = true
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = []dns.RR{rr}
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		m := new(dns.Msg)
		if m.Unpack(packet) != nil {
			return
		}
		a, err := read(question{"x.test.", dns.TypeA}, m)
		if err != nil {
			return
		}
		if ends := btoi(len(a.records) > 0) + btoi(a.alias != "") + btoi(a.err != nil); ends != 1 {
			t.Errorf("an answer that is %d things at once", ends)
		}
		if a.err != nil && !isNotFound(a.err) || a.ttl < 0 || a.ttl > maxTTL {
			t.Errorf("answer %+v", a)
		}
		for _, rr := range a.records {
			if rr.Header().Rrtype != dns.TypeA {
				t.Errorf("record %s", rr)
			}
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
