package senders

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"postern/internal/mail"
)

// Kind is what a source is known by.
type Kind string

// The kinds of sources.
const (
	KindAccount     Kind = "account"     // the name of an account
	KindCertificate Kind = "certificate" // the fingerprint of a client certificate
	KindAddress     Kind = "address"     // the address of a client
	KindLocal       Kind = "local"       // the name of a user of this host
)

// key is what a source is known by: a name, or an address.
type key struct {
	kind    Kind
	name    string
	address netip.Addr
}

// keyOf returns who has sent a message; false for what this server has written itself. The
// name in it is that of the origin.
func keyOf(o *mail.Origin) (key, bool) {
	switch {
	case o.Account != nil:
		return key{kind: KindAccount, name: cut(o.Account.Name)}, true
	case o.TLS != nil && o.TLS.Certificate != nil:
		return key{kind: KindCertificate, name: cut(o.TLS.Certificate.Fingerprint)}, true
	case o.Client.IsValid():
		return key{kind: KindAddress, address: o.Client.Addr().Unmap().WithZone("")}, true
	case o.User != nil:
		return key{kind: KindLocal, name: cut(o.User.String())}, true
	}
	return key{}, false
}

// kept is the same key, with which nothing else is kept.
func (k key) kept() key {
	k.name = strings.Clone(k.name)
	return k
}

// String is the form in which people and the directory have it: "address:192.0.2.1".
func (k key) String() string {
	if k.kind == KindAddress {
		return string(k.kind) + ":" + k.address.String()
	}
	return string(k.kind) + ":" + k.name
}

// ErrSource says that a text names no source.
var ErrSource = errors.New("that is no source")

// parseKey reads what String writes. It fails with ErrSource, wrapped.
func parseKey(text string) (key, error) {
	kind, name, _ := strings.Cut(text, ":")
	switch k := (key{kind: Kind(kind), name: name}); {
	case name == "":
	case k.kind == KindAddress:
		ip, err := netip.ParseAddr(name)
		if err != nil {
			return key{}, fmt.Errorf("%w: %q: %w", ErrSource, text, err)
		}
		return key{kind: KindAddress, address: ip.Unmap().WithZone("")}, nil
	case k.kind == KindCertificate:
		k.name = strings.ToLower(name)
		return k, nil
	case k.kind == KindAccount, k.kind == KindLocal:
		return k, nil
	}
	return key{}, fmt.Errorf("%w: %q; write account:LOGIN, address:ADDRESS, certificate:FINGERPRINT or local:USER, as the listing has it", ErrSource, text)
}

// cut bounds a text that a client has said.
func cut(s string) string {
	if len(s) <= MaxText {
		return s
	}
	return strings.ToValidUTF8(s[:MaxText], "")
}
