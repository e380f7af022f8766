package certs

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"time"

	"postern/internal/mail"
)

// Options say what a certificate is for.
type Options struct {
	// Names, Addresses and Emails are what it is valid for; at least one of them.
	Names     []string
	Addresses []netip.Addr
	Emails    []string
	// Client says that it is for a client, and not for a server.
	Client bool
	// Lifetime is how long it is valid from now. Zero means a day.
	Lifetime time.Duration
	// Key is its key. Nil means a new one (ECDSA P-256).
	Key crypto.Signer
	// Clock says when "now" is. Nil means the machine's.
	Clock mail.Clock
}

const (
	defaultLifetime = 24 * time.Hour
	// backdate is how far the clock of a client may be behind.
	backdate = time.Hour
	// rsaBits is the length of RSA keys (NIST SP 800-57: good beyond 2030).
	rsaBits = 3072
	// maxNames bounds what one certificate is for, of each kind.
	maxNames = 100
)

var (
	errNoName   = errors.New("certs: a certificate needs a name, an IP address or a mail address")
	errManyName = fmt.Errorf("certs: a certificate can be for %d names", maxNames)
)

// KeyKind is a kind of private key.
type KeyKind string

// The kinds of keys that are made.
const (
	ECDSA   KeyKind = "ecdsa" // P-256
	RSA     KeyKind = "rsa"   // 3072 bits
	Ed25519 KeyKind = "ed25519"
)

// NewKey makes a private key. "" is ECDSA. It fails for a kind that is none.
func NewKey(kind KeyKind) (crypto.Signer, error) {
	switch cmp.Or(kind, ECDSA) {
	case ECDSA:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RSA:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("certs: %.20q is no kind of key; write %s, %s or %s", kind, ECDSA, RSA, Ed25519)
}

// SelfSigned makes a certificate that nobody vouches for: it can sign no other
// certificate, and a client that trusts it trusts it alone. It fails when Options name
// nothing, or what is no name.
func SelfSigned(o Options) (tls.Certificate, error) {
	key, err := o.key()
	if err != nil {
		return tls.Certificate{}, err
	}
	template := o.template()
	return sign(template, template, key.Public(), key, key)
}

// NewAuthority makes the certificate of an authority of that name, which signs those of
// servers and clients, but none of further authorities (RFC 5280 4.2.1.9). Of Options it has
// lifetime, key and clock.
func NewAuthority(name string, o Options) (tls.Certificate, error) {
	if name == "" || len(name) > 64 { // RFC 5280 appendix A.1, ub-common-name
		return tls.Certificate{}, errors.New("certs: an authority needs a name of up to 64 octets")
	}
	o.Names = []string{"authority.invalid"} // so that there is one to check
	key, err := o.key()
	if err != nil {
		return tls.Certificate{}, err
	}
	template := o.template()
	template.Subject, template.DNSNames = pkix.Name{CommonName: name}, nil
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	template.IsCA, template.MaxPathLenZero = true, true
	return sign(template, template, key.Public(), key, key)
}

// Issue makes a certificate with its key, signed by an authority. It ends when that of the
// authority does, if not before. Errors: ErrNotCA, and those of SelfSigned.
func Issue(authority *tls.Certificate, o Options) (tls.Certificate, error) {
	key, err := o.key()
	if err != nil {
		return tls.Certificate{}, err
	}
	return o.issue(authority, key.Public(), key)
}

// IssueFor makes the certificate for a request, signed by an authority: for the names and
// the key of the request, whatever the names of Options. It has no key.
func IssueFor(authority *tls.Certificate, r *x509.CertificateRequest, o Options) (tls.Certificate, error) {
	if err := r.CheckSignature(); err != nil {
		return tls.Certificate{}, fmt.Errorf("certs: the request is not signed with its key: %w", err)
	}
	o.Names, o.Emails, o.Addresses = r.DNSNames, r.EmailAddresses, nil
	for _, ip := range r.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			o.Addresses = append(o.Addresses, a.Unmap())
		}
	}
	if err := o.check(); err != nil {
		return tls.Certificate{}, err
	}
	return o.issue(authority, r.PublicKey, nil)
}

func (o Options) issue(authority *tls.Certificate, public crypto.PublicKey, key crypto.Signer) (tls.Certificate, error) {
	signer, ok := authority.PrivateKey.(crypto.Signer)
	if !ok || !authority.Leaf.IsCA {
		return tls.Certificate{}, ErrNotCA
	}
	template := o.template()
	if end := authority.Leaf.NotAfter; template.NotAfter.After(end) {
		template.NotAfter = end
	}
	return sign(template, authority.Leaf, public, signer, key)
}

// sign makes a certificate of a template. key is its own key, if that is here.
func sign(template, issuer *x509.Certificate, public crypto.PublicKey, signer, key crypto.Signer) (tls.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, signer)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certs: making a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certs: reading the certificate just made: %w", err)
	}
	c := tls.Certificate{Certificate: [][]byte{der}, Leaf: leaf}
	if key != nil {
		c.PrivateKey = key
	}
	return c, nil
}

// NewRequest makes a key, unless Options have one, and a request for its certificate
// (RFC 2986), in DER. It fails as SelfSigned does.
func NewRequest(o Options) (request []byte, key crypto.Signer, err error) {
	if key, err = o.key(); err != nil {
		return nil, nil, err
	}
	t := o.template()
	request, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: t.Subject, DNSNames: t.DNSNames, IPAddresses: t.IPAddresses, EmailAddresses: t.EmailAddresses,
	}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("certs: making a request: %w", err)
	}
	return request, key, nil
}

// key checks the options, and returns the key that is to be used.
func (o Options) key() (crypto.Signer, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Key != nil {
		return o.Key, nil
	}
	key, err := NewKey(ECDSA)
	if err != nil {
		return nil, fmt.Errorf("certs: making a key: %w", err)
	}
	return key, nil
}

// check refuses what a certificate cannot be for.
func (o Options) check() error {
	n := len(o.Names) + len(o.Addresses) + len(o.Emails)
	switch {
	case n == 0:
		return errNoName
	case n > maxNames:
		return errManyName
	}
	for _, name := range o.Names {
		if err := mail.CheckDomain(strings.TrimPrefix(name, "*.")); err != nil {
			return fmt.Errorf("certs: %.80q is no name of a host: %w", name, err)
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r > '~' }) {
			return fmt.Errorf("certs: %.80q is not ASCII; write its xn-- form", name)
		}
	}
	for _, email := range o.Emails {
		a, err := mail.ParseAddress(email)
		if err != nil || a.Domain == "" || strings.ContainsFunc(email, func(r rune) bool { return r > '~' }) {
			return fmt.Errorf("certs: %.80q is no mail address in ASCII", email)
		}
	}
	return nil
}

func (o Options) template() *x509.Certificate {
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	var serial [16]byte
	rand.Read(serial[:]) // never fails: crypto/rand ends the process instead
	serial[0] &= 0x7f    // RFC 5280 4.1.2.2: positive, and of at most 20 octets
	now := o.Clock.Now()
	t := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial[:]),
		Subject:               o.subject(),
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(cmp.Or(o.Lifetime, defaultLifetime)),
		DNSNames:              o.Names,
		EmailAddresses:        o.Emails,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if o.Client {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	for _, a := range o.Addresses {
		t.IPAddresses = append(t.IPAddresses, net.IP(a.AsSlice()))
	}
	return t
}

// subject is the first of what the certificate is for, where it fits.
func (o Options) subject() pkix.Name {
	for _, names := range [][]string{o.Names, o.Emails} {
		if len(names) > 0 && len(names[0]) <= 64 { // RFC 5280 appendix A.1, ub-common-name
			return pkix.Name{CommonName: names[0]}
		}
	}
	return pkix.Name{}
}
