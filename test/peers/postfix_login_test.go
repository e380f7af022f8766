package peers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/test/harness"
)

// withPassword makes a Postfix that sends by a smarthost at which it logs in, under TLS with
// a certificate of the name that it wants.
const withPassword = transparent + `
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = texthash:%[1]s/password
smtp_sasl_security_options = noanonymous
smtp_sasl_mechanism_filter = %[2]s
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = localhost
smtp_tls_CAfile = %[3]s
smtp_tls_wrappermode = %[4]s
debug_peer_list = 127.0.0.1
`

// postfixMechanisms are those that Postfix and Postern know.
var postfixMechanisms = []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"}

// postfixLogsIn has Postfix relay through Postern as a client of SASL.
func (e *entrance) postfixLogsIn(t *testing.T, saw *observed) {
	for _, mechanism := range postfixMechanisms {
		for _, mode := range modes {
			t.Run(mechanism+"/"+mode.name, func(t *testing.T) {
				ctx := bounded(t)
				postfix := e.postfix(ctx, t, mechanism, mode.suffix, joesPassword)
				m := postfixMessage(mechanism + mode.suffix)
				submit(ctx, t, postfix.Addr(), []*harness.Message{m})
				arrived := collect(ctx, t, e.taken, m.To)
				if fields, rest := harness.CutReceived(arrived[0].Content); fields != 2 || string(rest) != string(m.Content) {
					t.Errorf("%d Received fields, and %s", fields, harness.Difference(rest, m.Content))
				}
				e.checkFact(ctx, t, m.To[0], mechanism, "submission"+mode.suffix)
				logs(ctx, t, postfix, "235 2.7.0")
				if got := answer(string(read(t, postfix.Log()))); got != "235 2.7.0" {
					t.Errorf("the reply is %q", got)
				}
				saw.add("235 2.7.0", "Postfix", mechanism, mode.name)
			})
		}
	}
	t.Run("wrong password", func(t *testing.T) {
		ctx := bounded(t)
		postfix := e.postfix(ctx, t, "PLAIN", "", otherPassword)
		submit(ctx, t, postfix.Addr(), []*harness.Message{postfixMessage("wrong")})
		logs(ctx, t, postfix, "SASL authentication failed; server 127.0.0.1[127.0.0.1] said: 535 5.7.8")
		if n, err := postfix.Queued(ctx); n != 1 || err != nil {
			t.Errorf("%d messages wait, %v", n, err)
		}
	})
}

// logs waits until Postfix has logged something: a process of its own writes its log, later.
func logs(ctx context.Context, t *testing.T, postfix *harness.Postfix, what string) {
	t.Helper()
	var log []byte
	err := harness.Until(ctx, "Postfix logs "+what, func() (_ bool, err error) {
		log, err = os.ReadFile(postfix.Log())
		return bytes.Contains(log, []byte(what)), err
	})
	if err != nil {
		t.Fatalf("%v:\n%s", err, log)
	}
}

func postfixMessage(name string) *harness.Message {
	to := "postfix." + strings.ToLower(name) + "@example.net"
	return &harness.Message{ID: name, From: "sender@example.org", To: []string{to},
		Content: append(harness.Header(name, "sender@example.org", to), "Grüße\r\n.\r\nmarker\r\n"...)}
}

// postfix starts a Postfix that sends through a listener, by one mechanism.
func (e *entrance) postfix(ctx context.Context, t *testing.T, mechanism, suffix, password string) *harness.Postfix {
	t.Helper()
	dir, port, wrapper := directory(t), e.ports["submission"+suffix], "no"
	if suffix != "" {
		wrapper = "yes"
	}
	path := filepath.Join(dir, "password")
	write(t, path, fmt.Appendf(nil, "[127.0.0.1]:%s %s:%s\n", port, joe, password))
	roots := filepath.Join(dir, "roots.pem")
	write(t, roots, read(t, e.roots))
	for _, file := range []string{path, roots} { // for the user postfix
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := harness.NewPostfix(harness.PostfixOptions{
		Dir: filepath.Join(dir, "postfix"), Hostname: "postfix.test.example", NextHop: "127.0.0.1:" + port,
		Settings: fmt.Sprintf(withPassword, dir, mechanism, roots, wrapper),
	})
	return start(ctx, t, p, err)
}
