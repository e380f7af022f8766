package intake

import (
	"net/netip"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// TestProvenance: an account is in the origin of what it sends, and in the header only
// if that is wanted; the name of a client is what was known when its message came.
func TestProvenance(t *testing.T) {
	for _, named := range []bool{false, true} {
		name := ""
		var asked netip.Addr
		d := newDoor(t, Options{AccountInHeaders: named, ClientName: func(ip netip.Addr) func() string {
			asked = ip
			return func() string { return name }
		}})
		s := d.session(inside)
		send := func() {
			s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: address(t, "joe@sender.example")}})
			s.Rcpt(t.Context(), rcpt(t, "ann@elsewhere.example"))
			if reply := s.Content(t.Context(), content(plainText)); reply.Code != 250 {
				t.Fatal(reply)
			}
		}
		send()
		if reply := s.Auth(t.Context(), joe); !reply.IsZero() {
			t.Fatal(reply)
		}
		name = "pc.example"
		send()
		facts := d.facts()
		if before := facts[0].Origin; before.Account != nil || before.ClientName != "" || strings.HasSuffix(before.Protocol, "A") {
			t.Errorf("before: %+v", before)
		}
		after := facts[1].Origin
		if after.Account == nil || *after.Account != joe.Account || after.ClientName != "pc.example" || after.Protocol != "ESMTPA" || asked != inside.Addr() {
			t.Errorf("after: %+v", after)
		}
		e := d.entries()[1]
		b, err := d.store.Body(t.Context(), e.Body)
		if err != nil {
			t.Fatal(err)
		}
		text := make([]byte, b.Size())
		b.ReadAt(text, 0)
		b.Close()
		field, _ := cutField(string(text))
		if !strings.Contains(field, "(pc.example [") || strings.Contains(field, "joe") != named {
			t.Errorf("named %v: %q", named, field)
		}
	}
}

// TestMaxSize: what is larger than the account may send is refused, and nothing is left
// of it.
func TestMaxSize(t *testing.T) {
	for size, want := range map[int64]string{0: "250 2.0.0", int64(len(plainText)): "250 2.0.0", int64(len(plainText)) - 1: "552 5.3.4"} {
		d := newDoor(t, Options{})
		_, err := d.Accept(t.Context(), Message{MaxSize: size, Content: strings.NewReader(plainText), Gone: func() bool { return false },
			Recipients: []mail.Recipient{{Address: address(t, "ann@elsewhere.example")}}})
		got := "250 2.0.0"
		if err != nil {
			got = mail.ReplyOf(err).String()
			d.wantNothing()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%d: %s, want %s", size, got, want)
		}
	}
}
