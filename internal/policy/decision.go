package policy

import (
	"time"

	"postern/internal/mail"
	"postern/internal/message"
)

// Verdict is what a decision comes to.
type Verdict int

// The verdicts. Accept is the zero value: nothing speaks against it.
const (
	Accept Verdict = iota
	Reject         // for good
	Defer          // for now
)

// String returns the word for the verdict, which is that of the step, too.
func (v Verdict) String() string { return [...]string{"accept", "reject", "defer"}[v] }

// Decision is the answer to one command. The zero Decision accepts, and leaves the
// reply to the server.
type Decision struct {
	Verdict Verdict
	// Reply is what the client is told; the zero Reply with Accept.
	Reply mail.Reply
	// Greeting is the text of the first line of the reply to EHLO and HELO; empty
	// where policy has none, and at other commands.
	Greeting string
	// Trail is what was decided at this command, in order.
	Trail []mail.Decided
}

// Treatment is what becomes of one recipient's mail, by all commands so far. The
// zero Treatment changes nothing.
type Treatment struct {
	// Address is where the mail goes instead; the null address for where it was
	// addressed.
	Address mail.Address
	// Rewritten says that Address is made of what the client wrote, and no address
	// of the administrator's own.
	Rewritten bool
	// Sender is the sender that the mail has instead; nil for the one it came with.
	Sender *mail.Address
	// Hold keeps the mail for a person, with the Note that says why; empty: it is
	// not held.
	Hold mail.Hold
	Note string
	// NotBefore is when it may be delivered; the zero time for at once.
	NotBefore time.Time
	// Discard drops the mail for this recipient without a report.
	Discard bool
	// Route is the route by which it goes; empty for the usual one.
	Route mail.RouteKey
	// TLS is what its connections must be.
	TLS mail.TLSDemand
	// Class is the priority class that the mail has instead; nil for the one it has.
	Class *mail.Class
	Tags  []string
	// Edits are the changes of the header, in order.
	Edits []message.Edit
	// Copies get the same mail without the recipient's knowing, Added are
	// recipients besides this one.
	Copies, Added []mail.Address
}

// Addressee is a recipient that was accepted, with its treatment so far.
type Addressee struct {
	Recipient mail.Recipient
	Treatment Treatment
	// Trail is what was decided about it.
	Trail []mail.Decided
}

// Disposition is the answer to the content of a message. The Decision speaks for
// the whole message; when it accepts, the Recipients are those that Data was given,
// in their order, with what becomes of each.
type Disposition struct {
	Decision
	Recipients []Addressee
}

// Message is the content of a message, as far as a handler asks for it. What is
// asked for is worked out then.
type Message interface {
	// Size is in octets.
	Size() int64
	// Inspect looks through header and parts. It fails when the content cannot be
	// read from where it lies.
	Inspect() (*message.Inspection, error)
	// Body returns the begin of what follows the header, at most max octets, with
	// the transfer encoding of a message that has no parts undone. It fails as
	// Inspect does.
	Body(max int) (string, error)
}
