package directory

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"

	"postern/internal/mail"
)

// MaxLogin bounds a login, in octets.
const MaxLogin = 255

// errLogin says what a login is.
var errLogin = errors.New("not a login: letters, digits and ASCII signs, without space, of at most 255 octets")

// Login returns a login in the form in which logins are compared (UsernameCaseMapped of
// RFC 8265 3.3): "joe" for "Joe". It fails for what can be no login.
func Login(s string) (string, error) {
	if s == "" || len(s) > MaxLogin || !utf8.ValidString(s) {
		return "", errLogin
	}
	if isGraphic(s) { // which PRECIS allows, and leaves as it is but for the case
		return strings.ToLower(s), nil
	}
	login, err := precis.UsernameCaseMapped.String(s)
	if err != nil {
		return "", fmt.Errorf("%w (%v)", errLogin, err)
	}
	if len(login) > MaxLogin {
		return "", errLogin
	}
	return login, nil
}

// isGraphic reports whether all of a text is printable ASCII other than space.
func isGraphic(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// DomainName returns a domain as DNS knows it, in lower case. It fails for what is no
// domain, as an address literal is none.
func DomainName(s string) (string, error) {
	domain, err := mail.ASCIIDomain(strings.TrimSuffix(s, "."))
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(domain, "[") {
		return "", fmt.Errorf("%w: an address literal", mail.ErrDomain)
	}
	return strings.ToLower(domain), nil
}

// localPart returns a local part in the form in which they are compared.
func localPart(s string) string {
	if isGraphic(s) {
		return strings.ToLower(s)
	}
	return norm.NFC.String(strings.ToLower(norm.NFC.String(s)))
}

// address reads an address that has a domain, and returns it with its domain as DNS
// knows it.
func address(s string) (mail.Address, error) {
	a, err := mail.ParseAddress(s)
	if err != nil {
		return mail.Address{}, err
	}
	if a.Domain == "" {
		return mail.Address{}, fmt.Errorf("%w: no domain", mail.ErrAddressSyntax)
	}
	if _, literal := a.LiteralIP(); literal {
		a.Domain = strings.ToLower(a.Domain)
		return a, nil
	}
	a.Domain, err = DomainName(a.Domain)
	if err == nil && len(a.String()) > mail.MaxAddress {
		err = mail.ErrAddressLength
	}
	return a, err
}

// AddressKey returns an address in the form in which addresses of local domains are
// compared. It fails for what is no address with a domain.
func AddressKey(s string) (string, error) {
	a, err := address(s)
	if err != nil {
		return "", err
	}
	a.Local = localPart(a.Local)
	return a.String(), nil
}

// keyBuffer has room for the key of an address, for a look-up that allocates nothing.
type keyBuffer [mail.MaxLocalPart + 1 + mail.MaxDomain + MaxLogin + 1]byte

// appendAddress appends an address as AddressKey has it, for one that was parsed. It
// fails for one whose domain has no form in DNS, or that is too long.
func appendAddress(b []byte, a mail.Address) ([]byte, bool) {
	if len(a.Local)+len(a.Domain) > mail.MaxAddress {
		return b, false
	}
	if isPlain(a.Local) {
		b = appendLower(b, a.Local)
	} else {
		b = append(b, mail.Address{Local: localPart(a.Local)}.String()...)
	}
	if a.Domain == "" {
		return b, false
	}
	return appendDomain(append(b, '@'), a.Domain)
}

// isPlain reports whether a local part is ASCII that needs no quotes.
func isPlain(local string) bool {
	dot := true // what is before is no character
	for i := range len(local) {
		c := local[i]
		if c == '.' && dot || c <= ' ' || c > '~' || strings.IndexByte(`"(),:;<>@[\]`, c) >= 0 {
			return false
		}
		dot = c == '.'
	}
	return !dot
}

// appendDomain appends a domain as DomainName has it.
func appendDomain(b []byte, domain string) ([]byte, bool) {
	domain = strings.TrimSuffix(domain, ".")
	if isGraphic(domain) {
		return appendLower(b, domain), domain != ""
	}
	ascii, err := DomainName(domain)
	return append(b, ascii...), err == nil
}

func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// appendLogin appends a login as Login has it.
func appendLogin(b []byte, login string) ([]byte, bool) {
	if login != "" && len(login) <= MaxLogin && isGraphic(login) {
		return appendLower(b, login), true
	}
	normal, err := Login(login)
	return append(b, normal...), err == nil
}

// domainOf returns what is behind the last "@" of a key.
func domainOf(key string) string { return key[strings.LastIndexByte(key, '@')+1:] }

func domainOfBytes(key []byte) []byte { return key[bytes.LastIndexByte(key, '@')+1:] }

// Subject returns the subject of a ban in the form in which they are compared. A single
// address has no length of a prefix.
func Subject(s string) (string, error) {
	kind, value, found := strings.Cut(s, ":")
	switch {
	case found && kind == "address":
		p, err := network(value)
		if err != nil {
			return "", err
		}
		return AddressSubject(p), nil
	case found && kind == "account":
		login, err := Login(value)
		return "account:" + login, err
	}
	return "", errors.New("neither an address nor an account")
}

// AddressSubject returns the subject of a ban of a network.
func AddressSubject(p netip.Prefix) string {
	if p = p.Masked(); p.IsSingleIP() {
		return "address:" + p.Addr().String()
	}
	return "address:" + p.String()
}

// subjectNetwork returns the network of the subject of a ban.
func subjectNetwork(subject string) (netip.Prefix, bool) {
	value, found := strings.CutPrefix(subject, "address:")
	if !found {
		return netip.Prefix{}, false
	}
	p, err := network(value)
	return p, err == nil
}

// network reads an address or a network; IPv4 in IPv6 is IPv4.
func network(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		if ip.Zone() != "" {
			return netip.Prefix{}, errors.New("an address with a zone")
		}
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errors.New("neither an IP address nor a network")
	}
	return normalPrefix(p), nil
}

func normalPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}
