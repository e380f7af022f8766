package auth

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"postern/internal/mail"
)

// scramClient logs in as a client of another hand does: it returns the reply, or what
// the client thinks is wrong with the server.
func (w *world) scramClient(mechanism, user, password string, binding scram.ChannelBinding) string {
	w.t.Helper()
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		w.t.Fatal(err)
	}
	conversation := client.NewConversation()
	if binding.IsSupported() {
		conversation = client.NewConversationWithChannelBinding(binding)
	}
	e := w.begin(mechanism)
	said, err := conversation.Step("")
	for err == nil {
		challenge, who, reply := e.Next(context.Background(), []byte(said))
		if who != nil {
			return reply.String() + " for " + who.Name + " of " + who.Source + " by " + who.Mechanism
		}
		if !reply.IsZero() {
			return reply.String()
		}
		if conversation.Done() {
			said = ""
			continue
		}
		said, err = conversation.Step(string(challenge))
	}
	return err.Error()
}

// SCRAM-SHA-256 (RFC 7677) with a client of another hand.
func TestScram(t *testing.T) {
	w := newWorld(t)
	if got := w.scramClient(Scram, joe, password, noBinding); got != good+Scram {
		t.Errorf("the right password: %s", got)
	}
	for _, user := range []string{joe, "ann"} {
		if got := w.scramClient(Scram, user, "wrong", noBinding); got != bad {
			t.Errorf("a wrong password of %s: %s", user, got)
		}
	}
}

// tls-exporter (RFC 9266 2) with every version of TLS that has the extended master
// secret (RFC 7627), and tls-unique (RFC 5929 3) before TLS 1.3.
func TestScramPlus(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		w := newWorld(t)
		client := w.overTLS(version)
		exporter, err := scram.NewTLSExporterBinding(client)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.scramClient(ScramPlus, joe, password, exporter); got != good+ScramPlus {
			t.Errorf("%s, tls-exporter: %s", tls.VersionName(version), got)
		}
		want := good + ScramPlus
		unique := scram.NewTLSUniqueBinding(client.TLSUnique)
		if version == tls.VersionTLS13 {
			unique, want = scram.NewTLSUniqueBinding(make([]byte, 12)), bad
		}
		if got := w.scramClient(ScramPlus, joe, password, unique); got != want {
			t.Errorf("%s, tls-unique: %s", tls.VersionName(version), got)
		}
		// In the middle sits somebody with a connection to each.
		other := newWorld(t).overTLS(version)
		exporter, err = scram.NewTLSExporterBinding(other)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.scramClient(ScramPlus, joe, password, exporter); got != bad {
			t.Errorf("%s, the binding of another connection: %s", tls.VersionName(version), got)
		}
	}
}

// A client that can bind, and was told that the server cannot, says so (RFC 5802 6).
func TestScramDowngrade(t *testing.T) {
	w := newWorld(t)
	w.overTLS(tls.VersionTLS13)
	if got := w.ended(Scram, "y,,n=joe,r=abc"); got != bad {
		t.Errorf("with %s offered: %s", ScramPlus, got)
	}
	w.at.Mechanisms = []string{Scram}
	e := w.begin(Scram)
	if challenge, _, reply := e.Next(t.Context(), []byte("y,,n=joe,r=abc")); !reply.IsZero() || !strings.HasPrefix(string(challenge), "r=abc") {
		t.Errorf("without: %q, %v", challenge, reply)
	}
}

func TestScramMalformed(t *testing.T) {
	for _, first := range []string{"", "n", "n,,n=joe", "x,,n=joe,r=a", "p=tls-exporter,,n=joe,r=a", "n,,m=x,n=joe,r=a", "n,,n=jo=e,r=a", "n,b=x,n=joe,r=a"} {
		if got := newWorld(t).ended(Scram, first); got != malformed {
			t.Errorf("%q: %s", first, got)
		}
	}
	for _, final := range []string{"", "c=biws", "c=biws,r=abc,p=!"} {
		w := newWorld(t)
		e := w.begin(Scram)
		e.Next(t.Context(), []byte("n,,n=joe,r=abc"))
		if _, _, reply := e.Next(t.Context(), []byte(final)); reply.String() != malformed {
			t.Errorf("%q at last: %v", final, reply)
		}
	}
}

// Who asks twice for the salt of somebody that there is not gets the same one.
func TestKeysOfNobody(t *testing.T) {
	w := newWorld(t)
	ask := func(user string) string {
		challenge, _, reply := w.begin(Scram).Next(t.Context(), []byte("n,,n="+user+",r=abc"))
		if !reply.IsZero() {
			t.Fatal(reply)
		}
		_, salt, _ := strings.Cut(string(challenge), ",s=")
		return salt
	}
	if a, b := ask("ann"), ask("ANN"); a != b {
		t.Errorf("ann has the salt %s, and then %s", a, b)
	}
	if a, b := ask("ann"), ask("bob"); a == b {
		t.Errorf("ann and bob have the same salt %s", a)
	}
	if a, b := ask(joe), ask("ann"); len(a) != len(b) {
		t.Errorf("the salt of joe %s and that of nobody %s differ in length", a, b)
	}
}

func TestExternal(t *testing.T) {
	w := newWorld(t)
	w.at.Origin.TLS = &mail.TLS{Verified: true, Certificate: &mail.Certificate{Subject: joe}}
	for says, want := range map[string]string{"": good + External, "joe": good + External, "ann": bad, "a\x00": malformed} {
		if got := w.ended(External, says); got != want {
			t.Errorf("%q: %s, not %s", says, got, want)
		}
	}
	w.at.Origin.TLS.Verified = false
	if got := w.ended(External, "-", ""); got != "<> "+bad {
		t.Errorf("a certificate that nobody vouches for: %s", got)
	}
}

var noBinding scram.ChannelBinding
