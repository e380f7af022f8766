package smtpclient

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

// lhlo opens a script: what a server says in LMTP up to LHLO.
const lhlo = `
	S: 220 peer LMTP
	C: LHLO me.example
	S: 250-peer
	S: 250-PIPELINING
	S: 250-CHUNKING
	S: 250 ENHANCEDSTATUSCODES
`

// toThree is a transaction with three recipients up to the end of its content.
const toThree = lhlo + `
	C: MAIL FROM:<s@x>
	C: RCPT TO:<r1@x>
	C: RCPT TO:<r2@x>
	C: RCPT TO:<r3@x>
	C: DATA
	S: 250 2.1.0 ok
	S: 250 2.1.5 ok
`

// TestLMTP: each recipient that was accepted has its own reply to the end of data
// (RFC 2033 4.2), and none of them says anything of the others.
func TestLMTP(t *testing.T) {
	for _, c := range []exchange{
		{"one reply each", toThree + `
			S: 250 2.1.5 ok
			S: 250 2.1.5 ok
			S: 354 go
			CONTENT
			S: 250 2.0.0 saved
			S: 452 4.2.2 full
			S: 550 5.2.1 closed` + "\nC: QUIT\nS: 221 bye\nCLOSED", 3,
			[]string{"delivered end of data: remote 250 2.0.0 saved", "deferred end of data: remote 452 4.2.2 full", "bounced end of data: remote 550 5.2.1 closed"}, true},
		{"none for who was refused", toThree + `
			S: 550 5.1.1 unknown
			S: 250 2.1.5 ok
			S: 354 go
			CONTENT
			S: 250 2.0.0 saved 1
			S: 250 2.0.0 saved 3` + quit, 3,
			[]string{"delivered end of data: remote 250 2.0.0 saved 1", "bounced RCPT: remote 550 5.1.1 unknown", "delivered end of data: remote 250 2.0.0 saved 3"}, true},
		{"none is taken", toThree + `
			S: 250 2.1.5 ok
			S: 250 2.1.5 ok
			S: 354 go
			CONTENT
			S: 451 4.3.0 a
			S: 451 4.3.0 b
			S: 451 4.3.0 c
			C: RSET
			S: 250 ok` + quit, 3,
			[]string{"deferred end of data: remote 451 4.3.0 a", "deferred end of data: remote 451 4.3.0 b", "deferred end of data: remote 451 4.3.0 c"}, true},
		{"it closes behind the first", toThree + `
			S: 250 2.1.5 ok
			S: 250 2.1.5 ok
			S: 354 go
			CONTENT
			S: 250 2.0.0 saved
			DROP`, 3,
			[]string{"delivered end of data: remote 250 2.0.0 saved",
				"deferred end of data: local 451 4.4.2 Connection to mx.example lost after the end of the message",
				"deferred end of data: local 451 4.4.2 Connection to mx.example lost after the end of the message"}, false},
		{"it goes away behind the first", toThree + `
			S: 250 2.1.5 ok
			S: 250 2.1.5 ok
			S: 354 go
			CONTENT
			S: 250 2.0.0 saved
			S: 421 4.3.2 closing
			DROP`, 3,
			[]string{"delivered end of data: remote 250 2.0.0 saved", "deferred end of data: remote 421 4.3.2 closing", "deferred end of data: remote 421 4.3.2 closing"}, false},
		{"content for nobody", toThree + `
			S: 550 5.1.1 unknown
			S: 550 5.1.1 unknown
			S: 503 5.5.1 nobody
			C: RSET
			S: 250 ok` + quit, 3, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) { c.runLMTP(t) })
	}
}

func (e exchange) runLMTP(t *testing.T) {
	script := e.script
	if e.want == nil { // everybody is refused
		script = strings.Replace(script, "S: 250 2.1.5 ok\n", "S: 550 5.1.1 unknown\n", 1)
		for range e.recipients {
			e.want = append(e.want, "bounced RCPT: remote 550 5.1.1 unknown")
		}
	}
	conn, err := dial(t, mailtest.NewPeer(t, script), Options{LMTP: true})
	if err != nil {
		t.Fatal(err)
	}
	outcomes := conn.Send(t.Context(), transaction(e.recipients, "text\r\n"))
	if diff := cmp.Diff(e.want, briefs(outcomes)); diff != "" {
		t.Error(diff)
	}
	if got := conn.Usable(); got != e.usable {
		t.Errorf("usable: %t", got)
	}
}

// TestLMTPToAnSMTPServer: who does not know LHLO is no server for LMTP, and hears no HELO.
func TestLMTPToAnSMTPServer(t *testing.T) {
	_, err := dial(t, mailtest.NewPeer(t, "S: 220 peer\nC: LHLO me.example\nS: 500 5.5.1 unknown\nC: QUIT\nCLOSED"), Options{LMTP: true})
	if e := asError(t, err); e.Command != "LHLO" || e.Reply.Code != 500 || !e.Remote {
		t.Errorf("%v", err)
	}
}

// TestUnixSocket: the server is behind a socket; when nobody listens there, the failure
// names it.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lmtp")
	o := Options{LMTP: true, Socket: path, Hostname: "me.example"}
	_, err := Dial(t.Context(), "unix:"+path, netip.AddrPort{}, o)
	if e := asError(t, err); e.Command != "connect" || !errors.Is(err, syscall.ENOENT) || !strings.HasPrefix(e.Error(), "unix:"+path+": connect: 451 4.4.1 ") {
		t.Errorf("%v", err)
	}
	mailtest.NewPeerWith(t, mailtest.PeerOptions{Socket: path, Scripts: []string{lhlo + `
		C: MAIL
		C: RCPT
		C: DATA
		S: 250 ok
		S: 250 ok
		S: 354 go
		CONTENT
		S: 250 2.0.0 saved` + quit}})
	conn, err := Dial(t.Context(), "unix:"+path, netip.AddrPort{}, o)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := conn.Send(t.Context(), transaction(1, "text\r\n"))
	if outcomes[0].State != mail.Delivered || !conn.Usable() {
		t.Errorf("%s", brief(outcomes[0]))
	}
	conn.Close()
	if conn.Usable() {
		t.Error("it can be used when it is closed")
	}
}

// TestWithout: what is switched off is taken as not offered.
func TestWithout(t *testing.T) {
	all := Options{Without: []string{"PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE", "STARTTLS"}}
	peer := mailtest.NewPeer(t, strings.Replace(hello, "S: 250-DSN", "S: 250-DSN\nS: 250-CHUNKING\nS: 250-STARTTLS", 1)+`
		C: MAIL FROM:<s@x>
		S: 250 ok
		C: RCPT TO:<r1@x>
		S: 250 ok
		C: DATA
		S: 354 go
		CONTENT
		S: 250 ok`+quit)
	conn, err := dial(t, peer, all)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := conn.Send(t.Context(), transaction(1, "text\r\n"))
	if outcomes[0].State != mail.Delivered {
		t.Errorf("%s", brief(outcomes[0]))
	}
	utf8 := transaction(1, "text\r\n")
	utf8.Envelope.UTF8 = true
	if reply := conn.Misfit(utf8); reply.Code != 550 {
		t.Errorf("SMTPUTF8 is off, but lacks nothing: %v", reply)
	}
}

// TestDialFromAnAddressThatIsNotHere: the cause is named, and it is not the server.
func TestDialFromAnAddressThatIsNotHere(t *testing.T) {
	o := Options{LocalAddr: netip.MustParseAddr("192.0.2.7")}
	_, err := Dial(t.Context(), "mx.example", netip.MustParseAddrPort("127.0.0.1:1"), o)
	e := asError(t, err)
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || !e.Reply.Temporary() || !strings.Contains(e.Error(), "connecting from 192.0.2.7: this machine does not have the address") {
		t.Errorf("%v", err)
	}
}
