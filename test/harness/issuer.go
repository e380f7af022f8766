package harness

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Issuer is a real issuer of tokens, running: test/oidc/issuer, a module of its own.
type Issuer struct {
	URL string
	// Authority is the file with the certificate by which it is known.
	Authority string

	command *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Reader
	output  strings.Builder
}

// The client that a mail program is at the issuer; its main.go has the same.
const (
	IssuerClient = "mail-programs"
	issuerSecret = "secret"
	redirect     = "http://localhost:9999/auth/callback"
)

// BuildIssuer builds the issuer into dir, and returns its path. The module proxy
// has what it is made of; nothing else is needed.
func BuildIssuer(ctx context.Context, dir string) (string, error) {
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "issuer")
	source := filepath.Join(filepath.Dir(strings.TrimSpace(string(module))), "test", "oidc", "issuer")
	build := exec.CommandContext(ctx, "go", "build", "-C", source, "-buildvcs=false", "-mod=readonly", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the issuer: %w\n%s", err, out)
	}
	return binary, nil
}

// StartIssuer starts an issuer at 127.0.0.1 with the files of a certificate, which is its
// own authority, and of its key. It ends with the test process at the latest.
func StartIssuer(binary, certificate, key string) (*Issuer, error) {
	i := &Issuer{Authority: certificate, command: exec.Command(binary, "-cert", certificate, "-key", key)}
	i.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	i.command.Stderr = &i.output
	answers, err := i.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if i.orders, err = i.command.StdinPipe(); err != nil {
		return nil, err
	}
	if err := i.command.Start(); err != nil {
		return nil, err
	}
	i.answers = bufio.NewReader(answers)
	if i.URL, err = i.line(); err != nil {
		return nil, errors.Join(err, i.Stop())
	}
	return i, nil
}

// Stop ends the issuer.
func (i *Issuer) Stop() error {
	err := i.orders.Close()
	if ended := i.command.Wait(); ended != nil {
		return fmt.Errorf("the issuer: %w\n%s", ended, i.output.String())
	}
	return err
}

func (i *Issuer) line() (string, error) {
	line, err := i.answers.ReadString('\n')
	return strings.TrimSpace(line), err
}

// Order has the issuer do something.
func (i *Issuer) Order(what string) error {
	if _, err := fmt.Fprintln(i.orders, what); err != nil {
		return err
	}
	if got, err := i.line(); err != nil || got != "done" {
		return fmt.Errorf("the issuer answers %q to %q: %w", got, what, err)
	}
	return nil
}

// Tokens are what a login gives.
type Tokens struct {
	Access string `json:"access_token"`
	ID     string `json:"id_token"`
}

// Login logs a user in as a browser does, and fetches the tokens (RFC 6749 4.1).
func (i *Issuer) Login(ctx context.Context, user string) (Tokens, error) {
	b, err := i.browser(ctx)
	if err != nil {
		return Tokens{}, err
	}
	defer b.CloseIdleConnections()
	begin := url.Values{"client_id": {IssuerClient}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"openid email profile"}, "state": {"x"}}
	page, err := b.do(http.MethodGet, i.URL+"/auth?"+begin.Encode(), nil)
	if err != nil {
		return Tokens{}, err
	}
	page.Body.Close()
	form := url.Values{"id": {page.Request.URL.Query().Get("authRequestID")}, "username": {user}, "password": {user + "'s password"}}
	done, err := b.do(http.MethodPost, i.URL+"/login/username", form)
	if err != nil {
		return Tokens{}, err
	}
	done.Body.Close()
	if b.code == "" {
		return Tokens{}, fmt.Errorf("no code after the login of %s: %s at %s", user, done.Status, done.Request.URL)
	}
	answer, err := b.do(http.MethodPost, i.URL+"/oauth/token", url.Values{"grant_type": {"authorization_code"}, "code": {b.code}, "redirect_uri": {redirect}})
	if err != nil {
		return Tokens{}, err
	}
	defer answer.Body.Close()
	var got Tokens
	err = json.NewDecoder(answer.Body).Decode(&got)
	if err == nil && (got.ID == "" || strings.Count(got.Access, ".") != 2) {
		err = fmt.Errorf("the issuer gives no tokens: %s", answer.Status)
	}
	return got, err
}

// browser is what a user logs in with.
type browser struct {
	http.Client
	ctx  context.Context
	code string // with which it was sent back to the mail program
}

func (i *Issuer) browser(ctx context.Context) (*browser, error) {
	authority, err := os.ReadFile(i.Authority)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	b := &browser{ctx: ctx}
	b.Client = http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(r.URL.String(), redirect) {
				b.code = r.URL.Query().Get("code")
				return http.ErrUseLastResponse
			}
			return nil
		}}
	return b, nil
}

// do asks for a page, with a form if there is one. The mail program's own name is in each
// request; the issuer looks at it where it counts.
func (b *browser) do(method, url string, form url.Values) (*http.Response, error) {
	request, err := http.NewRequestWithContext(b.ctx, method, url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(IssuerClient, issuerSecret)
	return b.Do(request)
}

// Settings are those of a source of the issuer, named "company", with more lines.
func (i *Issuer) Settings(more string) string {
	return fmt.Sprintf("[[oidc]]\nname = \"company\"\nissuer = %q\naudience = [%q]\nauthorities = %q\n%s\n", i.URL, IssuerClient, i.Authority, more)
}
