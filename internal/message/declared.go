package message

import (
	"bytes"
	"slices"
	"strings"
)

// declared is what the header of a part says of its body, in all ways in which
// it can be read.
type declared struct {
	types      []string
	names      []string
	encodings  []string
	boundaries []string
}

func (d *declared) multipart() bool {
	return slices.ContainsFunc(d.types, func(t string) bool { return strings.HasPrefix(t, "multipart/") })
}

// nested reports whether the body is a message (RFC 2046 5.2). That of a report
// for programs, such as message/delivery-status, is none, but it has the same
// form, and some readers of mail take every message/ for one.
func (d *declared) nested() bool {
	return slices.ContainsFunc(d.types, func(t string) bool { return strings.HasPrefix(t, "message/") })
}

func (d *declared) text() bool {
	return slices.ContainsFunc(d.types, func(t string) bool { return strings.HasPrefix(t, "text/") || !strings.Contains(t, "/") })
}

// encodes reports whether the body is not what it seems.
func (d *declared) encodes() bool {
	return slices.ContainsFunc(d.encodings, func(e string) bool { return e != "7bit" && e != "8bit" && e != "binary" })
}

// maxDeclaring is how many fields of a header may say what its body is.
const maxDeclaring = 50

// declared finds out what a header says of the body.
func (in *inspector) declare(p spot, h *Header) *declared {
	d := new(declared)
	names := values{}
	last, fields := 0, 0 // which say something
	for i := range h.fields {
		f := &h.fields[i]
		switch {
		case fields == maxDeclaring:
			in.defect(p.path, DefectParameters)
		case f.Is("Content-Type"):
			in.contentType(p, f, d, &names)
		case f.Is("Content-Disposition"):
			in.disposition(p, f, &names)
		case f.Is("Content-Transfer-Encoding"):
			in.encoding(p, f, d)
		case f.Is("Content-Location"):
			value := f.Value()
			names.addText(value[strings.LastIndexByte(value, '/')+1:])
		default:
			continue
		}
		last, fields = i+1, fields+1
		in.checkForm(p, f)
	}
	for _, f := range h.fields[:last] {
		in.looked += 2 * int64(len(f.raw))
		in.unless(!blankLine(f.raw), p.path, DefectFolding)
		in.unless(f.raw[f.name] == ':', p.path, DefectFieldName)
	}
	in.unless(!names.unsure, p.path, DefectName)
	var files values
	for _, name := range names.list {
		in.addName(p, &files, name)
	}
	d.names = files.list
	in.unless(sameFields(h, "Content-Type"), p.path, DefectDuplicate)
	in.complete(p, d)
	return d
}

// sameFields reports whether all fields of a name say the same.
func sameFields(h *Header, name string) bool {
	first, _ := h.First(name)
	for value := range h.Values(name) {
		if !strings.EqualFold(value, first) {
			return false
		}
	}
	return true
}

// checkForm notes when some readers of mail do not take a field for what it is.
func (in *inspector) checkForm(p spot, f *Field) {
	in.looked += int64(len(f.raw))
	in.unless(!bytes.ContainsFunc(f.raw, func(c rune) bool {
		return c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f
	}), p.path, DefectControl)
}

// blankLine reports whether a field has a folded line of white space only: the
// end of the header, for some.
func blankLine(raw []byte) bool {
	for line := range bytes.Lines(raw) {
		if len(bytes.Trim(line, " \t\r\n")) == 0 {
			return true
		}
	}
	return false
}

// complete fills in what is not declared, and notes what cannot be (RFC 2045
// 5.2, 6.1).
func (in *inspector) complete(p spot, d *declared) {
	switch {
	case len(d.types) == 0 && p.digest:
		d.types = []string{"message/rfc822"} // RFC 2046 5.1.5
	case len(d.types) == 0:
		d.types = []string{"text/plain"}
	}
	in.unless(len(d.types) == 1, p.path, DefectTypes)
	in.unless(len(d.boundaries) <= 1 || !d.multipart(), p.path, DefectBoundaries)
	if len(d.encodings) == 0 {
		d.encodings = []string{"7bit"}
	}
	in.unless(len(d.encodings) == 1, p.path, DefectEncoding)
	for _, t := range d.types {
		switch t {
		case "message/partial", "message/external-body": // RFC 2046 5.2.2, 5.2.3
			in.defect(p.path, DefectElsewhere)
		case "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime": // RFC 1847 2.2, RFC 8551 3
			in.defect(p.path, DefectOpaque)
		}
	}
}

// contentType reads a Content-Type.
func (in *inspector) contentType(p spot, f *Field, d *declared, names *values) {
	boundary := values{literal: true}
	raw := f.rawValue()
	for i, s := range parseStructured(raw) {
		in.looked += int64(len(raw))
		addOnce(&d.types, s.kind)
		addOnce(&d.types, s.whole)
		in.unless(!s.many, p.path, DefectParameters)
		if i == 0 {
			in.unless(!s.malformed && isType(s.kind), p.path, DefectContentType)
		}
		if !isType(s.kind) { // RFC 2045 5.2
			addOnce(&d.types, "text/plain")
		}
		s.collect("name", names)
		s.collect("filename", names)
		s.collect("boundary", &boundary)
	}
	if !d.multipart() {
		return
	}
	in.unless(!boundary.extended && !boundary.unsure, p.path, DefectBoundaries)
	for _, text := range boundary.list {
		trimmed := strings.TrimRight(text, " \t")
		in.unless(properBoundary(text), p.path, DefectBoundary)
		if trimmed != "" && len(trimmed) < maxBoundaryLine-2 {
			addOnce(&d.boundaries, trimmed)
		}
	}
}

// properBoundary reports whether all readers of mail find a boundary. Some
// characters that RFC 2046 5.1.1 does not allow are common, and harm nobody.
func properBoundary(s string) bool {
	return s != "" && len(s) <= maxBoundary && strings.TrimRight(s, " \t") == s &&
		!strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' || c == '\\' || c == '"' || c == ';' })
}

// disposition reads a Content-Disposition (RFC 2183).
func (in *inspector) disposition(p spot, f *Field, names *values) {
	raw := f.rawValue()
	for i, s := range parseStructured(raw) {
		in.looked += int64(len(raw))
		in.unless(!s.many, p.path, DefectParameters)
		if i == 0 {
			in.unless(!s.malformed && isToken(s.kind), p.path, DefectDisposition)
		}
		s.collect("filename", names)
		s.collect("name", names)
	}
}

// encoding reads a Content-Transfer-Encoding (RFC 2045 6.1).
func (in *inspector) encoding(p spot, f *Field, d *declared) {
	for i, s := range parseStructured(f.rawValue()) {
		in.looked += int64(len(f.raw))
		addOnce(&d.encodings, s.kind)
		if i == 0 {
			_, known := newDecoder(s.kind)
			in.unless(known && !s.malformed && len(s.params) == 0, p.path, DefectEncoding)
		}
	}
}

func addOnce(list *[]string, s string) {
	if !slices.Contains(*list, s) {
		*list = append(*list, s)
	}
}

// isType reports whether s is of the form type/subtype (RFC 2045 5.1).
func isType(s string) bool {
	major, minor, found := strings.Cut(s, "/")
	return found && isToken(major) && isToken(minor)
}

// isToken reports whether s is a token (RFC 2045 5.1).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune(`()<>@,;:\"/[]?=`, c)
	})
}
