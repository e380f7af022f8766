package smtpserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"strings"
	"time"
	"unicode"

	"postern/internal/mail"
)

const handshakeTimeout = time.Minute

// Handshakes bounds how many TLS handshakes are worked on at a time, over all
// servers that have it. A handshake costs a thousand times what a command does, and
// a flood of them would leave nothing for the clients that are there. One that
// waits for its client is not worked on.
type Handshakes struct{ slots chan struct{} }

// NewHandshakes returns a bound of so many handshakes.
func NewHandshakes(most int) *Handshakes { return &Handshakes{make(chan struct{}, max(1, most))} }

// take waits until one more handshake may be worked on. It fails when ctx ends first.
func (h *Handshakes) take(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Handshakes) give() { <-h.slots }

// shaking is a socket under a TLS connection. During the handshake it has a slot
// while it does not wait for its client.
type shaking struct {
	net.Conn
	early []byte // read before TLS began
	ctx   context.Context
	slots *Handshakes // nil when the handshake is over
	has   bool        // a slot
}

// Read implements net.Conn.
func (s *shaking) Read(p []byte) (n int, err error) {
	s.rest()
	if len(s.early) > 0 {
		n = copy(p, s.early)
		s.early = s.early[n:]
	} else if n, err = s.Conn.Read(p); err != nil {
		return n, err
	}
	if s.slots != nil {
		if err := s.slots.take(s.ctx); err != nil {
			return 0, err
		}
		s.has = true
	}
	return n, nil
}

// rest gives the slot back.
func (s *shaking) rest() {
	if s.has {
		s.has = false
		s.slots.give()
	}
}

// startTLS writes what is queued, such as the reply to STARTTLS, and takes the
// handshake. What has been read belongs to it. It fails with the error of the
// handshake, after which the connection is of no use.
func (c *conn) startTLS(ctx context.Context) (tls.ConnectionState, error) {
	if err := c.flush(); err != nil {
		return tls.ConnectionState{}, err
	}
	timeout := min(handshakeTimeout, c.timeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	deadline := time.Now().Add(timeout)
	c.nc.SetWriteDeadline(deadline)
	if !c.arm(deadline) {
		return tls.ConnectionState{}, errStopping
	}
	o := &c.edition.options
	early, _ := c.br.Peek(c.br.Buffered())
	socket := &shaking{Conn: c.nc, early: bytes.Clone(early), ctx: ctx, slots: o.Handshakes}
	c.br.Reset(c)
	tc := tls.Server(socket, o.TLS)
	err := tc.HandshakeContext(ctx)
	socket.rest()
	socket.ctx, socket.slots = nil, nil
	if err != nil {
		return tls.ConnectionState{}, err
	}
	c.rw = tc
	return tc.ConnectionState(), nil
}

// ClientCertificates say what is asked of clients under TLS. No handshake fails for a
// certificate: its client would not hear why, under TLS 1.3 not even that it failed.
type ClientCertificates struct {
	// Ask asks for a certificate. One that does not verify counts as none, but Origin
	// has it, so that a client can be known by its fingerprint.
	Ask bool
	// Require refuses every command of a client whose certificate does not verify with
	// 554 5.7.0 (RFC 3207 4), and those in clear with 530. It implies Ask.
	Require bool
	// Authorities are those by whom a certificate verifies; nil: none does.
	Authorities *x509.CertPool
}

// verify reports whether the certificate that a client has shown is valid at this time,
// by one of the authorities, and for TLS. That it is for servers is enough: mail servers
// are clients too, and public authorities issue nothing else any more.
func (c *ClientCertificates) verify(shown []*x509.Certificate, now time.Time) bool {
	if len(shown) == 0 || c.Authorities == nil {
		return false
	}
	others := x509.NewCertPool()
	for _, issuer := range shown[1:] {
		others.AddCert(issuer)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{
		Roots: c.Authorities, Intermediates: others, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	return err == nil
}

// secured notes what a handshake has negotiated.
func (s *session) secured(state tls.ConnectionState) {
	s.origin.TLS = &mail.TLS{
		Version:     tls.VersionName(state.Version),
		Cipher:      tls.CipherSuiteName(state.CipherSuite),
		ServerName:  state.ServerName,
		Verified:    s.options.ClientCertificates.verify(state.PeerCertificates, s.options.Clock.Now()),
		Certificate: describeCertificate(state.PeerCertificates),
	}
	s.options.Metrics.secured.Add(1)
	s.noteTLS(state)
}

// What is kept of a certificate, which its owner wrote.
const (
	maxSubject = 256 // octets
	maxNames   = 20
	maxNameLen = 255 // octets of one
)

// describeCertificate returns what identifies the certificate of a client; nil for
// none.
func describeCertificate(shown []*x509.Certificate) *mail.Certificate {
	if len(shown) == 0 {
		return nil
	}
	leaf := shown[0]
	digest := sha256.Sum256(leaf.Raw)
	described := &mail.Certificate{
		Fingerprint: hex.EncodeToString(digest[:]),
		Subject:     printable(leaf.Subject.String(), maxSubject),
		Expires:     leaf.NotAfter,
	}
	for _, names := range [][]string{leaf.DNSNames, leaf.EmailAddresses} {
		for _, name := range names {
			if len(described.Names) < maxNames && len(name) <= maxNameLen {
				described.Names = append(described.Names, printable(name, maxNameLen))
			}
		}
	}
	return described
}

// printable returns text of at most so many octets, with "?" for what cannot be
// printed.
func printable(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}
