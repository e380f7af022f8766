package peers

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	mimeparts "mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
)

// compose returns a message with LF line ends that has a text and, if there is
// one, an attachment.
func compose(text string, attached []byte) []byte {
	const head = "From: <sender@example.org>\nTo: undisclosed-recipients:;\nSubject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=\n" +
		"Date: Thu, 01 Jan 2026 00:00:00 +0000\nMessage-ID: <clients@harness.example>\nMIME-Version: 1.0\n"
	const textHead = "Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n"
	if attached == nil {
		return []byte(head + textHead + text)
	}
	b := bytes.NewBufferString(head + "Content-Type: multipart/mixed; boundary=limit\n\n--limit\n" + textHead + text +
		"\n--limit\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=attachment.bin\n\n")
	for encoded := base64.StdEncoding.EncodeToString(attached); encoded != ""; {
		n := min(76, len(encoded))
		b.WriteString(encoded[:n] + "\n")
		encoded = encoded[n:]
	}
	b.WriteString("\n--limit--\n")
	return b.Bytes()
}

// decompose returns the text of a message without space around it, and its
// attachment, nil if there is none.
func decompose(content []byte) (text string, attachment []byte, err error) {
	m, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		return "", nil, err
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		octets, err := withoutEncoding(textproto.MIMEHeader(m.Header), m.Body)
		return lines(octets), nil, err
	}
	parts := mimeparts.NewReader(m.Body, parameters["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return text, attachment, nil
		}
		if err != nil {
			return "", nil, err
		}
		octets, err := withoutEncoding(part.Header, part)
		switch {
		case err != nil:
			return "", nil, err
		case part.FileName() != "":
			attachment = octets
		default:
			text = lines(octets)
		}
	}
}

// withoutEncoding undoes the transfer encoding of a part.
func withoutEncoding(header textproto.MIMEHeader, body io.Reader) ([]byte, error) {
	switch encoding := strings.ToLower(header.Get("Content-Transfer-Encoding")); encoding {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "", "7bit", "8bit":
	default:
		return nil, fmt.Errorf("transfer encoding %q", encoding)
	}
	return io.ReadAll(body)
}

// lines makes text comparable.
func lines(text []byte) string {
	return strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))
}
