package message

import (
	"errors"
	"io"
	"mime"
	"slices"
	"strings"

	"postern/internal/mail"
)

// walk goes once through the parts of a message and notes what must be
// changed to get it into a form.
type walk struct {
	splitter
	src   io.ReaderAt
	to    Form
	parts int
	edits []edit
	// texts and words are how many texts were converted to the charset, and fields or parameters.
	texts, words int
}

// place is where an entity stands.
type place struct {
	depth   int
	message bool // it is a message, not a part of a multipart
	digest  bool // it is a part of a multipart/digest
	signed  bool // a signature covers it
}

// entity goes through a header and the body that belongs to it (RFC 2045
// 2.4), and returns the mark at which that ended.
func (w *walk) entity(p place) (mark, error) {
	if w.parts++; w.parts > maxParts || p.depth > maxDepth {
		return mark{}, w.refuse("it has too many parts")
	}
	h, err := w.readHead(p)
	if err != nil {
		return mark{}, err
	}
	switch composite := h.boundary != "" || h.nested; {
	case h.fixed != "":
		return w.untouched(h.fixed)
	case h.signed && w.to.Charset.IsZero(): // else it must be known whether a text there would have to change
		return w.untouched(errSigned)
	case composite && h.isEncoded():
		return w.untouched(errEncoded)
	case h.boundary != "":
		w.relabel(&h)
		return w.multipart(h, p.depth)
	case h.nested:
		w.relabel(&h)
		return w.entity(place{depth: p.depth + 1, message: true, signed: h.signed})
	}
	return w.leaf(&h)
}

// untouched goes over a body in which nothing may be changed.
func (w *walk) untouched(why string) (mark, error) {
	b, m, err := w.body(nil)
	if err == nil && b.eightBit > 0 && w.to.SevenBit {
		err = errNotSevenBit(why)
	}
	return m, err
}

const errStray = "8-bit octets stand outside the parts of a multipart"

func (w *walk) multipart(h head, depth int) (mark, error) {
	level, _ := w.open.push(h.boundary)
	m, err := w.untouched(errStray)
	for err == nil && m.level == level && !m.last {
		m, err = w.entity(place{depth: depth + 1, digest: h.digest, signed: h.signed})
	}
	w.open.pop()
	if err == nil && m.level == level {
		return w.untouched(errStray)
	}
	return m, err
}

// leaf converts a body if it is text in another charset, and encodes it if it has 8-bit octets
// for which that is needed.
func (w *walk) leaf(h *head) (mark, error) {
	b, m, err := w.body(nil)
	if err != nil {
		return m, err
	}
	ended := m.level < 0
	if done, err := w.recode(h, b, ended); done || err != nil {
		return m, err
	}
	switch {
	case !w.to.SevenBit:
		return m, nil
	case b.eightBit == 0:
		w.relabel(h)
		return m, nil
	case h.signed:
		return m, errNotSevenBit(errSigned)
	case h.isEncoded():
		return m, errNotSevenBit(errEncoded)
	case !h.separated:
		return m, errNotSevenBit(errUnseparated)
	}
	encoding := base64Lines
	if h.text {
		encoding = encodingFor(b.eightBit, b.to-b.from)
	}
	w.label(h, string(encoding))
	w.edits = append(w.edits, edit{from: b.from, to: b.to, encoding: encoding, ended: ended})
	return m, nil
}

// encodingFor is that of a text of so many octets. It stays readable where most of it is.
func encodingFor(eightBit, octets int64) encoding {
	if eightBit <= octets/4 {
		return quotedPrintable
	}
	return base64Lines
}

const (
	errEncoded     = "a part is not encoded as it says"
	errUnseparated = "a part has no empty line behind its header"
)

// relabel makes the header of a body that is 7-bit say so, whatever was said of it.
func (w *walk) relabel(h *head) {
	if w.to.SevenBit && !h.signed && (h.encoding == "8bit" || h.encoding == "binary") {
		w.label(h, "7bit")
	}
}

// label makes the header say how its body is encoded.
func (w *walk) label(h *head, encoding string) {
	w.edits = append(w.edits, edit{from: h.label, to: h.labelEnd, text: "Content-Transfer-Encoding: " + encoding + "\r\n"})
	w.complete(h)
}

// complete makes the header say that there is MIME: without that, what it says of its body means
// nothing (RFC 2045 4).
func (w *walk) complete(h *head) {
	if !h.mime {
		h.mime = true
		w.edits = append(w.edits, edit{from: h.end, to: h.end, text: "MIME-Version: 1.0\r\n"})
	}
}

// head is what must be known of a header.
type head struct {
	end int64 // of its fields
	// label to labelEnd is where Content-Transfer-Encoding stands, or can.
	label, labelEnd int64
	encoding        string // in lower case; "" when there is none
	separated       bool   // an empty line follows
	mime            bool   // MIME-Version is there, or not needed

	boundary string // of a multipart
	digest   bool   // and that is a digest
	nested   bool   // the body is a message
	text     bool   // the body is text
	// fixed is why nothing in the body may be changed, whatever it is.
	fixed string
	// signed says that a signature covers the body.
	signed bool
	// digested says that a checksum does (RFC 1864).
	digested bool
	// charset is what is declared of a text.
	charset declaredCharset
}

// isEncoded reports whether the body is not what it seems.
func (h *head) isEncoded() bool {
	return !slices.Contains([]string{"", "7bit", "8bit", "binary"}, h.encoding)
}

// readHead reads a header. It fails if it has 8-bit octets and may not: there is no other
// form of those.
func (w *walk) readHead(p place) (head, error) {
	start := w.at()
	err := w.header.read(w.br, Limits{}.withDefaults())
	if _, tooLarge := errors.AsType[*mail.Error](err); tooLarge {
		return head{}, w.refuse("a part has too large a header")
	}
	if err != nil {
		return head{}, err
	}
	if w.to.SevenBit && w.header.EightBit() {
		return head{}, errNotSevenBit("a header field has 8-bit octets")
	}
	h := head{mime: !p.message || w.header.Has("MIME-Version"), digested: w.header.Has("Content-MD5")}
	// RFC 6376 3.7, RFC 8617 4.1.2: the body hash
	h.signed = p.signed || p.message && (w.header.Has("DKIM-Signature") || w.header.Has("ARC-Message-Signature"))
	at := start
	for _, f := range w.header.fields {
		end := min(at+int64(len(f.raw)), w.at()) // a last line may have got its CRLF
		if w.isDelimiter(f.raw) {
			h.fixed = "a part ends within its header"
		}
		if f.Is("Content-Transfer-Encoding") {
			h.label, h.labelEnd = at, end
			h.encoding = firstWord(f.Value())
		}
		at = end
	}
	h.end = at
	if h.labelEnd == 0 {
		h.label, h.labelEnd = at, at
	}
	h.separated = w.at() > at
	if h.fixed == "" {
		err = w.recodeHeader(&h, start)
	}
	if h.fixed == "" && (w.header.Count("Content-Type") > 1 || w.header.Count("Content-Transfer-Encoding") > 1) {
		h.fixed = "a header has a field twice"
	}
	if h.fixed == "" {
		h.fixed = w.classify(&h, p)
	}
	return h, err
}

// refuse is the refusal of a conversion of whatever form.
func (w *walk) refuse(why string) error {
	if w.to.SevenBit {
		return errNotSevenBit(why)
	}
	return w.errCharset(why)
}

// firstWord returns the value of a field without comments, in lower case.
func firstWord(value string) string {
	if end := strings.IndexAny(value, " \t(;"); end >= 0 {
		value = value[:end]
	}
	return strings.ToLower(value)
}

// Why the body of a signed message is never changed: the signature covers it,
// and a receiver that checks it would take the message for forged.
const errSigned = "it is signed or encrypted"

// classify finds out what a body is by its Content-Type (RFC 2045 5), and
// returns why nothing in it may be changed.
func (w *walk) classify(h *head, p place) string {
	value, is := w.header.First("Content-Type")
	if !is {
		h.nested = p.digest // RFC 2046 5.1.5
		h.text = !p.digest
		return ""
	}
	kind, params, err := mime.ParseMediaType(value)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) { // of a leaf, only the type matters
		return "a Content-Type is malformed"
	}
	major, _, _ := strings.Cut(kind, "/")
	switch {
	case kind == "application/pkcs7-mime", kind == "application/x-pkcs7-mime": // RFC 8551 3
		return errSigned
	case major == "multipart":
		h.signed = h.signed || kind == "multipart/signed" || kind == "multipart/encrypted" // RFC 1847 2.1, 2.2
		h.boundary, h.digest = params["boundary"], kind == "multipart/digest"
		if h.boundary == "" || len(h.boundary) > maxBoundary {
			return "a multipart has no proper boundary"
		}
	case kind == "message/rfc822":
		h.nested = true
	case kind == "message/partial", kind == "message/external-body": // RFC 2046 5.2.2.1, 5.2.3
		return "a part of the type " + kind + " is always 7-bit"
	}
	h.text = major == "text"
	return ""
}

// maxBoundary is the length of the longest boundary (RFC 2046 5.1.1).
const maxBoundary = 70
