// Package httpclient makes clients of HTTP for services that are believed, or shown
// secrets: issuers of tokens, and services that verify passwords.
//
// A client goes to the URL that it is given and nowhere else: a redirect is an answer
// like any other. Its time, its connections and what it reads of an answer are bounded.
// TLS is 1.2 at least, with a certificate that an authority vouches for. A proxy that
// the environment names (HTTPS_PROXY) is used.
package httpclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"time"
)

// ErrTooLarge is that an answer has more octets than are read.
var ErrTooLarge = errors.New("the answer is too large")

// Options are what a client needs. Timeout, MaxBody and MaxConnections are required.
type Options struct {
	// Authorities are those that may vouch for a server; nil for those of the system.
	Authorities *x509.CertPool
	// Certificate is what the client shows; nil for none.
	Certificate *tls.Certificate
	// Timeout bounds a request, from the connection to the end of the answer.
	Timeout time.Duration
	// MaxBody bounds an answer, in octets.
	MaxBody int64
	// MaxConnections bounds the connections to a host; so many requests are under way
	// at a time, and others wait.
	MaxConnections int
}

const (
	maxHeader = 64 << 10
	// idleTime is how long a connection is kept that nobody needs.
	idleTime = 90 * time.Second
)

// New returns a client. Whoever gives it up closes its idle connections.
func New(o Options) *http.Client {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Authorities},
		TLSHandshakeTimeout:    o.Timeout,
		MaxConnsPerHost:        o.MaxConnections,
		MaxIdleConnsPerHost:    o.MaxConnections,
		MaxResponseHeaderBytes: maxHeader,
		IdleConnTimeout:        idleTime,
		DisableCompression:     true, // what is small may become large
		ForceAttemptHTTP2:      true,
	}
	if o.Certificate != nil {
		t.TLSClientConfig.Certificates = []tls.Certificate{*o.Certificate}
	}
	return &http.Client{
		Transport:     bounded{t, o.MaxBody},
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded bounds what is read of answers.
type bounded struct {
	*http.Transport
	most int64
}

// RoundTrip sends a request.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.Transport.RoundTrip(r)
	if err == nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: b.most}
	}
	return resp, err
}

// boundedBody fails when there is more than so much.
type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read reads, and one octet more than is allowed to see whether there is one.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}
