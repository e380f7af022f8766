package intake

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"postern/internal/auth"
	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/smtp"
)

const joesPassword = "correct horse"

// oneUser is a source of joe alone, by password and by certificate.
type oneUser struct{ down, disabled bool }

func (o *oneUser) Usable(user string) bool { return user == joe.Name && !o.disabled }

func (o *oneUser) Password(_ context.Context, user, password string) (mail.Principal, error) {
	switch {
	case o.down:
		return mail.Principal{}, errors.New("down")
	case user != joe.Name:
		return mail.Principal{}, auth.ErrUnknown
	case password != joesPassword:
		return mail.Principal{}, auth.ErrInvalid
	}
	return joe, nil
}

func (o *oneUser) Certificate(_ context.Context, c mail.Certificate, _ bool) (mail.Principal, error) {
	switch {
	case o.down:
		return mail.Principal{}, errors.New("down")
	case c.Subject != "CN=joe":
		return mail.Principal{}, auth.ErrUnknown
	}
	return joe, nil
}

func (o *oneUser) Address(client netip.Addr) (mail.Principal, bool) {
	return joe, client == netip.MustParseAddr("192.0.2.25")
}

// withLogins gives the door sources: "directory" with joe, and "other" with nobody but
// those of its own.
func (d *door) withLogins(other auth.Source) *oneUser {
	own := &oneUser{}
	d.Auth = auth.New(auth.Options{
		Sources: map[string]auth.Methods{
			"directory": {Passwords: own, Certificates: own, Accounts: own},
			"other":     {Passwords: other},
		},
		Listeners: map[string]auth.Listener{"in": {Mechanisms: []string{auth.Plain, auth.External, auth.Scram}, Sources: []string{"directory"}}},
		Addresses: own,
		Hasher:    auth.NewHasher(1, mail.SystemClock{}),
	})
	return own
}

// underAt is a session of a client under rules.
func (d *door) underAt(r rules, o mail.Origin) *Session {
	s := d.Session(o)
	s.ruled = &ruled{rules: r}
	return s
}

// login says PLAIN, and returns the account and the reply.
func login(t *testing.T, s *Session, user, password string) (*mail.Account, mail.Reply) {
	t.Helper()
	x, reply := s.Authenticate(t.Context(), auth.Plain, nil)
	if !reply.IsZero() {
		t.Fatal(reply)
	}
	defer x.End()
	_, who, reply := x.Next(t.Context(), []byte("\x00"+user+"\x00"+password))
	return who, reply
}

func TestAuthenticate(t *testing.T) {
	d := newDoor(t, Options{})
	own := d.withLogins(nil)
	from := mail.Origin{Listener: "in", Client: netip.MustParseAddrPort("192.0.2.1:1")}
	s := d.Session(from)
	if got := s.Mechanisms(from); !slices.Equal(got, []string{auth.Plain}) {
		t.Errorf("without a certificate, and without keys, %v are offered", got)
	}
	if who, reply := login(t, s, "joe", "wrong"); who != nil || reply.Code != 535 {
		t.Errorf("wrong password: %v, %v", who, reply)
	}
	if who, reply := login(t, s, "joe", joesPassword); who == nil || *who != (mail.Account{Name: "joe", Source: "directory", Mechanism: "PLAIN"}) || reply.Code != 235 {
		t.Errorf("right password: %+v, %v", who, reply)
	}
	if s.origin.Account == nil || s.origin.Account.Name != "joe" {
		t.Errorf("the origin of its mail has %v", s.origin.Account)
	}
	own.down = true
	if _, reply := login(t, d.Session(from), "joe", joesPassword); reply.Code != 454 {
		t.Errorf("while the source is down: %v", reply)
	}
}

// An account that is disabled while its client is connected sends no more.
func TestAccountEnds(t *testing.T) {
	d := newDoor(t, Options{})
	own := d.withLogins(nil)
	from := mail.Origin{Listener: "in", Client: netip.MustParseAddrPort("192.0.2.1:1")}
	verified, known, stranger := d.Session(from), d.Session(from), d.Session(from)
	if _, reply := login(t, verified, "joe", joesPassword); reply.Code != 235 {
		t.Fatal(reply)
	}
	known.Know(joe)
	for i, disabled := range []bool{false, true, false} {
		own.disabled = disabled
		for who, s := range map[string]*Session{"verified": verified, "known": known, "stranger": stranger} {
			reply := s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: address(t, "joe@example.com")}})
			if refused := reply.Code == 421; refused != (disabled && who != "stranger") || !refused && !reply.IsZero() {
				t.Errorf("%d: %s: %v", i, who, reply)
			}
			s.Reset()
		}
	}
}

// What policy says of whoever is verified is the reply; and before that it chooses who
// verifies him.
func TestPolicyOfLogins(t *testing.T) {
	d := newDoor(t, Options{})
	other := &oneUser{down: true}
	d.withLogins(other)
	rules := &ruling{say: map[string]policy.Decision{}, source: map[string]string{"ann": "other"}}
	s := d.underAt(rules, mail.Origin{Listener: "in"})

	if _, reply := login(t, s, "joe", joesPassword); reply.Code != 235 {
		t.Errorf("joe: %v", reply)
	}
	if _, reply := login(t, s, "ann", joesPassword); reply.Code != 454 {
		t.Errorf("ann is not verified by the source that policy has chosen, which is down: %v", reply)
	}
	rules.say["auth"] = by("no", mail.NewReply(535, "5.7.8", "Not you"))
	if who, reply := login(t, s, "joe", joesPassword); who != nil || reply.Text != "Not you" {
		t.Errorf("joe, whom policy refuses: %v, %v", who, reply)
	}
	if trail := s.Trail(); len(trail) == 0 || trail[0].Rule != "no" {
		t.Errorf("the refusal has the trail %v", trail)
	}
	rules.say["source"] = by("broken", mail.NewReply(454, "4.7.0", "Not now"))
	if _, reply := login(t, s, "joe", joesPassword); reply.Text != "Not now" {
		t.Errorf("while a condition cannot be asked: %v", reply)
	}
}

// A client is known by its certificate, or else by its address, from EHLO on.
func TestImpliedAccounts(t *testing.T) {
	shown := func(subject string) *mail.TLS { return &mail.TLS{Certificate: &mail.Certificate{Subject: subject}} }
	at := netip.MustParseAddrPort("192.0.2.25:1")
	tests := map[string]struct {
		origin mail.Origin
		want   string
	}{
		"certificate":             {mail.Origin{TLS: shown("CN=joe")}, "joe by certificate"},
		"address":                 {mail.Origin{Client: at}, "joe by address"},
		"another's certificate":   {mail.Origin{TLS: shown("CN=ann")}, "nobody"},
		"certificate and address": {mail.Origin{Client: at, TLS: shown("CN=joe")}, "joe by certificate"},
		"nothing":                 {mail.Origin{TLS: &mail.TLS{}}, "nobody"},
		"who has authenticated":   {mail.Origin{Client: at, Account: &mail.Account{Name: "ann", Mechanism: "PLAIN"}}, "ann by PLAIN"},
	}
	for name, test := range tests {
		d := newDoor(t, Options{})
		d.withLogins(nil)
		rules := &ruling{}
		test.origin.Listener = "in"
		s := d.underAt(rules, test.origin)
		if reply := s.Hello(t.Context(), test.origin); !reply.IsZero() {
			t.Fatal(reply)
		}
		got := "nobody"
		if a := s.origin.Account; a != nil {
			got = a.Name + " by " + a.Mechanism
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		if told := rules.known.Name == "joe"; told != (test.want != "nobody" && test.want != "ann by PLAIN") {
			t.Errorf("%s: policy was told of %+v", name, rules.known)
		}
	}
	d := newDoor(t, Options{})
	d.withLogins(nil).down = true
	s := d.Session(mail.Origin{Listener: "in", TLS: shown("CN=joe")})
	if reply := s.Hello(t.Context(), s.origin); !reply.Temporary() {
		t.Errorf("a certificate while its source is down: %v", reply)
	}
}
