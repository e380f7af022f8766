package mail

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// Limits on an address, in octets (RFC 5321 4.5.3.1.1, 4.5.3.1.2, and
// 4.5.3.1.3 less the two brackets).
const (
	MaxLocalPart = 64
	MaxDomain    = 255
	MaxAddress   = 254
)

// Address is a mailbox as the envelope names it (RFC 5321 4.1.2, with UTF-8
// by RFC 6531). The zero value is the null reverse-path "<>".
//
// Local is the decoded local part: quotes and backslashes of its quoted form
// are gone, so `"a b"@x` has Local `a b` and `"joe"@x` equals `joe@x`.
// Domain is as it was given: a name, or an address literal with its brackets.
// It is empty only in the null address and in the bare "postmaster"
// (RFC 5321 4.5.1).
type Address struct {
	Local  string
	Domain string
}

// IsNull reports whether a is the null address, "<>".
func (a Address) IsNull() bool { return a == Address{} }

// IsPostmaster reports whether the local part is "postmaster" in any case
// (RFC 5321 4.5.1).
func (a Address) IsPostmaster() bool { return strings.EqualFold(a.Local, "postmaster") }

// IsASCII reports whether a needs no SMTPUTF8.
func (a Address) IsASCII() bool { return isASCII(a.Local) && isASCII(a.Domain) }

// Type returns the address type of a in reports and in ORCPT: "rfc822"
// (RFC 3461 4.2), or "utf-8" when it is not US-ASCII (RFC 6533 3).
func (a Address) Type() string {
	if a.IsASCII() {
		return "rfc822"
	}
	return "utf-8"
}

// UTF8Xtext returns an address of the type "utf-8" in the form that needs no
// SMTPUTF8, utf-8-addr-xtext (RFC 6533 3): all but printable US-ASCII, and of
// that "+", "=" and "\", stands as \x{20AC}.
func UTF8Xtext(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r > ' ' && r <= '~' && r != '+' && r != '=' && r != '\\' {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, `\x{%02X}`, r)
	}
	return b.String()
}

// LiteralIP returns the IP address when the domain is an address literal
// of RFC 5321 4.1.3; ok is false otherwise.
func (a Address) LiteralIP() (ip netip.Addr, ok bool) {
	s, found := strings.CutPrefix(a.Domain, "[")
	if !found {
		return netip.Addr{}, false
	}
	s = strings.TrimSuffix(s, "]")
	if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
		ip, err := netip.ParseAddr(s[5:])
		return ip, err == nil && ip.Is6() && ip.Zone() == ""
	}
	ip, err := netip.ParseAddr(s)
	return ip, err == nil && ip.Is4()
}

// String returns the mailbox as it stands between the brackets of a path:
// the local part quoted where it must be, and "" for the null address.
func (a Address) String() string {
	local := a.Local
	if !isDotString(local) && !a.IsNull() {
		local = quoteLocal(local)
	}
	if a.Domain == "" {
		return local
	}
	return local + "@" + a.Domain
}

// Path returns the address in brackets, "<>" for the null address.
func (a Address) Path() string {
	if a.Domain == "" || !isDotString(a.Local) {
		return "<" + a.String() + ">"
	}
	return "<" + a.Local + "@" + a.Domain + ">"
}

// MarshalText returns String, so that an address is a string in JSON.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Address) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = Address{}
		return nil
	}
	parsed, err := ParseAddress(string(text))
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}

// Reasons for which ParseAddress refuses an address.
var (
	ErrAddressSyntax = errors.New("not an address of the form local-part@domain")
	ErrLocalPart     = errors.New("local part malformed")
	ErrDomain        = errors.New("domain malformed")
	ErrAddressLength = errors.New("address too long")
)

// ParseAddress reads a mailbox (RFC 5321 4.1.2, RFC 6531 3.3) that has no
// brackets, source route, comment or surrounding space. "postmaster" alone is
// the one address that may lack a domain.
//
// It fails with one of the Err values above, wrapped with what was wrong.
func ParseAddress(s string) (Address, error) {
	if !utf8.ValidString(s) {
		return Address{}, fmt.Errorf("%w: not valid UTF-8", ErrAddressSyntax)
	}
	if len(s) > MaxAddress {
		return Address{}, fmt.Errorf("%w: %d octets, the limit is %d", ErrAddressLength, len(s), MaxAddress)
	}
	local, rest, err := cutLocal(s)
	if err != nil {
		return Address{}, err
	}
	if len(local) > MaxLocalPart {
		return Address{}, fmt.Errorf("%w: local part of %d octets, the limit is %d", ErrAddressLength, len(local), MaxLocalPart)
	}
	if rest == "" && strings.EqualFold(local, "postmaster") {
		return Address{Local: local}, nil
	}
	domain, found := strings.CutPrefix(rest, "@")
	if !found {
		return Address{}, fmt.Errorf("%w: no @", ErrAddressSyntax)
	}
	if err := CheckDomain(domain); err != nil {
		return Address{}, err
	}
	return Address{Local: local, Domain: domain}, nil
}

// cutLocal reads a dot-string or quoted-string from the front of s.
func cutLocal(s string) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		return cutQuoted(s)
	}
	i := 0
	for i < len(s) && (isAtext(s[i]) || s[i] == '.') {
		i++
	}
	local = s[:i]
	if !isDotString(local) {
		return "", "", fmt.Errorf("%w: empty, or a dot at its edge or beside another", ErrLocalPart)
	}
	if i < len(s) && s[i] != '@' {
		return "", "", fmt.Errorf("%w: %q needs quotes", ErrLocalPart, s[i])
	}
	return local, s[i:], nil
}

func cutQuoted(s string) (local, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			if b.Len() == 0 {
				return "", "", fmt.Errorf("%w: empty quoted string", ErrLocalPart)
			}
			return b.String(), s[i+1:], nil
		case c == '\\':
			if i++; i >= len(s) || s[i] < ' ' || s[i] > '~' {
				return "", "", fmt.Errorf("%w: backslash before a character that cannot be quoted", ErrLocalPart)
			}
			b.WriteByte(s[i])
		case c < ' ' || c == 0x7f:
			return "", "", fmt.Errorf("%w: control character", ErrLocalPart)
		default:
			b.WriteByte(c)
		}
	}
	return "", "", fmt.Errorf("%w: quote not closed", ErrLocalPart)
}

// CheckDomain checks the syntax of a domain name (RFC 5321 4.1.2, with
// U-labels by RFC 6531 3.3) or address literal (RFC 5321 4.1.3). Underscores
// are allowed because real mail domains have them. It fails with ErrDomain
// or ErrAddressLength, wrapped with what was wrong.
func CheckDomain(s string) error {
	if strings.HasPrefix(s, "[") {
		return checkLiteral(s)
	}
	if len(s) > MaxDomain {
		return fmt.Errorf("%w: domain of %d octets, the limit is %d", ErrAddressLength, len(s), MaxDomain)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: not valid UTF-8", ErrDomain)
	}
	for label := range strings.SplitSeq(s, ".") {
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	return nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return fmt.Errorf("%w: empty label", ErrDomain)
	case len(label) > 63 && isASCII(label):
		return fmt.Errorf("%w: label of more than 63 octets", ErrDomain)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("%w: label begins or ends with a hyphen", ErrDomain)
	}
	for i := range len(label) {
		if c := label[i]; !isAlnum(c) && c != '-' && c != '_' && c < utf8.RuneSelf {
			return fmt.Errorf("%w: %q is not allowed", ErrDomain, c)
		}
	}
	return nil
}

// checkLiteral accepts IPv4 and IPv6 literals. General address literals
// have no registered tag, so none is valid.
func checkLiteral(s string) error {
	if !strings.HasSuffix(s, "]") {
		return fmt.Errorf("%w: address literal without its closing bracket", ErrDomain)
	}
	if _, ok := (Address{Domain: s}).LiteralIP(); !ok {
		return fmt.Errorf("%w: not an address literal such as [192.0.2.1] or [IPv6:2001:db8::1]", ErrDomain)
	}
	return nil
}

func isDotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		if s[i] != '.' && !isAtext(s[i]) {
			return false
		}
	}
	return true
}

func quoteLocal(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

// isAtext reports whether c may stand in an atom (RFC 5322 3.2.3, and any
// octet of a UTF-8 sequence by RFC 6531 3.3).
func isAtext(c byte) bool {
	return isAlnum(c) || c >= utf8.RuneSelf || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
