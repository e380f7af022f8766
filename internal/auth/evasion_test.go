package auth

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"postern/internal/mail"
)

// stranger is an address in a network of its own, one for each number.
func stranger(n int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, byte(n)}) }

// A name that no account can have is not counted: the guard would keep as much of it as
// SCRAM lets a client say.
func TestScramOfNoName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		for n, name := range []string{strings.Repeat("x", MaxUser+1), "joe\x01"} {
			w.at.Origin.Client = netip.AddrPortFrom(stranger(n), 1)
			e := w.begin(Scram)
			if _, _, reply := e.Next(t.Context(), []byte("n,,n="+name+",r=abc")); reply.String() != bad {
				t.Errorf("a name of %d octets: %v", len(name), reply)
			}
			if key := accountSubject(banName(name)); w.guard.set.Load().accounts.Look(key, 0).Left != int64(someSettings.AccountBanAfter) {
				t.Errorf("a name of %d octets is counted", len(name))
			}
		}
	})
}

// A token is not guessed, and works while strangers guess the password of its user.
func TestTokenWhileAccountIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		for i := range someSettings.AccountBanAfter {
			w.guess(stranger(i), joe, 1)
		}
		if code := w.try(away, joe, password); code != "454" {
			t.Fatalf("joe is not under attack: %s", code)
		}
		if got := w.ended(XOAuth2, "user=joe\x01auth=Bearer "+token+"\x01\x01"); !strings.HasPrefix(got, "235") {
			t.Errorf("XOAUTH2: %s", got)
		}
		w.guess(home, "ann", someSettings.BanAfter)
		w.at.Origin.Client = netip.AddrPortFrom(home, 1)
		if got := w.ended(XOAuth2, "user=joe\x01auth=Bearer "+token+"\x01\x01"); !strings.HasPrefix(got, "454") {
			t.Errorf("XOAUTH2 from a network that is banned: %s", got)
		}
	})
}

// Who chooses the source is asked about a name in the one form in which names are
// compared: else a client could choose it by writing its name in another way.
func TestSourceIsChosenByOneName(t *testing.T) {
	for _, said := range []string{"joe", "JOE", "Joe", "ｊｏｅ"} {
		w := newWorld(t)
		var asked string
		w.at.Sources = func(_ context.Context, user string) ([]string, mail.Reply) {
			asked = user
			return []string{"people"}, mail.Reply{}
		}
		if got := w.ended(Plain, "\x00"+said+"\x00"+password); got != good+Plain || asked != joe {
			t.Errorf("%s: asked about %q, %s", said, asked, got)
		}
	}
}

// A source that takes a name in ways of its own, as servers of LDAP do, gives nobody a
// second count of wrong passwords.
func TestAccountOfManyNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		w.people.also = map[string]string{"joe@corp.example": joe, "j oe": joe}
		for i := range someSettings.AccountBanAfter {
			w.guess(stranger(i), []string{"joe@corp.example", "j oe", joe}[i%3], 1)
		}
		if _, is := w.bans.ban("account:joe"); !is {
			t.Errorf("joe is not under attack: %v", w.bans.bans)
		}
		for _, name := range []string{joe, "joe@corp.example", "j oe"} {
			if code := w.try(away, name, password); code != "454" {
				t.Errorf("as %s: %s", name, code)
			}
		}
	})
}

// Who is known by one name is not a stranger by it.
func TestKnownByAnotherName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		w.people.also = map[string]string{"joe@corp.example": joe}
		if code := w.try(home, "joe@corp.example", password); code != "235" {
			t.Fatal(code)
		}
		for i := range someSettings.AccountBanAfter {
			w.guess(stranger(i), joe, 1)
		}
		w.guess(home, "ann", someSettings.BanAfter)
		if code := w.try(home, "joe@corp.example", password); code != "235" {
			t.Errorf("who is known: %s", code)
		}
		w.guess(home, "joe@corp.example", wrongOfKnown)
		if code := w.try(home, "joe@corp.example", password); code != "454" {
			t.Errorf("after %d guesses from there: %s", wrongOfKnown, code)
		}
	})
}

// A flood of one wrong password costs one hash, whether there is the user or not.
func TestSameWrongPasswordIsCheap(t *testing.T) {
	w := newWorld(t)
	for _, user := range []string{joe, "ann", "bob"} {
		before := w.auth.Hasher.Computed()
		for range 20 {
			if got := w.ended(Plain, "\x00"+user+"\x00wrong"); got != bad {
				t.Fatal(got)
			}
		}
		if n := w.auth.Hasher.Computed() - before; n != 1 {
			t.Errorf("20 times the same wrong password of %s: %d hashes", user, n)
		}
	}
	c, err := NewCredentials("wrong")
	if err != nil {
		t.Fatal(err)
	}
	w.people.credentials[joe] = c
	if got := w.ended(Plain, "\x00joe\x00wrong"); got != good+Plain {
		t.Errorf("a password that was wrong before it was set: %s", got)
	}
}

// An address with which everybody may appear, such as that of a proxy that does not say for
// whom it speaks, is nobody's and is not banned.
func TestAddressOfEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		w.auth.Masks = func(client netip.Addr) string {
			if client == away {
				return "a gateway"
			}
			return ""
		}
		proxy := netip.MustParseAddr("192.0.2.99")
		w.auth.Listeners = map[string]Listener{"in": {Proxies: []netip.Prefix{netip.PrefixFrom(proxy, 32)}}}
		w.auth.Addresses = addressOf(joe)
		w.at.Origin.Listener = "in"
		for client, everybody := range map[netip.Addr]bool{away: true, proxy: true, netip.MustParseAddr("::ffff:192.0.2.99"): true, home: false} {
			o := mail.Origin{Listener: "in", Client: netip.AddrPortFrom(client, 1)}
			if who, known, err := w.auth.Implied(t.Context(), o); known == everybody || err != nil {
				t.Errorf("%s is known as %q: %v", client, who.Name, err)
			}
			w.guess(client, "ann"+client.String(), someSettings.BanAfter)
			if refused := !w.guard.Refuse(client).IsZero(); refused == everybody {
				t.Errorf("%s is refused: %v", client, refused)
			}
		}
	})
}

// addressOf is a user who is everywhere.
type addressOf string

func (a addressOf) Address(netip.Addr) (mail.Principal, bool) {
	return mail.Principal{Account: mail.Account{Name: string(a)}}, true
}
