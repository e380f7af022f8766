package auth

import (
	"context"
	"slices"
	"strings"
	"testing"

	"postern/internal/mail"
)

// strict is a source that knows nobody but joe, and whose verifying costs nothing.
type strict struct{ keys Keys }

func (s strict) Password(_ context.Context, user, password string) (mail.Principal, error) {
	if user != joe || password != "p" {
		return mail.Principal{}, ErrInvalid
	}
	return mail.Principal{Account: mail.Account{Name: joe}}, nil
}

func (s strict) Token(ctx context.Context, user, token string) (mail.Principal, error) {
	if token != "t" {
		return mail.Principal{}, ErrInvalid
	}
	return s.Password(ctx, user, "p")
}

func (s strict) Keys(_ context.Context, user string) (Keys, mail.Principal, error) {
	if user != joe {
		return Keys{}, mail.Principal{}, ErrUnknown
	}
	return s.keys, mail.Principal{Account: mail.Account{Name: joe}}, nil
}

func (s strict) Certificate(context.Context, mail.Certificate, bool) (mail.Principal, error) {
	return mail.Principal{Account: mail.Account{Name: joe}}, nil
}

// FuzzExchange says anything to any mechanism: it ends, with a reply that there is, and
// with nobody but joe; and it is he only when what was said has his password, token or
// certificate, and asks for no other user.
func FuzzExchange(f *testing.F) {
	for i := range begin {
		f.Add(uint8(i), []byte("\x00joe\x00p"), []byte("p"), []byte(""))
		f.Add(uint8(i), []byte("n,,n=joe,r=abc"), []byte("c=biws,r=abc,p=AAAA"), []byte(""))
		f.Add(uint8(i), []byte("p=tls-exporter,a=joe,n=joe,r=abc"), []byte("c=biws,r=abc,p=AAAA"), []byte(""))
		f.Add(uint8(i), []byte("n,a=joe,\x01auth=Bearer t\x01\x01"), []byte("\x01"), []byte(""))
		f.Add(uint8(i), []byte("user=joe\x01auth=Bearer t\x01\x01"), []byte("\x01"), []byte(""))
		f.Add(uint8(i), []byte("joe"), []byte("p"), []byte(""))
		f.Add(uint8(i), []byte("ann"), []byte(""), []byte(""))
	}
	source := strict{fakeKeys([]byte("secret"), joe)}
	a := New(Options{
		Sources: map[string]Methods{"people": {Passwords: source, Keys: source, Tokens: source, Certificates: source}},
		Hasher:  NewHasher(1, mail.SystemClock{}), Secret: []byte("secret"),
	})
	f.Fuzz(func(t *testing.T, which uint8, first, second, third []byte) {
		mechanism := begin[int(which)%len(begin)].name
		at := Attempt{Mechanism: mechanism, Mechanisms: Mechanisms(), Sources: from("people")}
		at.Origin.TLS = &mail.TLS{Certificate: &mail.Certificate{}}
		e, reply := a.Begin(at)
		if !reply.IsZero() {
			t.Fatal(reply)
		}
		defer e.End()
		said := [][]byte{first, second, third, nil, {}, {}, {}}
		for _, response := range said {
			_, who, reply := e.Next(t.Context(), response)
			if reply.IsZero() {
				continue
			}
			checkEnd(t, mechanism, said, who, reply)
			return
		}
		t.Errorf("%s goes on after %q", mechanism, said)
	})
}

func checkEnd(t *testing.T, mechanism string, said [][]byte, who *mail.Account, reply mail.Reply) {
	t.Helper()
	if !slices.Contains([]int{235, 454, 501, 535}, reply.Code) || (reply.Code == 235) != (who != nil) {
		t.Errorf("%s ends %q with %v for %v", mechanism, said, reply, who)
	}
	if who == nil {
		return
	}
	text := strings.ToLower(string(slices.Concat(said...)))
	proved := mechanism == External ||
		strings.Contains(text, joe) && (strings.Contains(text, "p") || strings.Contains(text, "bearer t\x01"))
	if who.Name != joe || strings.HasPrefix(mechanism, Scram) || !proved {
		t.Errorf("%s takes %q for %+v", mechanism, said, who)
	}
}

// FuzzCredentials reads hashes and keys that other programs have made: what is taken is
// written again as it was, and is within what may be spent on it.
func FuzzCredentials(f *testing.F) {
	f.Add(foreignHash)
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("SCRAM-SHA-256$4096:c29tZXNhbHQ=$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("$argon2id$v=19$m=+8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := parseHash(text); err == nil {
			if h.String() != text {
				t.Errorf("%q is written as %q", text, h.String())
			}
			if h.memory > maxHashMemory || h.passes > maxHashPasses || len(h.salt) < 8 || len(h.sum) < 16 {
				t.Errorf("%q is taken", text)
			}
		}
		if k, err := ParseKeys(text); err == nil && k.Text() != text {
			t.Errorf("the keys %q are written as %q", text, k.Text())
		}
		if p, err := Prepare(text); err == nil {
			if again, err := Prepare(p); len(p) <= MaxPassword && (err != nil || again != p) {
				t.Errorf("%q is prepared as %q, and that as %q, %v", text, p, again, err)
			}
		}
	})
}
