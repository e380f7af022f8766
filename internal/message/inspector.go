package message

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"postern/internal/mail"
)

// errEnough ends an inspection at a limit.
var errEnough = errors.New("more than is looked at")

// inspector goes through a message for Inspect.
type inspector struct {
	splitter
	limits    InspectLimits
	result    *Inspection
	nameBytes int
}

// spot is where an entity stands.
type spot struct {
	path    string
	depth   int
	message bool // it is a message, not a part of a multipart
	digest  bool // it is a part of a multipart/digest
}

// child is the spot of the nth entity within, from 1.
func (s spot) child(n int) spot {
	return spot{path: s.path + "." + strconv.Itoa(n), depth: s.depth + 1}
}

func (in *inspector) defect(path string, d Defect) {
	found := PartDefect{path, d}
	if len(in.result.Defects) < maxDefects && !slices.Contains(in.result.Defects, found) {
		in.result.Defects = append(in.result.Defects, found)
	}
}

// unless notes a defect if something is not as it should be.
func (in *inspector) unless(right bool, path string, d Defect) {
	if !right {
		in.defect(path, d)
	}
}

// entity goes through a header and the body that belongs to it (RFC 2045 2.4),
// and returns the mark at which that ended.
func (in *inspector) entity(p spot) (mark, error) {
	if len(in.result.Parts) == in.limits.Parts {
		in.defect(p.path, DefectParts)
		return mark{}, errEnough
	}
	if p.depth > in.limits.Depth {
		in.defect(p.path, DefectDepth)
		return in.leaf(p, nil)
	}
	if p.message {
		line, err := takeMailboxLine(in.br)
		if err != nil {
			return mark{}, err
		}
		in.unless(line == "", p.path, DefectMailboxLine)
	}
	d, err := in.readHeader(p)
	if err != nil {
		return mark{}, err
	}
	in.result.Parts = append(in.result.Parts, Part{Path: p.path, Types: d.types, Names: d.names, Encodings: d.encodings})
	switch {
	case d.multipart():
		in.unless(!d.encodes(), p.path, DefectComposite)
		in.unless(len(d.boundaries) > 0, p.path, DefectBoundary)
		if len(d.boundaries) > 0 {
			return in.multipart(p, d)
		}
	case d.nested():
		in.unless(!d.encodes(), p.path, DefectComposite)
		if !d.encodes() {
			inner := p.child(1)
			inner.message = true
			return in.entity(inner)
		}
	}
	return in.leaf(p, d)
}

// multipart goes through the parts of one (RFC 2046 5.1.1). Lines behind its end
// that would begin a part do so for some readers of mail.
func (in *inspector) multipart(p spot, d *declared) (mark, error) {
	level, alike := in.open.push(d.boundaries...)
	in.unless(!alike, p.path, DefectAlike)
	m, err := in.over(p)
	n, closed := 0, false
	for err == nil && m.level == level {
		if m.last {
			closed = true
			m, err = in.over(p)
			in.unless(m.level != level, p.path, DefectEpilogue)
			continue
		}
		n++
		child := p.child(n)
		child.digest = slices.Contains(d.types, "multipart/digest")
		m, err = in.entity(child)
	}
	if err != nil {
		return m, err
	}
	in.unless(n > 0, p.path, DefectNoDelimiter)
	if closed {
		in.open.pop()
	} else if !in.open.abandon() {
		in.defect(p.path, DefectBoundaries)
		return m, errEnough
	}
	return m, nil
}

// over goes over a body that is no part: a preamble or epilogue.
func (in *inspector) over(p spot) (mark, error) {
	b, m, err := in.body(nil)
	in.note(p, &b)
	return m, err
}

// note notes what is wrong with the lines of a body.
func (in *inspector) note(p spot, b *body) {
	in.unless(!b.bare, p.path, DefectLineEnd)
	in.unless(!b.near, p.path, DefectNear)
}

// leaf goes through a body that has no parts; d is nil for one that is not
// looked into.
func (in *inspector) leaf(p spot, d *declared) (mark, error) {
	content := newContent(d)
	at := len(in.result.Parts) - 1
	b, m, err := in.body(content.look)
	in.looked += content.looked
	in.note(p, &b)
	if d == nil {
		return m, err
	}
	part := &in.result.Parts[at]
	part.At, part.Size = b.from, b.to-b.from
	in.unless(content.end(), p.path, DefectEncoded)
	if len(content.names) > 0 {
		names := values{list: part.Names}
		for _, name := range content.names {
			text, sure := decodeRaw(name)
			in.unless(sure, p.path, DefectName)
			in.addName(p, &names, text)
		}
		part.Names = names.list
	}
	return m, err
}

// readHeader reads the header of an entity, and what it says of the body.
func (in *inspector) readHeader(p spot) (*declared, error) {
	start := in.at()
	h := &in.header
	root := p.path == "1"
	if root { // its header is kept
		h = &in.result.Header
	}
	err := h.read(in.br, Limits{}.withDefaults())
	if _, large := errors.AsType[*mail.Error](err); large {
		in.defect(p.path, DefectHeader)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	size := int64(0)
	for _, f := range h.fields {
		size += int64(len(f.raw))
	}
	in.looked += in.at() - start
	if err := in.checkEnd(p, h, in.at()-start > size); err != nil {
		return nil, err
	}
	if root {
		in.readAuthors()
	}
	return in.declare(p, h), nil
}

// checkEnd notes when readers of mail may see the end of a header elsewhere.
func (in *inspector) checkEnd(p spot, h *Header, separated bool) error {
	var cr bareFinder
	for _, f := range h.fields {
		in.unless(!in.isDelimiter(f.raw), p.path, DefectHeaderEnd)
		in.looked += int64(len(f.raw))
		for line := range bytes.Lines(f.raw) {
			in.unless(!cr.find(line), p.path, DefectLineEnd)
		}
	}
	if separated {
		return nil
	}
	line, err := in.br.Peek(maxBoundaryLine)
	if err != nil && err != io.EOF {
		return err
	}
	if len(line) == 0 {
		return nil
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	in.looked += int64(len(line))
	in.unless(in.isDelimiter(line), p.path, DefectSeparator)
	return nil
}

// maxBoundaryLine is how long a line with a boundary may be (RFC 5322 2.1.1).
const maxBoundaryLine = 1000

// addName adds the names that a file may get by one of the names that a
// message has for it.
func (in *inspector) addName(p spot, names *values, name string) {
	if len(name) > maxFileName {
		in.defect(p.path, DefectNames)
		name = strings.ToValidUTF8(name[:maxFileName], "")
	}
	for _, name := range fileNames(name) {
		in.looked += int64(len(name))
		if slices.Contains(names.list, name) {
			continue
		}
		if len(names.list) == maxNames || in.nameBytes+len(name) > maxNameBytes {
			in.defect(p.path, DefectNames)
			return
		}
		in.nameBytes += len(name)
		names.list = append(names.list, name)
	}
}
