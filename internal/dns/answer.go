package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// question is what is asked: a complete name in lower case, with its final
// dot, and a type.
type question struct {
	name string
	kind uint16
}

func (q question) String() string {
	return strings.TrimSuffix(q.name, ".") + " " + dns.TypeToString[q.kind]
}

// answer is what became of a question, and until when it may be believed.
type answer struct {
	records []dns.RR // of the type asked for; at least one unless err is set
	// alias is where an alias leads of whose target the answer says nothing.
	alias string
	err   error // ErrNotFound, ErrNoName or ErrTemporary, wrapped
	ttl   time.Duration
}

// The reasons for which there is no answer, or it is not believed.
var (
	errSilent    = errors.New("it did not answer in time")
	errForeign   = errors.New("the answer is to another question")
	errTruncated = errors.New("the answer is cut off, also by TCP")
	errLame      = errors.New("the server knows nothing of the name and asks nobody")
	errLoop      = errors.New("the aliases go round in a circle, or are too many")
)

// maxAliases bounds a chain of CNAME records. Longer ones are faults of a zone
// (RFC 1034 5.2.2 asks only that loops be noticed).
const maxAliases = 8

// maxRecords bounds what is taken of one answer: it is remembered, and who
// makes the zone may be no friend.
const maxRecords = 100

// read makes an answer of what a server said. It fails when another server
// should be asked: what this one said is no answer, or not to q.
func read(q question, m *dns.Msg) (answer, error) {
	if !m.Response || len(m.Question) != 1 || !belongs(q, m.Question[0]) {
		return answer{}, errForeign
	}
	switch {
	case m.Truncated:
		return answer{}, errTruncated
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return answer{}, errors.New("the server says " + rcode(m.Rcode))
	}
	name, ttl, err := q.name, maxTTL, error(nil)
	if q.kind != dns.TypeCNAME { // whose answer is the alias itself
		name, ttl, err = follow(q, m.Answer)
	}
	if err != nil {
		return answer{}, err
	}
	a := answer{ttl: ttl}
	for _, rr := range m.Answer {
		if h := rr.Header(); h.Rrtype == q.kind && isAt(h, name) && len(a.records) < maxRecords {
			a.records = append(a.records, rr)
			a.ttl = min(a.ttl, seconds(h.Ttl))
		}
	}
	if len(a.records) > 0 {
		return a, nil
	}
	return nothing(q, name, m, ttl)
}

// nothing reads an answer without records of the type asked for (RFC 2308 2).
func nothing(q question, name string, m *dns.Msg, ttl time.Duration) (answer, error) {
	soa, delegation := authority(m, name)
	switch {
	case m.Rcode == dns.RcodeNameError:
		return answer{err: fmt.Errorf("%w: %s", ErrNoName, q), ttl: min(ttl, soa)}, nil
	case soa == 0 && name != q.name:
		return answer{alias: name, ttl: ttl}, nil
	case soa == 0 && !m.Authoritative && (delegation || !m.RecursionAvailable):
		return answer{}, errLame
	}
	return answer{err: fmt.Errorf("%w: %s", ErrNotFound, q), ttl: min(ttl, soa)}, nil
}

// authority looks at what the answer says of the zone: for how long "nothing"
// may be believed (RFC 2308 5), which is not at all without an SOA record, and
// whether it sends us to other servers.
func authority(m *dns.Msg, name string) (soa time.Duration, delegation bool) {
	for _, rr := range m.Ns {
		switch rr := rr.(type) {
		case *dns.SOA:
			if dns.IsSubDomain(strings.ToLower(rr.Hdr.Name), name) {
				soa = max(time.Second, seconds(min(rr.Hdr.Ttl, rr.Minttl)))
			}
		case *dns.NS:
			delegation = true
		}
	}
	return soa, delegation
}

// follow goes along the aliases of an answer (RFC 1034 3.6.2) from the name
// asked for to where they end, and returns how long the whole chain lasts.
// Records of names that are not on it are not looked at.
func follow(q question, records []dns.RR) (name string, ttl time.Duration, err error) {
	name, ttl = q.name, maxTTL
	for range maxAliases + 1 {
		target := ""
		for _, rr := range records {
			if alias, ok := rr.(*dns.CNAME); ok && isAt(&alias.Hdr, name) {
				target = strings.ToLower(alias.Target)
				ttl = min(ttl, seconds(alias.Hdr.Ttl))
				break
			}
		}
		if target == "" {
			return name, ttl, nil
		}
		name = target
	}
	return "", 0, errLoop
}

func belongs(q question, asked dns.Question) bool {
	return asked.Qtype == q.kind && asked.Qclass == dns.ClassINET && strings.EqualFold(asked.Name, q.name)
}

func isAt(h *dns.RR_Header, name string) bool {
	return h.Class == dns.ClassINET && strings.EqualFold(h.Name, name)
}

func seconds(ttl uint32) time.Duration { return time.Duration(ttl) * time.Second }

func rcode(code int) string {
	if s, known := dns.RcodeToString[code]; known {
		return s
	}
	return fmt.Sprintf("error %d", code)
}

// addressOf is the address of an A or AAAA record.
func addressOf(rr dns.RR) (ip netip.Addr, ok bool) {
	switch rr := rr.(type) {
	case *dns.A:
		ip, ok = netip.AddrFromSlice(rr.A)
	case *dns.AAAA:
		ip, ok = netip.AddrFromSlice(rr.AAAA)
	}
	return ip.Unmap(), ok
}
