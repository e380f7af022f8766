// Package queue is the contract of Postern's message store, the table of
// recipient states, and the in-memory twin of the engines.
//
// A store keeps entries: a message's envelope, origin and content with the
// recipients that are still to be served. It alone decides what is durable,
// what is due, and who may settle it. It knows no SMTP, no route and no
// policy. The engines are queue/embedded (the default) and, for tests,
// Memory; all pass the suite in queue/queuetest.
//
// The life of an entry: a Draft takes its content; Accept makes it durable
// with its recipients and facts, in one step; Due and Claim hand out its
// deliveries under leases; Settle ends a lease with what became of each
// recipient. When its last recipient is final the entry is gone, and its
// content with the last entry that uses it.
package queue

import (
	"context"
	"io"
	"time"

	"postern/internal/mail"
)

// Entry is one variant of one message, with the recipients that get it.
type Entry struct {
	ID mail.ID `json:"id"`
	// Message is the message this entry is a variant or copy of; most often
	// it is ID itself.
	Message mail.ID `json:"message"`
	// Body names the content: it is the ID of the entry that brought it, and
	// never used again. The store sets it for an entry with a draft; one
	// without names a body already stored.
	Body     mail.ID       `json:"body"`
	Size     int64         `json:"size"` // of the content, in octets; set with Body
	Accepted time.Time     `json:"accepted"`
	Envelope mail.Envelope `json:"envelope"`
	Origin   mail.Origin   `json:"origin"`
	// Class is the priority class.
	Class mail.Class `json:"class"`
	// Tags are what policy noted of the message, in its order.
	Tags []string `json:"tags,omitempty"`
	// TLS is what policy demands of the connections over which it goes.
	TLS        mail.TLSDemand `json:"tls,omitempty"`
	Deliveries []Delivery     `json:"deliveries"`
}

// Addresses lists the recipients' addresses, in the order of the deliveries.
func (e *Entry) Addresses() []string {
	var to []string
	for i := range e.Deliveries {
		for j := range e.Deliveries[i].Recipients {
			to = append(to, e.Deliveries[i].Recipients[j].Address.String())
		}
	}
	return to
}

// Routing returns what the routes ask of a recipient.
func (e *Entry) Routing(to mail.Address) mail.Routing {
	return mail.Routing{From: e.Envelope.From, To: to, Account: e.Origin.Account, Listener: e.Origin.Listener, Tags: e.Tags}
}

// Delivery is the recipients of one entry in one destination: scheduled and
// settled on its own. Destinations are unique within an entry; a store hands
// deliveries out in order of destination.
type Delivery struct {
	Destination mail.Destination `json:"destination"`
	// Attempts counts the attempts registered so far.
	Attempts int `json:"attempts"`
	// Next is when the next attempt is due.
	Next       time.Time   `json:"next"`
	Recipients []Recipient `json:"recipients"`
}

// Recipient is one recipient of an entry, and its state.
type Recipient struct {
	mail.Recipient
	State mail.State `json:"state"`
	Hold  mail.Hold  `json:"hold,omitempty"` // when State is Held
	// Why is what policy said of the hold, for people; it goes with the hold.
	Why string `json:"why,omitempty"`
	// Last is the outcome of the last attempt; nil before the first.
	Last *mail.Outcome `json:"last,omitempty"`
	// Warned is when the sender was told that the recipient has to wait; zero
	// while it was not. It outlasts edits: nobody is told twice.
	Warned time.Time `json:"warned,omitzero"`
	// HeldAt is when an edit held it; zero when it is not held, or was from its
	// acceptance.
	HeldAt time.Time `json:"held_at,omitzero"`
	// Moved is when Regroup moved it last; zero when it never did.
	Moved time.Time `json:"moved,omitzero"`
}

// Deliveries groups recipients by destination, in the order in which they
// were named, each due at next.
func Deliveries(recipients []Recipient, next time.Time) []Delivery {
	return DeliveriesBy(recipients, next, func(i int) mail.Destination { return recipients[i].Address.Destination() })
}

// DeliveriesBy is Deliveries with destinations other than those of the
// addresses, such as policy or an operator has chosen; to tells that of a
// recipient by its place.
func DeliveriesBy(recipients []Recipient, next time.Time, to func(i int) mail.Destination) []Delivery {
	var deliveries []Delivery
	place := make(map[mail.Destination]int)
	for at, r := range recipients {
		destination := to(at)
		i, known := place[destination]
		if !known {
			i = len(deliveries)
			place[destination] = i
			deliveries = append(deliveries, Delivery{Destination: destination, Next: next})
		}
		deliveries[i].Recipients = append(deliveries[i].Recipients, r)
	}
	return deliveries
}

// Draft is content on its way in. It is written once, from one goroutine,
// and then named in a Submission or discarded. Small drafts lie in memory,
// large ones where the store keeps what is incoming.
type Draft interface {
	io.Writer
	io.ReaderAt
	// Size is the number of octets written so far.
	Size() int64
	// Discard frees what the draft holds. After an Accept or Settle that
	// took the draft it does nothing.
	Discard()
}

// Body is stored content, open for reading. Close it; an open body stays
// readable although its entry is settled meanwhile.
type Body interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Submission is an entry to be stored, with its content.
type Submission struct {
	Entry Entry
	// Draft is the content; nil when Entry.Body names content already
	// stored, or that of an earlier submission of the same group.
	Draft Draft
}

// Group is all that one reply answers: stored whole or not at all.
type Group struct {
	Submissions []Submission
	Facts       []mail.Fact
	Marks       []Mark // checkpoints that go with it
}

// Agenda is what is due.
type Agenda struct {
	Destinations []Due
	// Next is when the next delivery that is not yet due becomes due, or a
	// lease is lost unless it is renewed; zero when nothing is waiting. When
	// Destinations has as many as were asked for, more may be due already.
	Next time.Time
}

// Due is a destination that has deliveries due.
type Due struct {
	Destination mail.Destination
	Class       mail.Class // the highest among them
	Count       int
	Oldest      time.Time // the earliest Next among them
}

// Backlog is how many deliveries of a destination wait, and for what: those
// that are due for their turn, Later ones for their time, of which the first is
// Next. Those that are held, leased, or of a suspended sender are in neither.
type Backlog struct {
	Due, Later int
	Class      mail.Class // the highest among those that are due
	Next       time.Time  // zero when none waits for its time
}

// Lease is the right to attempt one delivery until a time, and to settle it.
// Leases are not stored: after a restart none is held.
type Lease struct {
	// Token fences: it is unique to this claim of this delivery.
	Token uint64
	// Entry is the entry with this one delivery in it, and of its recipients
	// those that are queued or deferred.
	Entry Entry
	Until time.Time
}

// Delivery returns the delivery that the lease is for.
func (l *Lease) Delivery() *Delivery { return &l.Entry.Deliveries[0] }

// Attempt returns the number of the attempt that the lease is for, from 1.
func (l *Lease) Attempt() int { return l.Entry.Deliveries[0].Attempts }

// Settlement ends a lease: what became of each recipient.
type Settlement struct {
	Lease Lease
	// Outcomes has one outcome for each recipient of the lease, in order.
	Outcomes []mail.Outcome
	// Next is the time of the next attempt, for recipients that are deferred.
	Next time.Time
	// Warned are those recipients of whose delay New tells the sender, by
	// their places in Outcomes. They must be deferred.
	Warned []int
	// New are entries that this outcome brings forth: a report, a dead
	// letter. A submission without a draft may name the settled entry's body.
	New   []Submission
	Facts []mail.Fact
}

// Move ends a lease of which recipients are to go elsewhere.
type Move struct {
	Lease Lease
	// To has the destination of each recipient of the lease, in order. That of the
	// lease leaves the recipient where it is.
	To []mail.Destination
}

// Filter selects recipients. Every field that is set must match.
type Filter struct {
	IDs         []mail.ID        `json:"ids,omitempty"`
	Destination mail.Destination `json:"destination,omitempty"`
	Sender      string           `json:"sender,omitempty"`    // an address, compared without case
	Recipient   string           `json:"recipient,omitempty"` // likewise
	States      []mail.State     `json:"states,omitempty"`
	Hold        mail.Hold        `json:"hold,omitempty"`
	Before      time.Time        `json:"before,omitzero"`      // accepted before
	HeldBefore  time.Time        `json:"held_before,omitzero"` // held, since before (HeldSince)
	// Where is an expression of package filter. Its ages are counted from the
	// call; in an edit from its beginning, also when a crash cuts it short.
	Where string `json:"where,omitempty"`
}

// ChangeKind is what an edit does to each recipient it selects.
type ChangeKind string

// The kinds of change. Each is refused for recipients whose state does not
// allow it (see the state table); they are left as they are.
const (
	ChangeHold    ChangeKind = "hold"    // to Held, with Change.Hold
	ChangeRelease ChangeKind = "release" // a held one to Queued, due now
	ChangeRemove  ChangeKind = "remove"  // to Removed
	ChangeRetry   ChangeKind = "retry"   // a queued or deferred one is due now
	ChangeReroute ChangeKind = "reroute" // to the delivery of Change.Destination, due now
	// ChangeRecipient gives it the address Change.Recipient, in the delivery
	// of that address's destination, due now. What it was becomes its original
	// recipient, unless it has one (RFC 3461 4.2).
	ChangeRecipient ChangeKind = "set-recipient"
	// ChangeClass gives the whole entry the class Change.Class, also where only some of
	// its recipients are selected, and at once, also where an attempt is under way.
	ChangeClass ChangeKind = "set-class"
)

// Change is an operator's change.
type Change struct {
	Kind        ChangeKind       `json:"kind"`
	Hold        mail.Hold        `json:"hold,omitempty"`
	Destination mail.Destination `json:"destination,omitempty"`
	// Route is the way by which what is rerouted goes to the domain that it goes to already; either
	// this is set, or Destination.
	Route     mail.RouteKey `json:"route,omitempty"`
	Recipient mail.Address  `json:"recipient,omitzero"`
	Class     mail.Class    `json:"class,omitempty"`
	// Why stands in the facts of the change.
	Why string `json:"why,omitempty"`
}

// Edited is the result of an edit, counted in recipients.
type Edited struct {
	Changed int `json:"changed"` // changed now
	Pending int `json:"pending"` // leased: changed when the lease ends, unless it is final by then
}

// Sum is the number of recipients that are or will be changed.
func (e Edited) Sum() int { return e.Changed + e.Pending }

// LowerShare is how many claims of a class there are for one of a lower class.
const LowerShare = 5

// Editing is an edit under way, and what it has done since it began or, after
// a crash, went on.
type Editing struct {
	EditRecord
	Done Edited `json:"done"`
}

// Page is a stretch of a listing, in order of entry ids.
type Page struct {
	After mail.ID // start behind this id; "" for the beginning
	Limit int     // at most this many entries; 0 means 1000
	// Looked, unless it is nil, is called now and then with how many more
	// entries were looked at, selected or not.
	Looked func(more int)
}

// Damaged is an entry that was set aside because it, or its content, cannot
// be read. What could be read of it is kept, and its content with it.
type Damaged struct {
	ID    mail.ID   `json:"id"`
	At    time.Time `json:"at"`             // when it was found
	Body  mail.ID   `json:"body,omitempty"` // its content, when that is known
	Cause string    `json:"cause"`
}

// Mark is a small durable note: a suspension, a reroute, a checkpoint.
type Mark struct {
	Kind  MarkKind  `json:"kind"`
	Key   string    `json:"key"`
	Value string    `json:"value"` // empty: the mark is lifted
	At    time.Time `json:"at"`
	Actor string    `json:"actor,omitempty"`
}

// MarkKind says what a mark is for.
type MarkKind string

// The kinds of mark that suspend something. What waits because of one stays
// queued or deferred; the value is the reason that was given.
const (
	// MarkSuspend suspends the destination that is its key, and with a domain
	// that domain by every route: they are left out of Due, Claim and the siblings
	// a claim brings.
	MarkSuspend MarkKind = "suspend"
	// MarkSuspendSender does so with the deliveries of a sender: an address,
	// "<>", or "@" and a domain, in lower case.
	MarkSuspendSender MarkKind = "suspend sender"
	// MarkSuspendClass does so with the deliveries of a class: its key is the name of that.
	MarkSuspendClass MarkKind = "suspend class"
	// MarkSuspendDelivery does so with all deliveries. Its key is All.
	MarkSuspendDelivery MarkKind = "suspend delivery"
	// MarkSuspendSite says that the mail for a site is to wait: its key is the
	// name that a route gives it. The store gives it out all the same: it does
	// not know sites, that is the scheduler's business.
	MarkSuspendSite MarkKind = "suspend site"
	// MarkSuspendIntake says that no mail is to be taken. The store still
	// accepts it: that is the door's business. Its key is All.
	MarkSuspendIntake MarkKind = "suspend intake"
)

// All is the key of marks that are for everything.
const All = "all"

// Suspensions are the kinds of mark that suspend something.
var Suspensions = []MarkKind{MarkSuspendIntake, MarkSuspendDelivery, MarkSuspendSite, MarkSuspend, MarkSuspendSender, MarkSuspendClass}

// The store, in the parts in which it is used.
type (
	// Store is the whole contract. All methods are safe for use by several
	// goroutines. Slices and entries handed out are the caller's.
	Store interface {
		Accepter
		Scheduler
		Editor
		Reader
		Facts
		Marks
		// Close waits for commits under way, ends everything else with
		// ErrClosed, and frees the store.
		Close() error
	}

	// Accepter takes mail in.
	Accepter interface {
		// Create opens a draft.
		Create(ctx context.Context) (Draft, error)
		// Accept stores a group. When it returns nil, everything in it is on
		// stable storage, and due deliveries may be claimed.
		//
		// Errors: ErrFull or any other error: nothing was stored, and the
		// drafts remain the caller's. ErrUnknown: the commit itself failed,
		// so that nobody knows; no reply may be sent and the process must
		// end. Cancelling ctx has effect only before the commit began.
		Accept(ctx context.Context, g Group) error
	}

	// Scheduler hands out what is due and takes back what became of it.
	Scheduler interface {
		// Due returns up to limit destinations with deliveries that are due
		// at now and neither leased nor suspended: highest class first, then
		// oldest. Those that are parked are left out.
		Due(ctx context.Context, now time.Time, limit int) (Agenda, error)
		// Park leaves a destination out of Due, because the scheduler knows
		// of it and will claim it when it is its turn, or lets it in again.
		// Claim gives its deliveries out all the same. Nothing of it is
		// stored: a destination that has nothing queued is not parked. One that is
		// parked is in Due all the same while something of a higher class is due there than
		// that as which it was parked last.
		Park(d mail.Destination, parked bool, as mail.Class)
		// Shift says that the clock was stepped: every delivery is due, and
		// every lease ends, by so much later on the clock, after the same time.
		// It is true for this life of the store; what it has stored remains.
		Shift(by time.Duration)
		// Hasten makes a delivery due that waits for its time. It reports
		// whether there is one, not leased, that does. As with Shift, what is
		// stored remains.
		Hasten(id mail.ID, d mail.Destination, now time.Time) bool
		// Claim leases up to n due deliveries of a destination until a time,
		// oldest first, highest class first; but while others are due, every
		// LowerShare-th of a class gives way to one of a lower class, so that
		// none waits for ever. For each it also leases the
		// siblings: due deliveries of the same message and variant (entry)
		// in other destinations that are not suspended or leased; these come
		// directly behind it, in order of destination, and do not count
		// towards n. A delivery none of
		// whose recipients is queued or deferred is never due.
		//
		// A claim registers the attempt (Attempts + 1); that needs no sync.
		// A lease that is not renewed, released or settled before its time
		// is lost: the delivery is due again, and the old token is fenced.
		Claim(ctx context.Context, d mail.Destination, n int, now, until time.Time) ([]Lease, error)
		// Renew prolongs leases. Errors: ErrFenced when one of them is lost
		// (the others are prolonged): stop before the final dot.
		Renew(ctx context.Context, leases []Lease, until time.Time) error
		// Release gives leases back untouched, due at next, with no attempt
		// counted. That needs no sync, unless edits were pending. Lost
		// leases are passed over.
		Release(ctx context.Context, leases []Lease, next time.Time) error
		// Regroup ends leases as Release does, all due now, and moves their
		// recipients to the deliveries of other destinations, which are due now
		// too. One that is there already is joined, and of the attempts of the two
		// the larger number counts. Pending edits come first: whom they hold, move or
		// give another address is not moved any more. Like Release it needs no sync unless edits were
		// pending: what a crash undoes is done again at the next attempt. Lost
		// leases are passed over.
		Regroup(ctx context.Context, moves []Move) error
		// Settle ends leases with their outcomes, new entries and facts in
		// one commit, and with whom the sender was warned of. Pending edits
		// are applied to recipients that the outcome leaves in the queue.
		// Repeating a settlement is a no-op.
		//
		// Errors: ErrFenced when a lease was lost: its settlement (new
		// entries and facts too) is left out; all others are done.
		// ErrUnknown as in Accept. Any other error: nothing was done.
		Settle(ctx context.Context, s []Settlement) error
		// Wake receives after something may have become due sooner than the
		// last Agenda said. It is one channel, for one scheduler.
		Wake() <-chan struct{}
	}

	// Editor changes what is queued by hand.
	Editor interface {
		// Edit applies a change to every recipient that the filter selects,
		// in steps of at most 1,000 entries under one durable edit record,
		// each step one commit with its facts. An edit that a crash or Close
		// cut short is finished when the store opens again; ctx has effect
		// only before the first step. A recipient in a
		// leased delivery is changed by the Settle or Release that ends the
		// lease, or when the lease is lost; a final outcome wins.
		Edit(ctx context.Context, f Filter, c Change, actor string) (Edited, error)
		// Editing returns the edit that has begun and has not ended.
		Editing() (e Editing, underWay bool)
	}

	// Reader reads what is stored.
	Reader interface {
		// Get returns an entry with all deliveries that have recipients
		// still stored. Errors: ErrNotFound.
		Get(ctx context.Context, id mail.ID) (Entry, error)
		// List returns the entries of which the filter selects at least one
		// recipient, whole, in order of id.
		List(ctx context.Context, f Filter, p Page) ([]Entry, error)
		// Count counts the recipients that the filter selects, by state.
		Count(ctx context.Context, f Filter) (map[mail.State]int, error)
		// Classes counts the recipients that are queued or deferred, by class.
		Classes() map[mail.Class]int
		// Entries returns the number of entries.
		Entries() int
		// Leased returns the number of leases held now.
		Leased() int
		// LeasedIn returns the deliveries of an entry that are leased now.
		LeasedIn(id mail.ID) []mail.Destination
		// Backlog returns what waits for a destination, suspended or not, as
		// of the last Due or Claim.
		Backlog(d mail.Destination) Backlog
		// Body opens content. Errors: ErrNotFound; ErrDamaged when its bytes
		// fail their check, also from ReadAt. The entries of a body that
		// was found damaged are set aside when they are claimed again.
		Body(ctx context.Context, id mail.ID) (Body, error)
		// Damaged returns the entries that were set aside, in order of id.
		// They are in no other listing or count.
		Damaged(ctx context.Context, p Page) ([]Damaged, error)
	}

	// Facts is the store's list of facts that are not yet in the journal.
	Facts interface {
		// NextFacts returns up to limit durable facts with N > after, in
		// order of N. Numbers begin at 1 and are never reused.
		NextFacts(ctx context.Context, after uint64, limit int) ([]mail.Fact, error)
		// ForgetFacts drops the facts up to and including n: they are in the
		// journal. Numbering goes on behind n even if it never gave n out.
		ForgetFacts(ctx context.Context, n uint64) error
		// FactsWake receives after facts became durable. It is one channel,
		// for one reader.
		FactsWake() <-chan struct{}
	}

	// Marks keeps marks.
	Marks interface {
		// PutMark sets a mark, or lifts it when its value is empty, together
		// with its fact.
		PutMark(ctx context.Context, m Mark, f mail.Fact) error
		// Mark returns one mark. Errors: ErrNotFound.
		Mark(ctx context.Context, kind MarkKind, key string) (Mark, error)
		// ListMarks returns the marks of a kind in order of key.
		ListMarks(ctx context.Context, kind MarkKind) ([]Mark, error)
	}
)
