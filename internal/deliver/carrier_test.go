package deliver

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

// few is a server that takes so many recipients in one transaction, and says
// surplus to each one more.
func few(t *testing.T, most int, surplus string, answer func(line string) string) *mailtest.Peer {
	taken := 0 // by the transaction; the tests have one connection
	return answering(t, func(line string) string {
		if answer != nil {
			if reply := answer(line); reply != "" {
				return reply
			}
		}
		switch {
		case strings.HasPrefix(line, "MAIL"):
			taken = 0
		case strings.HasPrefix(line, "RCPT"):
			if taken++; taken > most {
				return surplus
			}
		}
		return ""
	})
}

// many are n recipients of one domain.
func many(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("r%03d@one.example", i)
	}
	return list
}

// count returns how many lines of a peer begin with a verb.
func count(p *mailtest.Peer, verb string) int {
	n := 0
	for _, line := range p.Lines() {
		if strings.HasPrefix(line, verb) {
			n++
		}
	}
	return n
}

// TestTooManyRecipients: what the server does not take in one transaction
// follows at once in the next, over the same connection.
func TestTooManyRecipients(t *testing.T) {
	for name, surplus := range map[string]string{
		"452":                       "452 4.5.3 too many recipients",
		"452 without enhanced code": "452 too many recipients",
		"552":                       "552 5.5.3 too many recipients",
		"552 without enhanced code": "552 too many recipients",
	} {
		t.Run(name, func(t *testing.T) {
			peer := few(t, 2, surplus, nil)
			h := start(t, routes{"": to("site", peer.Addr())}, Options{})
			id := h.submit("joe@sender.example", many(7)...)
			delivered := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]
			h.finish()
			if diff := cmp.Diff(many(7), slices.Sorted(slices.Values(delivered.To))); diff != "" || delivered.Attempt != 1 {
				t.Errorf("attempt %d\n%s", delivered.Attempt, diff)
			}
			// 7 at first, and then 2 at a time.
			if m, r := count(peer, "MAIL"), count(peer, "RCPT"); m != 4 || r != 7+2+2+1 || peer.Connections() != 1 {
				t.Errorf("%d transactions, %d RCPT, %d connections", m, r, peer.Connections())
			}
			h.wantOnly()
		})
	}
}

// TestSurplusThatWaits: what is no question of numbers is left to the
// schedule.
func TestSurplusThatWaits(t *testing.T) {
	for name, c := range map[string]struct {
		peer *mailtest.Peer
		want []string
	}{
		"a mailbox is full": {
			few(t, 2, "452 4.2.2 mailbox full", nil),
			[]string{"delivered 1 r000@one.example,r001@one.example: end of data: 250 2.0.0 Taken",
				"deferred 1 r002@one.example: RCPT: 452 4.2.2 mailbox full"},
		},
		"none is taken": {
			few(t, 0, "452 4.5.3 too many", nil),
			[]string{"deferred 1 r000@one.example,r001@one.example,r002@one.example: RCPT: 452 4.5.3 too many"},
		},
		"the content is not taken": {
			few(t, 2, "452 4.5.3 too many", func(line string) string {
				if line == "." {
					return "451 4.3.0 later"
				}
				return ""
			}),
			[]string{"deferred 1 r000@one.example,r001@one.example: end of data: 451 4.3.0 later",
				"deferred 1 r002@one.example: RCPT: 452 4.5.3 too many"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, routes{"": to("site", c.peer.Addr())}, Options{})
			id := h.submit("joe@sender.example", many(3)...)
			h.awaitFacts(id, mail.ReasonAttempted, 1)
			h.finish()
			if diff := cmp.Diff(c.want, briefs(h.facts(id)[2:])); diff != "" {
				t.Error(diff)
			}
			if n := count(c.peer, "MAIL"); n != 1 {
				t.Errorf("%d transactions, want 1", n)
			}
		})
	}
}

// TestOneAtATime: even for a server that takes a single recipient, no one is
// named more often than needed to find that out.
func TestOneAtATime(t *testing.T) {
	peer := few(t, 1, "452 4.5.3 too many", nil)
	h := start(t, routes{"": to("site", peer.Addr())}, Options{})
	h.awaitFacts(h.submit("joe@sender.example", many(50)...), mail.ReasonDelivered, 1)
	if m, r := count(peer, "MAIL"), count(peer, "RCPT"); m != 50 || r != 50+49 {
		t.Errorf("%d transactions, %d RCPT", m, r)
	}
}

// TestEverFewer: a server that takes fewer each time gets fewer each time.
func TestEverFewer(t *testing.T) {
	most, taken := 5, 0
	peer := answering(t, func(line string) string {
		switch {
		case strings.HasPrefix(line, "MAIL"):
			most, taken = most-1, 0
		case strings.HasPrefix(line, "RCPT"):
			if taken++; taken > most {
				return "452 4.5.3 too many"
			}
		}
		return ""
	})
	h := start(t, routes{"": to("site", peer.Addr())}, Options{})
	id := h.submit("joe@sender.example", many(12)...)
	delivered := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]
	deferred := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
	if len(delivered.To) != 4+3+2+1 || len(deferred.To) != 2 || count(peer, "MAIL") != 5+1 {
		t.Errorf("%d delivered, %d deferred in %d transactions", len(delivered.To), len(deferred.To), count(peer, "MAIL"))
	}
}

// TestAnnouncedLimit: a server that says how many it takes is not given more
// (RFC 9422), and one that says how many messages gets the rest over another
// connection.
func TestAnnouncedLimit(t *testing.T) {
	sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{Keywords: []string{"PIPELINING", "LIMITS RCPTMAX=3 MAILMAX=2"}})
	h := start(t, routes{"": to("site", sink.Addr())}, Options{})
	h.awaitFacts(h.submit("joe@sender.example", many(8)...), mail.ReasonDelivered, 1)
	var got []string
	for _, r := range sink.Received() {
		got = append(got, fmt.Sprintf("%d over %d", len(r.Rcpts), r.Connection))
	}
	if diff := cmp.Diff([]string{"3 over 0", "3 over 0", "2 over 1"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestServerLostBetweenParts: a server that goes away is not asked again for
// each part of the recipients; one that only closes after each message is.
func TestServerLostBetweenParts(t *testing.T) {
	limited := strings.Replace(hello, "S: 250 peer", "S: 250-peer\nS: 250 LIMITS RCPTMAX=1", 1)
	lost := mailtest.NewPeer(t, limited+"C: MAIL\nDROP")
	h := start(t, routes{"": to("site", lost.Addr())}, Options{})
	id := h.submit("joe@sender.example", many(5)...)
	deferred := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
	if len(deferred.To) != 5 || lost.Connections() != 1 {
		t.Errorf("%s, after %d connections", brief(deferred), lost.Connections())
	}
	closing := mailtest.NewPeer(t, limited+accept+"C: MAIL\nS: 421 4.3.2 one at a time\nDROP",
		limited+accept+"C: MAIL\nS: 421 4.3.2 one at a time\nDROP", limited+accept+quit)
	h = start(t, routes{"": to("site", closing.Addr())}, Options{})
	id = h.submit("joe@sender.example", many(3)...)
	if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; len(f.To) != 3 || closing.Connections() != 3 {
		t.Errorf("%s, after %d connections", brief(f), closing.Connections())
	}
}

// TestServerThatRefusesChunks: mail for it waits once, and goes by DATA then.
func TestServerThatRefusesChunks(t *testing.T) {
	offers := strings.Replace(hello, "S: 250 peer", "S: 250-peer\nS: 250-PIPELINING\nS: 250 CHUNKING", 1)
	peer := mailtest.NewPeer(t,
		offers+"C: MAIL\nC: RCPT\nBDAT\nS: 250 ok\nS: 250 ok\nS: 502 5.5.1 what\nCLOSED",
		offers+"C: MAIL\nC: RCPT\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go on\nCONTENT\nS: 250 taken"+quit)
	h := start(t, routes{"": to("site", peer.Addr())}, Options{})
	id := h.submit("joe@sender.example", "a@one.example")
	deferred := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
	h.advance(deferred.Next.Sub(h.clock.Now()))
	h.awaitFacts(id, mail.ReasonDelivered, 1)
	h.finish()
	if contents := peer.Contents(); len(contents) != 2 || string(contents[1]) != content {
		t.Errorf("%q", contents)
	}
}
