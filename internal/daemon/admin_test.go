package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/certs"
	"postern/internal/config"
)

// TestAPI: the administrative API is at its address, with TLS and a token, and
// ends with the server.
func TestAPI(t *testing.T) {
	dir := t.TempDir()
	certificate, err := certs.SelfSigned(certs.Options{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	c := settings(t, nowhere)
	c.Admin = config.Admin{
		Address:        netip.MustParseAddrPort("127.0.0.1:0"),
		Tokens:         config.Secret{Source: config.SecretFile, Name: filepath.Join(dir, "tokens")},
		TLSCertificate: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem"),
	}
	const token = "0123456789abcdef0123"
	err = errors.Join(certs.Save(certificate, c.Admin.TLSCertificate, c.Admin.TLSKey), os.WriteFile(c.Admin.Tokens.Name, []byte("test "+token), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, c)
	roots := x509.NewCertPool()
	roots.AddCert(certificate.Leaf)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	get := func(token string) int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+r.apiSocket.Addr().String()+"/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	if right, wrong := get(token), get(token+"x"); right != http.StatusOK || wrong != http.StatusUnauthorized {
		t.Errorf("with the token %d, with another %d", right, wrong)
	}
	if strings.Contains(r.log.String(), token) {
		t.Error("the log has a token")
	}
	r.stop()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
}

// TestAPIRefusesTokens: without good tokens the server does not start.
func TestAPIRefusesTokens(t *testing.T) {
	c := settings(t, nowhere)
	file := filepath.Join(t.TempDir(), "tokens")
	c.Admin = config.Admin{Address: netip.MustParseAddrPort("127.0.0.1:0"), Tokens: config.Secret{Source: config.SecretFile, Name: file}}
	for _, test := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{"a 0123456789abcdef0123", 0o644, errOpenToAll.Error()},
		{"a short", 0o600, "less than 20 characters"},
		{strings.Repeat("# x\n", 20_000), 0o600, "more than 65536 octets"},
		{"", 0o600, "there is no token"},
	} {
		if err := errors.Join(os.WriteFile(file, []byte(test.text), test.mode), os.Chmod(file, test.mode)); err != nil {
			t.Fatal(err)
		}
		if _, err := New(c, Options{}); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "admin.tokens") {
			t.Errorf("%.20q: got %v, want %s", test.text, err, test.want)
		}
	}
}
