package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"postern/internal/mail"
)

// Who there is in the tests.
const (
	joe      = "joe"
	password = "correct horse"
	token    = "eyJhbGciOi.abc-_~+/=="
)

var errDown = errors.New("the source does not answer")

// people is a source in memory.
type people struct {
	hasher      *Hasher
	credentials map[string]Credentials
	down        bool
	asked       []string
	also        map[string]string // other names of users
}

func newPeople(t *testing.T, h *Hasher, names ...string) *people {
	t.Helper()
	p := &people{hasher: h, credentials: map[string]Credentials{}}
	for _, name := range names {
		c, err := NewCredentials(password)
		if err != nil {
			t.Fatal(err)
		}
		p.credentials[name] = c
	}
	return p
}

func (p *people) find(user string) (Credentials, mail.Principal, error) {
	p.asked = append(p.asked, user)
	name := canonical(user)
	if other := p.also[name]; other != "" {
		name = other
	}
	c, known := p.credentials[name]
	switch {
	case p.down:
		return c, mail.Principal{}, errDown
	case !known:
		return c, mail.Principal{}, ErrUnknown
	}
	return c, mail.Principal{Account: mail.Account{Name: name}}, nil
}

func (p *people) Password(ctx context.Context, user, password string) (mail.Principal, error) {
	c, who, err := p.find(user)
	if err != nil {
		return who, err
	}
	return who, p.hasher.Verify(ctx, c.Password, password)
}

func (p *people) Keys(_ context.Context, user string) (Keys, mail.Principal, error) {
	c, who, err := p.find(user)
	if err != nil {
		return Keys{}, who, err
	}
	k, err := ParseKeys(c.SCRAM)
	return k, who, err
}

func (p *people) Token(_ context.Context, user, presented string) (mail.Principal, error) {
	_, who, err := p.find(user)
	if err == nil && presented != token {
		err = ErrInvalid
	}
	return who, err
}

func (p *people) Certificate(_ context.Context, c mail.Certificate, verified bool) (mail.Principal, error) {
	if !verified {
		return mail.Principal{}, ErrInvalid
	}
	_, who, err := p.find(c.Subject)
	return who, err
}

func (p *people) methods() Methods {
	return Methods{Passwords: p, Keys: p, Tokens: p, Certificates: p}
}

// world is an Authenticator with a source of one user.
type world struct {
	t      *testing.T
	auth   *Authenticator
	people *people
	log    *strings.Builder
	at     Attempt
}

func newWorld(t *testing.T) *world {
	t.Helper()
	hasher := NewHasher(2, mail.SystemClock{})
	w := &world{t: t, people: newPeople(t, hasher, joe), log: new(strings.Builder)}
	w.auth = New(Options{
		Sources: map[string]Methods{"people": w.people.methods()},
		Hasher:  hasher,
		Secret:  []byte("0123456789abcdef0123456789abcdef"),
		Logger:  logTo(w.log),
	})
	w.at = Attempt{Mechanisms: Mechanisms(), Sources: from("people")}
	return w
}

func from(names ...string) func(context.Context, string) ([]string, mail.Reply) {
	return func(context.Context, string) ([]string, mail.Reply) { return names, mail.Reply{} }
}

// begin begins an exchange by a mechanism.
func (w *world) begin(mechanism string) *Exchange {
	w.t.Helper()
	w.at.Mechanism = mechanism
	e, reply := w.auth.Begin(w.at)
	if !reply.IsZero() {
		w.t.Fatalf("%s: %v", mechanism, reply)
	}
	w.t.Cleanup(e.End)
	return e
}

// ended says in short how an exchange has ended when the client says so much in turn;
// "-" is nothing.
func (w *world) ended(mechanism string, says ...string) string {
	w.t.Helper()
	e := w.begin(mechanism)
	var told strings.Builder
	for _, s := range says {
		response := []byte(s)
		if s == "-" {
			response = nil
		}
		challenge, who, reply := e.Next(w.t.Context(), response)
		if !reply.IsZero() {
			told.WriteString(reply.String())
			if who != nil {
				told.WriteString(" for " + who.Name + " of " + who.Source + " by " + who.Mechanism)
			}
			return told.String()
		}
		told.WriteString("<" + string(challenge) + "> ")
	}
	w.t.Fatalf("%s: the exchange goes on after %q: %s", mechanism, says, told.String())
	return ""
}

// overTLS gives the attempts a connection of a version of TLS.
func (w *world) overTLS(version uint16) *tls.ConnectionState {
	server, client := tlsPair(w.t, version)
	w.at.TLS = server
	return client
}
