package smtpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/smtp"
	"postern/internal/tlspolicy"
)

// asError returns the *Error that every failure of Dial is.
func asError(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v, want an *Error", err)
	}
	return e
}

func TestDialReadsExtensions(t *testing.T) {
	conn := mustDial(t, mailtest.NewPeer(t, hello+quit))
	want := smtp.Extensions{Pipelining: true, HasSize: true, MaxSize: 1000, EightBitMIME: true,
		SMTPUTF8: true, DSN: true, EnhancedStatusCodes: true}
	if diff := cmp.Diff(want, conn.Extensions()); diff != "" {
		t.Error(diff)
	}
	if conn.TLS() != nil || !conn.Usable() {
		t.Errorf("TLS %v, usable %t", conn.TLS(), conn.Usable())
	}
	conn.Close()
}

func TestDialFallsBackToHELO(t *testing.T) {
	conn := mustDial(t, mailtest.NewPeer(t, `
		S: 220 old
		C: EHLO me.example
		S: 500-what
		S: 500 PIPELINING
		C: HELO me.example
		S: 250-hello
		S: 250 PIPELINING`+quit))
	if diff := cmp.Diff(smtp.Extensions{}, conn.Extensions()); diff != "" {
		t.Error(diff)
	}
	conn.Close()
}

func TestDialFails(t *testing.T) {
	const lost = "deferred %s: local 451 4.4.2 Connection to mx.example lost while waiting for the "
	tests := []struct{ name, script, want string }{
		{"greeting 554", "S: 554 5.3.2 no mail here\nC: QUIT\nCLOSED", "bounced greeting: remote 554 5.3.2 no mail here"},
		{"greeting 450", "S: 450 busy\nC: QUIT\nCLOSED", "deferred greeting: remote 450 busy"},
		{"greeting 421", "S: 421 4.3.2 busy\nCLOSED", "deferred greeting: remote 421 4.3.2 busy"},
		{"greeting 354", "S: 354 go\nCLOSED", "deferred greeting: local 451 4.5.0 Unexpected reply from mx.example to greeting"},
		{"no SMTP", "S: SSH-2.0-x\nCLOSED", "deferred greeting: local 451 4.5.0 Malformed reply from mx.example to greeting"},
		{"no greeting", "DROP", fmt.Sprintf(lost, "greeting") + "greeting"},
		{"greeting and more", "RAW \"220 hi\\r\\n250 ok\\r\\n\"\nCLOSED",
			"deferred EHLO: local 451 4.5.0 Unexpected reply from mx.example before EHLO"},
		{"EHLO 451", "S: 220 hi\nC: EHLO\nS: 451 4.3.0 later\nC: QUIT\nCLOSED", "deferred EHLO: remote 451 4.3.0 later"},
		{"EHLO 421", "S: 220 hi\nC: EHLO\nS: 421 bye\nCLOSED", "deferred EHLO: remote 421 bye"},
		{"EHLO dropped", "S: 220 hi\nC: EHLO\nDROP", fmt.Sprintf(lost, "EHLO") + "reply to EHLO"},
		{"HELO refused", "S: 220 hi\nC: EHLO\nS: 502 what\nC: HELO\nS: 550 5.7.1 no\nC: QUIT\nCLOSED",
			"bounced HELO: remote 550 5.7.1 no"},
		{"HELO dropped", "S: 220 hi\nC: EHLO\nS: 502 what\nC: HELO\nDROP", fmt.Sprintf(lost, "HELO") + "reply to HELO"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			peer := mailtest.NewPeer(t, tt.script)
			_, err := dial(t, peer, Options{})
			e := asError(t, err)
			if got := brief(e.Outcome()); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if e.Host != "mx.example" || e.Address != peer.Addr() || (e.Cause == nil) != e.Remote {
				t.Errorf("host %q, address %s, cause %v", e.Host, e.Address, e.Cause)
			}
		})
	}
}

func TestDialNobody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr).AddrPort()
	listener.Close()
	_, err = Dial(t.Context(), "mx.example", address, Options{})
	e := asError(t, err)
	if got := brief(e.Outcome()); got != "deferred connect: local 451 4.4.1 Could not connect to mx.example" {
		t.Error(got)
	}
	text := err.Error()
	for _, part := range []string{"mx.example", address.String(), "connect", "4.4.1", "refused"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in %q", part, text)
		}
	}
}

func TestDialIsGivenUp(t *testing.T) {
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		cancel(stopping)
		c.Stall()
	}})
	for range 2 { // within the greeting, or at once
		_, err := Dial(ctx, "mx.example", peer.Addr(), Options{})
		e := asError(t, err)
		if !errors.Is(err, stopping) || !e.Reply.Temporary() || !strings.Contains(e.Reply.Text, "given up") {
			t.Errorf("got %v", err)
		}
	}
}

func TestDialFromAnAddress(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.7")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	from := make(chan net.Addr, 1)
	go func() {
		nc, err := listener.Accept()
		if err != nil {
			return
		}
		from <- nc.RemoteAddr()
		nc.Close()
	}()
	_, err = Dial(t.Context(), "mx.example", listener.Addr().(*net.TCPAddr).AddrPort(), Options{LocalAddr: local})
	if asError(t, err).Command != "greeting" {
		t.Fatal(err)
	}
	if got := (<-from).(*net.TCPAddr).AddrPort().Addr(); got != local {
		t.Errorf("connected from %s", got)
	}
}

// startTLS opens a script: a server with STARTTLS.
const startTLS = `
	S: 220 peer
	C: EHLO
	S: 250-peer
	S: 250-SIZE 1
	S: 250 STARTTLS
	C: STARTTLS
`

func TestDialStartsTLS(t *testing.T) {
	serverTLS, pool := mailtest.ServerTLS(t, "mx.example")
	for mode, verified := range map[tlspolicy.Level]bool{"": false, tlspolicy.Opportunistic: false, tlspolicy.Required: false, tlspolicy.Verify: true} {
		t.Run(string(mode), func(t *testing.T) {
			peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{TLS: serverTLS, Scripts: []string{startTLS + `
				S: 220 go
				TLS
				C: EHLO
				S: 250-peer
				S: 250 PIPELINING
				C: MAIL
				C: RCPT
				C: DATA
				S: 250 ok
				S: 250 ok
				S: 354 ok
				CONTENT
				S: 250 ok
				C: QUIT
				S: 221 bye
				CLOSED`}})
			conn, err := dial(t, peer, Options{TLS: tlspolicy.Policy{Level: mode}, TLSConfig: &tls.Config{RootCAs: pool}})
			if err != nil {
				t.Fatal(err)
			}
			want := &mail.TLS{Version: "TLS 1.3", Cipher: conn.TLS().Cipher, ServerName: "mx.example", Verified: verified}
			outcome := conn.Send(t.Context(), transaction(1, "text\r\n"))[0]
			if diff := cmp.Diff(want, outcome.TLS); diff != "" || !strings.HasPrefix(want.Cipher, "TLS_") {
				t.Errorf("%s\ncipher %q", diff, want.Cipher)
			}
			if outcome.State != mail.Delivered || !conn.Usable() {
				t.Errorf("%s, usable %t", brief(outcome), conn.Usable())
			}
			if diff := cmp.Diff(smtp.Extensions{Pipelining: true}, conn.Extensions()); diff != "" {
				t.Errorf("extensions of before TLS are still in use: %s", diff)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDialGoesOnInClear(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		mode         tlspolicy.Level
	}{
		{"not wanted", strings.TrimSuffix(startTLS, "C: STARTTLS\n"), tlspolicy.None},
		{"not offered", plain, tlspolicy.Opportunistic},
		{"refused", startTLS + "S: 454 4.7.0 not now", tlspolicy.Opportunistic},
		{"refused for good", startTLS + "S: 502 what", tlspolicy.Opportunistic},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := dial(t, mailtest.NewPeer(t, tt.script+quit), Options{TLS: tlspolicy.Policy{Level: tt.mode}})
			if err != nil {
				t.Fatal(err)
			}
			if conn.TLS() != nil || !conn.Usable() {
				t.Errorf("TLS %v, usable %t", conn.TLS(), conn.Usable())
			}
			conn.Close()
		})
	}
}

func TestDialFailsAtTLS(t *testing.T) {
	const failed = "deferred STARTTLS: local 451 4.7.5 TLS with mx.example failed"
	const refused = "deferred STARTTLS: local 451 4.7.4 TLS is required, but mx.example refused to start it"
	serverTLS, _ := mailtest.ServerTLS(t, "mx.example")
	_, anotherPool := mailtest.ServerTLS(t, "mx.example")
	tests := []struct {
		name, script string
		mode         tlspolicy.Level
		want         string
	}{
		{"required, not offered", plain + "CLOSED", tlspolicy.Required,
			"deferred STARTTLS: local 451 4.7.4 TLS is required, but mx.example does not offer it"},
		{"verify, not offered", plain + "CLOSED", tlspolicy.Verify,
			"deferred STARTTLS: local 451 4.7.4 TLS is required, but mx.example does not offer it"},
		{"required, refused", startTLS + "S: 502 what\nCLOSED", tlspolicy.Required, refused},
		{"verify, refused", startTLS + "S: 454 not now\nCLOSED", tlspolicy.Verify, refused},
		{"nobody vouches for it", startTLS + "S: 220 go\nTLS", tlspolicy.Verify,
			"deferred STARTTLS: local 451 4.7.5 TLS is required, but the certificate of mx.example is from no authority that is trusted here"},
		{"no handshake", startTLS + "S: 220 go\nDROP", tlspolicy.Opportunistic, failed},
		{"no TLS", startTLS + "S: 220 go\nS: 220 go\nSTALL", tlspolicy.Opportunistic, failed},
		{"injection", startTLS + "RAW \"220 go\\r\\n250 SIZE 1\\r\\n\"\nCLOSED", tlspolicy.Opportunistic, failed},
		{"unexpected", startTLS + "S: 354 go\nCLOSED", tlspolicy.Opportunistic,
			"deferred STARTTLS: local 451 4.5.0 Unexpected reply from mx.example to STARTTLS"},
		{"421", startTLS + "S: 421 bye\nCLOSED", tlspolicy.Required, "deferred STARTTLS: remote 421 bye"},
		{"EHLO refused under TLS", startTLS + "S: 220 go\nTLS\nC: EHLO\nS: 451 later\nC: QUIT", tlspolicy.Required,
			"deferred EHLO: remote 451 later"},
		{"no such mode", "STALL", "strict", "deferred STARTTLS: local 451 4.3.5 Local configuration error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{TLS: serverTLS, Scripts: []string{tt.script}})
			_, err := dial(t, peer, Options{TLS: tlspolicy.Policy{Level: tt.mode}, TLSConfig: &tls.Config{RootCAs: anotherPool}})
			if got := brief(asError(t, err).Outcome()); got != tt.want {
				t.Errorf("got  %s\nwant %s\n(%v)", got, tt.want, err)
			}
		})
	}
}

func TestDialVerifiesByName(t *testing.T) {
	serverTLS, pool := mailtest.ServerTLS(t, "other.example")
	script := startTLS + "S: 220 go\nTLS\n"
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{TLS: serverTLS, Scripts: []string{
		script, script + "C: EHLO\nS: 250 peer\nC: QUIT\nS: 221 bye", script}})
	if _, err := dial(t, peer, Options{TLS: tlspolicy.Policy{Level: tlspolicy.Verify}, TLSConfig: &tls.Config{RootCAs: pool}}); err == nil {
		t.Error("a certificate for another name was taken")
	}
	named := tlspolicy.Policy{Level: tlspolicy.Verify, Names: tlspolicy.NamesOf("other.example")}
	conn, err := dial(t, peer, Options{TLS: named, TLSConfig: &tls.Config{RootCAs: pool}})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	inAYear := mail.NewManualClock(time.Now().AddDate(1, 0, 0))
	options := Options{TLS: named, Clock: inAYear, TLSConfig: &tls.Config{RootCAs: pool}}
	if _, err := dial(t, peer, options); err == nil {
		t.Error("a certificate that has expired was taken")
	}
}

// TestTimeouts: how long each phase may take: greeting (RFC 5321 4.5.3.2.1), MAIL
// (RFC 5321 4.5.3.2.2), RCPT (RFC 5321 4.5.3.2.3), DATA (RFC 5321 4.5.3.2.4), and
// the end of data (RFC 5321 4.5.3.2.6).
func TestTimeouts(t *testing.T) {
	tests := []struct {
		name, script string
		after        time.Duration
		want         string
	}{
		{"greeting", "STALL", 5 * time.Minute, "greeting: while waiting for the greeting"},
		{"EHLO", "S: 220 hi\nC: EHLO\nSTALL", 5 * time.Minute, "EHLO: while waiting for the reply to EHLO"},
		{"MAIL", plain + "C: MAIL\nSTALL", 5 * time.Minute, "MAIL: while waiting for the reply to MAIL"},
		{"RCPT", plain + "C: MAIL\nS: 250 ok\nC: RCPT\nSTALL", 5 * time.Minute, "RCPT: while waiting for the reply to RCPT"},
		{"DATA", plain + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nSTALL", 2 * time.Minute,
			"DATA: before the end of the message"},
		{"end of data", plain + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nCONTENT\nSTALL",
			10 * time.Minute, "end of data: after the end of the message"},
		{"half a reply", plain + "C: MAIL\nRAW \"250-ok\\r\\n2\"\nSTALL", 5 * time.Minute, "MAIL: while waiting for the reply to MAIL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				got := sendOverPipe(t, tt.script)
				command, phase, _ := strings.Cut(tt.want, ": ")
				want := "deferred " + command + ": local 451 4.4.2 Connection to mx.example timed out " + phase
				if got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				if took := time.Since(begun); took != tt.after {
					t.Errorf("it took %s, want %s", took, tt.after)
				}
			})
		})
	}
}

// sendOverPipe sends one message to one recipient over an in-memory
// connection, on which a server plays the script.
func sendOverPipe(t *testing.T, script string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := mailtest.PlayOn(theirs, script)
		done <- err
	}()
	options := Options{Hostname: "me.example"}.withDefaults()
	var outcome mail.Outcome
	conn, err := start(t.Context(), newConn(ours, "mx.example", netip.AddrPort{}, options))
	if err != nil {
		outcome = asError(t, err).Outcome()
	} else {
		outcome = conn.Send(t.Context(), transaction(1, "text\r\n"))[0]
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	return brief(outcome)
}

// TestTimeoutOfContent: a server has a time for each block (RFC 5321 4.5.3.2.5).
func TestTimeoutOfContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		script := plain + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go"
		played, release := make(chan error), make(chan struct{})
		go func() {
			c := &keptOpen{theirs}
			_, err := mailtest.PlayOn(c, script)
			played <- err
			<-release
			theirs.Close()
		}()
		options := Options{Hostname: "me.example"}.withDefaults()
		conn, err := start(t.Context(), newConn(ours, "mx.example", netip.AddrPort{}, options))
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		tx := transaction(1, "")
		tx.Body = strings.NewReader(strings.Repeat("text\r\n", writeBuffer))
		go func() {
			if err := <-played; err != nil {
				t.Error(err)
			}
		}()
		got := brief(conn.Send(t.Context(), tx)[0])
		close(release)
		if want := "deferred DATA: local 451 4.4.2 Connection to mx.example timed out before the end of the message"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		// The patience with a server that will not read, and with its last words.
		if took := time.Since(begun); took != 3*time.Minute+5*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// keptOpen is a connection that PlayOn cannot close.
type keptOpen struct{ net.Conn }

func (keptOpen) Close() error { return nil }

func TestCloseWaitsNotForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		done := make(chan error, 1)
		go func() {
			_, err := mailtest.PlayOn(theirs, plain+"C: QUIT\nSTALL")
			done <- err
		}()
		options := Options{Hostname: "me.example"}.withDefaults()
		conn, err := start(t.Context(), newConn(ours, "mx.example", netip.AddrPort{}, options))
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("it took %s", took)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
