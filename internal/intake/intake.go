// Package intake is the one door by which mail comes in: whatever the way a
// message arrived, it is checked, given its trace fields and stored here,
// and nowhere else. Reports are the stated exception; they enter when an
// attempt is settled, or with the message of which they tell. What was accepted by
// another queue is imported by this door, and changed in nothing.
//
// It speaks SMTP's words but not its protocol: a Session answers the commands
// that an SMTP engine hands it. What cannot be taken is refused with a
// mail.Error; an error of the store that nobody foresaw is temporary.
package intake

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/policy"
	"postern/internal/queue"
	"postern/internal/report"
	"postern/internal/smtp"
)

// Options are what an Intake needs. Hostname, Store and IDs are required.
type Options struct {
	// Hostname is the name of the server.
	Hostname string
	// Company returns whose mail that of a sender is, and with it the name in Received and
	// Message-ID fields and in reports. Nil: nobody's in particular.
	Company func(sender mail.Address) mail.Company
	Store   Store
	IDs     *mail.IDs
	Local   *Local
	// AddDate and AddMessageID add the field when a message has none.
	AddDate, AddMessageID bool
	// Missing says it by who brought the message instead, if it is set.
	Missing func(o *mail.Origin) (addDate, addMessageID bool)
	// DropFields names header fields that are taken out.
	DropFields []string
	// AccountInHeaders names the account of the client in Received.
	AccountInHeaders bool
	// ClientName begins to look up the name of a client, and returns what tells it, if
	// it is known by then. Nil: no client has a name.
	ClientName func(netip.Addr) (known func() string)
	// Class returns the priority class of a message, which gives itself one if own is not
	// nil. Nil: that is the normal one.
	Class func(o *mail.Origin, own *mail.Class) mail.Class
	// OwnClass reports whether what a client sends may give itself a class, in its header.
	// Nil: nobody's may.
	OwnClass func(o *mail.Origin) bool
	// MaxHops is how many Received fields a message may have (RFC 5321 6.3).
	MaxHops int
	// Room is asked when a transaction begins, before the content is sent: why
	// is no message of so many octets taken at present? The size is what the
	// client has declared, 0 if it has not. Nil: there always is room.
	Room func(size int64) error
	// Suspended is asked for each client and transaction: has an operator
	// suspended the intake? Nil: nobody has.
	Suspended func() bool

	// Policy begins what policy says of a session; it returns nil where that is
	// nothing. Nil: there is no policy, and whoever comes by the network may send to
	// addresses of this host alone.
	Policy func(mail.Origin) *policy.Session
	// Routed returns the address that a recipient at a listener stands for; see
	// policy.Engine. Nil: each stands for itself.
	Routed func(listener string, to mail.Address, connected netip.Addr) mail.Address
	// Choose returns where a recipient goes that is sent on; see route.Table. Nil: each goes
	// by the general route, or by that which policy has chosen.
	Choose func(r mail.Routing, at mail.Destination) mail.Destination
	// VRFY says what a listener tells of addresses. Nil: nothing.
	VRFY func(listener string) Disclosure
	// Auth verifies clients. Nil: nobody can authenticate.
	Auth Authenticator
	// Inspections bounds how many messages policy looks at at a time. Nil: as
	// many as DefaultInspections by this door alone.
	Inspections *Inspections
	// Budget is how long that may take for one, from the end of its data; 0
	// means DefaultBudget.
	Budget time.Duration

	// Signer signs what is stored, and reports. Nil: nobody does.
	Signer report.Signer
	// Ours says whether whoever brought a message may have it signed. Nil: everybody may.
	Ours func(o *mail.Origin) bool

	Clock  mail.Clock
	Logger *slog.Logger
	// Metrics count what is accepted. Nil: for nobody.
	Metrics *Metrics
	// Senders keeps who sends. Nil: nobody does.
	Senders Senders
}

// Store is what an Intake wants of the queue.
type Store interface {
	queue.Accepter
	queue.Marks
}

// Intake takes messages in.
type Intake struct {
	Options
	importing chan struct{} // a token that whoever imports holds
}

// New returns an Intake.
func New(o Options) *Intake {
	if o.Company == nil {
		general := mail.Company{Hostname: o.Hostname}
		o.Company = func(mail.Address) mail.Company { return general }
	}
	if o.Class == nil {
		o.Class = func(*mail.Origin, *mail.Class) mail.Class { return mail.Normal }
	}
	if o.OwnClass == nil {
		o.OwnClass = func(*mail.Origin) bool { return false }
	}
	if o.Room == nil {
		o.Room = func(int64) error { return nil }
	}
	if o.Suspended == nil {
		o.Suspended = func() bool { return false }
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Routed == nil {
		o.Routed = func(_ string, to mail.Address, _ netip.Addr) mail.Address { return to }
	}
	if o.ClientName == nil {
		o.ClientName = func(netip.Addr) func() string { return func() string { return "" } }
	}
	if o.VRFY == nil {
		o.VRFY = func(string) Disclosure { return TellNothing }
	}
	if o.Inspections == nil {
		o.Inspections = NewInspections(0)
	}
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	return &Intake{Options: o, importing: make(chan struct{}, 1)}
}

// Greeting refuses a client while the intake is suspended (RFC 5321 3.1, RFC
// 3463 3.4), and is zero otherwise. Sessions that are open end their
// transaction, and get no other.
func (in *Intake) Greeting() mail.Reply {
	if !in.Suspended() {
		return mail.Reply{}
	}
	return mail.NewReply(421, "4.3.2", "%s: not taking mail at present, please try again later", in.Hostname)
}

// Message is a message on its way in.
type Message struct {
	Origin     mail.Origin
	Envelope   mail.Envelope
	Recipients []mail.Recipient
	// Content has CRLF line ends. An error of it ends the acceptance; a
	// mail.Error is returned as it is.
	Content io.Reader
	// MaxSize is how large it may be, in octets; 0 for any size.
	MaxSize int64
	// Gone is asked just before the commit: has the client left? A client
	// that has left would send the message again.
	Gone func() bool
	// Once names the submission, if it must be taken once although it may be
	// handed in again: Taken tells of it from the commit on. Empty: it is not
	// noted.
	Once string
	// Repaired tells, once the content was read, whether it had to be repaired: it had
	// CR or LF alone, or NUL. Nil: it had not.
	Repaired func() bool
	// Marks are stored with the message, in the same commit.
	Marks []queue.Mark
	// Trail is how policy came to accept it.
	Trail []mail.Decided
}

// The refusals of a store that takes nothing.
var (
	errSuspended = mail.Refuse(451, "4.3.2", "Not taking mail at present, please try again later")
	errNoRoom    = mail.Refuse(452, "4.3.1", "Insufficient system storage, please try again later")
	errStopping  = mail.Refuse(421, "4.3.2", "System shutting down, please try again later")
	errGone      = mail.Refuse(421, "4.4.2", "The client has left")
)

// Accept stores a message and returns its id. When it returns nil, the
// message is on stable storage. Errors: a mail.Error for the client;
// queue.ErrUnknown, when no reply may be sent at all.
func (in *Intake) Accept(ctx context.Context, m Message) (mail.ID, error) {
	t, err := in.take(ctx, &m)
	if err != nil {
		return "", err
	}
	if err := in.signTaken(ctx, &m, &t); err != nil {
		t.draft.Discard()
		return "", storeError(err)
	}
	entry := t.entry(&m)
	entry.Deliveries = in.deliveries(&entry, queued(m.Recipients), t.at)
	fact := in.acceptedFact(&entry, t.summary.MessageID, t.summary.Size)
	fact.Trail = mail.Trail(m.Trail)
	err = in.store(ctx, &m, queue.Group{
		Submissions: []queue.Submission{{Entry: entry, Draft: t.draft}},
		Facts:       []mail.Fact{fact},
		Marks:       t.marks(&m),
	})
	if err != nil {
		if !Fatal(err) { // else the commit may have taken it
			t.draft.Discard()
		}
		return "", err
	}
	in.Metrics.accepted(&entry, t.summary.Size)
	in.sent(&m, &entry.Origin, &t)
	in.Logger.LogAttrs(ctx, slog.LevelInfo, "accepted", slog.String("session", string(m.Origin.Session)), slog.String("message", string(t.id)),
		slog.String("from", entry.Envelope.From.Path()), slog.Int("recipients", len(m.Recipients)), slog.Int64("size", t.summary.Size))
	return t.id, nil
}

// taken is a message whose content has come in whole, and lies in a draft with
// its header completed.
type taken struct {
	id      mail.ID
	at      time.Time // when its data ended
	draft   queue.Draft
	summary message.Summary
	class   mail.Class
}

// missing says which fields a message gets that has none.
func (in *Intake) missing(o *mail.Origin) (addDate, addMessageID bool) {
	if in.Missing != nil {
		return in.Missing(o)
	}
	return in.AddDate, in.AddMessageID
}

// take copies the content into a draft with its header completed. The draft is
// the caller's, unless that fails.
func (in *Intake) take(ctx context.Context, m *Message) (taken, error) {
	draft, err := in.Store.Create(ctx)
	if err != nil {
		return taken{}, storeError(err)
	}
	now := in.Clock.Now()
	t := taken{id: in.IDs.New(now), at: now, draft: draft}
	addDate, addMessageID := in.missing(&m.Origin)
	rewrite := message.Rewrite{
		Received:     in.received(m, t.id, now).String(),
		AddDate:      addDate,
		AddMessageID: addMessageID,
		Drop:         in.DropFields,
		MaxReceived:  in.MaxHops,
		Priority:     in.OwnClass(&m.Origin),
		Host:         in.Company(m.Envelope.From).Hostname,
		ID:           t.id,
		Now:          now,
	}
	if t.summary, err = rewrite.Copy(draft, m.bounded()); err != nil {
		draft.Discard()
		return taken{}, storeError(err)
	}
	t.at = in.Clock.Now() // the content may have taken its time
	t.class = in.Class(&m.Origin, t.summary.Class)
	return t, nil
}

// bounded is the content as far as its client may send it.
func (m *Message) bounded() io.Reader {
	if m.MaxSize <= 0 {
		return m.Content
	}
	return &boundedReader{src: m.Content, left: m.MaxSize, most: m.MaxSize}
}

// boundedReader fails with 552 5.3.4 behind a number of octets.
type boundedReader struct {
	src        io.Reader
	left, most int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &mail.Error{Reply: policy.TooLarge(b.most)}
	}
	return n, err
}

// marks are stored with the message.
func (t *taken) marks(m *Message) []queue.Mark {
	return slices.Concat(notes(m.Once, t.id, t.at), m.Marks)
}

// entry is the message as it came, without its deliveries.
func (t *taken) entry(m *Message) queue.Entry {
	return queue.Entry{
		ID:       t.id,
		Message:  t.id,
		Accepted: t.at,
		Envelope: envelopeFor(m, t.summary),
		Origin:   m.Origin,
		Class:    t.class,
	}
}

// store commits what was made of a message, if its client is still there.
func (in *Intake) store(ctx context.Context, m *Message, g queue.Group) error {
	if m.Gone() {
		return errGone
	}
	if err := in.Store.Accept(ctx, g); err != nil {
		return storeError(err)
	}
	return nil
}

// received is the trace field. Whether a transaction used SMTPUTF8 is not
// known to the session that it belongs to.
func (in *Intake) received(m *Message, id mail.ID, now time.Time) message.Received {
	origin := m.Origin
	if m.Envelope.UTF8 {
		origin.Protocol = smtp.UTF8Protocol(origin.Protocol)
	}
	return message.Received{Origin: origin, Host: in.Company(m.Envelope.From).Hostname, ID: id, Recipients: m.Recipients, Time: now, Account: in.AccountInHeaders}
}

// deliveries puts recipients of an entry for whom nobody has chosen a route where the routes
// have them go.
func (in *Intake) deliveries(e *queue.Entry, recipients []queue.Recipient, next time.Time) []queue.Delivery {
	if in.Choose == nil {
		return queue.Deliveries(recipients, next)
	}
	return queue.DeliveriesBy(recipients, next, func(i int) mail.Destination { return in.destination(e, recipients[i].Address, "") })
}

// destination returns where a recipient of an entry goes, with the route that was chosen
// for it, if any.
func (in *Intake) destination(e *queue.Entry, to mail.Address, chosen mail.RouteKey) mail.Destination {
	at := to.Destination().Via(chosen)
	if in.Choose == nil {
		return at
	}
	return in.Choose(e.Routing(to), at)
}

// envelopeFor states what the content is, not what the client announced:
// some declare 8BITMIME or SMTPUTF8 for every message, and a next server
// without it would have to refuse what it could well take. Which recipient
// needs SMTPUTF8 its address says; the others must not be kept from a server
// without it.
func envelopeFor(m *Message, s message.Summary) mail.Envelope {
	e := m.Envelope
	e.Body = mail.Body7Bit
	if s.EightBit {
		e.Body = mail.Body8BitMIME
	}
	e.UTF8 = e.UTF8 && (s.HeaderUTF8 || !e.From.IsASCII())
	return e
}

// queued returns the recipients as they are stored at first. One that was
// named twice in the same way is kept once.
func queued(recipients []mail.Recipient) []queue.Recipient {
	list := make([]queue.Recipient, 0, len(recipients))
	seen := make(map[mail.Recipient]struct{}, len(recipients))
	for _, r := range recipients {
		if _, twice := seen[r]; twice {
			continue
		}
		seen[r] = struct{}{}
		list = append(list, queue.Recipient{Recipient: r, State: mail.Queued})
	}
	return list
}

func (in *Intake) acceptedFact(e *queue.Entry, messageID string, size int64) mail.Fact {
	f := mail.Fact{
		Time:      e.Accepted,
		Reason:    mail.ReasonAccepted,
		Message:   e.ID,
		Session:   e.Origin.Session,
		From:      e.Envelope.From.Path(),
		To:        e.Addresses(),
		Size:      size,
		MessageID: messageID,
		Origin:    &e.Origin,
		Company:   in.Company(e.Envelope.From).Name,
	}
	if e.Envelope.RequireTLS {
		f.Text = "REQUIRETLS"
	}
	if e.Class != mail.Normal {
		f.Class = e.Class.String()
	}
	return f
}

// storeError gives an error its reply, unless it has one. An error without is
// one of the store, most often: a draft can find the disk full too.
func storeError(err error) error {
	_, replied := errors.AsType[*mail.Error](err)
	switch {
	case replied, errors.Is(err, queue.ErrUnknown):
		return err
	case errors.Is(err, queue.ErrFull):
		return errNoRoom.Because(err)
	case errors.Is(err, queue.ErrClosed):
		return errStopping.Because(err)
	}
	return &mail.Error{Reply: mail.LocalError, Cause: err}
}
