package credentials

import (
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"crypto/rand"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

// caught is what an issuer would have been asked.
type caught struct {
	url, basic string
	form       url.Values
}

// catch lets the Book ask nobody, and returns what it would have asked for a record.
func (w *world) catch(name string) caught {
	w.t.Helper()
	var c caught
	w.book.mu.Lock()
	w.book.client = &http.Client{Transport: answering(func(r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c.url, c.basic = r.URL.String(), r.Header.Get("Authorization")
		c.form, _ = url.ParseQuery(string(body))
	})}
	w.book.mu.Unlock()
	if got := w.shows(w.book.Named(name)); got.Token != "issued" {
		w.t.Errorf("%+v", got)
	}
	return c
}

type answering func(*http.Request)

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a(r)
	body := io.NopCloser(strings.NewReader(`{"access_token":"issued","token_type":"Bearer","expires_in":"3599"}`))
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: r}, nil
}

// signed takes a JWT out of a form, and returns its header and claims once its signature was
// verified.
func signed(t *testing.T, form url.Values, field string, algorithm jose.SignatureAlgorithm, public any) (header jose.Header, claims map[string]any) {
	t.Helper()
	parsed, err := jose.ParseSignedCompact(form.Get(field), []jose.SignatureAlgorithm{algorithm})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := parsed.Verify(public)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	form.Del(field)
	return parsed.Signatures[0].Header, claims
}

func wantForm(t *testing.T, got caught, to string, want url.Values) {
	t.Helper()
	if diff := cmp.Diff(want, got.form); diff != "" || got.url != to {
		t.Errorf("to %s: -want +got:\n%s", got.url, diff)
	}
}

// certificateOf returns a certificate of a key, in PEM.
func certificateOf(t *testing.T, k *rsa.PrivateKey) (text string, der []byte) {
	t.Helper()
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: start, NotAfter: start.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), der
}

// TestMicrosoft: the forms of Microsoft's documents, by certificate (RFC 7523 2.2), by secret, and for a user
// who has consented.
func TestMicrosoft(t *testing.T) {
	keyText, public, private := newRSA(t, 2048)
	certificate, der := certificateOf(t, private)
	const to = "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"
	w := newWorld(t, nil)
	d := Draft{Tenant: "contoso.example", Secrets: map[string]mail.Secret{fieldClientKey: mail.Secret(keyText)},
		Record: directory.Credential{Name: "office", Kind: directory.CredentialOAuth, Preset: directory.PresetMicrosoft, User: mailbox, ClientID: clientID, Certificate: certificate}}
	w.mustPut(d)
	r := w.directory.Credential("office")
	if w.directory.CredentialFor("smtp.office365.com") != r || !cmp.Equal(r.Mechanisms, []string{"XOAUTH2"}) {
		t.Errorf("recorded as %+v", r)
	}
	got := w.catch("office")
	header, claims := signed(t, got.form, "client_assertion", jose.PS256, public)
	old, now := sha1.Sum(der), sha256.Sum256(der)
	if header.ExtraHeaders["x5t"] != base64.RawURLEncoding.EncodeToString(old[:]) || header.ExtraHeaders["x5t#S256"] != base64.RawURLEncoding.EncodeToString(now[:]) || header.ExtraHeaders["typ"] != "JWT" {
		t.Errorf("the header is %v", header.ExtraHeaders)
	}
	id, _ := claims["jti"].(string)
	delete(claims, "jti")
	if diff := cmp.Diff(map[string]any{"iss": clientID, "sub": clientID, "aud": to, "iat": float64(start.Unix()), "nbf": float64(start.Unix() - 60), "exp": float64(start.Unix() + 300)}, claims); diff != "" || len(id) < 20 {
		t.Errorf("id %q; -want +got:\n%s", id, diff)
	}
	wantForm(t, got, to, url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "scope": {"https://outlook.office365.com/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}})

	d.Record.Name, d.Record.Certificate, d.Record.Hosts = "secret", "", []string{}
	d.Secrets = map[string]mail.Secret{fieldClientSecret: clientSecret}
	w.mustPut(d)
	wantForm(t, w.catch("secret"), to, url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {clientSecret}, "scope": {"https://outlook.office365.com/.default"}})
	if r := w.directory.Credential("secret"); len(r.Hosts) > 0 {
		t.Errorf("without hosts it has %q", r.Hosts)
	}

	d.Record.Name, d.Secrets = "user", map[string]mail.Secret{fieldRefreshToken: "refresh"}
	w.mustPut(d)
	wantForm(t, w.catch("user"), to, url.Values{"grant_type": {"refresh_token"}, "client_id": {clientID}, "refresh_token": {"refresh"},
		"scope": {"https://outlook.office.com/SMTP.Send offline_access"}})

	d.Record.Preset = directory.PresetGoogle
	d.Record.Name = "other"
	if err := w.put(d); err == nil || !strings.Contains(err.Error(), "tenant: is of Microsoft 365 alone") {
		t.Errorf("a tenant of Google: %v", err)
	}
}

// TestGoogle: a service account asks for a token of the user whose mail it sends (RFC 7523 2.1, domain-wide
// delegation), with what is in its file; a user by a refresh token.
func TestGoogle(t *testing.T) {
	keyText, public, _ := newRSA(t, 2048)
	file, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "app@project.example", "private_key": keyText,
		"private_key_id": "the-key", "token_uri": "https://oauth2.googleapis.com/token"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil)
	d := Draft{Secrets: map[string]mail.Secret{fieldClientKey: mail.Secret(file)},
		Record: directory.Credential{Name: "gmail", Kind: directory.CredentialOAuth, Preset: directory.PresetGoogle, User: mailbox}}
	w.mustPut(d)
	if r := w.directory.CredentialFor("smtp.gmail.com"); r == nil || r.ClientID != "app@project.example" {
		t.Errorf("recorded as %+v", r)
	}
	got := w.catch("gmail")
	header, claims := signed(t, got.form, "assertion", jose.RS256, public)
	delete(claims, "jti")
	if diff := cmp.Diff(map[string]any{"iss": "app@project.example", "sub": mailbox, "aud": "https://oauth2.googleapis.com/token", "scope": "https://mail.google.com/",
		"iat": float64(start.Unix()), "nbf": float64(start.Unix() - 60), "exp": float64(start.Unix() + 300)}, claims); diff != "" || header.KeyID != "the-key" {
		t.Errorf("key %q; -want +got:\n%s", header.KeyID, diff)
	}
	wantForm(t, got, "https://oauth2.googleapis.com/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}})

	d.Record.Name, d.Record.Hosts, d.Record.ClientID = "user", []string{}, clientID
	d.Secrets = map[string]mail.Secret{fieldRefreshToken: "refresh", fieldClientSecret: clientSecret}
	w.mustPut(d)
	wantForm(t, w.catch("user"), "https://oauth2.googleapis.com/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {clientID},
		"client_secret": {clientSecret}, "refresh_token": {"refresh"}, "scope": {"https://mail.google.com/"}})
	w.wantQuiet(keyText[40:], clientSecret)
}

// TestWithoutPreset: an issuer that verifies, by each kind of key and by a secret in the header
// (RFC 6749 2.3.1), which is written so that no character of it is lost.
func TestWithoutPreset(t *testing.T) {
	rsaText, rsaPublic, _ := newRSA(t, 2048)
	ec256, ec256Public := newEC(t, elliptic.P256())
	ec384, ec384Public := newEC(t, elliptic.P384())
	for name, c := range map[string]struct {
		options mailtest.IssuerOptions
		secrets map[string]mail.Secret
	}{
		"RSA":    {mailtest.IssuerOptions{ClientKey: rsaPublic, Algorithm: jose.RS256}, map[string]mail.Secret{fieldClientKey: mail.Secret(rsaText)}},
		"P-256":  {mailtest.IssuerOptions{ClientKey: ec256Public, Algorithm: jose.ES256}, map[string]mail.Secret{fieldClientKey: mail.Secret(ec256)}},
		"P-384":  {mailtest.IssuerOptions{ClientKey: ec384Public, Algorithm: jose.ES384}, map[string]mail.Secret{fieldClientKey: mail.Secret(ec384)}},
		"secret": {mailtest.IssuerOptions{ClientSecret: "a:b %/+ü"}, map[string]mail.Secret{fieldClientSecret: "a:b %/+ü"}},
		"both":   {mailtest.IssuerOptions{ClientSecret: clientSecret, RefreshToken: "refresh"}, map[string]mail.Secret{fieldClientSecret: clientSecret, fieldRefreshToken: "refresh"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.options.ClientID, c.options.Life, c.options.Clock = clientID, time.Hour, mail.NewManualClock(start)
			issuer := mailtest.NewTokenIssuer(t, c.options)
			w := newWorld(t, issuer)
			d := draft(issuer, c.secrets)
			d.Record.KeyID = ""
			if c.options.ClientKey != nil {
				d.Record.KeyID = "named"
			}
			w.mustPut(d)
			if got := w.shows(w.book.For(host)); issuer.Verify("", string(got.Token)) != nil {
				t.Errorf("%+v", got)
			}
			if asked := issuer.Requests()[0]; asked.Signed.KeyID != d.Record.KeyID || asked.Form.Get("scope") != "mail.send" {
				t.Errorf("asked %+v", asked)
			}
		})
	}
}

// TestKeys: a key that cannot be used is refused when it is recorded, and nothing of it is told.
func TestKeys(t *testing.T) {
	weak, _, _ := newRSA(t, 1024)
	good, _, _ := newRSA(t, 2048)
	_, _, another := newRSA(t, 2048)
	strange, _ := newEC(t, elliptic.P521())
	certificate, _ := certificateOf(t, another)
	w := newWorld(t, nil)
	for _, c := range []struct{ key, certificate, want string }{
		{weak, "", "is an RSA key of 1024 bits, which is less than 2048"},
		{strange, "", "neither P-256 nor P-384"},
		{"nothing", "", "is no key in PEM"},
		{`{"type":"user"}`, "", "is no file of a service account"},
		{certificate, "", "is no private key"},
		{"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "", "cannot be read"},
		{"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "", "is encrypted: decrypt it first"},
		{good, certificate, "certificate: is of another key"},
		{good, "nothing", "certificate: is no certificate in PEM"},
		{good, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate: cannot be read"},
	} {
		err := w.put(Draft{Secrets: map[string]mail.Secret{fieldClientKey: mail.Secret(c.key)}, Record: directory.Credential{
			Name: "office", Kind: directory.CredentialOAuth, User: mailbox, TokenURL: "https://login.example/token", ClientID: clientID, Certificate: c.certificate}})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "MII") {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
