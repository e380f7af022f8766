package login

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"postern/internal/certs"
	"postern/internal/mailtest"
	"postern/test/harness"
)

const ldapEntries = `dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: cn=reader,dc=example,dc=com
objectClass: person
cn: reader
sn: reader
userPassword: %s

dn: uid=lena,dc=example,dc=com
objectClass: inetOrgPerson
cn: Lena
sn: Lena
uid: lena
mail: lena@example.org
userPassword: %s
`

// secretSettings have a secret of every kind. %[1]s is the directory of the files.
const secretSettings = `smarthost_credential = "relay"

[log]
level = "debug"

[credentials]
key_file = "%[1]s/credentials.key"

[monitoring]
address = "%[2]s"

[admin]
address = "%[3]s"
tokens = "file:%[1]s/tokens"

[[listener]]
name = "login"
address = "%[4]s"
auth = "required"
auth_without_tls = true
auth_sources = ["directory", "corp", "service"]
auth_mechanisms = ["PLAIN", "LOGIN", "SCRAM-SHA-256"]
tls_certificate = "%[1]s/cert.pem"
tls_key = "%[1]s/key.pem"

[[listener]]
name = "broken"
address = "%[5]s"
auth = "required"
auth_without_tls = true
auth_sources = ["broken", "company"]
auth_mechanisms = ["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"]
certificates = ["shop"]

[[transport]]
name = "pool"
kind = "pool"

[[target]]
pool = "pool"
address = "127.0.0.1"
port = 9

[auth]
never_ban = []
delay = "0s"
ban_after = 1000

[[ldap]]
name = "corp"
servers = ["%[6]s"]
authorities = "%[1]s/cert.pem"
bind_dn = "cn=reader,dc=example,dc=com"
bind_password = "file:%[1]s/bind"
base = "dc=example,dc=com"

[[ldap]]
name = "broken"
servers = ["%[6]s"]
authorities = "%[1]s/cert.pem"
bind_dn = "cn=reader,dc=example,dc=com"
bind_password = "file:%[1]s/wrong-bind"
base = "dc=example,dc=com"

[[http_auth]]
name = "service"
url = "%[7]s/login"
secret_header = "X-Secret"
secret = "file:%[1]s/service"

[[oidc]]
name = "company"
issuer = "https://127.0.0.1:9"
audience = ["mail"]

[[handler]]
name = "kept"
at = "rcpt"
when = 'authentication.subject.id == "joe"'
steps = [{ hold = "from ${authentication.subject.id} by ${authentication.mechanism}" }]
`

// safe is a server with a secret of every kind, and what is needed to look for them.
type safe struct {
	*server
	files  string // the directory with the files that hold the secrets
	admin  string // where the API is
	broken string // where the listener is whose sources do not work
	keys   []any  // private keys: of the listener, of a client, of the file of PKCS #12, and of signatures
}

// startSafe starts the server. The files that hold its secrets lie outside of what it
// writes.
func startSafe(ctx context.Context, t *testing.T) *safe {
	t.Helper()
	s := &safe{server: &server{login: freeAddress(t), metrics: freeAddress(t)}, files: t.TempDir(), admin: freeAddress(t), broken: freeAddress(t)}
	config, _ := mailtest.ServerTLS(t, "localhost", "smarthost.example")
	slapd := mailtest.StartSlapd(t, config, fmt.Sprintf(ldapEntries, canaries.ldapBind, canaries.ldapUser))
	service := httptest.NewServer(http.HandlerFunc(verifyByHTTP))
	t.Cleanup(service.Close)
	sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Passwords: map[string]string{"relay": canaries.smarthost}})
	client, _ := mailtest.ServerTLS(t, "client.example")
	s.keys = append(s.keys, config.Certificates[0].PrivateKey, client.Certificates[0].PrivateKey)
	for name, content := range map[string]string{
		"client-secret": canaries.clientSecret, "refresh-token": canaries.refreshToken, "client-key": string(mailtest.KeyPEM(t, client)), "tokens": "operator " + canaries.apiToken, "bind": canaries.ldapBind, "wrong-bind": canaries.ldapWrongBind,
		"service": canaries.serviceSecret, "passphrase": canaries.passphrase, "wrong-passphrase": canaries.wrongPassphrase,
		"cert.pem": string(mailtest.CertificatePEM(config)), "key.pem": string(mailtest.KeyPEM(t, config)),
		"shop.p12": s.pkcs12(t), "signing-key": s.signingKey(t),
	} {
		mailtest.Must(t, os.WriteFile(filepath.Join(s.files, name), []byte(content), 0o600))
	}
	binary, err := harness.BuildPostern(ctx, t.TempDir())
	mailtest.Must(t, err)
	s.Postern, err = harness.NewPostern(harness.PosternOptions{
		Binary: binary, Dir: filepath.Join(t.TempDir(), "instance"), NextHop: sink.Addr().String(), TLS: "verify",
		Settings: fmt.Sprintf(secretSettings, s.files, s.metrics, s.admin, s.login, s.broken, slapd.Addr, service.URL),
	})
	mailtest.Must(t, err)
	s.do(ctx, t, "", "dkim key add signed.example --selector s1 --key "+s.files+"/signing-key")
	s.do(ctx, t, "", "cert import shop --file "+s.files+"/shop.p12 --passphrase-file "+s.files+"/passphrase")
	mailtest.Must(t, s.SetCredential(ctx, "relay", "relay", canaries.smarthost))
	mailtest.Must(t, s.StartAs(ctx, binary, "SSL_CERT_FILE="+s.files+"/cert.pem"))
	t.Cleanup(s.Kill)
	return s
}

// signingKey makes a private key for signatures.
func (s *safe) signingKey(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	mailtest.Must(t, err)
	s.keys = append(s.keys, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	mailtest.Must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// pkcs12 makes a file of PKCS #12 with a certificate and its key.
func (s *safe) pkcs12(t *testing.T) string {
	t.Helper()
	c, err := certs.SelfSigned(certs.Options{Names: []string{"shop.example"}})
	mailtest.Must(t, err)
	s.keys = append(s.keys, c.PrivateKey)
	file, err := pkcs12.Modern2023.Encode(c.PrivateKey, c.Leaf, nil, canaries.passphrase)
	mailtest.Must(t, err)
	return string(file)
}

// verifyByHTTP is a service that knows one user. Who shows a password that it breaks on
// gets it back, which nothing may show.
func verifyByHTTP(w http.ResponseWriter, r *http.Request) {
	given := r.PostFormValue("password")
	switch {
	case r.Header.Get("X-Secret") != canaries.serviceSecret:
		w.WriteHeader(http.StatusInternalServerError)
	case given == canaries.serviceUser:
		io.WriteString(w, `{"services":["submit"]}`)
	case given == canaries.passwordOfTheBroken:
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, "cannot look up "+given)
	default:
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// do runs a command of the program with a standard input, which must go well; what it
// prints is returned.
func (s *safe) do(ctx context.Context, t *testing.T, in, command string) string {
	t.Helper()
	out, err := s.try(ctx, in, command)
	if err != nil {
		t.Fatalf("%s: %v %s", command, err, out)
	}
	return out
}

func (s *safe) try(ctx context.Context, in, command string) (string, error) {
	c := s.Command(ctx, strings.Fields(command)...)
	c.Stdin = strings.NewReader(in)
	out, err := c.CombinedOutput()
	return string(out), err
}
