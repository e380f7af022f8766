package auth

import (
	"strings"
	"testing"
)

const (
	good      = "235 2.7.0 Authentication successful for joe of people by "
	bad       = "535 5.7.8 Authentication credentials invalid"
	malformed = "501 5.5.2 What the mechanism needs is malformed"
	trouble   = "454 4.7.0 Temporary authentication failure, please try again later"
)

// PLAIN (RFC 4616), LOGIN, OAUTHBEARER (RFC 7628 3.1 and 3.2.2, with the header of RFC
// 5801 4), XOAUTH2, and EXTERNAL (RFC 4422 appendix A).
func TestExchanges(t *testing.T) {
	long := strings.Repeat("x", MaxPassword+1)
	tests := []struct {
		name, mechanism string
		says            []string
		want            string
	}{
		{"initial response", Plain, []string{"\x00joe\x00" + password}, good + Plain},
		{"response to the empty challenge", Plain, []string{"-", "\x00joe\x00" + password}, "<> " + good + Plain},
		{"for itself", Plain, []string{"joe\x00joe\x00" + password}, good + Plain},
		{"names in either case", Plain, []string{"JOE\x00Joe\x00" + password}, good + Plain},
		{"for another", Plain, []string{"ann\x00joe\x00" + password}, bad},
		{"wrong password", Plain, []string{"\x00joe\x00wrong"}, bad},
		{"unknown user", Plain, []string{"\x00ann\x00" + password}, bad},
		{"password in another case", Plain, []string{"\x00joe\x00Correct horse"}, bad},
		{"no password", Plain, []string{"\x00joe\x00"}, malformed},
		{"no user", Plain, []string{"\x00\x00" + password}, malformed},
		{"too few parts", Plain, []string{"joe\x00" + password}, malformed},
		{"too many parts", Plain, []string{"\x00joe\x00" + password + "\x00"}, malformed},
		{"empty initial response", Plain, []string{""}, malformed},
		{"password too long", Plain, []string{"\x00joe\x00" + long}, bad},
		{"user too long", Plain, []string{"\x00" + long + "\x00" + password}, bad},
		{"user with a line end", Plain, []string{"\x00joe\r\n\x00" + password}, bad},
		{"password not UTF-8", Plain, []string{"\x00joe\x00\xff\xfe"}, bad},

		{"two questions", Login, []string{"-", "joe", password}, "<Username:> <Password:> " + good + Login},
		{"initial response", Login, []string{"joe", password}, "<Password:> " + good + Login},
		{"wrong password", Login, []string{"joe", "wrong"}, "<Password:> " + bad},
		{"no user", Login, []string{"-", ""}, "<Username:> " + malformed},
		{"no password", Login, []string{"joe", ""}, "<Password:> " + malformed},

		{"token", OAuthBearer, []string{"n,a=joe,\x01host=x\x01port=25\x01auth=Bearer " + token + "\x01\x01"}, good + OAuthBearer},
		{"scheme in another case", OAuthBearer, []string{"y,a=joe,\x01auth=bearer " + token + "\x01\x01"}, good + OAuthBearer},
		{"wrong token", OAuthBearer, []string{"n,a=joe,\x01auth=Bearer x\x01\x01", "\x01"}, `<{"status":"invalid_token","schemes":"bearer"}> ` + bad},
		{"any answer to the refusal", OAuthBearer, []string{"n,a=joe,\x01auth=Bearer x\x01\x01", "n,a=joe,\x01auth=Bearer " + token + "\x01\x01"}, `<{"status":"invalid_token","schemes":"bearer"}> ` + bad},
		{"no token", OAuthBearer, []string{"n,a=joe,\x01auth=\x01\x01"}, malformed},
		{"nothing", OAuthBearer, []string{"n,a=joe,\x01\x01"}, malformed},
		{"two tokens", OAuthBearer, []string{"n,a=joe,\x01auth=Bearer a\x01auth=Bearer b\x01\x01"}, malformed},
		{"binding", OAuthBearer, []string{"p=tls-exporter,a=joe,\x01auth=Bearer a\x01\x01"}, malformed},
		{"not ended", OAuthBearer, []string{"n,a=joe,\x01auth=Bearer a\x01"}, malformed},
		{"escape that is none", OAuthBearer, []string{"n,a=jo=2e,\x01auth=Bearer a\x01\x01"}, malformed},
		{"space in the token", OAuthBearer, []string{"n,a=joe,\x01auth=Bearer a b\x01\x01"}, malformed},

		{"token", XOAuth2, []string{"user=joe\x01auth=Bearer " + token + "\x01\x01"}, good + XOAuth2},
		{"wrong token", XOAuth2, []string{"user=joe\x01auth=Bearer x\x01\x01", ""}, `<{"status":"401","schemes":"bearer","scope":""}> ` + bad},
		{"no user", XOAuth2, []string{"auth=Bearer x\x01\x01"}, malformed},
		{"two users", XOAuth2, []string{"user=joe\x01user=ann\x01auth=Bearer x\x01\x01"}, malformed},

		{"no certificate", External, []string{""}, bad},
	}
	for _, test := range tests {
		t.Run(test.mechanism+" "+test.name, func(t *testing.T) {
			w := newWorld(t)
			if got := w.ended(test.mechanism, test.says...); got != test.want {
				t.Errorf("it ends with\n%s, not\n%s", got, test.want)
			}
		})
	}
}

// A source that does not answer is no reason to say that somebody is not known.
func TestSourceThatIsDown(t *testing.T) {
	for mechanism, says := range map[string][]string{
		Plain:       {"\x00joe\x00" + password},
		Login:       {"joe", password},
		OAuthBearer: {"n,a=joe,\x01auth=Bearer " + token + "\x01\x01"},
		Scram:       {"n,,n=joe,r=abc"},
	} {
		w := newWorld(t)
		w.people.down = true
		if got := w.ended(mechanism, says...); !strings.HasSuffix(got, trouble) {
			t.Errorf("%s: it ends with %s, not %s", mechanism, got, trouble)
		}
	}
}

func TestMechanismThatIsNotOffered(t *testing.T) {
	w := newWorld(t)
	w.at.Mechanisms = []string{Plain}
	for _, name := range []string{Login, "CRAM-MD5", "plain", ""} {
		w.at.Mechanism = name
		if _, reply := w.auth.Begin(w.at); reply.Code != 504 {
			t.Errorf("%q is answered with %v, not 504", name, reply)
		}
	}
}

// Who is not known costs what a wrong password costs: one hash.
func TestUnknownUserCostsTheSame(t *testing.T) {
	w := newWorld(t)
	for _, user := range []string{"joe", "ann"} {
		before := w.auth.Hasher.Computed()
		w.ended(Plain, "\x00"+user+"\x00wrong")
		if n := w.auth.Hasher.Computed() - before; n != 1 {
			t.Errorf("a wrong password of %s: %d hashes were computed, not 1", user, n)
		}
	}
}

// The next source is asked only when one does not know the user.
func TestOrderOfSources(t *testing.T) {
	w := newWorld(t)
	second := newPeople(t, w.auth.Hasher, "ann", joe)
	w.auth.Options.Sources["second"] = second.methods()
	w.at.Sources = from("people", "second")
	if got := w.ended(Plain, "\x00ann\x00"+password); !strings.Contains(got, "for ann of second") {
		t.Errorf("ann is not found by the second source: %s", got)
	}
	second.asked = nil
	if got := w.ended(Plain, "\x00joe\x00wrong"); got != bad || second.asked != nil {
		t.Errorf("a wrong password is answered with %s, and the second source is asked about %q", got, second.asked)
	}
	w.people.down = true
	if got := w.ended(Plain, "\x00ann\x00"+password); got != trouble {
		t.Errorf("with the first source down: %s", got)
	}
}
