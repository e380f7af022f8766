package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"postern/internal/mail"
)

// Text is text of a file that is read further by others, such as a condition. It
// knows where in the file each of its octets stands.
type Text struct {
	Text string
	// Place is where it begins: its quotes, if it stands in a file.
	Place mail.Place

	source *source // nil for one made in code
	at     int     // of its quotes
}

// String returns the text.
func (t Text) String() string { return t.Text }

// PlaceAt returns the place in the file of the octet at offset of the text, of its
// end for an offset beyond. What was not read from a file is at Place as a whole.
func (t Text) PlaceAt(offset int) mail.Place {
	if t.source == nil {
		return t.Place
	}
	return t.source.place(t.at + rawOffset(t.source.data[t.at:], offset))
}

// rawOffset returns where the octet at offset of a decoded text stands in raw, which
// begins with the quotes of the text (TOML 1.0, "String"). Raw is known to be TOML.
func rawOffset(raw []byte, offset int) int {
	quote, at := raw[0], 1
	if len(raw) > 2 && raw[1] == quote && raw[2] == quote {
		at = 3 + lineBreak(raw[3:])
	}
	for decoded := 0; at < len(raw); {
		skipped, octets := 0, 1
		if quote == '"' && raw[at] == '\\' {
			skipped, octets = escape(raw[at:])
		}
		if decoded+octets > offset {
			break
		}
		decoded += octets
		at += max(skipped, 1)
	}
	return min(at, len(raw)-1)
}

// lineBreak returns the length of the line break that raw begins with: the first of
// a text in three quotes is not part of it.
func lineBreak(raw []byte) int {
	switch {
	case strings.HasPrefix(string(raw[:min(2, len(raw))]), "\r\n"):
		return 2
	case len(raw) > 0 && raw[0] == '\n':
		return 1
	}
	return 0
}

// escape returns the length of an escape, and how many octets it stands for: none
// for a line break that is escaped, with the blanks behind it.
func escape(raw []byte) (length, octets int) {
	if len(raw) < 2 {
		return 1, 1
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[raw[1]]
	switch {
	case digits > 0 && len(raw) >= 2+digits:
		r, err := strconv.ParseUint(string(raw[2:2+digits]), 16, 32)
		if err != nil {
			return 2, 1
		}
		return 2 + digits, max(utf8.RuneLen(rune(r)), 1)
	case strings.IndexByte(" \t\r\n", raw[1]) >= 0:
		end := 1
		for end < len(raw) && strings.IndexByte(" \t\r\n", raw[end]) >= 0 {
			end++
		}
		return end, 0
	}
	return 2, 1
}

// textAt returns the text of a node.
func (s *source) textAt(n node) Text {
	return Text{Text: n.text, Place: s.place(n.at), source: s, at: n.at}
}

// maxPassage bounds a text that is read further, in octets.
const maxPassage = 8 * kib

// passage reads the text of a node, or reports what is wrong with it.
func passage(n node, f fields, report reportFunc) (t Text, ok bool) {
	switch {
	case n.kind != nodeText:
		report(n.at, faultf("write it in quotes", "is %s, not text", n.describe()))
	case len(n.text) > maxPassage:
		report(n.at, faultf("make it shorter", "has %d octets; the limit is %s", len(n.text), formatSize(maxPassage)))
	default:
		return f.source.textAt(n), true
	}
	return Text{}, false
}

// onePassage is a setting that is one such text.
func onePassage(kind string, field func(fields) *Text) value {
	return value{
		kind: kind,
		read: func(n node, f fields, report reportFunc) {
			if t, ok := passage(n, f, report); ok {
				*field(f) = t
			}
		},
		reset: func(f fields) { *field(f) = Text{} },
		show:  func(f fields) Value { return Value(quote(field(f).Text)) },
		copy:  func(from, to fields) { *field(to) = *field(from) },
	}
}

// maxPassages bounds the texts of one setting.
const maxPassages = 1000

// passages is a setting that is a list of such texts.
func passages(kinds string, field func(fields) *[]Text, byDefault ...string) value {
	defaults := make([]Text, len(byDefault))
	for i, s := range byDefault {
		defaults[i] = Text{Text: s}
	}
	return value{
		kind: "list of " + kinds,
		read: func(n node, f fields, report reportFunc) {
			if n.kind != nodeList {
				report(n.at, faultf("write it in brackets, also when it is one: [...]", "is %s, not a list", n.describe()))
				return
			}
			if len(n.items) > maxPassages {
				report(n.at, faultf("", "has %d entries; the limit is %d", len(n.items), maxPassages))
				return
			}
			list := make([]Text, 0, len(n.items))
			for _, item := range n.items {
				if t, ok := passage(item, f, report); ok {
					list = append(list, t)
				}
			}
			*field(f) = list
		},
		reset: func(f fields) { *field(f) = append([]Text(nil), defaults...) },
		show: func(f fields) Value {
			var items []string
			for _, t := range *field(f) {
				items = append(items, quote(t.Text))
			}
			return Value("[" + strings.Join(items, ", ") + "]")
		},
		copy: func(from, to fields) { *field(to) = append([]Text(nil), *field(from)...) },
	}
}

// quote writes text as TOML does: with escapes for what may not stand there, and
// nothing else (TOML 1.0, "String").
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ' || r >= 0x7f && r < 0xa0:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
