package config

import (
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// HTTPAuth is one table [[http_auth]].
type HTTPAuth struct {
	Placed

	Name              string // unique among all sources
	URL               string
	Request           HTTPRequest
	UserField         string
	PasswordField     string
	SecretHeader      string
	Secret            Secret // zero: none
	Services          []Grant
	ClientCertificate string // a file; both or neither
	ClientKey         string
	Authorities       string // a file; empty: those of the system
	Timeout           time.Duration
	MaxConnections    int
}

// HTTPRequest is how a service is told user and password.
type HTTPRequest string

// The ways to tell user and password.
const (
	HTTPForm  HTTPRequest = "form"
	HTTPJSON  HTTPRequest = "json"
	HTTPBasic HTTPRequest = "basic"
)

// DefaultHTTPAuth returns a table with every default set. Name and URL have none.
func DefaultHTTPAuth() HTTPAuth { return defaultTable[HTTPAuth]("http_auth") }

// Problem returns one with a setting of the service, which it names, at its place if it was
// set, else at that of the table.
func (h *HTTPAuth) Problem(key, message, hint string) Problem {
	return h.Placed.Problem(key, "http_auth "+h.Name+": "+message, hint)
}

// Wrong returns the problem that the value of a setting of the service cannot be used.
func (h *HTTPAuth) Wrong(key string, err error) Problem {
	return h.Problem(key, err.Error(), "").because(err)
}

// maxURL bounds a URL.
const maxURL = 2000

const urlHint = `write a URL such as "https://login.example.com/"`

// webURL is the URL of a service that is shown secrets, or believed: https, and http
// only to this machine.
var webURL = textType("URL", "URLs", urlHint, func(s string) (string, *fault) {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxURL || u.Host == "" || u.Hostname() == "" {
		return "", faultf("", "%q is not a URL", clip(withoutUser(s)))
	}
	switch {
	case u.User != nil:
		return "", faultf("take the user out of it", "%q has a user in it, and this file is shown and copied", clip(withoutUser(s)))
	case u.Fragment != "" || strings.HasSuffix(s, "#"):
		return "", faultf("leave out what begins with #", "%q has a fragment, which no server ever sees", clip(s))
	case u.Scheme == "http" && !isLoopbackName(u.Hostname()):
		return "", faultf("use https; http is for a service at 127.0.0.1, [::1] or localhost",
			"%q is not encrypted: everybody on the way could read it, and answer", clip(s))
	case u.Scheme != "http" && u.Scheme != "https":
		return "", faultf("", "%q does not begin with https://", clip(s))
	}
	return s, nil
})

// withoutUser hides what stands before the host of a URL: it may be a password.
func withoutUser(s string) string {
	before, rest, found := strings.Cut(s, "://")
	if at := strings.LastIndexByte(rest, '@'); found && at >= 0 {
		return before + "://...@" + rest[at+1:]
	}
	return s
}

// isLoopbackName reports whether a host is this machine by its name or address.
func isLoopbackName(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// issuerURL is the name of an issuer, which is a URL without a query (OpenID Connect
// Discovery 1.0, 3).
var issuerURL = func() scalar[string] {
	s := webURL
	read := s.read
	s.read = func(n node) (string, *fault) {
		v, wrong := read(n)
		if wrong == nil && strings.Contains(v, "?") {
			return "", faultf("write it as the issuer does in iss", "%q has a query, which an issuer has not", clip(v))
		}
		return v, wrong
	}
	return s
}()

// fieldOfForm is the name of a field of a form or an object of JSON.
var fieldOfForm = textType("name", "names", `write the name of the field, such as "username"`, func(s string) (string, *fault) {
	if !isToken(s) {
		return "", faultf("", "%q is not the name of a field", clip(s))
	}
	return s, nil
})

// ownHeaders are those that requests have anyway.
var ownHeaders = []string{"Host", "Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Connection", "Accept", "User-Agent", "Cookie", "Te", "Trailer", "Upgrade"}

// checkHTTPAuth wants settings of a table that fit each other.
func (d *decoder) checkHTTPAuth() {
	for _, t := range d.tables["http_auth"] {
		h := t.fields.httpAuth
		d.checkPair(t, "client_certificate", "client_key", "set both, or neither")
		d.checkPair(t, "secret_header", "secret", "set both, or neither for a service that asks for no secret")
		d.checkSecretHeader(t, h)
		for _, setting := range []string{"user_field", "password_field"} {
			if at, is := t.given[setting]; is && h.Request == HTTPBasic {
				d.fault(at.key, "http_auth."+setting, faultf(`leave it out, or set request = "form"`, `is set, but request = "basic" has no fields`))
			}
		}
		if at, is := t.given["password_field"]; is && h.UserField == h.PasswordField {
			d.fault(at.value, "http_auth.password_field", faultf("give each a name of its own", "%q is also user_field", clip(h.PasswordField)))
		}
	}
}

// checkSecretHeader wants a field of a request that is not set by something else.
func (d *decoder) checkSecretHeader(t *table, h *HTTPAuth) {
	at, is := t.given["secret_header"]
	if !is || h.SecretHeader == "" {
		return
	}
	same := func(name string) bool { return strings.EqualFold(name, h.SecretHeader) }
	taken := h.Request == HTTPBasic && same("Authorization")
	for _, name := range ownHeaders {
		taken = taken || same(name)
	}
	if taken {
		d.fault(at.value, "http_auth.secret_header", faultf(`choose another, such as "X-Postern-Secret"`, "%q has its own meaning in such a request", clip(h.SecretHeader)))
	}
}
