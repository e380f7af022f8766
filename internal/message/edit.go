package message

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/internal/mail"
)

// EditOp is a way to change a header.
type EditOp int

// The ways to change a header.
const (
	// AddField adds a field on top, below the trace field of this server.
	AddField EditOp = iota
	// RemoveFields removes the fields of a name.
	RemoveFields
	// ReplaceField puts one field in the place of the topmost of its name,
	// and removes the others; without any it is AddField.
	ReplaceField
	// ReplaceFrom makes Value the one address in From, which keeps the name
	// of the author if there is one, and names all From fields there were Name.
	ReplaceFrom
)

// ErrNeedsUTF8 says that an address is not US-ASCII, and the message has no UTF-8
// in its header.
var ErrNeedsUTF8 = errors.New("the address needs SMTPUTF8, which this message does not use")

// Edit is one change of a header.
type Edit struct {
	Op EditOp
	// Name is that of the field, in any case.
	Name string
	// Value is its text in UTF-8, as NewField takes it; the address for
	// ReplaceFrom; empty for RemoveFields.
	Value string
	// Like is for RemoveFields: only fields are removed of which the value,
	// decoded, has its form; nil for all.
	Like *mail.Wildcard
}

// Apply does one edit. utf8 says that the message may have UTF-8 in its header
// (RFC 6532). The topmost Received field stays in any case: it is that of this
// server (RFC 5321 4.4). All fields that are not named stay octet for octet.
//
// It fails as NewField does, and for an address that is none, or that needs
// UTF-8 where there can be none; then nothing is changed.
func (h *Header) Apply(e *Edit, utf8 bool) error {
	switch e.Op {
	case RemoveFields:
		h.remove(e)
		return nil
	case ReplaceFrom:
		return h.replaceFrom(e, utf8)
	}
	f, err := NewField(e.Name, e.Value, utf8)
	if err != nil {
		return err
	}
	if at := h.index(e.Name); e.Op == ReplaceField && at >= 0 {
		h.remove(&Edit{Name: e.Name})
		h.fields = slices.Insert(h.fields, min(at, len(h.fields)), f)
		return nil
	}
	h.fields = slices.Insert(h.fields, h.top(), f)
	return nil
}

// top is where fields are added: below the trace field on top.
func (h *Header) top() int {
	if len(h.fields) > 0 && h.fields[0].Is("Received") {
		return 1
	}
	return 0
}

// index returns where the topmost field of a name stands that can be edited;
// -1 when there is none.
func (h *Header) index(name string) int {
	for i := h.top(); i < len(h.fields); i++ {
		if h.fields[i].Is(name) {
			return i
		}
	}
	return -1
}

func (h *Header) remove(e *Edit) {
	top := h.top()
	kept := slices.DeleteFunc(h.fields[top:], func(f Field) bool {
		if !f.Is(e.Name) {
			return false
		}
		text, _ := DecodeText(f.Value())
		return e.Like == nil || e.Like.Match(text)
	})
	h.fields = h.fields[:top+len(kept)]
}

// replaceFrom gives the message another author (RFC 5322 3.6.2).
func (h *Header) replaceFrom(e *Edit, utf8 bool) error {
	if !isFieldName(e.Name) || strings.EqualFold(e.Name, "From") {
		return fmt.Errorf("%w: %.80q", ErrFieldName, e.Name)
	}
	a, err := mail.ParseAddress(e.Value)
	if err == nil && !utf8 && !a.IsASCII() {
		err = fmt.Errorf("%w: %s", ErrNeedsUTF8, a)
	}
	if err != nil {
		return err
	}
	from, err := ParseField(fold("From:", h.phrase()+a.Path()) + "\r\n")
	if err != nil {
		return err
	}
	at := h.index("From")
	if at < 0 {
		h.Append(from)
		return nil
	}
	for i, f := range h.fields {
		if f.Is("From") {
			h.fields[i] = Field{raw: slices.Concat([]byte(e.Name), f.raw[f.name:]), name: len(e.Name)}
		}
	}
	h.fields = slices.Insert(h.fields, at, from)
	return nil
}

// maxPhrase is how long the name of an author may be to be kept.
const maxPhrase = 300

// phrase returns the name of the author as it stands before his address, with a
// space behind it; "" if there is none, or more than one author.
func (h *Header) phrase() string {
	if h.Count("From") != 1 {
		return ""
	}
	value, _ := h.First("From")
	list, err := ParseMailboxes(value, 1)
	if err != nil || len(list) != 1 {
		return ""
	}
	phrase := strings.TrimSpace(list[0].Phrase)
	if phrase == "" || len(phrase) > maxPhrase || strings.ContainsFunc(phrase, isForbidden) {
		return ""
	}
	return phrase + " "
}
