// Package oidc_test has Postern verify the tokens of a real issuer, which is built from
// the module beside it and run on loopback: a user logs in at it with a browser's steps,
// and the mail program shows the token. An issuer that cannot be built fails the tests.
package oidc_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// programs are what the tests run, built once.
type programs struct{ dir, postern, issuer string }

var built = sync.OnceValues(func() (p programs, err error) {
	if p.dir, err = os.MkdirTemp("", "postern-oidc-"); err != nil {
		return p, err
	}
	if p.postern, err = harness.BuildPostern(context.Background(), p.dir); err != nil {
		return p, err
	}
	p.issuer = filepath.Join(p.dir, "issuer")
	// The module proxy has what it is made of; nothing else is needed.
	if out, err := exec.Command("go", "build", "-C", "issuer", "-buildvcs=false", "-mod=readonly", "-o", p.issuer, ".").CombinedOutput(); err != nil {
		return p, fmt.Errorf("building the issuer: %w\n%s", err, out)
	}
	return p, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if p, err := built(); err == nil {
		if err := os.RemoveAll(p.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// issuer is the real one, running.
type issuer struct {
	url       string
	authority string // a file
	roots     *x509.CertPool
	orders    io.Writer
	answers   *bufio.Reader
	stop      func()
}

// startIssuer starts one that has a certificate of its own.
func startIssuer(t *testing.T) *issuer {
	t.Helper()
	p, err := built()
	must(t, err)
	dir := t.TempDir()
	config, roots := mailtest.ServerTLS(t, "127.0.0.1")
	certificate, key := filepath.Join(dir, "issuer.pem"), filepath.Join(dir, "issuer.key")
	must(t, os.WriteFile(certificate, mailtest.CertificatePEM(config), 0o600))
	must(t, os.WriteFile(key, mailtest.KeyPEM(t, config), 0o600))

	command := exec.Command(p.issuer, "-cert", certificate, "-key", key)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var output strings.Builder
	command.Stderr = &output
	orders, err := command.StdinPipe()
	must(t, err)
	answers, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	stop := sync.OnceFunc(func() {
		orders.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("the issuer: %v\n%s", err, output.String())
		}
	})
	t.Cleanup(stop)
	i := &issuer{authority: certificate, roots: roots, orders: orders, answers: bufio.NewReader(answers), stop: stop}
	i.url = i.line(t)
	return i
}

func (i *issuer) line(t *testing.T) string {
	t.Helper()
	line, err := i.answers.ReadString('\n')
	must(t, err)
	return strings.TrimSpace(line)
}

// order has the issuer do something.
func (i *issuer) order(t *testing.T, what string) {
	t.Helper()
	_, err := fmt.Fprintln(i.orders, what)
	must(t, err)
	if got := i.line(t); got != "done" {
		t.Fatalf("the issuer answers %q", got)
	}
}

// tokens are what a login gives.
type tokens struct {
	Access string `json:"access_token"`
	ID     string `json:"id_token"`
}

// The client that a mail program is at the issuer; its main.go has the same.
const (
	clientID     = "mail-programs"
	clientSecret = "secret"
	redirect     = "http://localhost:9999/auth/callback"
)

// login logs a user in as a browser does, and fetches the tokens (RFC 6749 4.1).
func (i *issuer) login(t *testing.T, user string) tokens {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: i.roots}}
	defer transport.CloseIdleConnections()
	var code string
	browser := &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirect) {
			code = r.URL.Query().Get("code")
			return http.ErrUseLastResponse
		}
		return nil
	}}
	begin := url.Values{"client_id": {clientID}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"openid email profile"}, "state": {"x"}}
	page, err := browser.Get(i.url + "/auth?" + begin.Encode())
	must(t, err)
	page.Body.Close()
	form := url.Values{"id": {page.Request.URL.Query().Get("authRequestID")}, "username": {user}, "password": {user + "'s password"}}
	done, err := browser.PostForm(i.url+"/login/username", form)
	must(t, err)
	done.Body.Close()
	if code == "" {
		t.Fatalf("no code after the login of %s: %s at %s", user, done.Status, done.Request.URL)
	}
	request, err := http.NewRequest(http.MethodPost, i.url+"/oauth/token", strings.NewReader(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}}.Encode()))
	must(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(clientID, clientSecret)
	answer, err := browser.Do(request)
	must(t, err)
	defer answer.Body.Close()
	var got tokens
	must(t, json.NewDecoder(answer.Body).Decode(&got))
	if got.ID == "" || strings.Count(got.Access, ".") != 2 {
		t.Fatalf("the issuer gives no tokens: %s", answer.Status)
	}
	return got
}

// settings are those of a source of the issuer, with more lines.
func (i *issuer) settings(more string) string {
	return fmt.Sprintf("[[oidc]]\nname = \"company\"\nissuer = %q\naudience = [%q]\nauthorities = %q\n%s\n", i.url, clientID, i.authority, more)
}
