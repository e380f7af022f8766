package submit

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"postern/internal/mail"
	"postern/internal/message"
)

// maxSize is how large, in octets, a message may be when no server can be
// asked. The server that finds it may take less.
const maxSize = 50 << 20

// Client hands in messages.
type Client struct {
	Directory Directory
	// User is who calls.
	User *mail.User
	// FullName is his name, for messages that do not say who they are from.
	FullName string
}

// posting is one message on its way in.
type posting struct {
	sender     *message.Mailbox // nil for the user himself
	null       bool             // the sender is <>
	fullName   string
	recipients []message.Mailbox
	notify     mail.Notify
	ret        mail.Return
	envelopeID string
	content    *content
}

// Post reads a message from r and hands it in: to the server, or, when that
// cannot take it now, to the drop directory. When it returns nil the message
// is on stable storage.
//
// It fails with an *Error; then nothing was accepted. Where the connection
// breaks when the server has the whole message, the message is dropped too, so
// that it may come twice, and is not lost.
func (cl *Client) Post(ctx context.Context, c *Command, r io.Reader) error {
	p, err := cl.prepare(c)
	if err != nil {
		return err
	}
	p.content, err = cl.read(ctx, newInput(r, c.Dots))
	if err != nil {
		return withCode(IOErr, err)
	}
	defer p.content.Close()
	if err := p.complete(c.FromHeader); err != nil {
		return withCode(DataErr, err)
	}
	refused := cl.send(ctx, p)
	if refused == nil || !errors.Is(refused, errNotNow) {
		return withCode(Software, refused)
	}
	if ctx.Err() != nil {
		return failf(TempFail, "interrupted before the server had answered; nobody has seen the message unless it is in the journal")
	}
	return withCode(IOErr, cl.Directory.leave(p, refused))
}

// read reads the message. When ctx ends it returns at once; who then still
// reads ends with the process, since nobody can end a read of standard input.
func (cl *Client) read(ctx context.Context, r io.Reader) (*content, error) {
	type outcome struct {
		content *content
		err     error
	}
	done := make(chan outcome, 1)
	go func() {
		c, err := readContent(r, func() int64 { return cl.maxSize(ctx) })
		done <- outcome{c, err}
	}()
	select {
	case o := <-done:
		return o.content, o.err
	case <-ctx.Done():
		return nil, failf(TempFail, "interrupted, nothing was accepted")
	}
}

// withCode gives an error its code unless it has one.
func withCode(code ExitCode, err error) error {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	return &Error{Code: code, Err: err}
}

// prepare checks all that the command line says.
func (cl *Client) prepare(c *Command) (*posting, error) {
	p := &posting{fullName: c.FullName, notify: c.Notify, ret: c.Return, envelopeID: c.EnvelopeID}
	if p.fullName == "" {
		p.fullName = cl.FullName
	}
	if err := p.setSender(c.Sender, cl.User); err != nil {
		return nil, err
	}
	for _, text := range c.Recipients {
		list, err := message.ParseMailboxes(text, maxRecipients-len(p.recipients))
		if err != nil {
			return nil, failf(DataErr, "recipient %.200q: %w", text, err)
		}
		if len(list) == 0 {
			return nil, failf(Usage, "%.200q names no recipient", text)
		}
		p.recipients = append(p.recipients, list...)
	}
	if len(p.recipients) == 0 && !c.FromHeader {
		return nil, failf(Usage, "name the recipients, or say -t to take those in the header")
	}
	return p, p.checkAddresses()
}

func (p *posting) setSender(given *string, user *mail.User) error {
	switch {
	case given == nil && user.Name == "":
		return failf(OSErr, "%s has no name on this host: name the sender with -f", user)
	case given == nil:
		return nil
	case strings.Trim(*given, "<> ") == "":
		p.null = true
		return nil
	}
	list, err := message.ParseMailboxes(*given, 1)
	if err == nil && len(list) == 0 {
		err = errNone
	}
	if err != nil {
		return failf(DataErr, "sender %.200q: %w", *given, err)
	}
	p.sender = &list[0]
	return nil
}

// anyHost stands for the host's name while it is not known.
const anyHost = "host.invalid"

// checkAddresses refuses what no server would take, as long as somebody is
// there to hear it.
func (p *posting) checkAddresses() error {
	list := p.recipients
	if p.sender != nil {
		list = append([]message.Mailbox{*p.sender}, list...)
	}
	for _, m := range list {
		if _, err := address(m, anyHost); err != nil {
			return failf(DataErr, "%w", err)
		}
	}
	return nil
}

// complete takes the recipients from the header when that is asked for, and
// hides those that must not be seen.
func (p *posting) complete(fromHeader bool) error {
	if !fromHeader {
		return nil
	}
	m, err := part(p.content.reader())
	if err != nil {
		return err
	}
	list, err := headerRecipients(m.header)
	if err != nil {
		return err
	}
	p.recipients = append(p.recipients, list...)
	switch {
	case len(p.recipients) == 0:
		return failf(Usage, "the header of the message names no recipient: there is none in To, Cc and Bcc")
	case len(p.recipients) > maxRecipients:
		return failf(DataErr, "%w: %d, and the most that can be read are %d", errMany, len(p.recipients), maxRecipients)
	}
	return p.checkAddresses()
}

// letter is a posting as a host of some name takes it.
type letter struct {
	envelope   mail.Envelope
	recipients []mail.Recipient
	content    io.Reader
}

// letter makes p one from the host, by the user.
func (p *posting) letter(host string, user *mail.User) (*letter, error) {
	l := &letter{envelope: mail.Envelope{Body: mail.Body8BitMIME, Return: p.ret, EnvelopeID: p.envelopeID}}
	from := message.Mailbox{Local: quoted(user.Name)}
	if p.sender != nil {
		from = *p.sender
	}
	var err error
	if !p.null {
		if l.envelope.From, err = address(from, host); err != nil {
			return nil, err
		}
	}
	l.envelope.UTF8 = !l.envelope.From.IsASCII()
	for _, m := range p.recipients {
		a, err := address(m, host)
		if err != nil {
			return nil, err
		}
		l.recipients = append(l.recipients, mail.Recipient{Address: a, Notify: p.notify})
		l.envelope.UTF8 = l.envelope.UTF8 || !a.IsASCII()
	}
	m, err := part(p.content.reader())
	if err != nil {
		return nil, err
	}
	hideBcc(m.header)
	m.header, err = complete(m.header, host, p.author(l.envelope.From, host))
	l.content = m.reader()
	return l, err
}

// quoted returns a name as a local part.
func quoted(name string) string { return mail.Address{Local: name}.String() }

// author is who the message is from, unless its header says it.
func (p *posting) author(from mail.Address, host string) author {
	if from.IsNull() {
		from = mail.Address{Local: "MAILER-DAEMON", Domain: host}
	}
	return author{address: from, name: p.fullName}
}

// Caller returns the user who runs this process, and his full name: that in
// the environment (NAME), or of the list of users.
func Caller() *Client {
	uid := uint32(os.Getuid())
	user, name := lookup(uid)
	if set := os.Getenv("NAME"); set != "" && plain("", set) == nil {
		name = set
	}
	return &Client{User: user, FullName: name}
}
