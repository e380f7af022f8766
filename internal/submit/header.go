package submit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"slices"
	"strings"

	"postern/internal/mail"
	"postern/internal/message"
)

// maxRecipients is how many recipients the command reads, whatever the server
// would take: each costs memory.
const maxRecipients = 100_000

// parted is a message of which the header was read.
type parted struct {
	header *message.Header
	body   io.Reader
}

// headerBuffer holds the longest line that the header's reader looks ahead.
const headerBuffer = 64 << 10

// part reads the header of a message. It fails with an *Error when the header
// is larger than messages may have it.
func part(r io.Reader) (parted, error) {
	br := bufio.NewReaderSize(r, headerBuffer)
	h, err := message.ReadHeader(br, message.Limits{})
	switch refused, ok := errors.AsType[*mail.Error](err); {
	case ok && refused.Reply.Permanent():
		err = failf(DataErr, "%s", refused.Reply.Text)
	case ok:
		err = refused.Cause // reading failed
	}
	return parted{header: h, body: br}, err
}

// reader returns the message: its header, and an empty line in any case.
func (p parted) reader() io.Reader {
	return io.MultiReader(strings.NewReader(string(p.header.AppendFields(nil))+"\r\n"), p.body)
}

// The fields that name recipients, and those that do when a message was sent
// again (RFC 5322 3.6.3, 3.6.6).
var (
	recipientFields = []string{"To", "Cc", "Bcc"}
	resentFields    = []string{"Resent-To", "Resent-Cc", "Resent-Bcc"}
)

// headerRecipients returns the recipients that a header names: those of the
// Resent fields if there are any, else of To, Cc and Bcc.
func headerRecipients(h *message.Header) ([]message.Mailbox, error) {
	fields := recipientFields
	if slices.ContainsFunc(resentFields, h.Has) {
		fields = resentFields
	}
	var list []message.Mailbox
	for f := range h.Fields() {
		if !slices.ContainsFunc(fields, f.Is) {
			continue
		}
		found, err := message.ParseMailboxes(f.Value(), maxRecipients-len(list))
		if err != nil {
			return nil, failf(DataErr, "%s: %.200q: %w", f.Name(), f.Value(), err)
		}
		list = append(list, found...)
	}
	return list, nil
}

// hideBcc takes out the recipients that others must not see.
func hideBcc(h *message.Header) { h.Delete("Bcc", "Resent-Bcc") }

// author is who a message is from when its header does not say it.
type author struct {
	address mail.Address
	name    string // may be empty
}

// addressFields are those whose addresses are completed.
var addressFields = []string{
	"From", "Sender", "Reply-To", "To", "Cc", "Bcc",
	"Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Bcc",
}

// complete returns a header as a message has it that leaves this host: with a
// From field (RFC 6409 8.1), and with a domain for each address (RFC 6409
// 4.2): "root" is "root@host". Fields that cannot be read stay as they are.
func complete(h *message.Header, host string, from author) (*message.Header, error) {
	var out message.Header
	for f := range h.Fields() {
		if slices.ContainsFunc(addressFields, f.Is) {
			f = qualify(f, host)
		}
		out.Append(f)
	}
	if !out.Has("From") {
		f, err := fromField(from)
		if err != nil {
			return nil, err
		}
		out.Append(f)
	}
	return &out, nil
}

// fromField is the From field of an author. His name cannot break out of it:
// it is quoted, or encoded.
func fromField(a author) (message.Field, error) {
	value := a.address.String()
	if a.name != "" {
		value = (&netmail.Address{Name: a.name, Address: value}).String()
	}
	f, err := message.ParseField("From: " + value + "\r\n")
	if err != nil {
		return f, fmt.Errorf("the name of the sender, %.80q, cannot stand in a header: %w", a.name, err)
	}
	return f, nil
}

// qualify gives each address of a field that has no domain that of the host.
func qualify(f message.Field, host string) message.Field {
	raw := f.String()
	colon := strings.IndexByte(raw, ':') + 1
	list, err := message.ParseMailboxes(raw[colon:], maxRecipients)
	if err != nil {
		return f
	}
	var b strings.Builder
	done := 0
	for _, m := range list {
		if m.Domain != "" {
			continue
		}
		b.WriteString(raw[done : colon+m.LocalEnd])
		b.WriteString("@" + host)
		done = colon + m.LocalEnd
	}
	if done == 0 {
		return f
	}
	b.WriteString(raw[done:])
	qualified, err := message.ParseField(b.String())
	if err != nil {
		return f
	}
	return qualified
}
