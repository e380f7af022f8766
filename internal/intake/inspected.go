package intake

import (
	"bufio"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"

	"postern/internal/message"
	"postern/internal/policy"
	"postern/internal/queue"
)

// inspected is a message as policy sees it: what will be stored of it, unless
// policy changes that.
type inspected struct{ draft queue.Draft }

var _ policy.Message = inspected{}

// Size is in octets.
func (m inspected) Size() int64 { return m.draft.Size() }

func (m inspected) reader() io.Reader { return io.NewSectionReader(m.draft, 0, m.draft.Size()) }

// Inspect looks through header and parts. It fails with the errors of the draft.
func (m inspected) Inspect() (*message.Inspection, error) {
	return message.Inspect(m.reader(), message.InspectLimits{})
}

// Body returns the begin of the body: decoded, unless it consists of parts. Of
// what is encoded wrongly it is what stands before the fault. It fails with the
// errors of the draft.
func (m inspected) Body(max int) (string, error) {
	br := bufio.NewReader(m.reader())
	header, err := message.ReadHeader(br, message.Limits{})
	if err != nil {
		return "", err
	}
	kind, _ := header.First("Content-Type")
	encoding, _ := header.First("Content-Transfer-Encoding")
	body := &bodyReader{src: br}
	var text []byte
	if kind = strings.ToLower(strings.TrimSpace(kind)); strings.HasPrefix(kind, "multipart/") || strings.HasPrefix(kind, "message/") {
		text, _ = io.ReadAll(io.LimitReader(body, int64(max)))
	} else {
		text, _ = io.ReadAll(io.LimitReader(decoded(body, encoding), int64(max)))
	}
	return string(text), body.failed
}

// bodyReader keeps the error of its source apart from those of a decoder.
type bodyReader struct {
	src    io.Reader
	failed error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if err != nil && err != io.EOF {
		b.failed = err
	}
	return n, err
}

func decoded(body io.Reader, encoding string) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	}
	return body
}
