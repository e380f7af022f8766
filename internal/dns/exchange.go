package dns

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/miekg/dns"
)

// udpSize is the largest answer by UDP that is asked for: what passes
// everywhere in one piece (RFC 6891 6.2.5 leaves it to experience).
const udpSize = 1232

// askServer asks one server by UDP, and again by TCP if the answer does not
// fit (RFC 7766 5). An answer with another identifier than the question is not
// looked at; it may be somebody's guess (RFC 5452 9.1).
func askServer(ctx context.Context, server netip.AddrPort, q question, timeout time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request := new(dns.Msg)
	request.SetQuestion(q.name, q.kind)
	request.SetEdns0(udpSize, false)

	reply, err := exchange(ctx, "udp", server, request)
	if err == nil && reply.Rcode == dns.RcodeFormatError && reply.IsEdns0() == nil {
		// A server from before EDNS (RFC 6891 7).
		request.Extra = nil
		reply, err = exchange(ctx, "udp", server, request)
	}
	if reply != nil && reply.Truncated { // what came of it may be unreadable
		reply, err = exchange(ctx, "tcp", server, request)
	}
	if err != nil {
		return answer{}, err
	}
	return read(q, reply)
}

// exchange sends one message and waits for its answer, until ctx ends.
func exchange(ctx context.Context, network string, server netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
	client := dns.Client{Net: network}
	if deadline, ok := ctx.Deadline(); ok {
		// The library's own limit, of two seconds, would be used else.
		client.Timeout = time.Until(deadline)
	}
	conn, err := client.DialContext(ctx, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// The library looks at the time only, not at the end of ctx.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	reply, _, err := client.ExchangeWithConnContext(ctx, m, conn)
	if err != nil && (ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded)) {
		return nil, errSilent
	}
	return reply, err
}
