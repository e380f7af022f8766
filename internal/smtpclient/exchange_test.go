package smtpclient

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mailtest"
)

// exchange is one Send against a script.
type exchange struct {
	name       string
	script     string
	recipients int
	want       []string
	usable     bool
}

func (e exchange) run(t *testing.T) {
	peer := mailtest.NewPeer(t, e.script)
	conn := mustDial(t, peer)
	outcomes := conn.Send(t.Context(), transaction(e.recipients, "text\r\n"))
	if diff := cmp.Diff(e.want, briefs(outcomes)); diff != "" {
		t.Error(diff)
	}
	for _, o := range outcomes {
		if o.Host != "mx.example" || o.Address != peer.Addr() {
			t.Errorf("outcome of host %q, address %s", o.Host, o.Address)
		}
	}
	if got := conn.Usable(); got != e.usable {
		t.Errorf("usable: %t", got)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	for _, o := range outcomes {
		if (o.Cause == "") != o.Remote {
			t.Errorf("cause %q of %s", o.Cause, brief(o))
		}
	}
}

// exchanges are with servers that keep to the protocol.
var exchanges = []exchange{
	{"delivered", hello + `
		C: MAIL FROM:<s@x> SIZE=6
		C: RCPT TO:<r1@x>
		C: RCPT TO:<r2@x>
		C: DATA
		S: 250 2.1.0 ok
		S: 250 2.1.5 ok
		S: 251 2.1.5 will forward
		S: 354 go
		CONTENT
		S: 250 2.0.0 queued as 1` + quit, 2,
		slices.Repeat([]string{"delivered end of data: remote 250 2.0.0 queued as 1"}, 2), true},
	{"lock-step", plain + `
		C: MAIL FROM:<s@x>
		S: 250 ok
		C: RCPT TO:<r1@x>
		S: 250 ok
		C: RCPT TO:<r2@x>
		S: 550 no
		C: DATA
		S: 354 go
		CONTENT
		S: 250 queued` + quit, 2,
		[]string{"delivered end of data: remote 250 queued", "bounced RCPT: remote 550 no"}, true},
	{"some recipients", hello + `
		C: MAIL
		C: RCPT
		C: RCPT
		C: RCPT
		C: RCPT
		C: DATA
		S: 250 ok
		S: 450 4.2.0 greylisted
		S: 250 ok
		S: 552 5.5.3 too many
		S: 552 full
		S: 354 go
		CONTENT
		S: 250 ok` + quit, 4,
		[]string{"deferred RCPT: remote 450 4.2.0 greylisted", "delivered end of data: remote 250 ok",
			"deferred RCPT: remote 452 4.5.3 too many", "deferred RCPT: remote 452 full"}, true},
	{"no recipient, DATA refused", hello + `
		C: MAIL
		C: RCPT
		C: RCPT
		C: DATA
		S: 250 ok
		S: 550 5.1.1 no
		S: 450 4.1.1 later
		S: 503 5.5.1 no recipients
		C: RSET
		S: 250 ok` + quit, 2,
		[]string{"bounced RCPT: remote 550 5.1.1 no", "deferred RCPT: remote 450 4.1.1 later"}, true},
	{"no recipient, DATA accepted", hello + `
		C: MAIL
		C: RCPT
		C: DATA
		S: 250 ok
		S: 550 5.1.1 no
		S: 354 go
		C: .
		S: 554 5.5.1 no recipients
		C: RSET
		S: 250 ok` + quit, 1,
		[]string{"bounced RCPT: remote 550 5.1.1 no"}, true},
	{"no recipient, lock-step", plain + `
		C: MAIL
		S: 250 ok
		C: RCPT
		S: 550 no
		C: RSET
		S: 250 ok` + quit, 1,
		[]string{"bounced RCPT: remote 550 no"}, true},
	{"sender refused", hello + `
		C: MAIL
		C: RCPT
		C: RCPT
		C: DATA
		S: 550 5.7.1 no
		S: 503 no
		S: 250 what
		S: 503 no` + quit, 2,
		slices.Repeat([]string{"bounced MAIL: remote 550 5.7.1 no"}, 2), true},
	{"sender refused for now, lock-step", plain + `
		C: MAIL
		S: 451 later` + quit, 1,
		[]string{"deferred MAIL: remote 451 later"}, true},
	{"sender refused, DATA accepted", hello + `
		C: MAIL
		C: RCPT
		C: DATA
		S: 550 5.7.1 no
		S: 503 no
		S: 354 go
		C: .
		S: 554 no
		C: RSET
		S: 250 ok` + quit, 1,
		[]string{"bounced MAIL: remote 550 5.7.1 no"}, true},
	{"DATA refused", hello + `
		C: MAIL
		C: RCPT
		C: RCPT
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 550 5.1.1 no
		S: 452 4.3.1 full
		C: RSET
		S: 250 ok` + quit, 2,
		[]string{"deferred DATA: remote 452 4.3.1 full", "bounced RCPT: remote 550 5.1.1 no"}, true},
	{"content refused", hello + `
		C: MAIL
		C: RCPT
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 354 go
		CONTENT
		S: 554-5.6.0 no
		S: 554 5.6.0 never
		C: RSET
		S: 250 ok` + quit, 1,
		[]string{"bounced end of data: remote 554 5.6.0 no never"}, true},
	{"content refused, and the connection lost", plain + `
		C: MAIL
		S: 250 ok
		C: RCPT
		S: 250 ok
		C: DATA
		S: 354 go
		CONTENT
		S: 552 5.3.4 too large
		C: RSET`, 1,
		[]string{"bounced end of data: remote 552 5.3.4 too large"}, false},
	{"RSET refused", plain + `
		C: MAIL
		S: 250 ok
		C: RCPT
		S: 550 no
		C: RSET
		S: 500 what
		CLOSED`, 1,
		[]string{"bounced RCPT: remote 550 no"}, false},
}

func TestSend(t *testing.T) {
	for _, e := range exchanges {
		t.Run(e.name, e.run)
	}
}

const lost = "local 451 4.4.2 Connection to mx.example lost "

// breaks are exchanges that end early.
var breaks = []exchange{
	{"at MAIL", hello + `
		C: MAIL
		DROP`, 2,
		slices.Repeat([]string{"deferred MAIL: " + lost + "while waiting for the reply to MAIL"}, 2), false},
	{"421 at MAIL", hello + `
		C: MAIL
		C: RCPT
		C: DATA
		S: 421 4.3.2 closing
		DROP`, 1,
		[]string{"deferred MAIL: remote 421 4.3.2 closing"}, false},
	{"421 at RCPT", hello + `
		C: MAIL
		C: RCPT
		C: RCPT
		C: RCPT
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 550 5.1.1 no
		S: 421 4.7.0 enough
		CLOSED`, 3,
		[]string{"deferred RCPT: remote 421 4.7.0 enough", "bounced RCPT: remote 550 5.1.1 no",
			"deferred RCPT: remote 421 4.7.0 enough"}, false},
	{"at DATA", hello + `
		C: MAIL
		C: RCPT
		C: RCPT
		C: DATA
		S: 250 ok
		S: 550 no
		S: 250 ok
		DROP`, 2,
		[]string{"bounced RCPT: remote 550 no",
			"deferred DATA: " + lost + "before the end of the message"}, false},
	{"421 at DATA", hello + `
		C: MAIL
		C: RCPT
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 421 4.3.2 closing
		CLOSED`, 1,
		[]string{"deferred DATA: remote 421 4.3.2 closing"}, false},
	{"after the end of data", hello + `
		C: MAIL
		C: RCPT
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 354 go
		CONTENT
		DROP`, 1,
		[]string{"deferred end of data: " + lost + "after the end of the message"}, false},
	{"421 after the end of data", hello + `
		C: MAIL
		C: RCPT
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 354 go
		CONTENT
		S: 421 4.3.0 oops
		CLOSED`, 1,
		[]string{"deferred end of data: remote 421 4.3.0 oops"}, false},
	{"at RSET", plain + `
		C: MAIL
		S: 250 ok
		C: RCPT
		S: 550 no
		C: RSET
		DROP`, 1,
		[]string{"bounced RCPT: remote 550 no"}, false},
	{"at the empty message", hello + `
		C: MAIL
		C: RCPT
		C: DATA
		S: 250 ok
		S: 550 no
		S: 354 go
		C: .
		DROP`, 1,
		[]string{"bounced RCPT: remote 550 no"}, false},
}

// TestSendOnAConnectionThatBreaks: a bad connection, X.4.2 (RFC 3463 3.5).
func TestSendOnAConnectionThatBreaks(t *testing.T) {
	for _, e := range breaks {
		t.Run(e.name, e.run)
	}
}

// nonsense is what a server must not say.
var nonsense = []exchange{
	{"354 to MAIL", plain + `
		C: MAIL
		S: 354 go
		CLOSED`, 1,
		[]string{"deferred MAIL: local 451 4.5.0 Unexpected reply from mx.example to MAIL"}, false},
	{"354 to RCPT", plain + `
		C: MAIL
		S: 250 ok
		C: RCPT
		S: 354 go
		CLOSED`, 1,
		[]string{"deferred RCPT: local 451 4.5.0 Unexpected reply from mx.example to RCPT"}, false},
	{"250 to DATA", plain + `
		C: MAIL
		S: 250 ok
		C: RCPT
		S: 250 ok
		C: DATA
		S: 250 ok
		CLOSED`, 1,
		[]string{"deferred DATA: local 451 4.5.0 Unexpected reply from mx.example to DATA"}, false},
	{"354 to the end of data", plain + `
		C: MAIL
		S: 250 ok
		C: RCPT
		S: 250 ok
		C: DATA
		S: 354 go
		CONTENT
		S: 354 more
		CLOSED`, 1,
		[]string{"deferred end of data: local 451 4.5.0 Unexpected reply from mx.example to end of data"}, false},
	{"malformed", plain + `
		C: MAIL
		S: hello
		CLOSED`, 1,
		[]string{"deferred MAIL: local 451 4.5.0 Malformed reply from mx.example to MAIL"}, false},
	{"malformed after the end of data", plain + `
		C: MAIL
		S: 250 ok
		C: RCPT
		S: 250 ok
		C: DATA
		S: 354 go
		CONTENT
		S: 999 ok
		CLOSED`, 1,
		[]string{"deferred end of data: local 451 4.5.0 Malformed reply from mx.example to end of data"}, false},
	{"a reply too many before a command", plain + `
		C: MAIL
		RAW "250 ok\r\n250 ok\r\n"
		CLOSED`, 1,
		[]string{"deferred RCPT: local 451 4.5.0 Unexpected reply from mx.example before RCPT"}, false},
	{"a reply too many before the content", hello + `
		C: MAIL
		C: RCPT
		C: DATA
		RAW "250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"
		CLOSED`, 1,
		[]string{"deferred end of data: local 451 4.5.0 Unexpected reply from mx.example before end of data"}, false},
	{"a reply too many after the message", hello + `
		C: MAIL
		C: RCPT
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 354 go
		CONTENT
		RAW "250 taken\r\n250 ok\r\n"
		STALL`, 1,
		[]string{"delivered end of data: remote 250 taken"}, false},
}

// TestSendToAServerThatMakesNoSense: such a reply is a failure of the protocol, X.5.0 (RFC 3463 3.6).
func TestSendToAServerThatMakesNoSense(t *testing.T) {
	for _, e := range nonsense {
		t.Run(e.name, e.run)
	}
}
