package deliver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
)

// offering is a sink that offers these keywords and no others.
func offering(t *testing.T, keywords ...string) *mailtest.Sink {
	t.Helper()
	return mailtest.NewSinkWith(t, mailtest.SinkOptions{Keywords: append([]string{"PIPELINING"}, keywords...)})
}

func eightBitBody(e *queue.Entry) { e.Envelope.Body = mail.Body8BitMIME }
func utf8Message(e *queue.Entry)  { e.Envelope.UTF8 = true }

// TestServerThatLacksSomething: another server of the destination may do
// better; if none does, that is final only when all were asked.
func TestServerThatLacksSomething(t *testing.T) {
	able := []string{"SMTPUTF8", "8BITMIME", "SIZE 1000"}
	for _, c := range []struct {
		name   string
		change func(*queue.Entry)
		lacks  []string
		code   string
	}{
		{"SMTPUTF8", utf8Message, []string{"8BITMIME", "SIZE 1000"}, "6.7"},
		{"size", func(*queue.Entry) {}, []string{"SMTPUTF8", "8BITMIME", "SIZE 10"}, "3.4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			poor, rich := offering(t, c.lacks...), offering(t, able...)
			h := start(t, routes{
				"both.example":    to("both", poor.Addr(), rich.Addr()),
				"poor.example":    to("poor", poor.Addr(), poor.Addr()),
				"unknown.example": to("unknown", poor.Addr(), refused),
				"sender.example":  to("nowhere"),
			}, Options{})
			id := h.submitWith("joe@sender.example", c.change, "a@both.example")
			if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; f.Host != "mx1.example" || f.Attempt != 1 {
				t.Errorf("delivered by %s at attempt %d", f.Host, f.Attempt)
			}
			id = h.submitWith("joe@sender.example", c.change, "a@poor.example")
			if f := h.awaitFacts(id, mail.ReasonBounced, 1)[0]; f.Reply.Enhanced != "5."+c.code || f.Remote || f.Host != "mx0.example" {
				t.Errorf("%s, by %s", brief(f), f.Host)
			}
			id = h.submitWith("joe@sender.example", c.change, "a@unknown.example")
			f := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]
			if f.Reply.Code != 451 || f.Reply.Enhanced != "4."+c.code || !strings.Contains(f.Text, "mx1.example") {
				t.Errorf("%s: %s", brief(f), f.Text)
			}
			if n := len(poor.Received()); n != 0 {
				t.Errorf("the server that lacks it got %d messages", n)
			}
		})
	}
}

// TestRecipientThatNeedsMore: the recipients that the server can take get the
// message, whatever becomes of the one that it cannot.
func TestRecipientThatNeedsMore(t *testing.T) {
	poor, rich := offering(t), offering(t, "SMTPUTF8")
	h := start(t, routes{
		"both.example":   to("both", poor.Addr(), rich.Addr()),
		"poor.example":   to("poor", poor.Addr()),
		"sender.example": to("nowhere"),
	}, Options{})
	id := h.submit("joe@sender.example", "jürgen@poor.example", "a@poor.example")
	h.awaitFacts(id, mail.ReasonDelivered, 1)
	h.wantFacts(id, "routed 1 ", "attempted 1 ",
		"bounced 1 jürgen@poor.example: RCPT: 550 5.6.7 mx0.example does not take internationalized addresses (SMTPUTF8)",
		"delivered 1 a@poor.example: end of data: 250 2.0.0 Taken", "accepted 0 joe@sender.example")
	id = h.submit("joe@sender.example", "jürgen@both.example", "a@both.example")
	h.awaitFacts(id, mail.ReasonDelivered, 1)
	if diff := cmp.Diff([]string{"jürgen@both.example", "a@both.example"}, rich.Received()[0].To()); diff != "" {
		t.Error(diff)
	}
}

// TestKeptConnectionThatLacksSomething: it is left for messages that it fits.
func TestKeptConnectionThatLacksSomething(t *testing.T) {
	poor, rich := offering(t), offering(t, "SMTPUTF8")
	h := start(t, routes{"": to("site", poor.Addr(), rich.Addr())}, Options{})
	h.awaitFacts(h.submit("joe@sender.example", "a@one.example"), mail.ReasonDelivered, 1)
	h.awaitFacts(h.submitWith("joe@sender.example", utf8Message, "b@one.example"), mail.ReasonDelivered, 1)
	h.awaitFacts(h.submitWith("joe@sender.example", utf8Message, "c@one.example"), mail.ReasonDelivered, 1)
	if n := len(poor.Received()); n != 1 {
		t.Errorf("the first server got %d messages, want 1", n)
	}
	received := rich.Received()
	if len(received) != 2 || received[1].Connection != 0 {
		t.Errorf("the second server got %+v, want two messages over one connection", received)
	}
}

const eightBit = "Subject: Test\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\nViele Gr\xc3\xbc\xc3\x9fe an alle\r\n"

// TestDownConversion: 8-bit content goes in 7-bit form to a server without
// 8BITMIME, and as it is to one with it.
func TestDownConversion(t *testing.T) {
	poor, rich := offering(t, "SIZE"), offering(t, "SIZE", "8BITMIME")
	h := newHarness(t, routes{"poor.example": to("poor", poor.Addr()), "rich.example": to("rich", rich.Addr())}, Options{})
	h.content = eightBit
	h.start()
	for _, domain := range []string{"poor", "rich"} {
		id := h.submitWith("joe@sender.example", eightBitBody, "a@"+domain+".example")
		h.awaitFacts(id, mail.ReasonDelivered, 1)
	}
	const converted = "Subject: Test\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nViele Gr=C3=BC=C3=9Fe an alle\r\n"
	for _, c := range []struct {
		sink       *mailtest.Sink
		mail, want string
	}{
		{poor, fmt.Sprintf("MAIL FROM:<joe@sender.example> SIZE=%d", len(converted)), converted},
		{rich, fmt.Sprintf("MAIL FROM:<joe@sender.example> SIZE=%d BODY=8BITMIME", len(eightBit)), eightBit},
	} {
		got := c.sink.Received()[0]
		if got.Mail != c.mail || string(got.Content) != c.want {
			t.Errorf("%s\n%q", got.Mail, got.Content)
		}
	}
}

// TestDownConversionTooLarge: what is too large only in 7 bits shows at the connection. The next server gets it, it
// comes back when it is too large for each, and it waits while one may be left that was not asked.
func TestDownConversionTooLarge(t *testing.T) {
	limit := fmt.Sprintf("SIZE %d", len(eightBit))
	poor, rich := offering(t, limit), offering(t, limit, "8BITMIME")
	partial := to("partial", poor.Addr())
	partial.Partial = true
	h := newHarness(t, routes{
		"both.example": to("both", poor.Addr(), rich.Addr()), "poor.example": to("poor", poor.Addr(), poor.Addr()),
		"partial.example": partial, "sender.example": to("nowhere"),
	}, Options{})
	h.content = eightBit
	h.start()
	h.awaitFacts(h.submitWith("joe@sender.example", eightBitBody, "a@both.example"), mail.ReasonDelivered, 1)
	if got := rich.Received(); len(got) != 1 || string(got[0].Content) != eightBit {
		t.Errorf("the next server got %+v", got)
	}
	id := h.submitWith("joe@sender.example", eightBitBody, "a@poor.example")
	if f := h.awaitFacts(id, mail.ReasonBounced, 1)[0]; f.Reply.Code != 552 || f.Reply.Enhanced != "5.3.4" || f.Remote {
		t.Error(brief(f))
	}
	id = h.submitWith("joe@sender.example", eightBitBody, "a@partial.example")
	if f := h.awaitFacts(id, mail.ReasonDeferred, 1)[0]; f.Reply.Code != 451 {
		t.Error(brief(f))
	}
	if n := len(poor.Received()); n != 0 {
		t.Errorf("%d messages went where they are too large", n)
	}
}

// TestNoDownConversion: what must not be changed goes to a server that takes
// it as it is, or is refused.
func TestNoDownConversion(t *testing.T) {
	poor, rich := offering(t), offering(t, "8BITMIME")
	h := newHarness(t, routes{
		"both.example":   to("both", poor.Addr(), rich.Addr()),
		"poor.example":   to("poor", poor.Addr()),
		"sender.example": to("nowhere"),
	}, Options{})
	h.content = "DKIM-Signature: v=1\r\n" + eightBit
	h.start()
	h.awaitFacts(h.submitWith("joe@sender.example", eightBitBody, "a@both.example"), mail.ReasonDelivered, 1)
	if got := string(rich.Received()[0].Content); got != h.content {
		t.Errorf("%q", got)
	}
	id := h.submitWith("joe@sender.example", eightBitBody, "a@poor.example")
	f := h.awaitFacts(id, mail.ReasonBounced, 1)[0]
	if f.Command != "MAIL" || f.Reply.Code != 554 || f.Reply.Enhanced != "5.6.3" || f.Remote || f.Text != "" {
		t.Errorf("%s, text %q", brief(f), f.Text)
	}
	if n := len(poor.Received()); n != 0 {
		t.Errorf("the server without 8BITMIME got %d messages", n)
	}
}

// TestReportOfNoDownConversion: the report goes by the server that could not take
// the message, so that what comes back with it is what can be encoded.
func TestReportOfNoDownConversion(t *testing.T) {
	poor := offering(t)
	h := newHarness(t, routes{"": to("poor", poor.Addr())}, Options{})
	h.content = "DKIM-Signature: v=1\r\nX-Raw: \xfc\r\n" + eightBit
	h.start()
	id := h.submitWith("joe@sender.example", eightBitBody, "a@one.example")
	h.awaitFacts(id, mail.ReasonBounced, 1)
	report := h.awaitFacts(id, mail.ReasonAccepted, 1)[0].Message
	h.awaitFacts(report, mail.ReasonDelivered, 1)
	got := string(poor.Received()[0].Content)
	if strings.Contains(got, "Viele Gr") || !strings.Contains(got, "\r\n\r\nDKIM-Signature: v=3D1\r\nX-Raw: =FC\r\nSubject: Test\r\n") {
		t.Errorf("the report:\n%s", got)
	}
}

// TestRelayed: a recipient whose success the sender wants to hear of is
// relayed by a server that knows no DSN, and delivered by one that does
// (RFC 3461 5.2.2).
func TestRelayed(t *testing.T) {
	plain, full := offering(t), offering(t, "DSN")
	h := start(t, routes{"plain.example": to("plain", plain.Addr()), "full.example": to("full", full.Addr())}, Options{})
	id := h.submit("joe@sender.example",
		"a@plain.example SUCCESS,FAILURE", "b@plain.example FAILURE", "c@plain.example", "d@plain.example NEVER")
	h.awaitFacts(id, mail.ReasonDelivered, 1)
	h.wantFacts(id, "routed 1 ", "attempted 1 ", "relayed 1 a@plain.example: end of data: 250 2.0.0 Taken",
		"delivered 1 b@plain.example,c@plain.example,d@plain.example: end of data: 250 2.0.0 Taken",
		"accepted 0 joe@sender.example")
	report := h.awaitFacts(id, mail.ReasonAccepted, 1)[0].Message
	id = h.submit("joe@sender.example", "a@full.example SUCCESS")
	h.awaitFacts(id, mail.ReasonDelivered, 1)
	if got := full.Received()[0].Rcpts[0]; got != "RCPT TO:<a@full.example> NOTIFY=SUCCESS" {
		t.Errorf("%q", got)
	}
	h.finish()
	h.wantOnly(report)
}
