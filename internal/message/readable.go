package message

import (
	"slices"
	"strings"

	"postern/internal/mail"
)

// headerDefects are those by which readers of mail may see other fields, or other
// ends of the header.
var headerDefects = []Defect{DefectSize, DefectHeader, DefectLineEnd, DefectSeparator, DefectFieldName, DefectFolding, DefectMailboxLine, DefectHeaderEnd}

// authorDefects are those of single fields that say nothing of the parts.
var authorDefects = []Defect{DefectSubject, DefectAddress}

// ReadableHeader reports whether it is certain what the header of the message says of
// subject and authors.
func (i *Inspection) ReadableHeader() bool {
	return i.fieldsCertain() && !i.has("1", DefectSubject, DefectAddress, DefectDuplicate)
}

// ReadableAuthors reports whether it is certain who From and Sender name: there is at
// most one field of each, and nothing in them or around them that readers could take
// otherwise.
func (i *Inspection) ReadableAuthors() bool {
	return i.fieldsCertain() && !i.has("1", DefectAddress) && i.Header.Count("From") <= 1 && i.Header.Count("Sender") <= 1
}

// ReadableParts reports whether it is certain which types and names the parts have.
func (i *Inspection) ReadableParts() bool {
	return !slices.ContainsFunc(i.Defects, func(d PartDefect) bool { return !slices.Contains(authorDefects, d.Defect) })
}

// fieldsCertain reports whether it is certain which fields the header has. Of some of
// these defects it is not known whether they are in header or body.
func (i *Inspection) fieldsCertain() bool { return !i.has("1", headerDefects...) }

func (i *Inspection) has(path string, of ...Defect) bool {
	return slices.ContainsFunc(i.Defects, func(d PartDefect) bool { return d.Path == path && slices.Contains(of, d.Defect) }) || len(i.Defects) == maxDefects
}

// Author returns the address of who has written the message, if that is certain: there
// is one From field, with one address, and nothing in the header that readers could
// take otherwise. ok is false for all others: a list of authors, a group, none.
func (i *Inspection) Author() (author mail.Address, ok bool) {
	value, _ := i.Header.First("From")
	if i.Header.Count("From") != 1 || !i.fieldsCertain() || i.has("1", DefectAddress) {
		return mail.Address{}, false
	}
	m, err := ParseMailbox(value)
	if err != nil || m.Domain == "" || strings.Contains(m.String(), "=?") {
		return mail.Address{}, false
	}
	author, err = mail.ParseAddress(m.String())
	return author, err == nil
}
