package intake

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/queue"
	"postern/internal/smtp"
)

var (
	inside  = netip.MustParseAddrPort("10.1.2.3:4025")
	outside = netip.MustParseAddrPort("203.0.113.77:4025")
	here    = netip.MustParseAddrPort("198.51.100.7:25")
)

// silent is policy that has nothing to say of anybody.
func silent(mail.Origin) *policy.Session { return nil }

// session is one of a client from outside, for which there is no policy; or from
// inside, which may send to anywhere.
func (d *door) session(client netip.AddrPort) *Session {
	if client == inside {
		d.Policy = silent
	}
	return d.Session(mail.Origin{Listener: "test", Client: client, Local: here})
}

// TestRcpt: who may write to whom, and where it goes.
func TestRcpt(t *testing.T) {
	const (
		accepted = ""
		relaying = "550 5.7.1"
		unknown  = "550 5.1.1"
	)
	for _, c := range []struct {
		rcpt              string
		trusted, stranger string // the replies
		address, original string // of what is stored
	}{
		{"joe@elsewhere.example", accepted, relaying, "joe@elsewhere.example", ""},
		{"joe@sub.gate.example", accepted, relaying, "joe@sub.gate.example", ""},
		{"postmaster@elsewhere.example", accepted, relaying, "postmaster@elsewhere.example", ""},
		{"admin@example.com", accepted, relaying, "admin@example.com", ""},
		{"joe@[192.0.2.1]", accepted, relaying, "joe@[192.0.2.1]", ""},
		{"joe%elsewhere.example@gate.example", unknown, unknown, "", ""},
		{"joe@gate.example", unknown, unknown, "", ""},
		{"joe@GATE.Example", unknown, unknown, "", ""},
		{"joe@localhost", unknown, unknown, "", ""},
		{"joe@[198.51.100.7]", unknown, unknown, "", ""},
		{"joe@[127.0.0.1]", unknown, unknown, "", ""},
		{"joe@[IPv6:::1]", unknown, unknown, "", ""},
		{"joe@[IPv6:::ffff:198.51.100.7]", unknown, unknown, "", ""},
		{"postmaster", accepted, accepted, "admin@example.com", "rfc822;postmaster"},
		{"PostMaster@gate.example", accepted, accepted, "admin@example.com", "rfc822;PostMaster@gate.example"},
		{"postmaster@[198.51.100.7]", accepted, accepted, "admin@example.com", "rfc822;postmaster@[198.51.100.7]"},
		{"postmaster@TÜR.example", accepted, accepted, "admin@example.com", "utf-8;postmaster@TÜR.example"},
		{"postmaster@localhost", accepted, accepted, "admin@example.com", "rfc822;postmaster@localhost"},
	} {
		for _, client := range []netip.AddrPort{inside, outside} {
			want := c.trusted
			if client == outside {
				want = c.stranger
			}
			d := newDoor(t, Options{})
			s := d.session(client)
			s.Mail(t.Context(), smtp.Mail{})
			reply := s.Rcpt(t.Context(), rcpt(t, c.rcpt))
			if !strings.HasPrefix(reply.String(), want) || reply.IsZero() != (want == accepted) {
				t.Errorf("%s from %s: %s, want %q", c.rcpt, client, reply, want)
			}
			var stored []mail.Recipient
			if want == accepted {
				stored = []mail.Recipient{{Address: address(t, c.address), Original: c.original}}
				if reply := s.Content(t.Context(), content(plainText)); reply.Code != 250 {
					t.Fatal(reply)
				}
			}
			if diff := cmp.Diff(stored, d.recipients()); diff != "" {
				t.Errorf("%s from %s: %s", c.rcpt, client, diff)
			}
		}
	}
}

// TestUsersOfTheHost: they may send to anywhere, and what they send to each
// other is for the postmaster.
func TestUsersOfTheHost(t *testing.T) {
	d := newDoor(t, Options{})
	d.Local.IsUser = func(name string) bool { return name == "root" }
	for _, c := range []struct {
		user bool
		rcpt string
		want string // what is stored, or the reply
	}{
		{true, "joe@elsewhere.example", "joe@elsewhere.example"},
		{true, "root@elsewhere.example", "root@elsewhere.example"},
		{true, "root@gate.example", "admin@example.com"},
		{true, "postmaster@gate.example", "admin@example.com"},
		{true, "nosuch@gate.example", "550 5.1.1"},
		{false, "root@gate.example", "550 5.1.1"},
		{false, "joe@elsewhere.example", "550 5.7.1"},
	} {
		o := mail.Origin{Listener: "sendmail"}
		if c.user {
			o.User = &mail.User{UID: 1000}
		}
		s := d.Session(o)
		s.Mail(t.Context(), smtp.Mail{})
		got := s.Rcpt(t.Context(), rcpt(t, c.rcpt)).String()
		if len(s.recipients) > 0 {
			s.Content(t.Context(), content(plainText))
			all := d.recipients()
			got = all[len(all)-1].Address.String()
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("user %v to %s: %s, want %s", c.user, c.rcpt, got, c.want)
		}
	}
	if to := d.Local.Leads(address(t, "root@gate.example")); len(to) != 1 || to[0].String() != "admin@example.com" {
		t.Error(to)
	}
	d.Local.IsUser = nil
	if to := d.Local.Leads(address(t, "root@gate.example")); to != nil {
		t.Errorf("a host that knows no users has one: %v", to)
	}
}

// TestOnce: what was taken is noted with the message, and not without it.
func TestOnce(t *testing.T) {
	d := newDoor(t, Options{})
	take := func(once string) error {
		_, err := d.Accept(t.Context(), Message{
			Recipients: []mail.Recipient{{Address: address(t, "a@x.example")}}, Content: strings.NewReader("x\r\n"),
			Gone: func() bool { return false }, Once: once,
		})
		return err
	}
	taken := func(once string) bool {
		is, err := d.Taken(t.Context(), once)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if err := errors.Join(take("one"), take(""), take("two")); err != nil {
		t.Fatal(err)
	}
	d.store.fail["accept"] = errors.New("broken")
	if err := take("three"); err == nil {
		t.Error("a store that is broken took a message")
	}
	d.store.fail = map[string]error{}
	if !taken("one") || !taken("two") || taken("three") {
		t.Errorf("taken: %v %v %v", taken("one"), taken("two"), taken("three"))
	}
	if names, err := d.AllTaken(t.Context()); err != nil || strings.Join(names, " ") != "one two" {
		t.Errorf("all taken: %q, %v", names, err)
	}
	if err := d.Forget(t.Context(), "one", "never"); err != nil || taken("one") || !taken("two") {
		t.Errorf("forgotten: %v, taken %v %v", err, taken("one"), taken("two"))
	}
	if !Fatal(errors.Join(queue.ErrUnknown)) || Fatal(queue.ErrFull) {
		t.Error("what is fatal, and what is not")
	}
}

// TestRoom: what there is no room for is refused at MAIL, whoever sends it,
// without a word of the inside and without noise in the log.
func TestRoom(t *testing.T) {
	var log bytes.Buffer
	var asked []int64
	d := newDoor(t, Options{
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Room: func(size int64) error {
			asked = append(asked, size)
			if size > 1000 {
				return errors.New("disk: 3 MiB are free on the file system of /var/lib/postern/queue; 256 MiB must be")
			}
			return nil
		},
	})
	for _, client := range []netip.AddrPort{inside, outside} {
		s := d.session(client)
		for size, want := range map[int64]mail.Reply{0: {}, 1000: {}, 1001: mail.NewReply(452, "4.3.1", "Insufficient system storage, please try again later")} {
			if r := s.Mail(t.Context(), smtp.Mail{Size: size}); r != want {
				t.Errorf("%d octets from %s: %s, want %s", size, client, r, want)
			}
		}
	}
	if len(asked) != 6 || log.Len() > 0 {
		t.Errorf("asked for %d, logged %q", asked, log.String())
	}
	// Who has begun is not asked again.
	s := d.session(inside)
	s.Mail(t.Context(), smtp.Mail{})
	s.Rcpt(t.Context(), rcpt(t, "joe@elsewhere.example"))
	s.Data(t.Context())
	if r := s.Content(t.Context(), content("x\r\n")); r.Code != 250 || len(asked) != 7 {
		t.Errorf("%s, asked %d times", r, len(asked))
	}
}

// TestSuspended: who comes while the intake is suspended is sent away, and who
// is there may end its transaction and begin no other.
func TestSuspended(t *testing.T) {
	suspended := false
	d := newDoor(t, Options{Hostname: "gate.example", Suspended: func() bool { return suspended }})
	if r := d.Greeting(); !r.IsZero() {
		t.Errorf("greeting: %s", r)
	}
	s := d.session(inside)
	if r := s.Mail(t.Context(), smtp.Mail{}); !r.IsZero() {
		t.Errorf("MAIL: %s", r)
	}
	suspended = true
	if r := s.Rcpt(t.Context(), rcpt(t, "joe@elsewhere.example")); !r.IsZero() {
		t.Errorf("RCPT: %s", r)
	}
	if r := s.Mail(t.Context(), smtp.Mail{}); r.Code != 451 || r.Enhanced != "4.3.2" {
		t.Errorf("MAIL: %s", r)
	}
	if r := d.Greeting(); r.Code != 421 || r.Enhanced != "4.3.2" || !strings.HasPrefix(r.Text, "gate.example") {
		t.Errorf("greeting: %s", r)
	}
}

func rcpt(t *testing.T, to string) smtp.Rcpt {
	t.Helper()
	return smtp.Rcpt{Recipient: mail.Recipient{Address: address(t, to)}}
}

// TestOriginalRecipient: what the client said of it stays, also when the
// recipient is redirected.
func TestOriginalRecipient(t *testing.T) {
	d := newDoor(t, Options{})
	s := d.session(inside)
	s.Mail(t.Context(), smtp.Mail{})
	for _, r := range []mail.Recipient{
		{Address: address(t, "postmaster"), Original: "rfc822;chief@old.example", Notify: mail.NotifyNever},
		{Address: address(t, "joe@elsewhere.example"), Original: "rfc822;joe@old.example"},
	} {
		if reply := s.Rcpt(t.Context(), smtp.Rcpt{Recipient: r}); !reply.IsZero() {
			t.Fatal(reply)
		}
	}
	want := []mail.Recipient{
		{Address: address(t, "joe@elsewhere.example"), Original: "rfc822;joe@old.example"},
		{Address: address(t, "admin@example.com"), Original: "rfc822;chief@old.example", Notify: mail.NotifyNever},
	}
	if reply := s.Content(t.Context(), content(plainText)); reply.Code != 250 {
		t.Fatal(reply)
	}
	if diff := cmp.Diff(want, d.recipients()); diff != "" {
		t.Error(diff)
	}
}

// TestTransactions: what one transaction said is no part of the next, however
// the one ended.
func TestTransactions(t *testing.T) {
	ended := map[string]func(*Session){
		"accepted": func(s *Session) {
			if r := s.Content(t.Context(), content("x\r\n")); r.Code != 250 {
				t.Error(r)
			}
		},
		"refused": func(s *Session) {
			if r := s.Content(t.Context(), broken(mail.Refuse(550, "5.6.0", "Bad"))); r.Code != 550 {
				t.Error(r)
			}
		},
		"reset": func(s *Session) { s.Reset() },
	}
	for name, end := range ended {
		d := newDoor(t, Options{})
		s := d.session(inside)
		s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: address(t, "first@x.example"), EnvelopeID: "first", Return: mail.ReturnFull}})
		s.Rcpt(t.Context(), rcpt(t, "first@elsewhere.example"))
		end(s)
		if len(s.recipients) > 0 || s.envelope != (mail.Envelope{}) {
			t.Errorf("%s: of the transaction %+v and %v are left", name, s.envelope, s.recipients)
		}
		before := len(d.entries())

		s.Mail(t.Context(), smtp.Mail{})
		s.Rcpt(t.Context(), rcpt(t, "void@elsewhere.example"))
		s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: address(t, "second@x.example")}})
		s.Rcpt(t.Context(), rcpt(t, "second@elsewhere.example"))
		if r := s.Content(t.Context(), content("x\r\n")); r.Code != 250 || r.Enhanced != "2.0.0" {
			t.Fatalf("%s: %s", name, r)
		}
		e := d.entries()[before]
		if got := e.Addresses(); len(got) != 1 || got[0] != "second@elsewhere.example" {
			t.Errorf("%s: the second message is for %s", name, got)
		}
		if diff := cmp.Diff(mail.Envelope{From: address(t, "second@x.example"), Body: mail.Body7Bit}, e.Envelope); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestHello: what EHLO said is what counts, under TLS what was said there.
func TestHello(t *testing.T) {
	d := newDoor(t, Options{})
	s := d.session(inside)
	for _, o := range []mail.Origin{
		{Listener: "test", Client: inside, Hello: "one.example", Protocol: "ESMTP"},
		{Listener: "test", Client: inside, Hello: "two.example", Protocol: "ESMTPS", TLS: &mail.TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256"}},
	} {
		if r := s.Hello(t.Context(), o); !r.IsZero() {
			t.Errorf("EHLO: %s", r)
		}
	}
	s.Mail(t.Context(), smtp.Mail{})
	s.Rcpt(t.Context(), rcpt(t, "joe@elsewhere.example"))
	if r := s.Data(t.Context()); !r.IsZero() {
		t.Errorf("DATA: %s", r)
	}
	s.Content(t.Context(), content("x\r\n"))
	if o := d.entries()[0].Origin; o.Hello != "two.example" || o.TLS == nil {
		t.Errorf("origin %+v", o)
	}
	if r := s.Command(t.Context(), smtp.Command{Verb: "VRFY", Args: "joe"}); !r.IsZero() {
		t.Errorf("VRFY: %s", r)
	}
	s.End()
}

// TestStoreErrors: the client is told what it can do about them, and nothing
// of the inside.
func TestStoreErrors(t *testing.T) {
	const inner = "pebble: /var/lib/postern/000123.sst: input/output error"
	text := errors.New(inner)
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"full", queue.ErrFull, "452 4.3.1"},
		{"full with a cause", errors.Join(text, queue.ErrFull), "452 4.3.1"},
		{"closed", queue.ErrClosed, "421 4.3.2"},
		{"cancelled", context.Canceled, "451 4.3.0"},
		{"anything", text, "451 4.3.0"},
		{"invalid", queue.ErrInvalid, "451 4.3.0"},
	} {
		for _, at := range []string{"create", "write", "accept"} {
			d := newDoor(t, Options{})
			d.store.fail[at] = c.err
			r := d.send(content("x\r\n"))
			if !strings.HasPrefix(r.String(), c.want) || strings.Contains(r.Text, "pebble") || strings.Contains(r.Text, c.err.Error()) {
				t.Errorf("%s at %s: %q, want %q", c.name, at, r, c.want)
			}
			d.wantNothing()
		}
	}
}

// TestUnknownCommit: when nobody knows whether the message is stored there is
// no reply, and the draft, which the commit may have taken, is left alone.
func TestUnknownCommit(t *testing.T) {
	d := newDoor(t, Options{})
	d.store.fail["accept"] = errors.Join(queue.ErrUnknown, errors.New("fsync: input/output error"))
	if r := d.send(content("x\r\n")); r != (mail.Reply{Code: mail.NoReply}) {
		t.Errorf("%+v", r)
	}
	if n := len(d.store.drafts); n != 1 || d.store.drafts[0].discarded {
		t.Errorf("%d drafts, or it was discarded", n)
	}
}

// TestOnlyOwnTroubleIsLoud: the statuses of the subject "system" (RFC 3463 3.4) are the
// server's own trouble.
func TestOnlyOwnTroubleIsLoud(t *testing.T) {
	for want, refusals := range map[slog.Level][]mail.Reply{
		slog.LevelWarn:  {errNoRoom.Reply, errStopping.Reply, mail.LocalError},
		slog.LevelDebug: {errGone.Reply, mail.NewReply(554, "5.4.6", "Too many hops"), mail.NewReply(500, "", "No")},
	} {
		for _, r := range refusals {
			if got := refusalLevel(r); got != want {
				t.Errorf("%v: got %v, want %v", r, got, want)
			}
		}
	}
}
