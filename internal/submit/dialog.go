package submit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// errNotNow says that the server cannot take a message at present, or is not
// there: the message can be left for it.
var errNotNow = errors.New("the server cannot take mail now")

// How long the server may take. It answers commands at once, and who waits is
// a program; but at the end it must sync a disk that may be slow, and to give
// up early there would send the message twice.
const (
	connectPatience = 10 * time.Second
	replyPatience   = time.Minute
	finalPatience   = 10 * time.Minute
)

// maxReply bounds a reply of the server, in octets.
const maxReply = 64 << 10

// batch is how many RCPT commands are sent before their replies are read: as
// many as fit into what a socket holds in either direction.
const batch = 50

// dialog is a session with the server.
type dialog struct {
	conn net.Conn
	br   *bufio.Reader
	bw   *bufio.Writer
	host string // the server's name
	ext  smtp.Extensions
}

// dial connects to the server and learns its name and what it takes. Every
// failure is errNotNow.
func (cl *Client) dial(ctx context.Context) (*dialog, error) {
	dialer := net.Dialer{Timeout: connectPatience}
	conn, err := dialer.DialContext(ctx, "unix", cl.Directory.Socket())
	if err != nil {
		return nil, notNow(err)
	}
	d := &dialog{conn: conn, br: bufio.NewReader(conn), bw: bufio.NewWriter(conn)}
	if err := d.greet(); err != nil {
		conn.Close()
		return nil, notNow(err)
	}
	return d, nil
}

func notNow(err error) error { return fmt.Errorf("%w: %w", errNotNow, err) }

func (d *dialog) greet() error {
	r, err := d.read(replyPatience)
	if err == nil && r.Success() {
		r, err = d.ask("EHLO localhost")
	}
	if err != nil {
		return err
	}
	if !r.Success() {
		return errors.New(r.String())
	}
	d.ext = smtp.ParseExtensions(r.Text)
	d.host, _, _ = strings.Cut(r.Text, " ")
	return mail.CheckDomain(d.host)
}

// close says goodbye; nobody waits for the answer.
func (d *dialog) close() {
	d.write("QUIT")
	_ = d.bw.Flush()
	d.conn.Close()
}

func (d *dialog) write(line string) {
	d.bw.WriteString(line)
	d.bw.WriteString("\r\n")
}

// ask sends a command and returns its reply.
func (d *dialog) ask(line string) (mail.Reply, error) {
	d.write(line)
	return d.read(replyPatience)
}

// read returns the next reply, when all that was written is on its way.
func (d *dialog) read(patience time.Duration) (mail.Reply, error) {
	if err := d.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return mail.Reply{}, err
	}
	if err := d.bw.Flush(); err != nil {
		return mail.Reply{}, err
	}
	return smtp.ReadReply(d.br, maxReply)
}

// maxSize asks the server how large a message may be.
func (cl *Client) maxSize(ctx context.Context) int64 {
	d, err := cl.dial(ctx)
	if err != nil {
		return maxSize
	}
	defer d.close()
	if d.ext.MaxSize == 0 {
		return maxSize
	}
	return d.ext.MaxSize
}

// send hands a message to the server. It fails with errNotNow, wrapped, when
// the message can be left for the server, and else with an *Error.
func (cl *Client) send(ctx context.Context, p *posting) error {
	d, err := cl.dial(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	defer context.AfterFunc(ctx, func() { d.conn.Close() })()
	if most := d.ext.MaxRecipients; most > 0 && len(p.recipients) > most {
		return failf(DataErr, "%w: %d, and the server takes %d", errMany, len(p.recipients), most)
	}
	l, err := p.letter(d.host, cl.User)
	if err != nil {
		return withCode(DataErr, err)
	}
	if err := d.envelope(l, p.content.size); err != nil {
		return err
	}
	return d.content(l.content)
}

// envelope sends the envelope, and fails unless the server takes all of it.
func (d *dialog) envelope(l *letter, size int64) error {
	r, err := d.ask(smtp.FormatMail(l.envelope, size, d.ext))
	if err != nil {
		return notNow(err)
	}
	if !r.Success() {
		return refusedAs("the message", r)
	}
	var refused []error
	for rest := l.recipients; len(rest) > 0; {
		n := min(batch, len(rest))
		for _, to := range rest[:n] {
			d.write(smtp.FormatRcpt(to, d.ext))
		}
		for _, to := range rest[:n] {
			r, err := d.read(replyPatience)
			if err != nil {
				return notNow(err)
			}
			if !r.Success() {
				refused = append(refused, refusedAs(to.Address.String(), r))
			}
		}
		rest = rest[n:]
	}
	return together(refused)
}

// maxTold is how many refusals are told one by one.
const maxTold = 20

// together makes one error of refusals. A recipient that is refused for good
// decides: the message would never be taken as it is.
func together(refused []error) error {
	var texts []string
	var code ExitCode
	for _, err := range refused {
		if e, ok := errors.AsType[*Error](err); ok {
			code = max(code, e.Code)
			texts = append(texts, e.Error())
		}
	}
	switch {
	case len(refused) == 0:
		return nil
	case len(texts) == 0:
		return refused[0]
	case len(texts) > maxTold:
		texts = append(texts[:maxTold], fmt.Sprintf("and %d more", len(texts)-maxTold))
	}
	return failf(code, "%s\nnothing was sent to anybody", strings.Join(texts, "\n"))
}

// content sends the content. When its reply is lost nobody knows whether the
// message was taken; it counts as not taken.
func (d *dialog) content(r io.Reader) error {
	reply, err := d.ask("DATA")
	if err != nil {
		return notNow(err)
	}
	if !reply.Intermediate() {
		return refusedAs("the message", reply)
	}
	// Write extends the deadline: a server that takes the message is alive.
	w := smtp.NewDotWriter(d.bw)
	if _, err := io.Copy(progress{w, d.conn}, r); err != nil {
		if ours, ok := errors.AsType[*mail.Error](err); ok { // reading it failed
			return failf(IOErr, "%w", ours.Cause)
		}
		return notNow(err)
	}
	if err := w.Close(); err != nil {
		return notNow(err)
	}
	reply, err = d.read(finalPatience)
	if err != nil {
		return notNow(err)
	}
	if !reply.Success() {
		return refusedAs("the message", reply)
	}
	return nil
}

// progress is a writer before each write of which time begins anew.
type progress struct {
	io.Writer
	conn net.Conn
}

func (p progress) Write(b []byte) (int, error) {
	if err := p.conn.SetDeadline(time.Now().Add(replyPatience)); err != nil {
		return 0, err
	}
	return p.Writer.Write(b)
}

// refusedAs is the error for a reply that is no success.
func refusedAs(what string, r mail.Reply) error {
	if !r.Permanent() {
		return notNow(fmt.Errorf("%s: %s", what, r))
	}
	return failf(codeFor(r), "%s: %s", what, r)
}

// codeFor returns the exit code for a refusal, by its enhanced code (RFC 3463).
func codeFor(r mail.Reply) ExitCode {
	subject, _, _ := strings.Cut(strings.TrimPrefix(r.Status(), "5."), ".")
	switch {
	case r.Status() == "5.1.1":
		return NoUser
	case subject == "1", subject == "6", r.Status() == "5.3.4", r.Status() == "5.5.4":
		return DataErr
	case subject == "7":
		return NoPerm
	}
	return Unavailable
}
