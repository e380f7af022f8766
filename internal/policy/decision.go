package policy

import (
	"time"

	"postern/internal/mail"
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
	// Route is the server by which it goes, as host:port; empty for the usual way.
	Route string
	// RequireTLS lets it go by TLS only.
	RequireTLS bool
	Tags       []string
	// Edits are the changes of the header, in order.
	Edits []Edit
	// Copies get the same mail without the recipient's knowing, Added are
	// recipients besides this one.
	Copies, Added []mail.Address
}

// EditOp is a way to change the header of a message.
type EditOp int

// The ways to change a header. AddField puts the field on top, RemoveFields takes
// out all of the name, ReplaceField does both.
const (
	AddField EditOp = iota
	RemoveFields
	ReplaceField
)

// Edit is one change of the header. Value is empty for RemoveFields.
type Edit struct {
	Op          EditOp
	Name, Value string
}

// Addressee is a recipient that was accepted, with its treatment so far.
type Addressee struct {
	Recipient mail.Recipient
	Treatment Treatment
}

// Disposition is the answer to the content of a message. The Decision speaks for
// the whole message; when it accepts, the Variants say who gets what.
type Disposition struct {
	Decision
	Variants []Variant
}

// Variant is the message as a group of recipients gets it: what differs in sender
// or header needs an entry of its own. Recipients that are discarded are among
// them, so that each has its fact.
type Variant struct {
	Sender     *mail.Address // nil for the one it came with
	Edits      []Edit
	Recipients []Addressee
}

// Message is the content of a message, as far as a handler asks for it. What is
// asked for is worked out then, and once.
type Message interface {
	// Size is in octets.
	Size() int64
	// Header returns the decoded values of the fields, by name in lower case.
	Header() map[string][]string
	// Inspect looks through the parts of the message.
	Inspect() Content
	// Body returns the begin of what follows the header, at most max octets, with
	// the transfer encoding of a message that has no parts undone.
	Body(max int) string
}

// Content is what was found in a message; all of it is decoded.
type Content struct {
	Subject     string
	From        []mail.Address // of the From fields
	Attachments []string       // their names
	Types       []string       // of all parts, as "text/plain", in lower case
	// Readable says that all parts could be looked at. Of others, the rest is what
	// was found nevertheless.
	Readable bool
}
