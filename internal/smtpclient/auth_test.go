package smtpclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
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

// TestAuth: PLAIN (RFC 4616 2) and LOGIN, with AUTH as RFC 4954 4 has it.
func TestAuth(t *testing.T) {
	long := strings.Repeat("x", 255)
	config, roots := mailtest.ServerTLS(t, "mx.example")
	for _, c := range []struct {
		name       string
		mechanisms []string
		user       string
	}{
		{"PLAIN before LOGIN", []string{"LOGIN", "PLAIN", "CRAM-MD5"}, "joe"},
		{"LOGIN", []string{"LOGIN"}, "joe"},
		{"PLAIN that is long", []string{"PLAIN"}, long},
		{"LOGIN that is long", []string{"LOGIN"}, long},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config,
				Passwords: map[string]string{"joe": password, long: password}, Mechanisms: c.mechanisms})
			conn, err := Dial(t.Context(), "mx.example", sink.Addr(), authOptions(roots, c.user))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := conn.Send(t.Context(), transaction(1, "text\r\n"))[0]; got.State != mail.Delivered || sink.Received()[0].User != c.user {
				t.Errorf("%s, as %q", brief(got), sink.Received()[0].User)
			}
		})
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
		{"not offered", secure + "PIPELINING\nCLOSED", "AUTH: 451 4.7.4 mx.example offers neither AUTH PLAIN nor AUTH LOGIN"},
		{"only others", secure + "AUTH CRAM-MD5 GSSAPI\nCLOSED", "AUTH: 451 4.7.4 mx.example offers neither AUTH PLAIN nor AUTH LOGIN"},
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
