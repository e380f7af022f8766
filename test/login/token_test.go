package login

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// TestTokensOfTheServer: the binary sends to a server that takes tokens alone, which it verifies
// with their issuer. A thousand deliveries, each on a connection of its own, have one token issued; while
// the issuer is down mail waits, with its reason, which is told once; it goes when the
// issuer is back; and a token that is revoked is followed by another. What is secret is nowhere.
func TestTokensOfTheServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	const secret, client = "marked-secret-of-the-server", "postern"
	issuer := mailtest.NewTokenIssuer(t, mailtest.IssuerOptions{Life: time.Hour, ClientID: client, ClientSecret: secret})
	config, _ := mailtest.ServerTLS(t, "localhost")
	sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Tokens: issuer.Verify,
		Keywords: []string{"PIPELINING", "8BITMIME", "LIMITS MAILMAX=1"}}) // so that each message has its connection
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"roots.pem": mailtest.CertificatePEM(config), "issuers.pem": mailtest.CertificatePEM(issuer.TLS()), "secret": []byte(secret + "\n"),
	} {
		mailtest.Must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	binary, err := harness.BuildPostern(ctx, t.TempDir())
	mailtest.Must(t, err)
	p, err := harness.NewPostern(harness.PosternOptions{
		Binary: binary, Dir: filepath.Join(t.TempDir(), "instance"), NextHop: sink.Addr().String(), TLS: "required", Retry: "1s, every 1s until 1d",
		Settings: fmt.Sprintf("smarthost_credential = 'office'\nmax_connections = 1000\nmax_connections_per_site = 1000\n[credentials]\nauthorities = '%s/issuers.pem'\n[log]\nlevel = 'debug'\n", dir),
	})
	mailtest.Must(t, err)
	s := &safe{server: &server{Postern: p}}
	add := "credential add office --user joe@example.org --token-url " + issuer.URL() + " --client-id " + client + " --client-secret " + dir + "/secret"
	s.do(ctx, t, "", add)
	mailtest.Must(t, p.StartAs(ctx, binary, "SSL_CERT_FILE="+dir+"/roots.pem"))
	t.Cleanup(p.Kill)

	arrived := 0
	send := func(n int) {
		t.Helper()
		arrived += n
		var next sync.Mutex
		source := harness.Source{Addr: p.Addr(), Sessions: min(n, 20), Keep: true, Next: func() *harness.Message {
			next.Lock()
			defer next.Unlock()
			if n--; n < 0 {
				return nil
			}
			return &harness.Message{ID: "x", From: "joe@example.org", To: []string{"ann@example.net"}, Content: []byte("Subject: x\r\n\r\ntext\r\n")}
		}}
		mailtest.Must(t, source.Run(ctx))
	}
	come := func(step string, tokens int) {
		t.Helper()
		received, err := sink.Wait(ctx, arrived)
		if err != nil || issuer.Number() != tokens {
			t.Fatalf("%s: %d messages of %d came with %d tokens, want %d: %v", step, len(received), arrived, issuer.Number(), tokens, err)
		}
		for _, m := range received {
			if !m.TLS || m.User != "joe@example.org" {
				t.Fatalf("%s: one came by %q, TLS %v", step, m.User, m.TLS)
			}
		}
	}
	send(1000)
	come("many at once", 1)
	if out := s.do(ctx, t, "", "credential test "+sink.Addr().String()); !strings.Contains(out, "mechanism     OAUTHBEARER") {
		t.Errorf("the test says %s", out)
	}

	issuer.Revoke()
	issuer.Trouble(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	send(3)
	mailtest.Must(t, harness.Until(ctx, "it is told", func() (bool, error) {
		out, err := s.try(ctx, "", "journal find --reason credential-failed --json")
		return strings.Contains(out, "credential office: the issuer answers 503"), err
	}))
	mailtest.Must(t, harness.Until(ctx, "mail waits", func() (bool, error) {
		out, err := s.try(ctx, "", "journal find --reason deferred --json")
		return strings.Contains(out, "There are no credentials for 127.0.0.1 at present"), err
	}))
	if out := s.do(ctx, t, "", "status"); !strings.Contains(out, "credential office: the issuer answers 503") {
		t.Errorf("the status says nothing of it: %s", out)
	}
	issuer.Trouble(nil)
	s.do(ctx, t, "", "credential set office --note again") // it is asked at once
	come("down, and back", 2)
	issuer.Revoke()
	send(1)
	come("revoked", 3)
	var told struct{ Reason string }
	out := strings.TrimSpace(s.do(ctx, t, "", "journal find --reason credential-failed --json"))
	if err := json.Unmarshal([]byte(out), &told); err != nil {
		t.Errorf("it was told %s", out)
	}
	mailtest.Must(t, p.Stop())
	seen := shown{}
	seen.addAll(t, filepath.Dir(p.Data()), func(string) bool { return true })
	var hidden []string
	for _, secret := range append(issuer.Shown(), secret) {
		hidden = append(hidden, shapes(secret)...)
	}
	seen.lack(t, hidden)
}
