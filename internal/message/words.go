package message

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"postern/internal/charset"
)

// Bounds of an encoded word. RFC 2047 2 has 75 characters for all of it; what
// programs write is longer.
const (
	maxCharsetName = 64
	maxWords       = 1000 // in a value
)

// DecodeText returns the value of a field as a reader of mail shows it: its
// encoded words decoded (RFC 2047), also where they may not stand, such as within
// another word or in quotes, because readers decode them there. Adjacent words
// of one charset are put together before their charset is decoded.
// Octets outside of encoded words that are not US-ASCII are UTF-8 if all are,
// else Windows-1252.
//
// sure is false when readers of mail may show something else: a charset is
// unknown or does not fit its octets, an encoded word is malformed and stays as it
// is, or there are more than 1,000. The text is valid UTF-8 in any case.
func DecodeText(value string) (text string, sure bool) {
	d := wordDecoder{sure: true}
	rest := value
	for {
		before, behind, found := strings.Cut(rest, "=?")
		if !found {
			d.plain(rest)
			break
		}
		d.plain(before)
		w, behind, is := d.cutWord(behind)
		if !is {
			d.plain("=?")
			rest = behind
			continue
		}
		d.word(w)
		rest = behind
	}
	d.flush()
	return d.out.String(), d.sure
}

// encodedWord is one with its octets decoded, and its charset not.
type encodedWord struct {
	charset string
	octets  []byte
}

// wordDecoder puts a text together.
type wordDecoder struct {
	out  strings.Builder
	sure bool
	// words is how many encoded words there were, last what is not yet
	// written of them, and blank the white space behind that.
	words int
	last  encodedWord
	blank string
}

// plain takes text that is no encoded word. White space between two of those
// does not count (RFC 2047 6.2).
func (d *wordDecoder) plain(s string) {
	if d.last.charset != "" && strings.Trim(s, " \t\r\n") == "" {
		d.blank += s
		return
	}
	d.flush()
	text, sure := decodeRaw(s)
	d.sure = d.sure && sure
	d.out.WriteString(text)
}

func (d *wordDecoder) word(w encodedWord) {
	d.blank = ""
	if d.last.charset != "" && strings.EqualFold(d.last.charset, w.charset) {
		d.last.octets = append(d.last.octets, w.octets...)
		return
	}
	d.flush()
	d.last = w
}

// flush writes what waits.
func (d *wordDecoder) flush() {
	if d.last.charset != "" {
		text, sure := decodeCharset(d.last.charset, d.last.octets)
		d.sure = d.sure && sure
		d.out.WriteString(text)
	}
	d.out.WriteString(d.blank)
	d.last, d.blank = encodedWord{}, ""
}

// cutWord reads an encoded word behind its "=?". It returns what stands behind
// that, or all of s if it is none.
func (d *wordDecoder) cutWord(s string) (w encodedWord, behind string, is bool) {
	name, _, found := strings.Cut(s[:min(len(s), maxCharsetName+1)], "?")
	if !found || name == "" {
		return w, s, false
	}
	rest := s[len(name)+1:]
	if len(rest) < 2 || rest[1] != '?' || strings.IndexByte("bBqQ", rest[0]) < 0 {
		return w, s, false
	}
	kind, rest := rest[0]|0x20, rest[2:]
	end := strings.IndexByte(rest, '?')
	// From here on it was meant to be one.
	if d.words++; d.words > maxWords || strings.ContainsAny(name, " \t\r\n") || end < 0 || end+1 == len(rest) || rest[end+1] != '=' {
		d.sure = false
		return w, s, false
	}
	octets, sure := decodeWordOctets(kind, rest[:end])
	d.sure = d.sure && sure
	name, _, _ = strings.Cut(name, "*") // a language (RFC 2231 5)
	if octets == nil || name == "" {
		d.sure = false
		return w, s, false
	}
	return encodedWord{charset: name, octets: octets}, rest[end+2:], true
}

// decodeWordOctets decodes the text of an encoded word (RFC 2047 4). It
// returns nil if that cannot be done.
func decodeWordOctets(kind byte, s string) (octets []byte, sure bool) {
	if kind == 'b' {
		blank := strings.ContainsAny(s, " \t\r\n")
		if blank {
			s = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(s)
		}
		octets, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
		if err != nil {
			return nil, false
		}
		return append([]byte{}, octets...), !blank
	}
	sure = !strings.ContainsAny(s, " \t\r\n")
	octets = []byte(strings.ReplaceAll(s, "_", " "))
	octets, exact := decodePercent(octets, '=')
	return octets, sure && exact
}

// decodePercent decodes octets written as two hexadecimal digits behind mark.
// What is malformed stays as it is; exact is false then.
func decodePercent(p []byte, mark byte) (out []byte, exact bool) {
	out, exact = make([]byte, 0, len(p)), true
	for {
		i := bytes.IndexByte(p, mark)
		if i < 0 {
			return append(out, p...), exact
		}
		out = append(out, p[:i]...)
		if p = p[i+1:]; len(p) >= 2 && isHex(p[0]) && isHex(p[1]) {
			out = append(out, unhex(p[0])<<4|unhex(p[1]))
			p = p[2:]
			continue
		}
		out, exact = append(out, mark), false
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// decodeRaw decodes text that has no charset. It is sure only of US-ASCII and
// UTF-8.
func decodeRaw(s string) (text string, sure bool) {
	if utf8.ValidString(s) {
		return s, true
	}
	text, err := charmap.Windows1252.NewDecoder().String(s)
	if err != nil { // it decodes everything
		return strings.ToValidUTF8(s, string(utf8.RuneError)), false
	}
	return text, false
}

// decodeCharset decodes octets of a charset. Those of an unknown one are read
// as if they had none.
func decodeCharset(name string, p []byte) (text string, sure bool) {
	switch strings.ToLower(name) {
	case "utf-8", "utf8":
		return strings.ToValidUTF8(string(p), string(utf8.RuneError)), utf8.Valid(p)
	case "us-ascii", "ascii":
		text, _ = decodeRaw(string(p))
		return text, !HasEightBit(p)
	}
	c, known := charset.Lookup(name)
	if !known {
		text, _ = decodeRaw(string(p))
		return text, false
	}
	decoded, err := c.Decode(p)
	if err != nil {
		text, _ = decodeRaw(string(p))
		return text, false
	}
	text = strings.ToValidUTF8(decoded, string(utf8.RuneError))
	return text, !strings.ContainsRune(text, utf8.RuneError)
}
