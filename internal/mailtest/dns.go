package mailtest

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// DNS is a name server on loopback, by UDP and TCP at the same port, that
// knows the records it was given and can fail in the ways that servers do.
//
// Names below one that has a record "*" are as that says (RFC 4592).
//
// A TXT record at _fault.NAME makes it fail for NAME and all types; at
// _fault.TYPE.NAME for that type alone; at _fault.*.NAME for NAME and all names below
// it. The text is one of:
//
//	servfail, refused  answer with that code
//	drop               answer nothing
//	late               answer nothing at first; the second time is good
//	truncate           say by UDP that the answer does not fit
//	cut                say so by UDP and TCP
//	id                 answer with another identifier, then rightly
//	forged             answer with another identifier only
//	question           answer to another question
//	garbage            answer with what is no message
//	lame               send to other servers
//	noedns             refuse questions with EDNS, as old servers do
//	stranger           add records of another name to the answer
//	dangling           give an alias without what it leads to
type DNS struct {
	addr    netip.AddrPort
	servers []*dns.Server
	running sync.WaitGroup

	mu    sync.Mutex
	names map[string]name // in lower case
	asked map[string]int
}

// name is what the server knows of a name. One that has no records stands
// above one that has, and exists all the same (RFC 8020).
type name struct {
	records []dns.RR
	fault   string // the text of a TXT record
}

// NewDNS starts a server with the records of a zone file (RFC 1035 5), whose
// names must all be complete, and ends it with the test.
func NewDNS(t testing.TB, zone string) *DNS {
	t.Helper()
	d, err := StartDNS(zone)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// StartDNS is NewDNS for who has no testing.TB; Close must follow. It fails
// when the zone cannot be read or no port be had.
func StartDNS(zone string) (*DNS, error) {
	d := &DNS{asked: map[string]int{}}
	if err := d.Set(zone); err != nil {
		return nil, err
	}
	socket, listener, err := listenBoth()
	if err != nil {
		return nil, err
	}
	d.addr = socket.LocalAddr().(*net.UDPAddr).AddrPort()
	handler := dns.HandlerFunc(d.serve)
	d.servers = []*dns.Server{{PacketConn: socket, Handler: handler}, {Listener: listener, Handler: handler}}
	for _, s := range d.servers {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		d.running.Go(func() { _ = s.ActivateAndServe() }) // until Close
		<-ready
	}
	return d, nil
}

// listenBoth finds a port that is free for both protocols.
func listenBoth() (net.PacketConn, net.Listener, error) {
	var failure error
	for range 20 {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		listener, err := net.Listen("tcp", socket.LocalAddr().String())
		if err == nil {
			return socket, listener, nil
		}
		socket.Close()
		failure = err
	}
	return nil, nil, failure
}

// Addr returns where the server listens.
func (d *DNS) Addr() netip.AddrPort { return d.addr }

// Close ends the server.
func (d *DNS) Close() {
	for _, s := range d.servers {
		_ = s.Shutdown() // it fails only when it is not running
	}
	d.running.Wait()
}

// Set replaces what the server knows.
func (d *DNS) Set(zone string) error {
	var records []dns.RR
	parser := dns.NewZoneParser(strings.NewReader(zone), ".", "zone")
	parser.SetDefaultTTL(300)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		records = append(records, rr)
	}
	if err := parser.Err(); err != nil {
		return fmt.Errorf("the zone cannot be read: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names = index(records)
	return nil
}

// faultPrefix begins the names whose TXT records are faults.
const faultPrefix = "_fault."

// index sorts records by their names. The TXT records of _fault names are faults,
// and no part of the zone.
func index(records []dns.RR) map[string]name {
	names := map[string]name{}
	for _, rr := range records {
		owner := strings.ToLower(rr.Header().Name)
		n := names[owner]
		if txt, is := rr.(*dns.TXT); is && strings.HasPrefix(owner, faultPrefix) {
			n.fault = txt.Txt[0]
			names[owner] = n
			continue
		}
		n.records = append(n.records, rr)
		names[owner] = n
		for _, at := range dns.Split(owner) {
			if _, known := names[owner[at:]]; !known {
				names[owner[at:]] = name{}
			}
		}
	}
	return names
}

// Asked returns how often a question came, such as "example.test. MX".
func (d *DNS) Asked(question string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[strings.ToLower(question)]
}

// Questions returns all that were asked, sorted.
func (d *DNS) Questions() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.asked))
}

func (d *DNS) serve(w dns.ResponseWriter, m *dns.Msg) {
	q := m.Question[0]
	key := strings.ToLower(q.Name + " " + dns.TypeToString[q.Qtype])
	d.mu.Lock()
	d.asked[key]++
	first := d.asked[key] == 1
	fault := d.fault(q)
	reply := d.answer(m)
	d.mu.Unlock()

	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	switch fault {
	case "drop":
		return
	case "late":
		if first {
			return
		}
	case "truncate", "cut":
		if !tcp || fault == "cut" {
			reply.Truncated, reply.Answer, reply.Ns = true, nil, nil
		}
	case "id", "forged":
		wrong := reply.Copy()
		wrong.Id++
		_ = w.WriteMsg(wrong)
		if fault == "forged" {
			return
		}
	case "garbage":
		// The header is right, and promises an answer that is not there.
		header := []byte{byte(m.Id >> 8), byte(m.Id), 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0, 63, 'x'}
		_, _ = w.Write(header)
		return
	default:
		spoil(reply, m, fault)
	}
	if !tcp {
		reply.Truncate(room(m))
	}
	_ = w.WriteMsg(reply) // who asked may have gone
}

// room is how many octets who asked takes by UDP (RFC 6891 6.2.3).
func room(m *dns.Msg) int {
	if options := m.IsEdns0(); options != nil {
		return int(options.UDPSize())
	}
	return dns.MinMsgSize
}

// spoil makes a fault of a good reply that needs nothing but another content.
func spoil(reply, m *dns.Msg, fault string) {
	failure := map[string]int{"servfail": dns.RcodeServerFailure, "refused": dns.RcodeRefused}
	if code, is := failure[fault]; is {
		reply.Rcode, reply.Answer, reply.Ns = code, nil, nil
	}
	switch fault {
	case "question":
		reply.Question = []dns.Question{{Name: "another.test.", Qtype: m.Question[0].Qtype, Qclass: dns.ClassINET}}
	case "lame":
		reply.Authoritative, reply.RecursionAvailable, reply.Answer = false, false, nil
		reply.Rcode, reply.Ns = dns.RcodeSuccess, []dns.RR{record("test. 300 IN NS elsewhere.test.")}
	case "noedns":
		if m.IsEdns0() != nil {
			reply.Rcode, reply.Answer, reply.Ns = dns.RcodeFormatError, nil, nil
		}
	case "stranger":
		reply.Answer = append(reply.Answer, record("stranger.test. 300 IN MX 0 stranger.test."), record("stranger.test. 300 IN A 127.0.0.66"))
		reply.Extra = append(reply.Extra, record(m.Question[0].Name+" 300 IN A 127.0.0.66"))
	case "dangling":
		reply.Answer = reply.Answer[:min(1, len(reply.Answer))]
		reply.Rcode, reply.Ns = dns.RcodeSuccess, nil
	}
}

// record reads one record that is written in this file.
func record(text string) dns.RR {
	rr, _ := dns.NewRR(text) // it is well formed
	return rr
}

// fault returns what is to go wrong with a question. mu is held.
func (d *DNS) fault(q dns.Question) string {
	owner := strings.ToLower(q.Name)
	of := d.names[faultPrefix+strings.ToLower(dns.TypeToString[q.Qtype])+"."+owner].fault
	of = cmp.Or(of, d.names[faultPrefix+owner].fault)
	for _, at := range dns.Split(owner) {
		of = cmp.Or(of, d.names[faultPrefix+"*."+owner[at:]].fault)
	}
	return of
}

// answer answers as a server that knows all: along aliases, and with the SOA
// record where there is nothing. mu is held.
func (d *DNS) answer(m *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetReply(m)
	reply.Authoritative, reply.RecursionAvailable = true, true
	q := m.Question[0]
	name := q.Name
	for range 20 {
		found, alias, exists := d.find(name, q.Qtype)
		reply.Answer = append(reply.Answer, found...)
		switch {
		case alias != nil:
			reply.Answer = append(reply.Answer, alias)
			name = alias.Target
			continue
		case len(found) == 0:
			reply.Ns = d.soa(name)
			if !exists {
				reply.Rcode = dns.RcodeNameError
			}
		}
		break
	}
	return reply
}

// find returns the records of a name, or its alias. mu is held.
func (d *DNS) find(owner string, kind uint16) (found []dns.RR, alias *dns.CNAME, exists bool) {
	known, exists := d.names[strings.ToLower(owner)]
	if !exists {
		known, exists = d.wildcard(owner)
	}
	for _, rr := range known.records {
		if rr.Header().Rrtype == kind {
			found = append(found, rr)
		} else if cname, is := rr.(*dns.CNAME); is {
			alias = cname
		}
	}
	return found, alias, exists
}

// wildcard returns what the nearest name above says of all below it that it does not
// know (RFC 4592), with the name that was asked for. mu is held.
func (d *DNS) wildcard(owner string) (n name, exists bool) {
	for _, at := range dns.Split(owner) {
		above := strings.ToLower(owner[at:])
		if known, is := d.names["*."+above]; is && at > 0 {
			for _, rr := range known.records {
				rr = dns.Copy(rr)
				rr.Header().Name = owner
				n.records = append(n.records, rr)
			}
			return n, true
		}
		if _, is := d.names[above]; is && at > 0 {
			break
		}
	}
	return name{}, false
}

// soa returns the SOA record of the zone that a name is in. mu is held.
func (d *DNS) soa(owner string) []dns.RR {
	for _, at := range dns.Split(owner) {
		found, _, _ := d.find(owner[at:], dns.TypeSOA)
		if len(found) > 0 {
			return found[:1]
		}
	}
	return nil
}
