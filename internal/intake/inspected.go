package intake

import (
	"bufio"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/policy"
	"postern/internal/queue"
)

// inspected is a message as policy sees it: what will be stored of it, unless
// policy changes that. What is asked of it is worked out once.
type inspected struct {
	draft  queue.Draft
	header *message.Header // nil: not read yet
	fields map[string][]string
	begin  int64 // of the body
	found  *policy.Content
}

var _ policy.Message = (*inspected)(nil)

// Size is in octets.
func (c *inspected) Size() int64 { return c.draft.Size() }

func (c *inspected) from(offset int64) io.Reader {
	return io.NewSectionReader(c.draft, offset, c.draft.Size()-offset)
}

// Header returns the fields, decoded, by their names in lower case.
func (c *inspected) Header() map[string][]string {
	if c.fields == nil {
		c.fields = make(map[string][]string)
		for f := range c.read().Fields() {
			name := strings.ToLower(f.Name())
			text, _ := message.DecodeText(f.Value())
			c.fields[name] = append(c.fields[name], text)
		}
	}
	return c.fields
}

// read reads the header. It was read before, when the message came in, so that
// there is no error left but that of the disk: then it is what could be read.
func (c *inspected) read() *message.Header {
	if c.header == nil {
		src := &counter{src: c.from(0)}
		br := bufio.NewReader(src)
		c.header, _ = message.ReadHeader(br, message.Limits{})
		c.begin = src.n - int64(br.Buffered())
	}
	return c.header
}

// counter counts the octets that are read.
type counter struct {
	src io.Reader
	n   int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.n += int64(n)
	return n, err
}

// Inspect looks through the parts. What cannot be read back is not readable.
func (c *inspected) Inspect() policy.Content {
	if c.found == nil {
		c.found = new(policy.Content)
		if i, err := message.Inspect(c.from(0), message.InspectLimits{}); err == nil {
			*c.found = policy.Content{
				Subject: i.Subject(), From: addresses(i.From), Attachments: i.Names(), Types: i.Types(), Readable: i.Readable(),
			}
		}
	}
	return *c.found
}

// addresses are those that are any: what else stands in a From field makes the
// message one that cannot be read with certainty.
func addresses(list []string) []mail.Address {
	var found []mail.Address
	for _, s := range list {
		if a, err := mail.ParseAddress(s); err == nil {
			found = append(found, a)
		}
	}
	return found
}

// Body returns the begin of the body: decoded, unless it consists of parts. Of
// what is encoded wrongly it is what stands before the fault.
func (c *inspected) Body(max int) string {
	h := c.read()
	kind, _ := h.First("Content-Type")
	encoding, _ := h.First("Content-Transfer-Encoding")
	body := c.from(c.begin)
	if kind = strings.ToLower(strings.TrimSpace(kind)); !strings.HasPrefix(kind, "multipart/") && !strings.HasPrefix(kind, "message/") {
		body = decoded(body, encoding)
	}
	text, _ := io.ReadAll(io.LimitReader(body, int64(max)))
	return string(text)
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
