package smtpserver

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/smtp"
)

func TestMaxConnections(t *testing.T) {
	for _, c := range []struct {
		name    string
		options Options
		want    string
	}{
		{"in all", Options{MaxConnections: 2}, "421 4.3.2 mx.test has too many connections, try again later"},
		{"one client", Options{MaxConnectionsPerClient: 2}, "421 4.7.0 Too many connections from 127.0.0.1, try again later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &scripted{}
			s := start(t, c.options, h)
			first := s.dial().open()
			s.dial().open()
			third := s.dial()
			third.expect(c.want)
			third.expectEnd()
			first.send("QUIT\r\n")
			first.expect("221 2.0.0 mx.test closing connection")
			first.expectEnd()
			s.dial().open()
			if n := h.counted("Begin"); n != 3 {
				t.Errorf("%d sessions begun, want 3", n)
			}
		})
	}
}

// TestLimitThatShrinks: new clients are refused, and those that begin a
// message are sent away until the number fits; one in the midst of a message
// may end it. When it grows again there is room again.
func TestLimitThatShrinks(t *testing.T) {
	var limit atomic.Int64
	limit.Store(100)
	s := start(t, Options{MaxConnections: 4, Limit: func() int { return int(limit.Load()) }}, &scripted{})
	const crowded = "421 4.3.2 mx.test has too many connections, try again later"
	begin := "MAIL FROM:<a@b>\r\n"
	busy := s.dial().open()
	busy.send(begin)
	busy.expect("250 2.1.0 Ok")
	idle := []*client{s.dial().open(), s.dial().open(), s.dial().open()}
	if got := s.Limit(); got != 4 {
		t.Errorf("the limit is %d, more than MaxConnections", got)
	}
	fifth := s.dial()
	fifth.expect(crowded)
	fifth.expectEnd()

	limit.Store(2)
	idle[0].send("NOOP\r\n")
	idle[0].expect("250 2.0.0 Ok")
	for _, c := range idle[:2] { // 4 are there, then 3
		c.send(begin)
		c.expect(crowded)
		c.expectEnd()
	}
	idle[2].send(begin) // 2 are there
	idle[2].expect("250 2.1.0 Ok")
	limit.Store(1)
	busy.play(`
	C: RCPT TO:<a@b>
	C: DATA
	C: .
	S: 250 2.1.5 Ok
	S: 354 End data with <CR><LF>.<CR><LF>
	S: 250 2.0.0 Kept 0 octets
	C: MAIL FROM:<a@b>
	S: 421 4.3.2 mx.test has too many connections, try again later
	S.
	`)
	refused := s.dial()
	refused.expect(crowded)
	refused.expectEnd()
	limit.Store(4)
	for range 3 {
		s.dial().open()
	}
	s.dial().expect(crowded)
}

// TestOnlyAsManyGoAsMust: of those that begin together.
func TestOnlyAsManyGoAsMust(t *testing.T) {
	const clients, left = 20, 8
	var limit atomic.Int64
	limit.Store(clients)
	s := start(t, Options{Limit: func() int { return int(limit.Load()) }}, &scripted{})
	var sessions []*client
	for range clients {
		sessions = append(sessions, s.dial().open())
	}
	limit.Store(left)
	for _, c := range sessions {
		c.send("MAIL FROM:<a@b>\r\n")
	}
	stayed := 0
	for _, c := range sessions {
		line, err := c.br.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "250 ") {
			stayed++
		}
	}
	if stayed != left {
		t.Errorf("%d stayed, want %d", stayed, left)
	}
}

func TestClientKey(t *testing.T) {
	key := func(a string) clientKey {
		return keyOf(&mail.Origin{Client: netip.AddrPortFrom(netip.MustParseAddr(a), 1)})
	}
	if key("192.0.2.1") == key("192.0.2.2") {
		t.Error("two IPv4 addresses count as one")
	}
	if key("2001:db8::1") != key("2001:db8::2:1") || key("2001:db8::1") == key("2001:db8:0:1::1") {
		t.Error("IPv6 clients are not counted by /64")
	}
	if keyOf(&mail.Origin{}) != (clientKey{user: -1}) {
		t.Error("no address has a key")
	}
	user := func(uid uint32) clientKey { return keyOf(&mail.Origin{User: &mail.User{UID: uid}}) }
	if user(0) == keyOf(&mail.Origin{}) || user(0) == user(1) {
		t.Error("users are not counted apart")
	}
	for want, o := range map[string]mail.Origin{
		"192.0.2.1": {Client: netip.MustParseAddrPort("192.0.2.1:25")},
		"joe":       {User: &mail.User{UID: 1000, Name: "joe"}},
		"uid 1000":  {User: &mail.User{UID: 1000}},
	} {
		if got := clientName(&o); got != want {
			t.Errorf("a client is called %q, want %q", got, want)
		}
	}
}

func TestMaxErrors(t *testing.T) {
	var f mailtest.Facts
	c := start(t, Options{MaxErrors: 3, Record: f.Record}, &scripted{}).dial()
	c.play(`
	S: 220 mx.test ESMTP Postern
	C: XYZZY
	C: DATA
	C: XYZZY
	C: NOOP
	S: 500 5.5.1 Command not recognized
	S: 503 5.5.1 Send EHLO or HELO first
	S: 421 4.7.0 mx.test: too many errors, closing connection
	S.
	`)
	all := f.All()
	if len(all) != 3 || all[2].Reply.Code != 421 || all[2].Text != "500 5.5.1 Command not recognized" {
		t.Errorf("facts %+v", all)
	}
}

func TestAcceptedMessageForgivesErrors(t *testing.T) {
	c := start(t, Options{MaxErrors: 2}, &scripted{}).dial().open()
	for range 3 {
		c.play(`
		C: XYZZY
		C: MAIL FROM:<a@b>
		C: RCPT TO:<a@b>
		C: DATA
		C: .
		S: 500 5.5.1 Command not recognized
		S: 250 2.1.0 Ok
		S: 250 2.1.5 Ok
		S: 354 End data with <CR><LF>.<CR><LF>
		S: 250 2.0.0 Kept 0 octets
		`)
	}
}

func TestChatter(t *testing.T) {
	const errors = 2
	c := start(t, Options{MaxErrors: errors}, &scripted{}).dial().open()
	for range maxChatter - 1 + errors - 1 { // EHLO was one
		c.send("NOOP\r\n")
		c.expect("250 2.0.0 Ok")
	}
	c.send("NOOP\r\n")
	c.expect("421 4.7.0 mx.test: too many errors, closing connection")
	c.expectEnd()
}

// TestSurplusRecipients: a list of twice the limit is no error, one of three
// times is; and only the first leaves a fact.
func TestSurplusRecipients(t *testing.T) {
	var f mailtest.Facts
	c := start(t, Options{MaxRecipients: 3, MaxErrors: 2, Record: f.Record}, &scripted{}).dial().open()
	c.send("MAIL FROM:<a@b>\r\n" + strings.Repeat("RCPT TO:<a@b>\r\n", 8))
	c.expect("250 2.1.0 Ok", "250 2.1.5 Ok", "250 2.1.5 Ok", "250 2.1.5 Ok")
	const tooMany = "452 4.5.3 Too many recipients: 3 are taken at a time"
	c.expect(tooMany, tooMany, tooMany, tooMany, "421 4.7.0 mx.test: too many errors, closing connection")
	c.expectEnd()
	if n := len(f.All()); n != 3 {
		t.Errorf("%d facts, want 3: the first surplus, and two errors", n)
	}
}

func TestLongLines(t *testing.T) {
	c := start(t, Options{}, &scripted{}).dial().open()
	const tooLong = "500 5.5.2 Line too long: the limit is 2048 octets"
	c.send("NOOP " + strings.Repeat("x", smtp.MaxCommandLine-len("NOOP \r\n")) + "\r\n")
	c.expect("250 2.0.0 Ok")
	for _, length := range []int{smtp.MaxCommandLine - len("NOOP \r\n") + 1, readBuffer - 1, readBuffer, readBuffer + 1, 3 * readBuffer} {
		c.send("NOOP " + strings.Repeat("x", length) + "\r\nNOOP\r\n")
		c.expect(tooLong, "250 2.0.0 Ok")
	}
	c.send(strings.Repeat("x", maxLongLine))
	c.expect("421 4.7.0 Endless line, closing connection")
}

// pipe runs a server on one end of a synchronous connection and returns the
// other, for tests in which time is fake.
func pipe(t *testing.T, o Options, h Handler) *client {
	o.Hostname = "mx.test"
	server, nc := net.Pipe()
	l := &pipeListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conns <- server
	s := New(o, h)
	done := make(chan error)
	go func() { done <- s.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		nc.Close()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return newClient(t, nc)
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestCommandTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, Options{CommandTimeout: time.Minute}, &scripted{})
		c.expect("220 mx.test ESMTP Postern")
		begin := time.Now()
		c.send("NO") // a line in pieces gets no more time
		time.Sleep(50 * time.Second)
		c.send("OP")
		c.expect("421 4.4.2 mx.test: timeout, closing connection")
		c.expectEnd()
		if waited := time.Since(begin); waited != time.Minute {
			t.Errorf("waited %v", waited)
		}
	})
}

// TestDeafClient: a client that reads no reply ends with its write deadline.
func TestDeafClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &scripted{}
		ended := make(chan time.Time, 1)
		h.called = func(call string) {
			if call == "End" {
				ended <- time.Now()
			}
		}
		begin := time.Now()
		pipe(t, Options{CommandTimeout: time.Minute}, h)
		if waited := (<-ended).Sub(begin); waited != time.Minute {
			t.Errorf("ended after %v", waited)
		}
	})
}

// TestReplyQueueIsBounded: a client that sends on without reading is written
// to in between.
func TestReplyQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &scripted{replies: map[string]mail.Reply{
			"NOOP": mail.NewReply(250, "2.0.0", "%s", strings.Repeat("long ", 80)),
		}}
		c := pipe(t, Options{}, h)
		c.expect("220 mx.test ESMTP Postern")
		c.send(strings.Repeat("NOOP\r\n", 60))
		synctest.Wait()
		if n := h.counted("NOOP"); n >= 60 || n < maxQueued/500 {
			t.Errorf("%d commands done before a reply was read", n)
		}
	})
}

func TestDataTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		c := pipe(t, Options{DataTimeout: time.Minute, Logger: log.logger()}, &scripted{})
		beginData(c)
		begin := time.Now()
		c.send("abc\n.\n")
		c.expect("421 4.4.2 Timeout before the end of data, which is CRLF . CRLF")
		c.expectEnd()
		if waited := time.Since(begin); waited != time.Minute {
			t.Errorf("waited %v", waited)
		}
		if !strings.Contains(log.String(), "client waits after LF . LF") {
			t.Errorf("no hint in the log:\n%s", log.String())
		}
	})
}

// beginData brings a session to the 354.
func beginData(c *client) {
	c.t.Helper()
	c.expect("220 mx.test ESMTP Postern")
	c.send("HELO c\r\n")
	c.expect("250 mx.test")
	c.send("MAIL FROM:<a@b>\r\n")
	c.expect("250 2.1.0 Ok")
	c.send("RCPT TO:<a@b>\r\n")
	c.expect("250 2.1.5 Ok")
	c.send("DATA\r\n")
	c.expect("354 End data with <CR><LF>.<CR><LF>")
}

// TestMinDataRate: a client that sends an octet a second is cut off though it
// is never silent for long; the time the handler takes is not its fault.
func TestMinDataRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &scripted{}
		h.content = func(ctx context.Context, c smtp.Content) mail.Reply {
			time.Sleep(time.Hour)
			return h.keep(ctx, c)
		}
		c := pipe(t, Options{DataTimeout: time.Minute, MinDataRate: 10, Newlines: repair}, h)
		beginData(c)
		time.Sleep(time.Hour)
		begin := time.Now()
		var drip sync.WaitGroup
		defer drip.Wait()
		drip.Go(func() {
			for {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		c.expect("421 4.4.2 Timeout before the end of data, which is CRLF . CRLF")
		c.expectEnd()
		if waited := time.Since(begin); waited < time.Minute || waited > 70*time.Second {
			t.Errorf("cut off after %v, want a minute and the seconds that were earned", waited)
		}
	})
}

func repair(mail.Origin) smtp.Newlines { return smtp.NewlinesRepair }

func TestPacePatience(t *testing.T) {
	for _, c := range []struct {
		name string
		pace pace
		want time.Duration
	}{
		{"fresh", pace{timeout: time.Minute, rate: 10}, time.Minute},
		{"half of the grace is spent", pace{timeout: time.Minute, rate: 10, waited: 30 * time.Second}, 30 * time.Second},
		{"it was earned back", pace{timeout: time.Minute, rate: 10, got: 300, waited: 30 * time.Second}, time.Minute},
		{"never longer than the time-out", pace{timeout: time.Minute, rate: 10, got: 1 << 40}, time.Minute},
		{"overdrawn", pace{timeout: time.Minute, rate: 10, waited: 2 * time.Minute}, -time.Minute},
	} {
		if got := c.pace.patience(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestFacts(t *testing.T) {
	var f mailtest.Facts
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := start(t, Options{
		Listener: "in", Record: f.Record, Clock: mail.NewManualClock(now), MaxSize: 100, MaxErrors: 50,
	}, &scripted{replies: map[string]mail.Reply{
		"no@example.net": mail.NewReply(550, "5.1.1", "No such user"),
	}})
	c := s.dial().open()
	c.play(`
	C: MAIL FROM:<joe>
	S: 501 5.1.7 Bad address: not an address of the form local-part@domain: no @
	C: MAIL FROM:<joe@example.com> SIZE=101
	S: 552 5.3.4 The message is larger than 100 octets
	C: MAIL FROM:<joe@example.com> SMTPUTF8
	S: 250 2.1.0 Ok
	C: RCPT TO:<no@example.net>
	S: 550 5.1.1 No such user
	C: RCPT TO:<yes@example.net>
	S: 250 2.1.5 Ok
	C: DATA
	S: 354 End data with <CR><LF>.<CR><LF>
	C= "bare\nnewline\r\n.\r\n"
	S: 550 5.6.0 Bare CR or LF in the message: lines must end with CRLF
	`)
	c.send(strings.Repeat("X", 100) + "\r\n")
	c.expect("500 5.5.1 Command not recognized")

	type brief struct {
		Command, From, To, Protocol, Reply string
	}
	var got []brief
	for _, fact := range f.All() {
		if fact.Reason != mail.ReasonRefused || !fact.Time.Equal(now) || fact.Session == "" ||
			fact.Session != fact.Origin.Session || fact.Origin.Listener != "in" || fact.Origin.Client.Addr() != loopback {
			t.Errorf("fact %+v of origin %+v", fact, fact.Origin)
		}
		got = append(got, brief{fact.Command, fact.From, strings.Join(fact.To, " "), fact.Origin.Protocol, fact.Reply.String()[:9]})
	}
	want := []brief{
		{"MAIL", "", "", "ESMTP", "501 5.1.7"},
		{"MAIL", "<joe@example.com>", "", "ESMTP", "552 5.3.4"},
		{"RCPT", "<joe@example.com>", "<no@example.net>", "UTF8SMTP", "550 5.1.1"},
		{"end of data", "<joe@example.com>", "", "UTF8SMTP", "550 5.6.0"},
		{strings.Repeat("X", maxFactCommand), "", "", "ESMTP", "500 5.5.1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestDefaults: among them the time for a command (RFC 5321 4.5.3.2.7).
func TestDefaults(t *testing.T) {
	o := Options{MaxErrors: 7}.withDefaults()
	if o.MaxErrors != 7 || o.MaxSize != 50<<20 || o.MaxConnections != 1000 || o.CommandTimeout != 5*time.Minute {
		t.Errorf("%+v", o)
	}
	if o.Newlines(mail.Origin{}) != smtp.NewlinesRefuse {
		t.Error("bare newlines are not refused")
	}
	if o.TLS != nil {
		t.Error("TLS out of nothing")
	}
}
