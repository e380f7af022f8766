package dsn

import (
	"strings"

	"postern/internal/mail"
)

// Action is what a report says was done for its recipients (RFC 3464 2.3.3).
type Action string

// The actions.
const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered" // to the mailbox itself
	Relayed   Action = "relayed"   // to a server that tells no delivery status
	Expanded  Action = "expanded"  // to the members of a list
)

// Actions are all actions, in the order of this file.
var Actions = []Action{Failed, Delayed, Delivered, Relayed, Expanded}

// ActionFor returns the action of a report about recipients in state s, or ""
// when there is nothing to report.
func ActionFor(s mail.State) Action {
	switch s {
	case mail.Bounced, mail.Expired:
		return Failed
	case mail.Deferred:
		return Delayed
	case mail.Delivered:
		return Delivered
	case mail.Relayed:
		return Relayed
	case mail.Expanded:
		return Expanded
	}
	return ""
}

// kind is how an action is told.
type kind struct {
	subject string
	one     string // introduces one recipient
	many    string // introduces several
	// note stands below the recipients; "" when each has words enough.
	note string
	// classes of status codes that can stand beside the action, the usual one
	// first (RFC 3463 2): what failed in the end may have failed for now each time.
	classes string
}

var kinds = map[Action]kind{
	Failed: {
		subject: "Your message could not be delivered",
		one:     "Your message could not be delivered to this recipient:",
		many:    "Your message could not be delivered to these recipients:",
		classes: "54",
	},
	Delayed: {
		subject: "Your message is delayed",
		one:     "Your message has not yet been delivered to this recipient:",
		many:    "Your message has not yet been delivered to these recipients:",
		note:    "You need not send it again: it is kept, and delivery is tried again.",
		classes: "4",
	},
	Delivered: {
		subject: "Your message was delivered",
		one:     "Your message was delivered to this recipient, as you asked to be told:",
		many:    "Your message was delivered to these recipients, as you asked to be told:",
		note:    "That does not mean that it was read.",
		classes: "2",
	},
	Relayed: {
		subject: "Your message was passed on",
		one:     "Your message was passed on to the next mail server for this recipient:",
		many:    "Your message was passed on to the next mail server for these recipients:",
		note: "You asked to be told of delivery. That server does not tell of it: " +
			"you will hear no more of this message, unless delivery fails there.",
		classes: "2",
	},
	Expanded: {
		subject: "Your message was passed on to several addresses",
		one:     "Your message was passed on to all addresses for which this one stands:",
		many:    "Your message was passed on to all addresses for which these stand:",
		note:    "You asked to be told of delivery. You will not be told what becomes of the message at each of them, unless it fails there.",
		classes: "2",
	},
}

// status returns the status code for a reply (RFC 3463 2), of a class that
// can stand beside the action. A reply without a code tells the class alone.
func (k kind) status(r mail.Reply) string {
	class, detail, _ := strings.Cut(r.Status(), ".")
	if len(class) != 1 || !strings.Contains(k.classes, class) {
		class = k.classes[:1]
	}
	if !isDetail(detail) {
		detail = "0.0"
	}
	return class + "." + detail
}

// isDetail reports whether s is a status code without its class, "1.1".
func isDetail(s string) bool {
	parts := strings.Split(s, ".")
	for _, part := range parts {
		if part == "" || len(part) > 3 || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return len(parts) == 2
}
