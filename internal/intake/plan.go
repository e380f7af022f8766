package intake

import (
	"time"

	"postern/internal/mail"
)

// Plan is what policy has decided about a message that came in: what becomes
// of each recipient. Whatever does not stand in it stays as it came.
type Plan struct {
	// Recipients are those of the message, each once, with what is done for it;
	// and those that policy added.
	Recipients []Addressee
	// Copies are sent beside it.
	Copies []Copy
	// Trail is how policy came to accept the message.
	Trail []mail.Decided
}

// Addressee is one recipient, and what policy does for it. The zero value of
// each field does nothing.
type Addressee struct {
	// Recipient is the one that was accepted at RCPT; of one that policy added,
	// the address.
	mail.Recipient
	// Added says that policy added it: the sender does not know of it, and is
	// told nothing of it (RFC 3461 4.1), unless Notify says otherwise.
	Added bool
	// Address is where its mail goes instead (redirect, rewrite): reports name
	// the one that the sender gave.
	Address mail.Address
	// Discard drops the message for it, and tells nobody; all that stands
	// below is then of no matter, but for Trail.
	Discard bool
	// Hold keeps it until a person decides; Why says, for people, what for.
	Hold mail.Hold
	Why  string
	// NotBefore is when it is attempted first; zero or past: now.
	NotBefore time.Time
	// Route is the key of the route by which it goes.
	Route mail.RouteKey
	// TLS is what its connections must be.
	TLS mail.TLSDemand
	// Tags are noted, in this order.
	Tags []string
	// Sender is the reverse-path with which it goes instead of the message's;
	// nil: that one. It may be the null one.
	Sender *mail.Address
	// Edits are what is changed in the header for it, in this order.
	Edits []Edit
	// Trail is how policy came to do so.
	Trail []mail.Decided
}

// Copy is a copy of the message to another address. It goes with the null
// sender, so that nothing that becomes of it can reach the sender of the
// message; one that cannot be delivered is a dead letter.
type Copy struct {
	To    mail.Address
	Route mail.RouteKey
	TLS   mail.TLSDemand
	Tags  []string
	Edits []Edit
	Trail []mail.Decided
}

// Edit is one change of the header.
type Edit struct {
	Do EditKind
	// Name is that of the field; Value, for all but removal, what follows the
	// colon: unfolded or folded, without the CRLF at its end.
	Name, Value string
}

// EditKind is what an Edit does.
type EditKind string

// The kinds of edit.
const (
	// EditAdd puts a field at the end of the header.
	EditAdd EditKind = "add"
	// EditRemove takes all fields of that name out.
	EditRemove EditKind = "remove"
	// EditReplace puts a field in the place of the first of that name, takes the
	// others out, and adds it at the end when there is none.
	EditReplace EditKind = "replace"
)
