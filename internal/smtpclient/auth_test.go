package smtpclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/tlspolicy"
)

const password = "hunter2 pässword"

// authOptions are for a server whose certificate is known.
func authOptions(roots *x509.CertPool, user string) Options {
	return Options{
		TLS:         tlspolicy.Policy{Level: tlspolicy.Verify},
		TLSConfig:   &tls.Config{RootCAs: roots},
		Credentials: mail.Credentials{User: user, Password: password},
	}
}

// TestAuth: each mechanism, with AUTH as RFC 4954 4 has it; of those that are offered the
// strongest is used, or the first that the credentials name.
func TestAuth(t *testing.T) {
	long := strings.Repeat("x", 255)
	config, roots := mailtest.ServerTLS(t, "mx.example")
	for _, c := range []struct {
		name    string
		offered []string
		user    string
		allowed string
		want    string
		version uint16
	}{
		{"PLAIN before LOGIN", []string{"LOGIN", "PLAIN", "CRAM-MD5"}, "joe", "", "PLAIN", 0},
		{"LOGIN", []string{"LOGIN"}, "joe", "", "LOGIN", 0},
		{"PLAIN that is long", []string{"PLAIN"}, long, "", "PLAIN", 0},
		{"LOGIN that is long", []string{"LOGIN"}, long, "", "LOGIN", 0},
		{"SCRAM before PLAIN", []string{"PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"}, "joe", "", "SCRAM-SHA-256", 0},
		{"SCRAM of SHA-1", []string{"PLAIN", "SCRAM-SHA-1"}, "joe", "", "SCRAM-SHA-1", 0},
		{"SCRAM that is long", []string{"SCRAM-SHA-256"}, long, "", "SCRAM-SHA-256", 0},
		{"SCRAM with a comma", []string{"SCRAM-SHA-256"}, "a=b,c", "", "SCRAM-SHA-256", 0},
		{"bound to TLS 1.3", []string{"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}, "joe", "", "SCRAM-SHA-256-PLUS", tls.VersionTLS13},
		{"bound to TLS 1.2", []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"}, "joe", "", "SCRAM-SHA-1-PLUS", tls.VersionTLS12},
		{"bound is offered and not wanted", []string{"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}, "joe", "SCRAM-SHA-256", "SCRAM-SHA-256", 0},
		{"the order of the credentials", []string{"PLAIN", "SCRAM-SHA-256", "LOGIN"}, "joe", "LOGIN PLAIN", "LOGIN", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			secured := config.Clone()
			secured.MaxVersion = c.version
			sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: secured,
				Passwords: map[string]string{"joe": password, long: password, "a=b,c": password}, Mechanisms: c.offered})
			o := authOptions(roots, c.user)
			o.Credentials.Mechanisms = c.allowed
			conn, err := Dial(t.Context(), "mx.example", sink.Addr(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := conn.Send(t.Context(), transaction(1, "text\r\n"))[0]; got.State != mail.Delivered || sink.Received()[0].User != c.user || conn.Mechanism() != c.want {
				t.Errorf("%s, as %q by %s, want %s", brief(got), sink.Received()[0].User, conn.Mechanism(), c.want)
			}
		})
	}
}

// TestToken: OAUTHBEARER and XOAUTH2, with tokens as long as those of large services.
func TestToken(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mx.example")
	const user = "joe,x=@example.com"
	for _, c := range []struct {
		offered []string
		token   string
		want    string
	}{
		{nil, "short", "OAUTHBEARER"},
		{[]string{"XOAUTH2"}, "short", "XOAUTH2"},
		{nil, strings.Repeat("t", 4000), "OAUTHBEARER"},
		{[]string{"PLAIN", "XOAUTH2"}, strings.Repeat("t", 4000), "XOAUTH2"},
	} {
		var saw string
		sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Mechanisms: c.offered, Tokens: func(user, token string) error {
			saw = user + " " + token
			return nil
		}})
		o := authOptions(roots, user)
		o.Credentials = mail.Credentials{User: user, Token: mail.Secret(c.token)}
		conn, err := Dial(t.Context(), "mx.example", sink.Addr(), o)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		said := user
		if c.want == "OAUTHBEARER" {
			said = "joe=2Cx=3D@example.com" // RFC 5801 4
		}
		if conn.Mechanism() != c.want || saw != said+" "+c.token {
			t.Errorf("%s as %.40q, want %s", conn.Mechanism(), saw, c.want)
		}
	}
}

// TestAuthFails: whatever goes wrong with AUTH, in each form of RFC 4954 4 and 6,
// nothing of it shows the password.
func TestAuthFails(t *testing.T) {
	told := encode("\x00joe\x00" + password)
	const secure = `
		S: 220 peer
		C: EHLO
		S: 250-peer
		S: 250 STARTTLS
		C: STARTTLS
		S: 220 go
		TLS
		C: EHLO
		S: 250-peer
		S: 250 `
	for _, c := range []struct{ name, script, want string }{
		{"refused", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 535 5.7.8 bad\nC: QUIT\nCLOSED", "AUTH: 535 5.7.8 bad"},
		{"refused for now", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 454 4.7.0 later\nC: QUIT\nCLOSED", "AUTH: 454 4.7.0 later"},
		{"encryption required", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 538 5.7.11 encryption required\nC: QUIT\nCLOSED", "AUTH: 538 5.7.11 encryption required"},
		{"a stronger mechanism required", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 534 5.7.9 too weak\nC: QUIT\nCLOSED", "AUTH: 534 5.7.9 too weak"},
		{"password to be changed", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 432 4.7.12 transition needed\nC: QUIT\nCLOSED", "AUTH: 432 4.7.12 transition needed"},
		{"authentication required", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 530 5.7.0 authentication required\nC: QUIT\nCLOSED", "AUTH: 530 5.7.0 authentication required"},
		{"line too long", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 500 5.5.6 line too long\nC: QUIT\nCLOSED", "AUTH: 500 5.5.6 line too long"},
		{"response malformed", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 501 5.5.2 cannot decode\nC: QUIT\nCLOSED", "AUTH: 501 5.5.2 cannot decode"},
		{"mechanism unknown", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 504 5.5.4 unknown\nC: QUIT\nCLOSED", "AUTH: 504 5.5.4 unknown"},
		{"out of order", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 503 5.5.1 bad sequence\nC: QUIT\nCLOSED", "AUTH: 503 5.5.1 bad sequence"},
		{"closing", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 421 4.7.0 too many failures\nCLOSED", "AUTH: 421 4.7.0 too many failures"},
		{"LOGIN refused at once", secure + "AUTH LOGIN\nC: AUTH LOGIN\nS: 454 4.7.0 later\nC: QUIT\nCLOSED", "AUTH: 454 4.7.0 later"},
		{"asks without end", secure + "AUTH LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcg==\nC: \nS: 334 UGFzcw==\nC: \nS: 334 VXNlcg==\nCLOSED", "AUTH: 451 4.5.0 Unexpected reply from mx.example to AUTH"},
		{"asks for more", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 334 \nCLOSED", "AUTH: 451 4.5.0 Unexpected reply from mx.example to AUTH"},
		{"a success too early", secure + "AUTH LOGIN\nC: AUTH LOGIN\nS: 235 yes\nCLOSED", "AUTH: 451 4.5.0 Unexpected reply from mx.example to AUTH"},
		{"LOGIN refused", secure + "AUTH LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcg==\nC: \nS: 535 no\nC: QUIT\nCLOSED", "AUTH: 535 no"},
		{"lost", secure + "AUTH PLAIN\nC: AUTH PLAIN \nDROP", "AUTH: 451 4.4.2 Connection to mx.example lost while waiting for the reply to AUTH"},
		{"echoed", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: AUTH PLAIN " + told + "\nCLOSED", "AUTH: 451 4.5.0 " + hidden},
		{"named", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 535 5.7.8 " + told + " is wrong\nC: QUIT\nCLOSED", "AUTH: 535 5.7.8 " + hidden},
		{"named in clear", secure + "AUTH LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcg==\nC: \nS: 535-no user has\nS: 535 " + password + "\nC: QUIT\nCLOSED", "AUTH: 535 " + hidden},
		{"named in a question", secure + "AUTH PLAIN\nC: AUTH PLAIN \nS: 334 " + told + "\nCLOSED", "AUTH: 451 4.5.0 " + hidden},
		{"not offered", secure + "PIPELINING\nCLOSED", "AUTH: 451 4.7.4 mx.example offers no AUTH that can be used: the server offers no AUTH, and what can be used is SCRAM-SHA-256-PLUS, SCRAM-SHA-256, SCRAM-SHA-1-PLUS, SCRAM-SHA-1, PLAIN, LOGIN"},
		{"only others", secure + "AUTH CRAM-MD5 GSSAPI\nCLOSED", "AUTH: 451 4.7.4 mx.example offers no AUTH that can be used: the server offers AUTH CRAM-MD5 GSSAPI, and"},
		{"SCRAM refused", secure + "AUTH SCRAM-SHA-256\nC: AUTH SCRAM-SHA-256 \nS: 535 5.7.8 no\nC: QUIT\nCLOSED", "AUTH: 535 5.7.8 no"},
		{"SCRAM of another's nonce", secure + "AUTH SCRAM-SHA-256\nC: AUTH SCRAM-SHA-256 \nS: 334 " + encode("r=abc,s=c2FsdA==,i=4096") + "\nC: *\nS: 501 5.7.0 given up\nCLOSED", "AUTH: 451 4.7.0 mx.example has not proved to know the password: server nonce did not extend"},
		{"SCRAM with few iterations", secure + "AUTH SCRAM-SHA-256\nC: AUTH SCRAM-SHA-256 \nS: 334 " + encode("r=abc,s=c2FsdA==,i=1") + "\nC: *\nS: 501 5.7.0 given up\nCLOSED", "AUTH: 451 4.7.0 mx.example has not proved"},
		{"SCRAM with many iterations", secure + "AUTH SCRAM-SHA-256\nC: AUTH SCRAM-SHA-256 \nS: 334 " + encode("r=abc,s=c2FsdA==,i=2000000000") + "\nC: *\nS: 501 5.7.0 given up\nCLOSED", "the server wants 2000000000 iterations of a hash, and 1000000 at most are made"},
		{"SCRAM that proves nothing", secure + "AUTH SCRAM-SHA-256\nC: AUTH SCRAM-SHA-256 \nS: 235 2.7.0 welcome\nCLOSED", "AUTH: 451 4.5.0 Unexpected reply from mx.example to AUTH"},
		{"no base64", secure + "AUTH SCRAM-SHA-256\nC: AUTH SCRAM-SHA-256 \nS: 334 *?*\nC: *\nS: 501 5.5.2 given up\nCLOSED", "illegal base64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, roots := mailtest.ServerTLS(t, "mx.example")
			peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Scripts: []string{c.script}, TLS: config})
			o := authOptions(roots, "joe")
			var log strings.Builder
			o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			_, err := Dial(t.Context(), "mx.example", peer.Addr(), o)
			e, ok := errors.AsType[*Error](err)
			if !ok || !strings.Contains(e.Error(), c.want) {
				t.Fatalf("error %v, want %s", err, c.want)
			}
			for _, shown := range []string{e.Error(), e.Outcome().Cause, log.String()} {
				if strings.Contains(shown, password) || strings.Contains(shown, encode(password)) || strings.Contains(shown, encode("\x00joe\x00"+password)) {
					t.Errorf("the password is shown: %s", shown)
				}
			}
		})
	}
}

// TestTokenRefused: what a server says of a token that it does not take is told, in a word;
// nothing shows the token.
func TestTokenRefused(t *testing.T) {
	const token = "ya29.a-token-that-nobody-must-see"
	const secure = "S: 220 peer\nC: EHLO\nS: 250-peer\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\nC: EHLO\nS: 250-peer\nS: 250 AUTH "
	for _, c := range []struct{ name, script, want string }{
		{"OAUTHBEARER", secure + "OAUTHBEARER\nC: AUTH OAUTHBEARER \nS: 334 " + encode(`{"status":"invalid_token","scope":"mail"}`) + "\nC: AQ==\nS: 535 5.7.8 no\nC: QUIT\nCLOSED", "AUTH: 535 5.7.8 no: the server says: invalid_token"},
		{"XOAUTH2", secure + "XOAUTH2\nC: AUTH XOAUTH2 \nS: 334 " + encode(`{"status":"400","schemes":"Bearer"}`) + "\nC: \nS: 535-5.7.8 Username and Password not accepted.\nS: 535 5.7.8 see there\nC: QUIT\nCLOSED", "the server says: 400"},
		{"at once", secure + "XOAUTH2\nC: AUTH XOAUTH2 \nS: 535 5.7.3 Authentication unsuccessful\nC: QUIT\nCLOSED", "AUTH: 535 5.7.3 Authentication unsuccessful"},
		{"what says nothing", secure + "XOAUTH2\nC: AUTH XOAUTH2 \nS: 334 " + encode(`{"status":"`+token+`"}`) + "\nC: \nS: 535 5.7.8 no\nC: QUIT\nCLOSED", "the server says: the token is refused"},
		{"a success behind a failure", secure + "XOAUTH2\nC: AUTH XOAUTH2 \nS: 334 e30=\nC: \nS: 235 2.7.0 yes\nCLOSED", "Unexpected reply"},
		{"two failures", secure + "XOAUTH2\nC: AUTH XOAUTH2 \nS: 334 e30=\nC: \nS: 334 e30=\nCLOSED", "Unexpected reply"},
		{"echoed", secure + "XOAUTH2\nC: AUTH XOAUTH2 \nS: 535 5.7.8 " + encode("user=joe\x01auth=Bearer "+token+"\x01\x01") + "\nC: QUIT\nCLOSED", hidden},
		{"echoed as a whole", secure + "OAUTHBEARER\nC: AUTH OAUTHBEARER \nS: 535 5.7.8 " + encode("n,a=joe,\x01host=mx.example\x01port=2525\x01auth=Bearer "+token+"\x01\x01") + "\nC: QUIT\nCLOSED", hidden},
		{"named", secure + "XOAUTH2\nC: AUTH XOAUTH2 \nS: 535 5.7.8 " + token + " is wrong\nC: QUIT\nCLOSED", hidden},
		{"not offered", secure + "PLAIN LOGIN\nCLOSED", "the server offers AUTH PLAIN LOGIN, and what can be used is OAUTHBEARER, XOAUTH2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, roots := mailtest.ServerTLS(t, "mx.example")
			peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Scripts: []string{c.script}, TLS: config})
			o := authOptions(roots, "joe")
			o.Credentials = mail.Credentials{Name: "office", User: "joe", Token: token}
			_, err := Dial(t.Context(), "mx.example", peer.Addr(), o)
			e, ok := errors.AsType[*Error](err)
			if !ok || !strings.Contains(e.Error(), c.want) || strings.Contains(e.Error(), token) {
				t.Fatalf("error %v, want %s", err, c.want)
			}
			if refused := strings.Contains(c.script, "S: 535"); e.CredentialsRefused() != refused {
				t.Errorf("refused is %v", !refused)
			}
		})
	}
}

// turns is a Login that counts, and shows what the test wants.
type turns struct {
	shown mail.Credentials
	err   error
	came  []error
}

func (l *turns) Begin(context.Context) (mail.Credentials, func(error), error) {
	return l.shown, func(came error) { l.came = append(l.came, came) }, l.err
}

// TestTurns: credentials are shown as they are when they are shown, and what came of it is told; where
// they may not be shown, nobody is asked for them.
func TestTurns(t *testing.T) {
	const secure = "S: 220 peer\nC: EHLO\nS: 250-peer\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\nC: EHLO\nS: 250-peer\nS: 250 AUTH PLAIN\n"
	changed := encode("\x00joe\x00changed")
	for name, c := range map[string]struct {
		script, want string
		err          error
		host         string // for which the certificate is wanted
		came         string // "" for nothing
	}{
		"taken":   {secure + "C: AUTH PLAIN " + changed + "\nS: 235 2.7.0 yes\nC: QUIT\nS: 221 2.0.0 bye\nCLOSED", "", nil, "mx.example", "<nil>"},
		"refused": {secure + "C: AUTH PLAIN " + changed + "\nS: 535 5.7.8 no\nC: QUIT\nCLOSED", "AUTH: 535 5.7.8 no", nil, "mx.example", "AUTH: 535 5.7.8 no"},
		"for now": {secure + "C: AUTH PLAIN " + changed + "\nS: 454 4.7.0 later\nC: QUIT\nCLOSED", "AUTH: 454 4.7.0 later", nil, "mx.example", "AUTH: 454 4.7.0 later"},
		"withheld": {secure + "CLOSED", "AUTH: 451 4.7.8 not now: credential relay: refused there",
			&mail.CredentialError{Name: "relay", Reply: mail.NewReply(451, "4.7.8", "not now"), Cause: errors.New("refused there")}, "mx.example", ""},
		"nothing to show": {secure + "CLOSED", "AUTH: 451 4.7.0 There are no credentials for mx.example at present: it is gone", errors.New("it is gone"), "mx.example", ""},
		"another server":  {"S: 220 peer\nC: EHLO\nS: 250-peer\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\nCLOSED", "STARTTLS", nil, "other.example", ""},
	} {
		t.Run(name, func(t *testing.T) {
			config, roots := mailtest.ServerTLS(t, c.host)
			peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Scripts: []string{c.script}, TLS: config})
			o := authOptions(roots, "joe")
			login := &turns{shown: mail.Credentials{Name: "relay", User: "joe", Password: "changed"}, err: c.err}
			o.Login = login
			conn, err := Dial(t.Context(), "mx.example", peer.Addr(), o)
			if err == nil {
				defer conn.Close()
			}
			if failure, _ := errors.AsType[*Error](err); (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || failure.Command == "AUTH" && c.err == nil && failure.Credential != "relay") {
				t.Errorf("%v, want %q", err, c.want)
			}
			if told := fmt.Sprint(login.came); c.came == "" && len(login.came) > 0 || c.came != "" && !strings.Contains(told, c.came) {
				t.Errorf("what came of it is %s, want %q", told, c.came)
			}
		})
	}
}

// TestAuthWithoutVerification: what may be shown to whoever is there goes under TLS, and in
// clear to this machine alone; AUTH that is offered starts no TLS.
func TestAuthWithoutVerification(t *testing.T) {
	config, _ := mailtest.ServerTLS(t, "mx.example")
	for _, c := range []struct {
		mode    tlspolicy.Level
		offered bool // TLS
		want    bool // under TLS
	}{{tlspolicy.Opportunistic, true, true}, {tlspolicy.Required, true, true}, {tlspolicy.Opportunistic, false, false}, {tlspolicy.None, true, false}} {
		o := mailtest.SinkOptions{Passwords: map[string]string{"joe": password}, AuthInClear: true}
		if c.offered {
			o.TLS = config
		}
		sink := mailtest.NewSinkWith(t, o)
		options := Options{TLS: tlspolicy.Policy{Level: c.mode}, Credentials: mail.Credentials{User: "joe", Password: password, Unverified: true}}
		conn, err := Dial(t.Context(), "mx.example", sink.Addr(), options)
		if err != nil {
			t.Fatalf("%s: %v", c.mode, err)
		}
		conn.Close()
		if under := conn.TLS() != nil; under != c.want || conn.Mechanism() != "PLAIN" {
			t.Errorf("%s: TLS %v, by %q", c.mode, under, conn.Mechanism())
		}
	}
	for address, want := range map[string]bool{"127.0.0.1:25": true, "[::1]:25": true, "[::ffff:127.0.0.1]:25": true, "192.0.2.1:25": false} {
		c := &Conn{address: netip.MustParseAddrPort(address)}
		if got := c.unfitFor(&mail.Credentials{Unverified: true}) == ""; got != want {
			t.Errorf("in clear to %s: %v", address, got)
		}
		if c.unfitFor(&mail.Credentials{}) == "" {
			t.Errorf("without leave they go in clear to %s", address)
		}
	}
}

// TestAuthOfferedAlone: a server that offers AUTH is given mail in clear when there are no
// credentials and no TLS is asked for, even if it offers that too (as PH66548 did not).
func TestAuthOfferedAlone(t *testing.T) {
	const script = "S: 220 peer\nC: EHLO\nS: 250-peer\nS: 250-STARTTLS\nS: 250 AUTH PLAIN LOGIN XOAUTH2\nC: QUIT\nS: 221 bye\nCLOSED"
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Scripts: []string{script}})
	conn, err := Dial(t.Context(), "mx.example", peer.Addr(), Options{TLS: tlspolicy.Policy{Level: tlspolicy.None}})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for _, line := range peer.Lines() {
		if strings.HasPrefix(line, "STARTTLS") || strings.HasPrefix(line, "AUTH") {
			t.Errorf("the server got %q", line)
		}
	}
}

// TestAuthNeedsVerifiedTLS: credentials are shown to nobody who has not shown
// to be the server.
func TestAuthNeedsVerifiedTLS(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mx.example")
	_, strangers := mailtest.ServerTLS(t, "mx.example")
	const begin = "S: 220 peer\nC: EHLO\nS: 250-peer\nS: 250-AUTH PLAIN LOGIN\nS: 250 STARTTLS\n"
	const secured = begin + "C: STARTTLS\nS: 220 go\nTLS\n"
	const offered = "C: EHLO\nS: 250-peer\nS: 250 AUTH PLAIN LOGIN\nCLOSED"
	for _, c := range []struct {
		mode   tlspolicy.Level
		roots  *x509.CertPool
		script string
	}{
		{tlspolicy.None, roots, begin + "CLOSED"},
		{tlspolicy.Opportunistic, roots, secured + offered},
		{tlspolicy.Required, roots, secured + offered},
		{tlspolicy.Verify, strangers, secured + "STALL"},
	} {
		peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{TLS: config, Scripts: []string{c.script}})
		o := authOptions(c.roots, "joe")
		o.TLS.Level = c.mode
		if conn, err := Dial(context.Background(), "mx.example", peer.Addr(), o); err == nil {
			conn.Close()
			t.Errorf("%s: connected", c.mode)
		}
		for _, line := range peer.Lines() {
			if strings.HasPrefix(line, "AUTH") {
				t.Errorf("%s: the server got %q", c.mode, line)
			}
		}
	}
}

// TestCredentialsRefused: which replies to AUTH are a refusal of the credentials (RFC 4954 6), and which say something else
// (RFC 5321 4.2.2).
func TestCredentialsRefused(t *testing.T) {
	for reply, want := range map[string]bool{
		"535 5.7.8 credentials invalid":        true,
		"535 no":                               true,
		"534 5.7.9 a password of its own":      true,
		"554 5.7.1 this account is locked":     true,
		"500 5.3.0 no":                         true,
		"501 wrong password":                   true,
		"504 5.7.8 credentials invalid":        true,
		"502 5.5.1 not implemented":            false,
		"503 5.5.1 not now":                    false,
		"504 5.5.4 no such mechanism":          false,
		"530 5.7.0 STARTTLS first":             false,
		"538 5.7.11 only under TLS":            false,
		"454 4.7.0 the directory is not there": false,
	} {
		var code int
		var enhanced string
		if _, err := fmt.Sscan(reply, &code, &enhanced); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(enhanced, ".") {
			enhanced = ""
		}
		e := &Error{Command: "AUTH", Remote: true, Reply: mail.Reply{Code: code, Enhanced: enhanced, Text: "text"}}
		if got := e.CredentialsRefused(); got != want {
			t.Errorf("%s: %t", reply, got)
		}
		e.Remote = false
		if e.CredentialsRefused() {
			t.Errorf("%s: it is nobody's reply", reply)
		}
	}
}
