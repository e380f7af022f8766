package mail

import (
	"net/netip"
	"time"
)

// Reason says what a fact is about. The list is closed: docs/reasons.md has
// a line for each, and a test holds the two together.
type Reason string

// What can happen to a message, in the order in which it usually does.
const (
	ReasonAccepted     Reason = "accepted"     // content and envelope are on stable storage
	ReasonRefused      Reason = "refused"      // a command or a message was refused
	ReasonRouted       Reason = "routed"       // a route was chosen for an attempt
	ReasonAttempted    Reason = "attempted"    // a transaction with the next server has ended
	ReasonDelivered    Reason = "delivered"    // the next server took it for this recipient
	ReasonRelayed      Reason = "relayed"      // likewise, and it will tell no DSN
	ReasonExpanded     Reason = "expanded"     // the recipient was replaced by those for whom it stands
	ReasonDeferred     Reason = "deferred"     // failed for now, with the time of the next attempt
	ReasonBounced      Reason = "bounced"      // failed for good
	ReasonExpired      Reason = "expired"      // still failing when its time was over
	ReasonDead         Reason = "dead"         // failed with nobody to tell; kept as a dead letter
	ReasonDiscarded    Reason = "discarded"    // dropped by policy
	ReasonHeld         Reason = "held"         // waits for a person
	ReasonReleased     Reason = "released"     // a hold ended
	ReasonRetried      Reason = "retried"      // an operator asked for an attempt now
	ReasonRerouted     Reason = "rerouted"     // an operator gave it another destination
	ReasonReaddressed  Reason = "readdressed"  // policy, an alias or an operator gave it another address
	ReasonReclassified Reason = "reclassified" // an operator gave it another priority class
	ReasonRemoved      Reason = "removed"      // an operator took it out
	ReasonDamaged      Reason = "damaged"      // stored bytes cannot be read; set aside
)

// What can happen to the server.
const (
	ReasonStarted             Reason = "started"              // the server is ready
	ReasonStopped             Reason = "stopped"              // the server has ended in good order
	ReasonReloaded            Reason = "reloaded"             // the configuration was read again, and is in force
	ReasonReloadFailed        Reason = "reload-failed"        // it was read again and is wrong: nothing has changed
	ReasonOpened              Reason = "opened"               // a listener was started by hand
	ReasonClosed              Reason = "closed"               // a listener was stopped by hand
	ReasonMarked              Reason = "marked"               // a mark was set or lifted (a suspension)
	ReasonPressed             Reason = "pressed"              // something runs short: mail is not taken, or from fewer clients
	ReasonEased               Reason = "eased"                // there is enough of it again
	ReasonUnreachable         Reason = "unreachable"          // a site is left alone for a while: it could not be reached
	ReasonReached             Reason = "reached"              // it can be reached again
	ReasonTargetUp            Reason = "target-active"        // a target server of a pool takes mail
	ReasonTargetDown          Reason = "target-not-usable"    // it does not
	ReasonTargetChanged       Reason = "target-changed"       // it came to a pool or left it, was drained or reconnected
	ReasonListRead            Reason = "list-read"            // the file of a list has changed, and is in force
	ReasonListFailed          Reason = "list-failed"          // it has changed and is wrong: the list is as before
	ReasonCertificateChanged  Reason = "certificate-changed"  // another is in use, or a command has changed what there is
	ReasonCertificateFailed   Reason = "certificate-failed"   // one could not be read, or had: that of before stays in use
	ReasonCertificateExpiring Reason = "certificate-expiring" // its end is near, or has come
	ReasonSigningKey          Reason = "signing-key"          // a key for signatures was made, is active, or was removed
	ReasonLeftOut             Reason = "left-out"             // a block list is not asked for a while: it fails, or lies
	ReasonAskedAgain          Reason = "asked-again"          // it answers again
	ReasonSourceDown          Reason = "source-down"          // a source of users answers nothing: clients are told to come back
	ReasonSourceUp            Reason = "source-up"            // it answers again
	ReasonCredentialFailed    Reason = "credential-failed"    // this server cannot prove who it is to another: mail for that waits
	ReasonCredentialWorks     Reason = "credential-works"     // it can again
	ReasonLoginFailed         Reason = "login-failed"         // passwords were wrong; Count says how many
	ReasonBanned              Reason = "banned"               // a network or an account is kept out for a while
	ReasonStepped             Reason = "stepped"              // the clock was set
	ReasonOverflow            Reason = "overflow"             // facts were lost for want of room; Count says how many
	ReasonBackedUp            Reason = "backed-up"            // a backup was begun, with the private keys
	ReasonDirectory           Reason = "directory-changed"    // a user, domain, alias, list, ban or credential was created, changed or removed
)

// Reasons are all reasons, in the order of this file.
var Reasons = []Reason{
	ReasonAccepted, ReasonRefused, ReasonRouted, ReasonAttempted, ReasonDelivered, ReasonRelayed,
	ReasonExpanded, ReasonDeferred, ReasonBounced, ReasonExpired, ReasonDead, ReasonDiscarded,
	ReasonHeld, ReasonReleased, ReasonRetried, ReasonRerouted, ReasonReaddressed, ReasonReclassified, ReasonRemoved, ReasonDamaged,
	ReasonStarted, ReasonStopped, ReasonReloaded, ReasonReloadFailed, ReasonOpened, ReasonClosed,
	ReasonMarked, ReasonPressed, ReasonEased, ReasonUnreachable, ReasonReached, ReasonTargetUp, ReasonTargetDown, ReasonTargetChanged, ReasonListRead,
	ReasonListFailed, ReasonCertificateChanged, ReasonCertificateFailed, ReasonCertificateExpiring,
	ReasonSigningKey, ReasonLeftOut, ReasonAskedAgain, ReasonSourceDown, ReasonSourceUp, ReasonCredentialFailed, ReasonCredentialWorks, ReasonLoginFailed, ReasonBanned,
	ReasonStepped, ReasonOverflow, ReasonBackedUp, ReasonDirectory,
}

// ReasonFor returns the reason of the fact that a recipient came to state s.
// It returns "" for Queued, which is part of "accepted".
func ReasonFor(s State) Reason {
	if s == Queued {
		return ""
	}
	return Reason(s)
}

// Fact is something that happened. The journal is the log of facts.
//
// Source and N name it for good: the source numbers its facts in the order
// in which they became durable, and whoever records a fact leaves both empty.
type Fact struct {
	Source string    `json:"source"`
	N      uint64    `json:"n"`
	Time   time.Time `json:"time"`
	Reason Reason    `json:"reason"`

	// Message is the id of the queue entry; Session that of the SMTP session.
	Message ID `json:"message,omitempty"`
	Session ID `json:"session,omitempty"`
	// About is the message a report speaks of, the one that a dead letter or
	// an imported message was, or the one that a variant or copy is of.
	About ID `json:"about,omitempty"`

	// From is the sender as a path: "<joe@example.com>" or "<>".
	From string `json:"from,omitempty"`
	// To are the recipients the fact is about.
	To []string `json:"to,omitempty"`
	// Size is that of the stored content in octets.
	Size int64 `json:"size,omitempty"`
	// MessageID is the Message-ID field, with its brackets.
	MessageID string  `json:"message_id,omitempty"`
	Origin    *Origin `json:"origin,omitempty"`
	// Company is the name of the company that the message is of, and Class its priority
	// class; empty for none, and for the normal one.
	Company string `json:"company,omitempty"`
	Class   string `json:"class,omitempty"`

	// Attempt counts from 1. Next is when the next one is due.
	Attempt int       `json:"attempt,omitempty"`
	Next    time.Time `json:"next,omitzero"`
	// Route is the route's name; Host and Address the server it led to.
	Route   string         `json:"route,omitempty"`
	Host    string         `json:"host,omitempty"`
	Address netip.AddrPort `json:"address,omitzero"`
	TLS     *TLS           `json:"tls,omitempty"`
	// TLSPolicy is what an attempt demanded of TLS, and why that was met or was not.
	TLSPolicy *TLSPolicy `json:"tls_policy,omitempty"`
	// Command is what Reply answers. Remote says that Reply is the peer's;
	// else it is Postern's own words for what happened.
	Command string `json:"command,omitempty"`
	Reply   *Reply `json:"reply,omitempty"`
	Remote  bool   `json:"remote,omitempty"`

	// Hold is why a recipient is held.
	Hold Hold `json:"hold,omitempty"`
	// Trail are the decisions of policy that led to this, in their order, as
	// Trail bounds them.
	Trail []Decided `json:"trail,omitempty"`
	// Actor is the person or program that asked for a change.
	Actor string `json:"actor,omitempty"`
	// Count is how many facts one overflow stands for, or how many wrong passwords.
	Count uint64 `json:"count,omitempty"`
	// Text is what no other field says: the private cause of a failure, what a
	// report tells, a version, the value of a mark, what runs short.
	Text string `json:"text,omitempty"`
}
