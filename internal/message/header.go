package message

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"strings"
)

// Field is one header field as it stands in the message: its first line and
// its folded lines, each with its CRLF.
type Field struct {
	raw  []byte
	name int // length of the name
}

// ErrField says that a text is not one complete header field.
var ErrField = errors.New("not one header field of the form \"Name: value\" with folded lines, ending in CRLF")

// ParseField takes s as one complete field. It fails with ErrField when s is
// no field, is more than one, or does not end in CRLF, so that nothing else
// can slip into a header.
func ParseField(s string) (Field, error) {
	raw := []byte(s)
	kind, name := classify(raw)
	if kind != fieldLine {
		return Field{}, ErrField
	}
	for rest := raw; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		if end < 1 || rest[end-1] != '\r' || bytes.IndexByte(rest[:end-1], '\r') >= 0 {
			return Field{}, ErrField
		}
		rest = rest[end+1:]
		if len(rest) > 0 && rest[0] != ' ' && rest[0] != '\t' {
			return Field{}, ErrField
		}
	}
	return Field{raw: raw, name: name}, nil
}

// newField makes a field of a name and value that need no check.
func newField(name, value string) Field {
	return Field{raw: []byte(name + ": " + value + "\r\n"), name: len(name)}
}

// String returns the field as it stands in the message, with its CRLF.
func (f Field) String() string { return string(f.raw) }

// Name returns the name in the case in which it was written.
func (f Field) Name() string { return string(f.raw[:f.name]) }

// Is reports whether the field has the name, in any case (RFC 5322 1.2.2).
func (f Field) Is(name string) bool {
	return len(name) == f.name && strings.EqualFold(string(f.raw[:f.name]), name)
}

// Value returns what follows the colon: unfolded (RFC 5322 2.2.3) and
// without the white space around it.
func (f Field) Value() string {
	return unfolded(string(f.trimmed()))
}

// trimmed returns what follows the colon, without the white space around it.
func (f Field) trimmed() []byte {
	return bytes.Trim(f.raw[bytes.IndexByte(f.raw, ':')+1:], " \t\r\n")
}

func unfolded(value string) string {
	if strings.IndexByte(value, '\n') < 0 {
		return value
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(value)
}

// rawValue returns what follows the colon, as it stands there.
func (f Field) rawValue() string { return string(f.raw[bytes.IndexByte(f.raw, ':')+1:]) }

// Header is the header of a message: its fields in order. The zero value is
// empty and ready for use.
type Header struct {
	fields []Field
	// body says that the header is followed by an empty line, or must be
	// because a body follows.
	body bool
	buf  []byte // what was read; the fields lie in it
	ends []int  // while reading: the end of each field in buf
}

// Len returns the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// Fields returns the fields, top to bottom.
func (h *Header) Fields() iter.Seq[Field] { return slices.Values(h.fields) }

// Values returns the values of the fields with the name, top to bottom.
func (h *Header) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, f := range h.fields {
			if f.Is(name) && !yield(f.Value()) {
				return
			}
		}
	}
}

// First returns the value of the topmost field with the name; ok is false
// when there is none.
func (h *Header) First(name string) (value string, ok bool) {
	for value := range h.Values(name) {
		return value, true
	}
	return "", false
}

// firstTwo returns what First does of two fields, "" for none, with one allocation for both.
// A value of the second field with more than maxSecond octets is left out.
func (h *Header) firstTwo(first, second string, maxSecond int) (a, b string) {
	x, y := h.trimmed(first), h.trimmed(second)
	if len(y) > maxSecond {
		y = nil
	}
	var both strings.Builder
	both.Grow(len(x) + len(y))
	both.Write(x)
	both.Write(y)
	return unfolded(both.String()[:len(x)]), unfolded(both.String()[len(x):])
}

// trimmed returns what the topmost field with the name says, without the white space around
// it; nil when there is none.
func (h *Header) trimmed(name string) []byte {
	for _, f := range h.fields {
		if f.Is(name) {
			return f.trimmed()
		}
	}
	return nil
}

// Has reports whether there is a field with the name.
func (h *Header) Has(name string) bool {
	return slices.ContainsFunc(h.fields, func(f Field) bool { return f.Is(name) })
}

// Count returns the number of fields with the name.
func (h *Header) Count(name string) int {
	n := 0
	for _, f := range h.fields {
		if f.Is(name) {
			n++
		}
	}
	return n
}

// Delete removes all fields with one of the names and returns how many they
// were.
func (h *Header) Delete(names ...string) int {
	before := len(h.fields)
	h.fields = slices.DeleteFunc(h.fields, func(f Field) bool { return slices.ContainsFunc(names, f.Is) })
	return before - len(h.fields)
}

// Prepend puts fields on top, where trace fields belong (RFC 5321 4.4).
func (h *Header) Prepend(fields ...Field) { h.fields = slices.Insert(h.fields, 0, fields...) }

// Append adds fields at the end.
func (h *Header) Append(fields ...Field) { h.fields = append(h.fields, fields...) }

// EightBit reports whether an octet of the header is not US-ASCII.
func (h *Header) EightBit() bool {
	return slices.ContainsFunc(h.fields, func(f Field) bool { return HasEightBit(f.raw) })
}

// AppendFields appends the fields to dst, without the empty line after them.
func (h *Header) AppendFields(dst []byte) []byte {
	for _, f := range h.fields {
		dst = append(dst, f.raw...)
	}
	return dst
}

// AppendTo appends the header to dst as it goes before the body: the fields
// and the empty line. The line is left out only when the message ended
// inside its header.
func (h *Header) AppendTo(dst []byte) []byte {
	dst = h.AppendFields(dst)
	if h.body {
		dst = append(dst, "\r\n"...)
	}
	return dst
}
