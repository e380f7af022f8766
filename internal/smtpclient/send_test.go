package smtpclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

// hello opens a script: a server with the most usual extensions.
const hello = `
	S: 220 peer ESMTP
	C: EHLO me.example
	S: 250-peer
	S: 250-PIPELINING
	S: 250-SIZE 1000
	S: 250-8BITMIME
	S: 250-SMTPUTF8
	S: 250-DSN
	S: 250 ENHANCEDSTATUSCODES
`

// plain opens a script: a server with no extensions.
const plain = `
	S: 220 peer
	C: EHLO me.example
	S: 250 peer
`

const quit = `
	C: QUIT
	S: 221 bye
	CLOSED
`

func dial(t *testing.T, peer *mailtest.Peer, o Options) (*Conn, error) {
	t.Helper()
	o.Hostname = "me.example"
	conn, err := Dial(t.Context(), "mx.example", peer.Addr(), o)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func mustDial(t *testing.T, peer *mailtest.Peer) *Conn {
	t.Helper()
	conn, err := dial(t, peer, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// recipients are r1@x, r2@x and so on.
func recipients(n int) []mail.Recipient {
	r := make([]mail.Recipient, n)
	for i := range r {
		r[i].Address = mail.Address{Local: fmt.Sprintf("r%d", i+1), Domain: "x"}
	}
	return r
}

func transaction(n int, content string) *Transaction {
	return &Transaction{
		Envelope:   mail.Envelope{From: mail.Address{Local: "s", Domain: "x"}},
		Recipients: recipients(n),
		Size:       int64(len(content)),
		Body:       strings.NewReader(content),
	}
}

// brief is an outcome in one line.
func brief(o mail.Outcome) string {
	who := "local"
	if o.Remote {
		who = "remote"
	}
	return fmt.Sprintf("%s %s: %s %s", o.State, o.Command, who, o.Reply)
}

func briefs(outcomes []mail.Outcome) []string {
	lines := make([]string, len(outcomes))
	for i, o := range outcomes {
		lines[i] = brief(o)
	}
	return lines
}

func TestSendStopsAnEndlessReply(t *testing.T) {
	for name, piece := range map[string]string{"of lines": "250-more\r\n", "of one line": "250-moremore"} {
		t.Run(name, func(t *testing.T) {
			peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
				c.Play(plain + "C: MAIL")
				c.SendRaw(strings.Repeat(piece, 2*defaultMaxReply/len(piece)))
				c.Stall()
			}})
			got := mustDial(t, peer).Send(t.Context(), transaction(1, "text\r\n"))
			want := []string{"deferred MAIL: local 451 4.5.0 Malformed reply from mx.example to MAIL"}
			if diff := cmp.Diff(want, briefs(got)); diff != "" || !strings.Contains(got[0].Cause, "too long") {
				t.Errorf("%s\ncause %q", diff, got[0].Cause)
			}
		})
	}
}

func TestSendSeveral(t *testing.T) {
	sink := mailtest.NewSink(t)
	conn, err := Dial(t.Context(), "sink.example", sink.Addr(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var want []mailtest.Received
	for kind := mailtest.Text; kind <= mailtest.LongLines; kind++ {
		for _, size := range []int{300, 5000, 300_000} {
			content := mailtest.Message(kind, uint64(size), size)
			tx := transaction(3, "")
			tx.Size, tx.Body = int64(size), io.MultiReader(bytes.NewReader(content)) // which hides WriteTo
			for _, o := range conn.Send(t.Context(), tx) {
				if o.State != mail.Delivered {
					t.Fatal(brief(o))
				}
			}
			want = append(want, mailtest.Received{
				Mail:    fmt.Sprintf("MAIL FROM:<s@x> SIZE=%d", size),
				Rcpts:   []string{"RCPT TO:<r1@x>", "RCPT TO:<r2@x>", "RCPT TO:<r3@x>"},
				Content: content,
			})
		}
	}
	if !reflect.DeepEqual(want, sink.Received()) {
		t.Error("what arrived differs from what was sent")
	}
}

func TestSendManyRecipients(t *testing.T) {
	sink := mailtest.NewSink(t)
	conn, err := Dial(t.Context(), "sink.example", sink.Addr(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, n := range []int{0, 1, pipelined - 2, pipelined - 1, pipelined, 10*pipelined + 1} {
		outcomes := conn.Send(t.Context(), transaction(n, "text\r\n"))
		if len(outcomes) != n || slices.ContainsFunc(outcomes, func(o mail.Outcome) bool { return o.State != mail.Delivered }) {
			t.Errorf("%d recipients: %d outcomes, or one of them no delivery", n, len(outcomes))
		}
		if received := sink.Received(); n > 0 && len(received[len(received)-1].Rcpts) != n {
			t.Errorf("%d recipients: %d arrived", n, len(received[len(received)-1].Rcpts))
		}
	}
}

func TestSendWhatTheServerCannotTake(t *testing.T) {
	utf8 := mail.Address{Local: "jürgen", Domain: "x"}
	tests := []struct {
		name   string
		server string // keywords
		change func(*Transaction)
		want   []string
	}{
		{"SMTPUTF8 asked for", "250 8BITMIME", func(t *Transaction) { t.Envelope.UTF8 = true },
			slices.Repeat([]string{"bounced MAIL: local 550 5.6.7 mx.example does not take internationalized mail (SMTPUTF8)"}, 2)},
		{"sender", "250 8BITMIME", func(t *Transaction) { t.Envelope.From = utf8 },
			slices.Repeat([]string{"bounced MAIL: local 550 5.6.7 mx.example does not take internationalized mail (SMTPUTF8)"}, 2)},
		{"8-bit content", "250 SMTPUTF8", func(t *Transaction) { t.Envelope.Body = mail.Body8BitMIME },
			slices.Repeat([]string{"bounced MAIL: local 554 5.6.3 mx.example does not take 8-bit content (8BITMIME)"}, 2)},
		{"size", "250 SIZE 99", func(t *Transaction) { t.Size = 100 },
			slices.Repeat([]string{"bounced MAIL: local 552 5.3.4 Message of 100 octets exceeds the limit of mx.example, 99 octets"}, 2)},
		{"malformed sender", "250 SIZE", func(t *Transaction) { t.Envelope.From.Local = "a\r\nRCPT" },
			slices.Repeat([]string{"bounced MAIL: local 553 5.1.7 Sender address malformed"}, 2)},
		{"all recipients", "250 SIZE", func(t *Transaction) { t.Recipients[0].Address, t.Recipients[1].Address.Local = utf8, "a\nb" },
			[]string{"bounced RCPT: local 550 5.6.7 mx.example does not take internationalized addresses (SMTPUTF8)",
				"bounced RCPT: local 553 5.1.3 Recipient address malformed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := mustDial(t, mailtest.NewPeer(t, `
				S: 220 peer
				C: EHLO
				S: 250-peer
				S: `+tt.server+quit))
			tx := transaction(2, "text\r\n")
			tt.change(tx)
			if diff := cmp.Diff(tt.want, briefs(conn.Send(t.Context(), tx))); diff != "" {
				t.Error(diff)
			}
			if !conn.Usable() {
				t.Error("the connection is not usable although nothing was sent")
			}
			conn.Close()
		})
	}
}

// TestSendRecoded: a server that knows one charset gets the form for that, whatever it offers; SIZE is that of the form,
// and BODY what is in it (RFC 6152 3).
func TestSendRecoded(t *testing.T) {
	for _, c := range []struct {
		name     string
		keywords []string
		body     mail.BodyType
		sevenBit bool
		want     string
	}{
		{"8 bits", []string{"SIZE 1000", "8BITMIME"}, mail.Body8BitMIME, false, "MAIL FROM:<s@x> SIZE=9 BODY=8BITMIME"},
		{"7 bits", []string{"SIZE 1000", "8BITMIME"}, mail.Body7Bit, true, "MAIL FROM:<s@x> SIZE=9 BODY=7BIT"},
		{"a server of 7 bits", []string{"SIZE 1000"}, mail.Body8BitMIME, true, "MAIL FROM:<s@x> SIZE=9"},
	} {
		sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{Keywords: c.keywords})
		conn, err := Dial(t.Context(), "sink.example", sink.Addr(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		tx := transaction(1, "text\r\n")
		tx.Envelope.Body = c.body
		tx.Recoded = func(sevenBit bool) (Content, error) {
			if sevenBit != c.sevenBit {
				t.Errorf("%s: asked for 7 bits: %v", c.name, sevenBit)
			}
			return Content{9, strings.NewReader("recoded\r\n")}, nil
		}
		if reply := conn.Misfit(tx); !reply.IsZero() {
			t.Errorf("%s: %s", c.name, reply)
		}
		conn.Send(t.Context(), tx)
		if got := sink.Received(); len(got) != 1 || got[0].Mail != c.want || string(got[0].Content) != "recoded\r\n" {
			t.Errorf("%s: %+v", c.name, got)
		}
		tx.Recoded = func(bool) (Content, error) { return Content{}, mail.Refuse(550, "5.6.3", "signed") }
		if got := conn.Send(t.Context(), tx)[0]; brief(got) != "bounced MAIL: local 550 5.6.3 signed" {
			t.Errorf("%s: %s", c.name, brief(got))
		}
		conn.Close()
	}
}

// TestSendInSevenBits: a server without 8BITMIME gets the form that fits it;
// when there is none, the reply says why, and when none can be had now, the
// message waits.
func TestSendInSevenBits(t *testing.T) {
	broken := errors.New("disk on fire")
	content := func(size int64, text string) func() (Content, error) {
		return func() (Content, error) { return Content{size, strings.NewReader(text)}, nil }
	}
	tests := []struct {
		name     string
		sevenBit func() (Content, error)
		want     string
		cause    string
	}{
		{"fits", content(8, "text =\r\n"), "delivered end of data: remote 250 2.0.0 Taken", ""},
		{"too large", content(1001, ""), "bounced MAIL: local 552 5.3.4 Message of 1001 octets exceeds the limit of sink.example, 1000 octets", ""},
		{"none", func() (Content, error) { return Content{}, mail.Refuse(554, "5.6.3", "signed") }, "bounced MAIL: local 554 5.6.3 signed", ""},
		{"none now", func() (Content, error) { return Content{}, broken }, "deferred MAIL: local " + mail.LocalError.String(), broken.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{Keywords: []string{"SIZE 1000"}})
			conn, err := Dial(t.Context(), "sink.example", sink.Addr(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			tx := transaction(1, "text \xff\r\n")
			tx.Envelope.Body, tx.SevenBit = mail.Body8BitMIME, tt.sevenBit
			misfit := conn.Misfit(tx)
			got := conn.Send(t.Context(), tx)[0]
			if brief(got) != tt.want || got.Cause != tt.cause {
				t.Errorf("%s, cause %q", brief(got), got.Cause)
			}
			if taken := got.State == mail.Delivered; taken != misfit.IsZero() {
				t.Errorf("misfit is %s", misfit)
			} else if taken && sink.Received()[0].Mail != "MAIL FROM:<s@x> SIZE=8" {
				t.Errorf("%s", sink.Received()[0].Mail)
			}
		})
	}
}

func TestSendWithoutTheRecipientThatCannotBeNamed(t *testing.T) {
	peer := mailtest.NewPeer(t, plain+`
		C: MAIL FROM:<s@x>
		S: 250 ok
		C: RCPT TO:<r2@x>
		S: 250 ok
		C: DATA
		S: 354 go
		CONTENT
		S: 250 ok`+quit)
	conn := mustDial(t, peer)
	tx := transaction(2, "text\r\n")
	tx.Recipients[0].Address.Local = "jürgen"
	got := briefs(conn.Send(t.Context(), tx))
	conn.Close()
	want := []string{"bounced RCPT: local 550 5.6.7 mx.example does not take internationalized addresses (SMTPUTF8)",
		"delivered end of data: remote 250 ok"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSendAsksForSMTPUTF8WhenARecipientNeedsIt(t *testing.T) {
	sink := mailtest.NewSink(t)
	conn, err := Dial(t.Context(), "sink.example", sink.Addr(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tx := transaction(1, "text\r\n")
	tx.Recipients[0].Address.Local = "jürgen"
	conn.Send(t.Context(), tx)
	if got := sink.Received()[0].Mail; got != "MAIL FROM:<s@x> SIZE=6 SMTPUTF8" {
		t.Errorf("got %s", got)
	}
}

// toContent brings a script to where the content comes.
const toContent = hello + `
	C: MAIL
	C: RCPT
	C: DATA
	S: 250 ok
	S: 250 ok
	S: 354 go
`

func TestSendGivesUpBeforeTheDot(t *testing.T) {
	gone := errors.New("lease lost")
	tests := []struct {
		name   string
		change func(*Transaction)
		cause  string
	}{
		{"BeforeDot", func(t *Transaction) { t.BeforeDot = func() error { return gone } }, "lease lost"},
		{"body fails", func(t *Transaction) {
			t.Body = io.MultiReader(strings.NewReader("text\r\n"), iotest.ErrReader(gone))
		}, "cannot read the content: lease lost"},
		{"body too short", func(t *Transaction) { t.Size = 7 }, "6 octets instead of 7"},
		{"body too long", func(t *Transaction) { t.Size = 5 }, "6 octets instead of 5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			peer := mailtest.NewPeer(t, toContent+"CLOSED")
			conn := mustDial(t, peer)
			tx := transaction(1, "text\r\n")
			tt.change(tx)
			got := conn.Send(t.Context(), tx)
			want := []string{"deferred DATA: local " + mail.LocalError.String()}
			if diff := cmp.Diff(want, briefs(got)); diff != "" || !strings.Contains(got[0].Cause, tt.cause) {
				t.Errorf("%s\ncause %q", diff, got[0].Cause)
			}
			if conn.Usable() {
				t.Error("the connection is still usable")
			}
		})
	}
}

func TestSendCallsBeforeDotOnce(t *testing.T) {
	conn := mustDial(t, mailtest.NewPeer(t, toContent+"CONTENT\nS: 250 ok"+quit))
	calls := 0
	tx := transaction(1, "text\r\n")
	tx.BeforeDot = func() error { calls++; return nil }
	if got := conn.Send(t.Context(), tx); got[0].State != mail.Delivered || calls != 1 {
		t.Errorf("%s, %d calls", brief(got[0]), calls)
	}
	conn.Close()
}

func TestSendHearsAnEarlyRefusal(t *testing.T) {
	peer := mailtest.NewPeer(t, toContent+`
		C: text
		S: 552 5.3.4 too big
		DROP`)
	conn := mustDial(t, peer)
	tx := transaction(1, "")
	// The body goes on for longer than any buffer on the way holds.
	tx.Size, tx.Body = 0, io.LimitReader(endless{}, 1<<30)
	got := briefs(conn.Send(t.Context(), tx))
	if diff := cmp.Diff([]string{"bounced end of data: remote 552 5.3.4 too big"}, got); diff != "" {
		t.Error(diff)
	}
	if conn.Usable() {
		t.Error("the connection is still usable")
	}
}

// endless is a body of lines without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "text\r\n"[i%6]
	}
	return len(p) / 6 * 6, nil
}

func TestSendOnAConnectionThatIsClosed(t *testing.T) {
	dropped := make(chan struct{})
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
		c.Play(plain)
		c.Drop()
		close(dropped)
	}})
	conn := mustDial(t, peer)
	<-dropped
	if conn.Usable() {
		t.Error("a connection that the server closed is usable")
	}
	for range 2 {
		got := briefs(conn.Send(t.Context(), transaction(1, "text\r\n")))
		want := []string{"deferred MAIL: local 451 4.4.2 Connection to mx.example lost"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		conn.Close()
	}
}

func TestSendKeepsToTheLimitOfMessages(t *testing.T) {
	conn := mustDial(t, mailtest.NewPeer(t, `
		S: 220 peer
		C: EHLO
		S: 250-peer
		S: 250 LIMITS MAILMAX=2 RCPTMAX=7
		C: MAIL
		S: 450 no
		C: MAIL
		S: 450 no`+quit))
	if got := conn.RecipientLimit(); got != 7 {
		t.Errorf("recipient limit %d", got)
	}
	for _, usable := range []bool{true, false} {
		conn.Send(t.Context(), transaction(1, "text\r\n"))
		if conn.Usable() != usable {
			t.Errorf("usable: %t", !usable)
		}
	}
	conn.Close()
}

func TestSendIsInterrupted(t *testing.T) {
	stopping := errors.New("stopping")
	tests := []struct{ name, script, want string }{
		{"at MAIL", hello + "C: MAIL", "deferred MAIL: local 451 4.4.2 Connection to mx.example given up while waiting for the reply to MAIL"},
		{"after the end of data", toContent + "CONTENT", "deferred end of data: local 451 4.4.2 Connection to mx.example given up after the end of the message"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
				c.Play(tt.script)
				cancel(stopping)
				c.Stall()
			}})
			conn := mustDial(t, peer)
			got := conn.Send(ctx, transaction(1, "text\r\n"))
			if brief(got[0]) != tt.want || !strings.Contains(got[0].Cause, "stopping") || conn.Usable() {
				t.Errorf("got %s, cause %q, usable %t", brief(got[0]), got[0].Cause, conn.Usable())
			}
		})
	}
}

func TestSendIsInterruptedByItsOwnBody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	conn := mustDial(t, mailtest.NewPeer(t, toContent+"STALL"))
	tx := transaction(1, "text\r\n")
	tx.BeforeDot = func() error { t.Error("called after the end of ctx"); return nil }
	tx.Body = readerFunc(func([]byte) (int, error) { cancel(); return 0, io.EOF })
	got := brief(conn.Send(ctx, tx)[0])
	if want := "deferred DATA: local 451 4.4.2 Connection to mx.example given up before the end of the message"; got != want {
		t.Errorf("got %s", got)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestSendDoesNotBegin(t *testing.T) {
	conn := mustDial(t, mailtest.NewPeer(t, hello+quit))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := conn.Send(ctx, transaction(1, "text\r\n"))
	if got[0].State != mail.Deferred || got[0].Cause != context.Canceled.Error() || !conn.Usable() {
		t.Errorf("got %s, cause %q, usable %t", brief(got[0]), got[0].Cause, conn.Usable())
	}
	conn.Close()
}

func BenchmarkSend(b *testing.B) {
	for name, size := range map[string]int{"4KiB": 4 << 10, "1MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			peer := mailtest.NewPeerWith(b, mailtest.PeerOptions{Handle: func(_ int, c *mailtest.PeerConn) {
				c.Play(hello)
				for c.Expect("") != "QUIT" && c.Err() == nil {
					c.Expect("RCPT")
					c.Expect("DATA")
					c.SendRaw("250 ok\r\n250 ok\r\n354 go\r\n")
					c.Content()
					c.Send("250 ok")
				}
			}})
			conn, err := Dial(b.Context(), "mx.example", peer.Addr(), Options{Hostname: "me.example"})
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			content := mailtest.Message(mailtest.Text, 1, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				tx := transaction(1, "")
				tx.Body = bytes.NewReader(content)
				if o := conn.Send(b.Context(), tx); o[0].State != mail.Delivered {
					b.Fatal(brief(o[0]))
				}
			}
		})
	}
}

// TestSendTellsWhoRelays: a recipient of whose success the sender wants to
// hear is relayed by a server without DSN (RFC 3461 5.2.2), and delivered by
// one that will tell (RFC 3461 5.2.1).
func TestSendTellsWhoRelays(t *testing.T) {
	for keyword, want := range map[string][]mail.State{
		"DSN":  {mail.Delivered, mail.Delivered, mail.Delivered},
		"HELP": {mail.Delivered, mail.Relayed, mail.Delivered},
	} {
		conn := mustDial(t, mailtest.NewPeer(t, `
			S: 220 peer
			C: EHLO
			S: 250-peer
			S: 250 `+keyword+`
			C: MAIL
			S: 250 ok
			C: RCPT
			S: 250 ok
			C: RCPT
			S: 250 ok
			C: RCPT
			S: 250 ok
			C: DATA
			S: 354 go on
			CONTENT
			S: 250 taken`+quit))
		tx := transaction(3, "text\r\n")
		tx.Recipients[1].Notify = mail.NotifySuccess | mail.NotifyDelay
		tx.Recipients[2].Notify = mail.NotifyFailure
		var got []mail.State
		for _, o := range conn.Send(t.Context(), tx) {
			got = append(got, o.State)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", keyword, diff)
		}
	}
}
