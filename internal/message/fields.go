package message

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/text/transform"

	"postern/internal/charset"
)

// What cannot be made a field.
var (
	ErrFieldName  = errors.New("not the name of a header field: 1 to 76 printable US-ASCII characters without space and colon")
	ErrFieldValue = errors.New("not the value of a header field: it has a control character, or more than 64 KiB")
)

// Lengths of a field that is made, in octets without CRLF (RFC 5322 2.1.1).
const (
	maxFieldName = 76
	maxFieldText = 64 << 10
	usualLine    = 78
	// maxPlainWord is how long a word, or the white space before it, can be
	// to stay below 998 beside a name.
	maxPlainWord = 400
)

// NewField makes a field of a text in UTF-8: folded where there is white space
// to do so (RFC 5322 2.2.3), and what is not US-ASCII in encoded words
// (RFC 2047) unless utf8 says that the message may have UTF-8 in its header
// (RFC 6532). DecodeText gives the text again, without white space at its ends.
// It is for fields that are text; addresses cannot be encoded so.
//
// It fails with ErrFieldName, and with ErrFieldValue when the text has a control
// character other than a tab, so that a value can neither end a field nor begin
// one, or more than 64 KiB.
func NewField(name, text string, utf8 bool) (Field, error) {
	if !isFieldName(name) {
		return Field{}, fmt.Errorf("%w: %.80q", ErrFieldName, name)
	}
	if strings.ContainsFunc(text, isForbidden) || len(text) > maxFieldText {
		return Field{}, fmt.Errorf("%w: %.80q", ErrFieldValue, text)
	}
	text = strings.Trim(strings.ToValidUTF8(text, "\ufffd"), " \t")
	raw := fold(name+":", encodeText(text, utf8))
	return Field{raw: []byte(raw + "\r\n"), name: len(name)}, nil
}

func isFieldName(s string) bool {
	kind, n := classify([]byte(s + ":"))
	return kind == fieldLine && n == len(s) && n <= maxFieldName
}

func isForbidden(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

// encodeText puts the words of a text that cannot stand in a header, and what
// is between them, into encoded words.
func encodeText(text string, utf8 bool) string {
	words := cutWords(text)
	first, last := -1, -1
	for i, w := range words {
		if !w.plain(utf8) {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return text
	}
	var before, within, behind strings.Builder
	for i, w := range words {
		switch {
		case i < first:
			before.WriteString(w.blank + w.text)
		case i > last:
			behind.WriteString(w.blank + w.text)
		case i == first:
			// One space is what separates the word; the others are text.
			before.WriteString(w.blank[:min(len(w.blank), 1)])
			within.WriteString(w.blank[min(len(w.blank), 1):] + w.text)
		default:
			within.WriteString(w.blank + w.text)
		}
	}
	return before.String() + encodeWords(within.String()) + behind.String()
}

// textWord is a word with the white space before it.
type textWord struct{ blank, text string }

// plain reports whether the word can stand as it is.
func (w textWord) plain(utf8 bool) bool {
	return (utf8 || !HasEightBit([]byte(w.text))) && !strings.Contains(w.text, "=?") &&
		len(w.text) <= maxPlainWord && len(w.blank) <= maxPlainWord
}

func cutWords(s string) []textWord {
	var words []textWord
	for s != "" {
		text := strings.TrimLeft(s, " \t")
		blank := s[:len(s)-len(text)]
		end := strings.IndexAny(text, " \t")
		if end < 0 {
			end = len(text)
		}
		words = append(words, textWord{blank, text[:end]})
		s = text[end:]
	}
	return words
}

// encodeWords makes encoded words of a text in UTF-8.
func encodeWords(s string) string {
	utf8, _ := charset.Lookup("utf-8")
	return strings.Join(wordMaker{prefix: "=?utf-8", to: utf8, room: maxWord}.words(s), " ")
}

// maxWord is the length of an encoded word (RFC 2047 2), and minWord one that is worth a line that is nearly full.
const maxWord, minWord = 75, 30

// wordMaker makes encoded words (RFC 2047).
type wordMaker struct {
	prefix string // "=?" and the name of the charset
	to     charset.Charset
	room   int // for the first word on its line
}

// words makes words of a text of which the charset has all characters: each of whole characters
// (RFC 2047 5), in the encoding that is shorter.
func (m wordMaker) words(text string) []string {
	encoder := m.to.NewEncoder()
	form := wordForm{m.prefix + "?b?", base64.StdEncoding.EncodeToString}
	if octets := encodeTo(encoder, text); len(encodeQ(octets)) <= base64.StdEncoding.EncodedLen(len(octets)) {
		form = wordForm{m.prefix + "?q?", encodeQ}
	}
	first := maxWord
	if m.room >= minWord {
		first = min(maxWord, m.room)
	}
	return encodePieces(text, first, maxWord, func(piece string) string { return form.word(encodeTo(encoder, piece)) })
}

// encodePieces encodes a text piece by piece: each of whole characters, at least one, and encoded no longer than
// first for the first and most for the others.
func encodePieces(text string, first, most int, encode func(string) string) []string {
	var list []string
	piece, encoded, limit := "", encode(""), first
	for _, c := range text {
		longer := encode(piece + string(c))
		if len(longer) > limit && piece != "" {
			list, limit = append(list, encoded), most
			piece, longer = "", encode(string(c))
		}
		piece, encoded = piece+string(c), longer
	}
	return append(list, encoded)
}

// encodeTo encodes a text, which the charset has.
func encodeTo(encoder transform.Transformer, text string) []byte {
	octets, _, _ := transform.Bytes(encoder, []byte(text))
	return octets
}

// wordForm is B or Q (RFC 2047 4).
type wordForm struct {
	begin  string
	encode func([]byte) string
}

func (f wordForm) word(octets []byte) string { return f.begin + f.encode(octets) + "?=" }

// encodeQ encodes octets so that they can stand anywhere (RFC 2047 5 (3)).
func encodeQ(octets []byte) string {
	out := make([]byte, 0, 3*len(octets))
	for _, c := range octets {
		switch {
		case c == ' ':
			out = append(out, '_')
		case isAlphanumeric(c):
			out = append(out, c)
		default:
			out = appendHex(out, '=', c)
		}
	}
	return string(out)
}

func isAlphanumeric(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// appendHex appends an octet as two hexadecimal digits behind mark.
func appendHex(dst []byte, mark, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, mark, digits[c>>4], digits[c&15])
}

// fold puts a text behind the name of a field, in lines of at most 78 octets
// where it has white space for that.
func fold(name, text string) string {
	var b strings.Builder
	b.WriteString(name)
	line := len(name)
	if text != "" && !strings.HasPrefix(text, " ") {
		text = " " + text
	}
	for i, w := range cutWords(text) {
		if i > 0 && line+len(w.blank)+len(w.text) > usualLine && w.text != "" {
			// All white space but the last stays on the line, so that no line
			// consists of it.
			b.WriteString(w.blank[:len(w.blank)-1] + "\r\n")
			w.blank, line = w.blank[len(w.blank)-1:], 0
		}
		b.WriteString(w.blank + w.text)
		line += len(w.blank) + len(w.text)
	}
	return b.String()
}
