package dsn

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on what is repeated, in octets.
const (
	maxField = 900  // of a field in one line: RFC 5322 2.1.1 allows 998
	maxReply = 2048 // of the words of a server
	maxWord  = 500  // of a word in folded text, before it is cut in two
)

// width is the length of lines that are folded (RFC 5322 2.1.1).
const width = 78

func (c *composer) line(s string) {
	c.out.WriteString(s)
	c.out.WriteString("\r\n")
}

// field writes a field in one line.
func (c *composer) field(name, value string) {
	c.line(name + ": " + c.clean(value, maxField))
}

// folded writes a field in as many lines as it needs.
func (c *composer) folded(name, value string) {
	c.wrap(name+": ", " ", c.clean(value, maxReply))
}

// paragraph writes text in lines that begin with indent.
func (c *composer) paragraph(indent, text string) {
	c.wrap(indent, indent, c.clean(text, maxReply))
}

// wrap writes clean text in lines, the first after first, the others after
// indent. Every line has a word.
func (c *composer) wrap(first, indent, text string) {
	line, empty := first, true
	for word := range strings.FieldsSeq(text) {
		for len(word) > 0 {
			piece := cut(word, maxWord)
			word = word[len(piece):]
			switch {
			case empty:
				line += piece
			case len(line)+1+len(piece) <= width:
				line += " " + piece
			default:
				c.line(line)
				line = indent + piece
			}
			empty = false
		}
	}
	if !empty {
		c.line(line)
	}
}

// clean makes s fit to be repeated: one line of printable characters, of
// US-ASCII unless the report is UTF-8, and no longer than limit and a mark
// that something is missing.
func (c *composer) clean(s string, limit int) string {
	if short := cut(s, limit); len(short) < len(s) {
		s = short + " [...]"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= ' ' && r <= '~':
			return r
		case r == '\n' || r == '\t':
			return ' '
		case r > '~' && c.utf8 && r != utf8.RuneError && unicode.IsPrint(r):
			return r
		}
		return '?'
	}, s)
}

// cut returns the front of s, at most limit octets, without cutting a
// character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > limit-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
