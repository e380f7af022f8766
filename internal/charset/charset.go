// Package charset has the charsets of text in mail: those that a message may declare, and
// those into which its texts can be converted for a server that knows only one.
//
// The tables are those of golang.org/x/text, by the names that IANA has for charsets, or
// browsers. Where these take more for a charset than its standard has (RFC 1468 for
// ISO-2022-JP, KS X 1001 for EUC-KR, GB 2312, Big5), texts are converted to what the standard has.
// The package holds no state and does no I/O.
package charset

import (
	"bytes"
	"cmp"
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Charset is one that is known. Its zero value is none.
type Charset struct {
	name string
	enc  encoding.Encoding
}

// unregistered are names that programs write and IANA does not have.
var unregistered = map[string]string{"utf8": "utf-8", "ascii": "us-ascii"}

// gb2312 is a name that browsers take for GBK, of which it is a part.
const gb2312 = "gb2312"

// Lookup returns the charset of a name, in any case.
func Lookup(name string) (c Charset, known bool) {
	name = strings.ToLower(name)
	name = cmp.Or(unregistered[name], name)
	enc, err := ianaindex.MIME.Encoding(name)
	if err != nil || enc == nil {
		enc, err = htmlindex.Get(name)
	}
	if err != nil || enc == encoding.Replacement {
		return Charset{}, false
	}
	if preferred, err := ianaindex.MIME.Name(enc); err == nil && name != gb2312 {
		name = strings.ToLower(preferred)
	}
	return Charset{name, enc}, true
}

// IsZero reports whether it is none.
func (c Charset) IsZero() bool { return c.enc == nil }

// String returns the name that is written into mail, in lower case: the preferred one of IANA, or
// that by which it was looked up.
func (c Charset) String() string { return c.name }

// Same reports whether octets mean the same in both.
func (c Charset) Same(other Charset) bool { return c == other }

// ErrNotForMail is what a charset is that ForMail refuses.
var ErrNotForMail = errors.New("not a charset in which the letters of US-ASCII are its octets, as mail needs it (RFC 2046 4.1.2)")

// ErrUnknown is the failure that there is no charset of a name.
var ErrUnknown = errors.New("not a charset that is known")

// ForMail returns the charset of a name, if text can be converted to it and stand in mail: in it the
// letters of US-ASCII are what their octets are. That is so of none that takes 16 or 32 bits
// for each, of EBCDIC, UTF-7 and HZ. It fails with ErrUnknown and ErrNotForMail.
func ForMail(name string) (Charset, error) {
	c, known := Lookup(name)
	if !known {
		return Charset{}, ErrUnknown
	}
	letters := asciiText("\t\r\n")
	encoded, err := c.enc.NewEncoder().String(letters)
	if err != nil || encoded != letters || strings.ContainsAny(c.name, "()<>@,;:\\\"/[]?= ") {
		return Charset{}, ErrNotForMail
	}
	return c, nil
}

// asciiText is the printable characters of US-ASCII, behind others.
func asciiText(before string) string {
	b := []byte(before)
	for r := byte(' '); r <= '~'; r++ {
		b = append(b, r)
	}
	return string(b)
}

// shifts are the octets by which some charsets go over to other characters (ISO 2022, RFC 1843).
const shifts = "\x0e\x0f\x1b~"

// Special returns the octets of US-ASCII that mean something else in the charset, or begin
// something. all says that any may.
func (c Charset) Special() (octets string, all bool) {
	controls := ""
	for r := range byte(' ') {
		controls += string(rune(r))
	}
	text := asciiText(controls)
	if decoded, err := c.enc.NewDecoder().String(text + "\x7f"); err == nil && decoded == text+"\x7f" {
		return "", false
	}
	text = strings.NewReplacer("\x0e", "", "\x0f", "", "\x1b", "", "~", "").Replace(text)
	if decoded, err := c.enc.NewDecoder().String(text); err == nil && decoded == text {
		return shifts, false
	}
	return "", true
}

// The failures of text.
var (
	// ErrNotText says that octets are none of the charset.
	ErrNotText = errors.New("octets are none of the charset")
	// ErrLacks says that the charset lacks a character; Lacking tells which.
	ErrLacks = errors.New("the charset lacks a character")
)

// NewDecoder returns what makes UTF-8 of text. It fails with ErrNotText where that is none in the
// charset. A byte order mark at the begin is left out: it is no text (RFC 3629 6).
func (c Charset) NewDecoder() transform.Transformer {
	if c.enc == unicode.UTF8 {
		return exact{unicode.UTF8BOM.NewDecoder()}
	}
	return exact{c.enc.NewDecoder()}
}

// Decode makes UTF-8 of text, as well as it can: what is none in the charset becomes U+FFFD.
func (c Charset) Decode(p []byte) (string, error) {
	decoded, err := c.enc.NewDecoder().Bytes(p)
	return string(decoded), err
}

// NewEncoder returns what makes text of UTF-8. It fails with ErrLacks.
func (c Charset) NewEncoder() transform.Transformer {
	if c.narrow() {
		return whole{transform.Chain(&narrower{c}, c.enc.NewEncoder())}
	}
	return whole{c.enc.NewEncoder()}
}

// exact is a decoder that fails where it would put a replacement.
type exact struct{ transform.Transformer }

// Transform implements transform.Transformer.
func (e exact) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	nDst, nSrc, err = e.Transformer.Transform(dst, src, atEOF)
	if bytes.Contains(dst[:nDst], []byte(string(utf8.RuneError))) {
		return 0, nSrc, ErrNotText
	}
	return nDst, nSrc, err
}

// whole is an encoder of which the failure is ErrLacks.
type whole struct{ transform.Transformer }

// Transform implements transform.Transformer.
func (e whole) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	nDst, nSrc, err = e.Transformer.Transform(dst, src, atEOF)
	if err != nil && err != transform.ErrShortDst && err != transform.ErrShortSrc {
		err = ErrLacks
	}
	return nDst, nSrc, err
}

// Lacking returns the first character of a text in UTF-8 that the charset does not have. It looks at them one by
// one only where there is such a character, so that it is given long texts in pieces.
func (c Charset) Lacking(text []byte) (r rune, is bool) {
	encoder := c.NewEncoder()
	if _, _, err := transform.Bytes(encoder, text); err == nil && !bytes.ContainsRune(text, utf8.RuneError) {
		return 0, false
	}
	for _, r := range string(text) {
		if _, _, err := transform.String(encoder, string(r)); err != nil || r == utf8.RuneError {
			return r, true
		}
	}
	return 0, false
}

// narrow reports whether the table has more than the standard.
func (c Charset) narrow() bool {
	return c.enc == japanese.ISO2022JP || c.enc == korean.EUCKR || c.enc == traditionalchinese.Big5 || c.name == gb2312
}

// beyond reports whether a character is in the table of the charset, but not in its standard.
func (c Charset) beyond(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return false
	case c.enc == japanese.ISO2022JP: // RFC 1468 has no katakana of JIS X 0201
		return r >= '\uff61' && r <= '\uff9f'
	}
	octets, err := c.enc.NewEncoder().String(string(r))
	switch {
	case err != nil:
		return false
	case len(octets) != 2:
		return true
	case c.enc == traditionalchinese.Big5:
		return beyondBig5(uint16(octets[0])<<8 | uint16(octets[1]))
	}
	return octets[0] < 0xa1 || octets[1] < 0xa1 // what UHC and GBK add
}

// beyondBig5 reports whether a code is one of those that differ among the kinds of Big5: of Hong Kong, and
// of Eten (kana and Cyrillic among others).
func beyondBig5(code uint16) bool {
	symbols := code >= 0xa140 && code <= 0xa3bf
	frequent := code >= 0xa440 && code <= 0xc67e
	others := code >= 0xc940 && code <= 0xf9d5
	return !symbols && !frequent && !others
}

// narrower passes text on up to a character that is beyond the standard.
type narrower struct{ of Charset }

// Transform implements transform.Transformer.
func (n *narrower) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		r, size := utf8.DecodeRune(src[nSrc:])
		switch {
		case r == utf8.RuneError && !atEOF && !utf8.FullRune(src[nSrc:]):
			return nDst, nSrc, transform.ErrShortSrc
		case n.of.beyond(r):
			return nDst, nSrc, ErrLacks
		case nDst+size > len(dst):
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += copy(dst[nDst:], src[nSrc:nSrc+size])
		nSrc += size
	}
	return nDst, nSrc, nil
}

// Reset implements transform.Transformer.
func (*narrower) Reset() {}
