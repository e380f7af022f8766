package message

import (
	"io"
	"strings"

	"postern/internal/mail"
)

// InspectLimits bound what Inspect looks at. A zero field means its default.
type InspectLimits struct {
	Octets int64 // of the message; default 64 MiB
	Depth  int   // of parts in parts; default 50
	Parts  int   // default 10,000
}

// The default of InspectLimits.Octets.
const DefaultInspectOctets = 64 << 20

// Other bounds of an inspection.
const (
	maxDefects   = 100
	maxNames     = 100     // of a part
	maxNameBytes = 1 << 20 // of all parts
	maxAuthors   = 1000    // addresses of From and Sender
)

// Inspection is what Inspect found in a message. Where readers of mail differ
// it has what any of them may see; where that cannot be said there is a Defect.
type Inspection struct {
	// Header is that of the message, as it stands there.
	Header Header
	// Subjects are the values of all Subject fields, decoded; usually there
	// is one.
	Subjects []string
	// From and Sender are the addresses in all fields of that name: as
	// mail.Address has them, or as they stand there if they are none.
	From   []string
	Sender []string
	// Parts are the message itself and all parts within it, also of messages
	// within it, in their order.
	Parts []Part
	// Defects are why it cannot be read with certainty, at most 100.
	Defects []PartDefect
	// Size is how many octets the message has, as far as it was read. Looked is
	// how many were looked at, those that were looked at twice twice: the work
	// that it was.
	Size, Looked int64
}

// Part is a message, or a part of a multipart (RFC 2046 5.1).
type Part struct {
	// Path says where it is: "1" is the message, "1.2" its second part. A
	// message within a part 1.2 is 1.2.1.
	Path string
	// Types are the type and subtype that it declares, in lower case;
	// "text/plain" if it declares none, "message/rfc822" in a digest. A
	// malformed type is as it stands there.
	Types []string
	// Names are those of a file that it is, or that lies in it by uuencode or
	// yEnc. What is within other formats, such as archives and winmail.dat, is
	// not named.
	Names []string
	// Encodings are the transfer encodings that it declares, in lower case;
	// "7bit" if it declares none.
	Encodings []string
	// At is the offset of its body in the message; not of a composite part's.
	At int64
	// Size is how many octets its body has, encoded as it is. That of a
	// multipart or message is 0: it consists of its parts.
	Size int64
}

// PartDefect is a defect with the path of the part that has it.
type PartDefect struct {
	Path   string
	Defect Defect
}

// String returns the defect in words, with its place.
func (d PartDefect) String() string { return "part " + d.Path + ": " + string(d.Defect) }

// Readable reports whether the message can be read with certainty.
func (i *Inspection) Readable() bool { return len(i.Defects) == 0 }

// Subject returns the topmost Subject, decoded; "" if there is none.
func (i *Inspection) Subject() string {
	if len(i.Subjects) == 0 {
		return ""
	}
	return i.Subjects[0]
}

// Types returns the types of all parts, each once.
func (i *Inspection) Types() []string {
	return i.gather(func(p *Part) []string { return p.Types })
}

// Names returns the names of all attachments, each once.
func (i *Inspection) Names() []string {
	return i.gather(func(p *Part) []string { return p.Names })
}

func (i *Inspection) gather(of func(*Part) []string) []string {
	var list []string
	seen := map[string]bool{}
	for n := range i.Parts {
		for _, s := range of(&i.Parts[n]) {
			if !seen[s] {
				seen[s] = true
				list = append(list, s)
			}
		}
	}
	return list
}

// Inspect goes once through a message, as it is stored, and says what readers of
// mail may find in it. It decodes what must be decoded for that, holds the header
// and one buffer, and does work that grows with the size of the message and not
// faster. It looks neither into archives and other formats nor into what is
// encrypted.
//
// What is malformed, ambiguous or beyond a limit is a Defect. The only errors are
// those of src.
func Inspect(src io.Reader, limits InspectLimits) (*Inspection, error) {
	in := &inspector{limits: limits.withDefaults(), result: new(Inspection)}
	limited := &io.LimitedReader{R: src, N: in.limits.Octets + 1}
	in.begin(limited)
	_, err := in.entity(spot{path: "1", message: true})
	if err != nil && err != errEnough {
		return nil, err
	}
	if limited.N == 0 {
		in.defect("1", DefectSize)
	}
	in.result.Size, in.result.Looked = min(in.src.n, in.limits.Octets), in.looked
	return in.result, nil
}

func (l InspectLimits) withDefaults() InspectLimits {
	if l.Octets == 0 {
		l.Octets = DefaultInspectOctets
	}
	if l.Depth == 0 {
		l.Depth = maxDepth
	}
	if l.Parts == 0 {
		l.Parts = maxParts
	}
	return l
}

// readAuthors reads what the header of the message itself says of it.
func (in *inspector) readAuthors() {
	r := in.result
	for f := range r.Header.Fields() {
		switch {
		case f.Is("Subject"):
			text, sure := DecodeText(f.Value())
			in.looked += int64(len(f.raw))
			r.Subjects = append(r.Subjects, text)
			in.unless(sure, "1", DefectSubject)
		case f.Is("From"):
			r.From = in.addresses(r.From, f)
		case f.Is("Sender"):
			r.Sender = in.addresses(r.Sender, f)
		}
	}
	for _, name := range []string{"Subject", "From", "Sender"} {
		in.unless(r.Header.Count(name) <= 1, "1", DefectDuplicate)
	}
}

// addresses adds the addresses of a field to a list.
func (in *inspector) addresses(list []string, f Field) []string {
	value := f.Value()
	in.looked += int64(len(f.raw))
	boxes, err := ParseMailboxes(value, maxAuthors-len(list))
	sure := err == nil
	for _, m := range boxes[:min(len(boxes), maxAuthors-len(list))] {
		text := m.String()
		a, err := mail.ParseAddress(text)
		if err == nil {
			text = a.String()
		}
		// Some decode what looks encoded also in an address.
		sure = sure && (err == nil || m.Domain == "") && !strings.Contains(text, "=?")
		list = append(list, text)
	}
	in.unless(sure, "1", DefectAddress)
	return list
}
