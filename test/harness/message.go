package harness

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
)

// Message is a message to be submitted.
type Message struct {
	// ID is the message's own, and stands in its Message-ID field.
	ID   string
	From string   // an address without brackets; "" is the null sender
	To   []string // addresses without brackets
	// UTF8 asks for SMTPUTF8.
	UTF8 bool
	// Options are further parameters of MAIL, such as "RET=HDRS ENVID=1", and
	// ToOptions those of the recipients, in their order; it may be shorter.
	Options   string
	ToOptions []string
	// Content is header and body with CRLF line ends, dots not doubled.
	Content []byte
	// Short is how many octets at the end of the wire form, end-of-data mark
	// included, are left out before the connection is dropped. 0: none.
	Short int
}

// idDomain stands behind the id in Message-ID fields.
const idDomain = "@harness.example>"

// Header returns a header with the usual fields, and the empty line.
func Header(id, from, to string) []byte {
	return fmt.Appendf(nil, "From: <%s>\r\nTo: <%s>\r\nSubject: message %s\r\n"+
		"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <%s%s\r\n\r\n", from, to, id, id, idDomain)
}

// textLine is how many characters a line of Text has.
const textLine = 78

// Text returns n octets of lines of 78 characters and CRLF. They are of the
// kind that attachments are made of: who stores them gains little by
// compressing them. It returns the same for the same n.
func Text(n int) []byte {
	random := make([]byte, n+textLine)
	rand.NewChaCha8([32]byte{}).Read(random)
	encoded := base64.StdEncoding.AppendEncode(nil, random)
	text := make([]byte, 0, n+textLine+2)
	for ; len(text) < n; encoded = encoded[textLine:] {
		text = append(append(text, encoded[:textLine]...), "\r\n"...)
	}
	text = append(text[:max(n-2, 0)], "\r\n"[:min(n, 2)]...)
	if n > 2 && text[n-3] == '\r' { // of a line end that was cut
		text[n-3] = 'x'
	}
	return text
}

// IDOf returns the id in content's Message-ID field, "" when there is none
// or it is not one of ours.
func IDOf(content []byte) string {
	if end := bytes.Index(content, []byte("\r\n\r\n")); end >= 0 {
		content = content[:end]
	}
	_, field, found := bytes.Cut(content, []byte("\nMessage-ID: <"))
	if !found {
		return ""
	}
	id, _, found := bytes.Cut(field, []byte(idDomain))
	if !found {
		return ""
	}
	return string(id)
}

// CutReceived splits off the Received fields that relays put on top.
func CutReceived(content []byte) (fields int, rest []byte) {
	for bytes.HasPrefix(content, []byte("Received: ")) {
		_, content, _ = bytes.Cut(content, []byte("\r\n"))
		for bytes.HasPrefix(content, []byte("\t")) || bytes.HasPrefix(content, []byte(" ")) {
			_, content, _ = bytes.Cut(content, []byte("\r\n"))
		}
		fields++
	}
	return fields, content
}

// Difference describes where got departs from want.
func Difference(got, want []byte) string {
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	return fmt.Sprintf("%d octets for %d, from octet %d on: %.60q, want %.60q", len(got), len(want), i, got[i:], want[i:])
}

// wire returns the content as it goes over the wire: dots doubled, with the
// end-of-data mark (RFC 5321 4.5.2).
func (m *Message) wire(buf []byte) []byte {
	buf = buf[:0]
	content := m.Content
	if bytes.HasPrefix(content, []byte(".")) {
		buf = append(buf, '.')
	}
	for {
		i := bytes.Index(content, []byte("\r\n."))
		if i < 0 {
			break
		}
		buf = append(append(buf, content[:i+3]...), '.')
		content = content[i+3:]
	}
	buf = append(buf, content...)
	if !bytes.HasSuffix(buf, []byte("\r\n")) {
		buf = append(buf, "\r\n"...)
	}
	return append(buf, ".\r\n"...)
}

// eightBit reports whether the content needs 8BITMIME.
func (m *Message) eightBit() bool {
	for _, c := range m.Content {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
