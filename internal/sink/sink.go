// Package sink is a receiver that takes mail for every address and passes
// none on, for trying out a mail server. Some local parts play faults, in any
// domain; each says in its name what it does:
//
//	ok@          takes the message; so does any other address
//	defer-421@   421 to RCPT, and the connection is closed; always
//	defer-451@   451 to RCPT, twice for a sender and recipient; then ok
//	bounce-550@  550 5.1.1 to RCPT; always
//	slow@        waits before it answers the end of data; then ok
//	drop@        closes the connection instead of answering the end of data,
//	             twice for a sender and recipient; then ok
//
// What was taken is kept in memory, the latest messages only, and on request
// as files. It is a Handler for package smtpserver and opens no connection of
// its own. When a file cannot be written, the message is refused with 452.
package sink

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/internal/smtp"
	"postern/internal/smtpserver"
)

// Options are the settings of a Sink. A zero field means its default.
type Options struct {
	// Dir is a directory into which each message is written, as a file named
	// by its time and id. It is made when it is needed. Empty means none.
	Dir string
	// Received is told of each message before it is acknowledged. It may be
	// called by several goroutines at once.
	Received func(Message)
	// Slowness is how long slow@ waits (default 3 s).
	Slowness time.Duration
	// MaxMessages and MaxBytes bound what is kept in memory (default 1,000
	// messages, 64 MiB of content); the oldest give way.
	MaxMessages int
	MaxBytes    int

	IDs    *mail.IDs    // makes the message ids
	Clock  mail.Clock   // the time of messages
	Logger *slog.Logger // default: no log
}

// Message is a message that was taken.
type Message struct {
	ID         mail.ID
	At         time.Time
	Origin     mail.Origin
	Envelope   mail.Envelope
	Recipients []mail.Recipient
	Content    []byte
}

// Sink takes messages. It is a Handler of package smtpserver.
type Sink struct {
	options Options

	mu       sync.Mutex
	messages []Message // oldest first
	bytes    int       // of their contents
	faults   faults
}

var _ smtpserver.Handler = (*Sink)(nil)

// Handler returns a sink, which is the handler of the server it shall have.
func Handler(o Options) *Sink { return &Sink{options: o.withDefaults()} }

func (o Options) withDefaults() Options {
	if o.Received == nil {
		o.Received = func(Message) {}
	}
	if o.Slowness <= 0 {
		o.Slowness = 3 * time.Second
	}
	if o.MaxMessages <= 0 {
		o.MaxMessages = 1000
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	if o.IDs == nil {
		o.IDs = new(mail.IDs)
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Messages returns the messages that are kept, oldest first. Their contents
// must not be changed.
func (s *Sink) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Begin implements smtpserver.Handler: it serves every client.
func (s *Sink) Begin(_ context.Context, o mail.Origin) (smtpserver.Session, mail.Reply) {
	return &session{sink: s, origin: o}, mail.Reply{}
}

// take keeps a message, and writes its file.
func (s *Sink) take(m Message) error {
	if s.options.Dir != "" {
		if err := writeFile(s.options.Dir, m); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.messages = append(s.messages, m)
	s.bytes += len(m.Content)
	for len(s.messages) > s.options.MaxMessages || s.bytes > s.options.MaxBytes {
		s.bytes -= len(s.messages[0].Content)
		s.messages[0] = Message{} // the array behind the slice shall not hold it
		s.messages = s.messages[1:]
	}
	s.mu.Unlock()
	s.options.Received(m)
	return nil
}

// fault counts an attempt at an address that fails for a while.
func (s *Sink) fault(e mail.Envelope, to mail.Address) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults.next(attempted{from: e.From, to: to})
}

// session is one connection.
type session struct {
	sink     *Sink
	origin   mail.Origin
	envelope mail.Envelope
	accepted []mail.Recipient
}

// Hello implements smtpserver.Session.
func (s *session) Hello(_ context.Context, o mail.Origin) mail.Reply {
	s.origin = o
	return mail.Reply{}
}

// Mail implements smtpserver.Session.
func (s *session) Mail(_ context.Context, m smtp.Mail) mail.Reply {
	s.envelope, s.accepted = m.Envelope, nil
	return mail.Reply{}
}

// Rcpt implements smtpserver.Session: some faults are played here.
func (s *session) Rcpt(_ context.Context, r smtp.Rcpt) mail.Reply {
	switch strings.ToLower(r.Address.Local) {
	case "defer-421":
		return mail.NewReply(421, "4.3.2", "Closing, as %s always does", r.Address)
	case "defer-451":
		if s.sink.fault(s.envelope, r.Address) {
			return mail.NewReply(451, "4.7.1", "Not now, says %s; the third attempt will do", r.Address)
		}
	case "bounce-550":
		return mail.NewReply(550, "5.1.1", "No such user, says %s", r.Address)
	}
	s.accepted = append(s.accepted, r.Recipient)
	return mail.Reply{}
}

// Data implements smtpserver.Session.
func (s *session) Data(context.Context) mail.Reply { return mail.Reply{} }

// Content implements smtpserver.Session: it takes the message, or plays the
// faults of this phase.
func (s *session) Content(ctx context.Context, c smtp.Content) mail.Reply {
	var content bytes.Buffer
	if _, err := io.Copy(&content, c); err != nil {
		return mail.ReplyOf(err)
	}
	for _, r := range s.accepted {
		switch strings.ToLower(r.Address.Local) {
		case "slow":
			pause(ctx, s.sink.options.Slowness)
		case "drop":
			if s.sink.fault(s.envelope, r.Address) {
				return mail.Reply{Code: mail.NoReply}
			}
		}
	}
	if c.ClientGone() {
		return mail.Reply{Code: mail.NoReply}
	}
	return s.take(content.Bytes())
}

func (s *session) take(content []byte) mail.Reply {
	o := &s.sink.options
	now := o.Clock.Now()
	m := Message{
		ID:         o.IDs.New(now),
		At:         now,
		Origin:     s.origin,
		Envelope:   s.envelope,
		Recipients: s.accepted,
		Content:    content,
	}
	if err := s.sink.take(m); err != nil {
		o.Logger.Error("cannot write a message", "session", s.origin.Session, "message", m.ID, "error", err)
		return mail.NewReply(452, "4.3.1", "Cannot write the message")
	}
	o.Logger.Info("message taken", "session", s.origin.Session, "message", m.ID,
		"from", m.Envelope.From.Path(), "recipients", len(m.Recipients), "size", len(content))
	return mail.NewReply(250, "2.0.0", "Taken as %s", m.ID)
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Command implements smtpserver.Session.
func (s *session) Command(context.Context, smtp.Command) mail.Reply { return mail.Reply{} }

// Reset implements smtpserver.Session.
func (s *session) Reset() { s.envelope, s.accepted = mail.Envelope{}, nil }

// End implements smtpserver.Session.
func (s *session) End() {}
