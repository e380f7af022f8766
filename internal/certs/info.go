package certs

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// Origin says where a certificate is from.
type Origin string

// The origins.
const (
	FromFiles Origin = "files"
	FromACME  Origin = "acme"
	FromStore Origin = "store"
)

// Info is what there is to know of a certificate, without its key.
type Info struct {
	Name    string `json:"name" doc:"What it is called"`
	From    Origin `json:"from" enum:"files,acme,store" doc:"Where it is from"`
	File    string `json:"file,omitempty" doc:"The file with the certificate"`
	Problem string `json:"problem,omitempty" doc:"Why there is none, or why what the file has now cannot be used"`
	// Pending says that a request waits for its certificate.
	Pending   bool     `json:"pending,omitempty" doc:"A request waits for its certificate"`
	Listeners []string `json:"listeners,omitempty" doc:"The listeners that show it to clients"`

	Subject     string    `json:"subject,omitempty"`
	Issuer      string    `json:"issuer,omitempty"`
	SelfSigned  bool      `json:"self_signed,omitempty" doc:"Nobody else vouches for it"`
	Authority   bool      `json:"authority,omitempty" doc:"It signs others"`
	Names       []string  `json:"names,omitempty" doc:"The host names for which it is valid"`
	Addresses   []string  `json:"addresses,omitempty" doc:"The IP addresses for which it is valid"`
	Emails      []string  `json:"emails,omitempty" doc:"The mail addresses for which it is valid"`
	Uses        []string  `json:"uses,omitempty" doc:"What it is for: server, client"`
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	Key         string    `json:"key,omitempty" doc:"The kind of its key"`
	Serial      string    `json:"serial,omitempty" doc:"In hexadecimal"`
	Fingerprint string    `json:"fingerprint,omitempty" doc:"The SHA-256 of the certificate, in hexadecimal"`
	Chain       int       `json:"chain,omitempty" doc:"How many certificates are sent: itself, and those of its issuers"`
}

// describe fills in what stands in a certificate.
func (i *Info) describe(c *tls.Certificate) {
	leaf := c.Leaf
	i.Subject, i.Issuer = leaf.Subject.String(), leaf.Issuer.String()
	i.SelfSigned, i.Authority = string(leaf.RawIssuer) == string(leaf.RawSubject), leaf.IsCA
	i.Names, i.Emails = leaf.DNSNames, leaf.EmailAddresses
	for _, ip := range leaf.IPAddresses {
		i.Addresses = append(i.Addresses, ip.String())
	}
	for _, use := range leaf.ExtKeyUsage {
		switch use {
		case x509.ExtKeyUsageServerAuth:
			i.Uses = append(i.Uses, "server")
		case x509.ExtKeyUsageClientAuth:
			i.Uses = append(i.Uses, "client")
		}
	}
	i.NotBefore, i.NotAfter = leaf.NotBefore, leaf.NotAfter
	i.Key, i.Serial, i.Fingerprint = keyName(leaf.PublicKey), fmt.Sprintf("%x", leaf.SerialNumber), Fingerprint(leaf)
	i.Chain = len(c.Certificate)
}

// NewInfo describes a certificate; nil is one that is not there.
func NewInfo(name string, from Origin, c *tls.Certificate) Info {
	i := Info{Name: name, From: from}
	if c != nil {
		i.describe(c)
	}
	return i
}

// keyName names the kind of a key.
func keyName(key any) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA, %d bits", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA, " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("%T", key)
}

// warnedBefore are the days before the end of a certificate at which somebody is told, the
// last first.
var warnedBefore = []int{0, 3, 14, 30}

// Expiring returns within how many days a certificate ends, of those at which somebody is
// told; ok is false when there is more time. Days that are three tenths of its whole life and
// more are left out: when a third is left it is renewed.
func Expiring(c *x509.Certificate, now time.Time) (days int, ok bool) {
	left, life := c.NotAfter.Sub(now), c.NotAfter.Sub(c.NotBefore)
	for _, days := range warnedBefore {
		before := time.Duration(days) * 24 * time.Hour
		if left <= before && before < life*3/10 {
			return days, true
		}
	}
	return 0, false
}
