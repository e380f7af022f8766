package deliver

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/smtpclient"
	"postern/internal/tlspolicy"
)

// soon is the time that a silent server is given in the phase in which it
// falls silent. All other phases have as much as they want, so that nothing
// depends on how quick the machine is.
const soon = 20 * time.Millisecond

// large is the size of a message that no socket holds.
const large = 16 << 20

// evil is what a server does to a message for a@, b@ and c@one.example at the
// first attempt, and what is told of it. At the second it behaves.
type evil struct {
	name     string
	script   string
	policy   tlspolicy.Level // of TLS; "" for none
	timeouts smtpclient.Timeouts
	size     int  // of the message, if it matters
	behaves  bool // from then on, over the same connection
	want     []string
}

// The beginnings of scripts, each one step further than the one before.
const (
	toMail  = hello
	toRcpt  = toMail + "C: MAIL\nS: 250 ok\n"
	toData  = toRcpt + "C: RCPT\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: RCPT\nS: 250 ok\n"
	toText  = toData + "C: DATA\nS: 354 go on\n"
	toReply = toText + "CONTENT\n"
	toTLS   = "S: 220 peer\nC: EHLO\nS: 250-peer\nS: 250 STARTTLS\nC: STARTTLS\n"
	inTLS   = toTLS + "S: 220 go on\nTLS\nC: EHLO\nS: 250 peer\n"
	well    = toReply + "S: 250 taken\n"
)

const (
	all     = "deferred 1 a@one.example,b@one.example,c@one.example: "
	lost    = "451 4.4.2 Connection to mx0.example lost "
	silent  = "451 4.4.2 Connection to mx0.example timed out "
	nothing = "451 4.5.0 "
)

var evils = []evil{
	{name: "greeting 421", script: "S: 421 4.3.2 busy\nSTALL", want: []string{all + "greeting: 421 4.3.2 busy"}},
	{name: "greeting 554", script: "S: 554 5.3.2 no mail\nSTALL", want: []string{all + "greeting: 554 5.3.2 no mail"}},
	{name: "no greeting", script: "DROP", want: []string{all + "greeting: " + lost + "while waiting for the greeting"}},
	{name: "reset at EHLO", script: "S: 220 peer\nC: EHLO\nRESET", want: []string{all + "EHLO: " + lost + "while waiting for the reply to EHLO"}},
	{name: "another protocol", script: "S: HTTP/1.1 400 Bad Request\nSTALL",
		want: []string{all + "greeting: " + nothing + "Malformed reply from mx0.example to greeting"}},
	{name: "421 to EHLO", script: "S: 220 peer\nC: EHLO\nS: 421 4.3.2 busy\nSTALL", want: []string{all + "EHLO: 421 4.3.2 busy"}},
	{name: "neither EHLO nor HELO", script: "S: 220 peer\nC: EHLO\nS: 502 no\nC: HELO\nS: 502 no\nSTALL", want: []string{all + "HELO: 502 no"}},

	{name: "silent at the greeting", script: "STALL", timeouts: smtpclient.Timeouts{Greeting: soon},
		want: []string{all + "greeting: " + silent + "while waiting for the greeting"}},
	{name: "silent at EHLO", script: "S: 220 peer\nSTALL", timeouts: smtpclient.Timeouts{Hello: soon},
		want: []string{all + "EHLO: " + silent + "while waiting for the reply to EHLO"}},
	{name: "silent in the handshake", script: toTLS + "S: 220 go on\nSTALL", policy: "verify", timeouts: smtpclient.Timeouts{Handshake: soon},
		want: []string{all + "STARTTLS: 451 4.7.5 TLS with mx0.example failed"}},
	{name: "silent at MAIL", script: toMail + "STALL", timeouts: smtpclient.Timeouts{Mail: soon},
		want: []string{all + "MAIL: " + silent + "while waiting for the reply to MAIL"}},
	{name: "silent at RCPT", script: toRcpt + "STALL", timeouts: smtpclient.Timeouts{Rcpt: soon},
		want: []string{all + "RCPT: " + silent + "while waiting for the reply to RCPT"}},
	{name: "silent at DATA", script: toData + "STALL", timeouts: smtpclient.Timeouts{DataStart: soon},
		want: []string{all + "DATA: " + silent + "before the end of the message"}},
	{name: "silent at the end of data", script: toReply + "STALL", timeouts: smtpclient.Timeouts{DataEnd: soon},
		want: []string{all + "end of data: " + silent + "after the end of the message"}},
	{name: "silent at RSET", script: toMail + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 450 no\nC: RCPT\nS: 450 no\nC: RCPT\nS: 450 no\nC: RSET\nSTALL",
		timeouts: smtpclient.Timeouts{Reset: soon}, want: []string{all + "RCPT: 450 no"}},
	{name: "half a reply, and silent", script: toMail + "C: MAIL\nRAW \"250-o\"\nSTALL", timeouts: smtpclient.Timeouts{Mail: soon},
		want: []string{all + "MAIL: " + silent + "while waiting for the reply to MAIL"}},

	{name: "endless reply", script: toMail + "C: MAIL\n" + `RAW "` + strings.Repeat(`250-and so on\r\n`, 1300) + "\"\nSTALL",
		want: []string{all + "MAIL: " + nothing + "Malformed reply from mx0.example to MAIL"}},
	{name: "endless line", script: toMail + "C: MAIL\n" + `RAW "250 ` + strings.Repeat(`and so on, `, 2000) + "\"\nSTALL",
		want: []string{all + "MAIL: " + nothing + "Malformed reply from mx0.example to MAIL"}},
	{name: "354 to MAIL", script: toMail + "C: MAIL\nS: 354 go on\nSTALL",
		want: []string{all + "MAIL: " + nothing + "Unexpected reply from mx0.example to MAIL"}},
	{name: "250 to DATA", script: toData + "C: DATA\nS: 250 ok\nSTALL",
		want: []string{all + "DATA: " + nothing + "Unexpected reply from mx0.example to DATA"}},
	{name: "354 to the end of data", script: toReply + "S: 354 more\nSTALL",
		want: []string{all + "end of data: " + nothing + "Unexpected reply from mx0.example to end of data"}},
	{name: "a code that is none", script: toReply + "S: 999 taken\nSTALL",
		want: []string{all + "end of data: " + nothing + "Malformed reply from mx0.example to end of data"}},
	{name: "two codes in one reply", script: toReply + "S: 250-taken\nS: 550 not\nSTALL",
		want: []string{all + "end of data: " + nothing + "Malformed reply from mx0.example to end of data"}},
	{name: "a reply to nothing", script: toMail + "C: MAIL\nRAW \"250 ok\\r\\n250 ok\\r\\n\"\nSTALL",
		want: []string{all + "RCPT: " + nothing + "Unexpected reply from mx0.example before RCPT"}},

	{name: "250, then reset", script: well + "RESET",
		want: []string{"delivered 1 a@one.example,b@one.example,c@one.example: end of data: 250 taken"}},
	{name: "250, and a reply too many", script: well + "S: 250 taken again\nSTALL",
		want: []string{"delivered 1 a@one.example,b@one.example,c@one.example: end of data: 250 taken"}},
	{name: "RCPT refused in part", script: toRcpt + "C: RCPT\nS: 550 5.1.1 no\nC: RCPT\nS: 250 ok\nC: RCPT\nS: 450 4.2.1 later\nC: DATA\nS: 354 go on\nCONTENT\nS: 250 taken", behaves: true,
		want: []string{"bounced 1 a@one.example: RCPT: 550 5.1.1 no", "delivered 1 b@one.example: end of data: 250 taken", "deferred 1 c@one.example: RCPT: 450 4.2.1 later"}},
	{name: "421 amid the recipients", script: toRcpt + "C: RCPT\nS: 550 5.1.1 no\nC: RCPT\nS: 421 4.7.0 enough\nSTALL",
		want: []string{"bounced 1 a@one.example: RCPT: 550 5.1.1 no", "deferred 1 b@one.example,c@one.example: RCPT: 421 4.7.0 enough"}},
	{name: "4xx at the end of data", script: toReply + "S: 452 4.3.1 full", behaves: true, want: []string{all + "end of data: 452 4.3.1 full"}},
	{name: "lost in the content", script: toText + "C: From\nDROP", size: large,
		want: []string{all + "DATA: " + lost + "before the end of the message"}},
	{name: "refused in the content", script: toText + "C: From\nS: 552 5.3.4 too big\nDROP", size: large,
		want: []string{"bounced 1 a@one.example,b@one.example,c@one.example: end of data: 552 5.3.4 too big"}},
	{name: "lost behind the content", script: toReply + "DROP", want: []string{all + "end of data: " + lost + "after the end of the message"}},
	{name: "half closed before the content", script: toText + "HALFCLOSE\nCONTENT\nSTALL",
		want: []string{all + "end of data: " + lost + "after the end of the message"}},
	{name: "half closed at MAIL", script: toMail + "C: MAIL\nHALFCLOSE\nSTALL",
		want: []string{all + "MAIL: " + lost + "while waiting for the reply to MAIL"}},
	{name: "deaf in the content", script: "NARROW\n" + toText + "WAIT", size: large, timeouts: smtpclient.Timeouts{DataBlock: 10 * soon},
		want: []string{all + "DATA: " + silent + "before the end of the message"}},
	{name: "a tiny window", script: "NARROW\n" + well + quit, size: 1 << 20,
		want: []string{"delivered 1 a@one.example,b@one.example,c@one.example: end of data: 250 taken"}},

	{name: "STARTTLS refused", script: toTLS + "S: 454 4.7.0 not now\nSTALL", policy: "verify",
		want: []string{all + "STARTTLS: 451 4.7.4 TLS is required, but mx0.example refused to start it"}},
	{name: "no TLS behind STARTTLS", script: toTLS + "S: 220 go on\nS: this is no TLS\nSTALL", policy: "verify",
		want: []string{all + "STARTTLS: 451 4.7.5 TLS with mx0.example failed"}},
	{name: "TLS broken off", script: toTLS + "S: 220 go on\nDROP", policy: "verify",
		want: []string{all + "STARTTLS: 451 4.7.5 TLS with mx0.example failed"}},
	{name: "TLS that fails midway", script: inTLS + "C: MAIL\nGARBLE this is no record\nSTALL", policy: "verify",
		want: []string{all + "MAIL: " + lost + "while waiting for the reply to MAIL"}},
	{name: "TLS cut off behind the content", script: inTLS + strings.TrimPrefix(toReply, hello) + "RESET", policy: "verify",
		want: []string{all + "end of data: " + lost + "after the end of the message"}},
}

// TestEvilPeers: each has its outcome, nothing of the message is lost or
// stays behind, and no goroutine and no socket does.
func TestEvilPeers(t *testing.T) {
	for _, e := range evils {
		goroutines, sockets := stacks(), openSockets(t)
		t.Run(e.name, e.run)
		await(t, e.name+": nothing is left open", func() bool { return stacks() <= goroutines && openSockets(t) <= sockets })
	}
}

func (e evil) run(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mx0.example")
	second := hello
	if e.policy != "" {
		second = inTLS
	}
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{TLS: config, Handle: func(n int, c *mailtest.PeerConn) {
		if n == 0 {
			c.Play(e.script)
		} else {
			c.Play(second)
		}
		if n > 0 || e.behaves {
			behave(c)
		}
	}})
	sender := mailtest.NewSink(t)
	way := to("evil", peer.Addr())
	if e.policy != "" {
		way = withTLS(way, e.policy)
	}
	h := newHarness(t, routes{"one.example": way, "": to("sender", sender.Addr())}, e.options(roots))
	if e.size > 0 {
		h.content = string(mailtest.Message(mailtest.Text, 1, e.size))
	}
	h.start()
	id := h.submit("joe@sender.example", "a@one.example", "b@one.example", "c@one.example")
	h.awaitFacts(id, mail.ReasonAttempted, 1)
	await(t, "the attempt is settled", func() bool { return h.store.Leased() == 0 })
	var got []string
	for _, f := range h.facts(id) {
		if f.Attempt == 1 && len(f.To) > 0 {
			got = append(got, brief(f))
		}
	}
	if diff := cmp.Diff(e.want, got); diff != "" {
		t.Error(diff)
	}
	// A server that behaves gets what the other did not take, in as much time as it
	// wants, and the sender a report of what is given up.
	if e.timeouts != (smtpclient.Timeouts{}) {
		h.Change(h.changed(func(s *Settings) { s.Client.Timeouts = smtpclient.Timeouts{} }))
	}
	await(t, "the queue is empty", func() bool {
		if h.store.Leased() == 0 {
			h.advance(time.Hour)
		}
		entries, err := h.store.List(t.Context(), queue.Filter{}, queue.Page{})
		return err == nil && len(entries) == 0
	})
	h.finish()
	told := map[string]bool{}
	for _, f := range h.facts(id) {
		for _, to := range f.To {
			if f.Reason == mail.ReasonDelivered || f.Reason == mail.ReasonBounced {
				if told[to] {
					t.Errorf("%s has more than one end", to)
				}
				told[to] = true
			}
		}
	}
	if len(told) != 3 {
		t.Errorf("the ends of %d recipients are told, want 3", len(told))
	}
	for _, c := range peer.Contents() {
		if string(c) != h.content {
			t.Errorf("the server got %d octets of content, other than the message", len(c))
		}
	}
	if bounced := strings.HasPrefix(e.want[0], "bounced"); bounced != (len(sender.Received()) == 1) {
		t.Errorf("%d reports", len(sender.Received()))
	}
}

func (e evil) options(roots *x509.CertPool) Options {
	o := trusting(roots)
	o.Settings.Client.Timeouts = e.timeouts
	o.Settings.Retry = mail.Schedule{Every: time.Hour, Until: 1 << 20 * time.Hour}
	return o
}

// behave serves messages until QUIT, past EHLO.
func behave(c *mailtest.PeerConn) {
	for c.Err() == nil {
		switch line := c.Expect(""); {
		case line == "QUIT":
			c.Send("221 bye")
			return
		case line == "DATA":
			c.Send("354 go on")
			c.Content()
			c.Send("250 taken")
		default:
			c.Send("250 ok")
		}
	}
}

// openSockets counts the sockets of this process; where the system does not
// tell, it is 0.
func openSockets(t *testing.T) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
