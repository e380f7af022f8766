// Package peercerts asks a server for the certificates that it shows, says what they are
// and whether this machine trusts them, and makes a trust list of them.
//
// It says EHLO and STARTTLS at most, and QUIT: no mail, no user and no password.
package peercerts

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"postern/internal/certs"
	"postern/internal/mail"
	"postern/internal/smtp"
)

// Server is whom to ask, and how.
type Server struct {
	Address mail.HostPort
	// Name is the name that the server is asked for (SNI, RFC 6066 3), and that its certificate
	// should be for; empty: the host of Address.
	Name string
	// Implicit begins TLS with the connection (RFC 8314 3); else STARTTLS of SMTP does (RFC 3207).
	Implicit bool
	// Hello is what EHLO says.
	Hello string
	// Roots are the authorities that are trusted; nil: those of the system.
	Roots *x509.CertPool
}

// Chain is what a server has shown.
type Chain struct {
	Server  string `json:"server"`
	Address string `json:"address"`
	// Name is that for which the certificate should be.
	Name    string `json:"name"`
	Version string `json:"version"` // "TLS 1.3"
	Cipher  string `json:"cipher"`
	// Trusted says that the chain leads to an authority that is trusted here, and that the
	// certificate is for Name. Problem is why not. Root is that authority, if there is one.
	Trusted bool   `json:"trusted"`
	Problem string `json:"problem,omitempty"`
	Root    string `json:"root,omitempty"`
	// Certificates are in the order in which they were sent: the server's own first.
	Certificates []Certificate `json:"certificates"`

	shown []*x509.Certificate
	root  *x509.Certificate // of the system, which vouches for them; nil when none does
}

// Certificate is one of a chain.
type Certificate struct {
	certs.Info
	// KeyPin is the SHA-256 of its key (SPKI) as tls_pins have it: "sha256/" and base64.
	KeyPin string `json:"key_pin"`
	PEM    string `json:"pem"`
}

// timeout bounds a visit, maxReply the octets of a reply.
const (
	timeout  = 30 * time.Second
	maxReply = 64 << 10
)

// Fetch connects to the server, and returns what it has shown.
//
// It fails when there is no connection, no STARTTLS or no handshake; that a certificate is not
// trusted is no failure.
func Fetch(ctx context.Context, s Server) (*Chain, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s.Name = strings.Trim(cmp.Or(s.Name, s.Address.Host), "[].")
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Address.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	chain, err := s.visit(ctx, conn)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%s does not answer: %w", s.Address, context.Cause(ctx))
	}
	return chain, err
}

func (s *Server) visit(ctx context.Context, conn net.Conn) (*Chain, error) {
	if !s.Implicit {
		if err := s.startTLS(conn); err != nil {
			return nil, err
		}
	}
	// What is shown is to be looked at, whatever it is: this connection carries nothing.
	client := tls.Client(conn, &tls.Config{ServerName: s.Name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10})
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", s.Address, err)
	}
	state := client.ConnectionState()
	c := &Chain{
		Server: s.Address.String(), Address: conn.RemoteAddr().String(), Name: s.Name,
		Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite), shown: state.PeerCertificates,
	}
	for _, shown := range c.shown {
		c.Certificates = append(c.Certificates, describe(shown))
	}
	c.judge(s.Roots)
	if !s.Implicit {
		_, _ = client.Write([]byte("QUIT\r\n")) // out of politeness
	}
	return c, nil
}

// startTLS brings a connection to where the handshake begins (RFC 3207 4).
func (s *Server) startTLS(conn net.Conn) error {
	br := bufio.NewReader(conn)
	for _, command := range []string{"", "EHLO " + s.Hello, "STARTTLS"} {
		if command != "" {
			if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
				return err
			}
		}
		reply, err := smtp.ReadReply(br, maxReply)
		what := cmp.Or(command, "its greeting")
		switch {
		case errors.Is(err, smtp.ErrReplySyntax):
			return fmt.Errorf("%s speaks no SMTP: %w; if it begins with TLS, say so: --starttls none", s.Address, err)
		case err != nil:
			return fmt.Errorf("%s: %s: %w", s.Address, what, err)
		case !reply.Success():
			return fmt.Errorf("%s: %s: %s", s.Address, what, reply)
		case strings.HasPrefix(command, "EHLO") && !smtp.ParseExtensions(reply.Text).StartTLS:
			return fmt.Errorf("%s does not offer STARTTLS", s.Address)
		}
	}
	if br.Buffered() > 0 { // what came in clear is nothing of TLS
		return fmt.Errorf("%s said something between its reply to STARTTLS and the handshake", s.Address)
	}
	return nil
}

func describe(c *x509.Certificate) Certificate {
	return Certificate{
		Info:   certs.NewInfo("", "", &tls.Certificate{Certificate: [][]byte{c.Raw}, Leaf: c}),
		KeyPin: pin(c),
		PEM:    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})),
	}
}

// pin is the pin of a certificate's key.
func pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
}

// judge finds out whether the chain is trusted, and for the name.
func (c *Chain) judge(roots *x509.CertPool) {
	leaf := c.shown[0]
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: c.others()})
	if err == nil {
		c.root = chains[0][len(chains[0])-1]
		c.Root = certs.Title(c.root)
		err = leaf.VerifyHostname(c.Name)
	}
	if c.Trusted = err == nil; err != nil {
		c.Problem = err.Error()
	}
}

// others are the certificates behind the server's own.
func (c *Chain) others() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, other := range c.shown[1:] {
		pool.AddCert(other)
	}
	return pool
}
