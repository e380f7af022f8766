package peers

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

const (
	saslUser      = "relay"
	saslPassword  = `hunter2 +/="\ü`
	wrongPassword = `Hunter2 +/="\ü`
)

// withSASL makes a Postfix that takes mail from nobody but those who have
// shown a password, under TLS, by the mechanisms in the file smtpd.conf.
const withSASL = transparent + `
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = $myhostname
smtpd_sasl_authenticated_header = yes
smtpd_sasl_security_options = noanonymous
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_tls_cert_file = DIR/smarthost.pem
smtpd_tls_key_file = DIR/smarthost.key
`

// TestSmarthostSASL: the binary sends by a Postfix with SASL, by each
// mechanism. With the wrong password the mail waits, and its fact says why; with
// the right one it goes. Neither is in anything that the binary writes.
func TestSmarthostSASL(t *testing.T) {
	saslpasswd := program(t, "saslpasswd2")
	binary, err := harness.BuildPostern(t.Context(), directory(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, mechanism := range []string{"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1"} {
		t.Run(mechanism, func(t *testing.T) {
			ctx := bounded(t)
			s := startSASL(ctx, t, saslpasswd, mechanism)
			postern, err := harness.NewPostern(harness.PosternOptions{
				Binary: binary, Dir: filepath.Join(s.dir, "instance"), NextHop: s.smarthost.Addr(), TLS: "verify",
				Settings: "smarthost_credential = \"relay\"\n[log]\nlevel = \"debug\"\n",
			})
			if err != nil {
				t.Fatal(err)
			}
			s.start(ctx, t, postern, wrongPassword)
			submitOne(ctx, t, postern)
			fact := s.firstDeferral(ctx, t, postern)
			if fact.Command != "AUTH" || fact.Reply.Code != 535 || fact.Reply.Enhanced != "5.7.8" || fact.Host != "127.0.0.1" {
				t.Errorf("the fact says %+v", fact)
			}
			if err := postern.Stop(); err != nil {
				t.Fatal(err)
			}
			s.start(ctx, t, postern, saslPassword)
			if err := harness.UntilEmpty(ctx, postern); err != nil {
				t.Fatal(err)
			}
			if err := harness.Until(ctx, "the message has come", func() (bool, error) { return s.arrived() != "", nil }); err != nil {
				t.Fatal(err)
			}
			if err := postern.Stop(); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(s.arrived(), "(Authenticated sender: "+saslUser) {
				t.Errorf("it came as\n%s", s.arrived())
			}
			logs(ctx, t, s.smarthost, "sasl_method="+mechanism+",")
			findNoSecret(t, filepath.Join(s.dir, "instance"))
		})
	}
}

// saslPeer is a smarthost with SASL, and what a Postern needs to send by it.
type saslPeer struct {
	smarthost *harness.Postfix
	dir       string
	roots     string

	mu  sync.Mutex
	got string // the message that came
}

func startSASL(ctx context.Context, t *testing.T, saslpasswd, mechanism string) *saslPeer {
	t.Helper()
	s := &saslPeer{dir: directory(t)}
	s.roots = filepath.Join(s.dir, "smarthost.pem")
	config, _ := mailtest.ServerTLS(t, "smarthost.test.example")
	certificate, key := pemFiles(t, config.Certificates[0])
	users := filepath.Join(s.dir, "users")
	for path, content := range map[string][]byte{
		s.roots:                               certificate,
		filepath.Join(s.dir, "smarthost.key"): key,
	} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	add := exec.CommandContext(ctx, saslpasswd, "-c", "-p", "-f", users, "-u", "smarthost.test.example", saslUser)
	add.Stdin = strings.NewReader(saslPassword)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", add.Args, err, out)
	}
	if err := os.Chmod(users, 0o644); err != nil { // for the user postfix
		t.Fatal(err)
	}
	sink := startSink(t, func(a *harness.Arrival) string {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got += string(a.Content)
		return ""
	})
	smarthost, err := harness.NewPostfix(harness.PostfixOptions{
		Dir: filepath.Join(s.dir, "smarthost"), Hostname: "smarthost.test.example", NextHop: sink.Addr(),
		Settings: strings.ReplaceAll(withSASL, "DIR", s.dir),
		SASL:     "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: " + users + "\nmech_list: " + mechanism + "\n",
	})
	s.smarthost = start(ctx, t, smarthost, err)
	return s
}

func (s *saslPeer) arrived() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

// start starts Postern with a password.
func (s *saslPeer) start(ctx context.Context, t *testing.T, postern *harness.Postern, password string) {
	t.Helper()
	if err := postern.SetCredential(ctx, "relay", saslUser, password); err != nil {
		t.Fatal(err)
	}
	if err := postern.StartAs(ctx, postern.Binary(), "SSL_CERT_FILE="+s.roots); err != nil {
		t.Fatal(err)
	}
}

// firstDeferral waits for the fact of the first attempt that failed. Nothing is
// final by it.
func (s *saslPeer) firstDeferral(ctx context.Context, t *testing.T, postern *harness.Postern) mail.Fact {
	t.Helper()
	var deferrals []mail.Fact
	err := harness.Until(ctx, "a failed attempt is in the journal", func() (bool, error) {
		deferrals = nil
		err := journal.Read(ctx, postern.Journal(), journal.Query{}, func(f mail.Fact) error {
			switch f.Reason {
			case mail.ReasonDeferred:
				deferrals = append(deferrals, f)
			case mail.ReasonBounced, mail.ReasonExpired, mail.ReasonDelivered:
				t.Errorf("final: %+v", f)
			}
			return nil
		})
		return len(deferrals) > 0, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return deferrals[0]
}

func submitOne(ctx context.Context, t *testing.T, to harness.Relay) {
	t.Helper()
	client, err := harness.Dial(ctx, to.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if outcome, err := client.Send(plain(0, "text\r\n")); outcome != harness.Accepted {
		t.Fatalf("not accepted: %v", err)
	}
}

// pemFiles are a certificate and its key.
func pemFiles(t *testing.T, c tls.Certificate) (certificate, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// findNoSecret looks for the passwords, as they are and as they go over the
// wire, in every file below a directory.
func findNoSecret(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, secret := range []string{saslPassword, wrongPassword} {
			for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte("\x00" + saslUser + "\x00" + secret))} {
				if bytes.Contains(content, []byte(form)) {
					t.Errorf("%s holds %q", path, form)
				}
			}
		}
		files++
		return err
	})
	if err != nil || files < 3 { // log, queue and journal
		t.Errorf("%d files in %s: %v", files, dir, err)
	}
}
