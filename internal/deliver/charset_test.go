package deliver

import (
	"net/netip"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/route"
)

const umlauts = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nViele Grüße\r\n"

// inLatin1 is a way to servers that know ISO 8859-1 alone.
func inLatin1(addresses ...netip.AddrPort) route.Route {
	r := to("latin", addresses...)
	for i := range r.Hops {
		r.Hops[i].Charset = "iso-8859-1"
	}
	return r
}

// TestCharset: each server gets the content in the form for it, over new connections and kept ones, and the facts say
// what was converted.
func TestCharset(t *testing.T) {
	const head = "Subject: =?iso-8859-1?b?R3L832U=?=\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: "
	const eight, seven = head + "8bit\r\n\r\nViele Gr\xfc\xdfe\r\n", head + "quoted-printable\r\n\r\nViele Gr=FC=DFe\r\n"
	new8, old := offering(t, "8BITMIME", "SIZE 10000"), offering(t)
	any8 := offering(t, "8BITMIME")
	h := newHarness(t, routes{
		"eight.example":  inLatin1(new8.Addr()),
		"seven.example":  inLatin1(old.Addr()),
		"any.example":    to("any", any8.Addr()),
		"sender.example": to("nowhere"),
	}, Options{})
	h.content = umlauts
	h.start()
	for _, c := range []struct {
		to   string
		sink *mailtest.Sink
		want string
		mail string
		said string
	}{
		{"a@eight.example", new8, eight, "MAIL FROM:<joe@sender.example> SIZE=149 BODY=8BITMIME", "1 text and 1 piece of the header converted to iso-8859-1"},
		{"a@eight.example", new8, eight, "MAIL FROM:<joe@sender.example> SIZE=149 BODY=8BITMIME", "1 text and 1 piece of the header converted to iso-8859-1"},
		{"a@seven.example", old, seven, "MAIL FROM:<joe@sender.example>", "1 text and 1 piece of the header converted to iso-8859-1"},
		{"a@any.example", any8, umlauts, "MAIL FROM:<joe@sender.example> BODY=8BITMIME", ""},
	} {
		before := len(c.sink.Received())
		id := h.submitWith("joe@sender.example", eightBitBody, c.to)
		h.awaitFacts(id, mail.ReasonDelivered, 1)
		if f := h.awaitFacts(id, mail.ReasonAttempted, 1)[0]; f.Text != c.said {
			t.Errorf("%s: %q", c.to, f.Text)
		}
		got := c.sink.Received()
		if len(got) != before+1 || string(got[before].Content) != c.want || got[before].Mail != c.mail {
			t.Errorf("%s: %+v", c.to, got)
		}
	}
}

// TestCharsetThatDoesNotFit: what cannot be in the charset of a server goes by another; where there is none, it
// comes back and says why.
func TestCharsetThatDoesNotFit(t *testing.T) {
	for name, content := range map[string]string{
		"signed":      "DKIM-Signature: v=1\r\n" + umlauts,
		"a character": strings.Replace(umlauts, "Viele", "€", 1),
	} {
		poor, rich := offering(t, "8BITMIME"), offering(t, "8BITMIME")
		both := to("both", poor.Addr(), rich.Addr())
		both.Hops[0].Charset = "iso-8859-1"
		h := newHarness(t, routes{"both.example": both, "poor.example": inLatin1(poor.Addr()), "sender.example": to("nowhere")}, Options{})
		h.content = content
		h.start()
		id := h.submitWith("joe@sender.example", eightBitBody, "a@both.example")
		h.awaitFacts(id, mail.ReasonDelivered, 1)
		if got := rich.Received(); len(got) != 1 || string(got[0].Content) != content || len(poor.Received()) != 0 {
			t.Errorf("%s: %d messages came, %d to the other", name, len(got), len(poor.Received()))
		}
		id = h.submitWith("joe@sender.example", eightBitBody, "a@poor.example")
		if f := h.awaitFacts(id, mail.ReasonBounced, 1)[0]; f.Reply.Code != 550 || f.Reply.Enhanced != "5.6.3" || f.Remote {
			t.Errorf("%s: %s", name, brief(f))
		}
		h.finish()
	}
}

// TestCharsetIsAskedOnce: a message to several destinations is read for a charset once.
func TestCharsetIsAskedOnce(t *testing.T) {
	h := newHarness(t, routes{}, Options{})
	h.content = umlauts
	entry, err := h.store.Get(t.Context(), h.submit("joe@sender.example", "a@x.example"))
	if err != nil {
		t.Fatal(err)
	}
	f := forms{store: h.store, id: entry.Body}
	defer f.close()
	size, err := f.InCharset(t.Context(), "iso-8859-1")
	if err != nil || size != 149 {
		t.Errorf("%d octets, %v", size, err)
	}
	for range 3 {
		if _, err := f.InCharset(t.Context(), "iso-8859-1"); err != nil || len(f.known) != 1 {
			t.Errorf("%d forms, %v", len(f.known), err)
		}
	}
	if _, err := f.InCharset(t.Context(), "us-ascii"); mail.ReplyOf(err).Enhanced != "5.6.3" {
		t.Errorf("%v", err)
	}
	if _, err := f.InCharset(t.Context(), "x-gone"); err == nil || mail.ReplyOf(err).Permanent() {
		t.Errorf("%v", err)
	}
	gone := forms{store: h.store}
	if _, err := gone.InCharset(t.Context(), "iso-8859-1"); err == nil || mail.ReplyOf(err).Permanent() {
		t.Errorf("%v", err)
	}
}
