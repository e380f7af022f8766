package mail

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// PlainJSON returns JSON in which each character that cannot be printed stands
// as its escape (RFC 8259 7): a program reads the same, and no terminal obeys
// it. Encoders escape control characters of US-ASCII only; a terminal knows
// those of U+0080 to U+009F too, DEL, and some that turn text around. Line
// feeds, which stand between values only, stay.
func PlainJSON(text []byte) []byte {
	var plain []byte // nil as long as text is plain
	for i := 0; i < len(text); {
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(text[i:])
		}
		switch {
		case r != '\n' && !unicode.IsPrint(r):
			if plain == nil {
				plain = append(plain, text[:i]...)
			}
			plain = appendEscape(plain, r)
		case plain != nil:
			plain = append(plain, text[i:i+n]...)
		}
		i += n
	}
	if plain == nil {
		return text
	}
	return plain
}

// Printable makes a text safe for a terminal: each character that cannot be
// printed, as control characters and escape sequences, is U+FFFD in it.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func appendEscape(dst []byte, r rune) []byte {
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(dst, `\u%04x`, r)
}

// PlainJSONWriter returns a writer of PlainJSON. Each write must be of whole
// characters, as those of an encoder and of a JSON log handler are. It fails
// when w does.
func PlainJSONWriter(w io.Writer) io.Writer { return plainWriter{w} }

type plainWriter struct{ w io.Writer }

// Write implements io.Writer.
func (p plainWriter) Write(text []byte) (int, error) {
	if _, err := p.w.Write(PlainJSON(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}
