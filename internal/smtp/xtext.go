package smtp

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// errXtext says that a value is not encoded as RFC 3461 4 or RFC 6533 3
// demand, or stands for characters that no address or identifier has.
var errXtext = errors.New("malformed xtext")

// decodeXtext returns what s stands for. The result is printable ASCII and
// spaces; it fails with errXtext when s is malformed or stands for anything
// else.
func decodeXtext(s string) (string, error) {
	decoded, err := decodeXtextOctets(s)
	if err != nil || !isASCII(decoded) {
		return "", errXtext
	}
	return decoded, nil
}

// decodeXtextOctets is decodeXtext for a result of any octets but controls.
func decodeXtextOctets(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+' && i+2 < len(s):
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", errXtext
			}
			c, i = byte(n), i+2
		case !isXchar(c):
			return "", errXtext
		}
		if c < ' ' || c == 0x7f {
			return "", errXtext
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

func isXchar(c byte) bool { return c > ' ' && c <= '~' && c != '+' && c != '=' }

// utf8Type is the address type of RFC 6533 3.
const utf8Type = "utf-8"

// decodeOriginal decodes the value of ORCPT: an address type, a semicolon and
// the address in xtext (RFC 3461 4.2), or for the type "utf-8" in any of the
// three forms of RFC 6533 3. It fails with errXtext.
//
// QUIRK: Postfix sends a UTF-8 address as "rfc822", its octets in xtext. It
// is taken for what it is, "utf-8".
func decodeOriginal(s string) (string, error) {
	addressType, encoded, found := strings.Cut(s, ";")
	if !found || !isAtom(addressType) || encoded == "" {
		return "", errXtext
	}
	if strings.EqualFold(addressType, utf8Type) {
		address, err := decodeUTF8Address(encoded)
		return addressType + ";" + address, err
	}
	address, err := decodeXtextOctets(encoded)
	switch {
	case err != nil || !utf8.ValidString(address):
		return "", errXtext
	case !isASCII(address):
		addressType = utf8Type
	}
	return addressType + ";" + address, nil
}

// decodeUTF8Address decodes utf-8-enc-addr (RFC 6533 3): characters stand for
// themselves, or as \x{HEX}. As xtext does, the result has no controls.
func decodeUTF8Address(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case strings.HasPrefix(s, `\x{`):
			hex, rest, found := strings.Cut(s[len(`\x{`):], "}")
			n, err := strconv.ParseUint(hex, 16, 32)
			if !found || err != nil || len(hex) > 6 {
				return "", errXtext
			}
			r, s = rune(n), rest
		case r == utf8.RuneError, r == '\\', r == '+', r == '=', r == ' ':
			return "", errXtext
		default:
			s = s[size:]
		}
		if !utf8.ValidRune(r) || r < ' ' || r >= 0x7f && r < 0xa0 {
			return "", errXtext
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}

// isAtom reports whether s can be an address type (RFC 3461 4.2).
func isAtom(s string) bool {
	for i := range len(s) {
		if b := s[i]; !isLetter(b) && !isDigit(b) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", b) < 0 {
			return false
		}
	}
	return s != ""
}
