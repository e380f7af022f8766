package mail

// State is the state of one recipient of one message. The table of which
// state may follow which is in package queue.
type State string

// The stored states: the recipient is still in the queue.
const (
	Queued   State = "queued"   // waits for its first attempt
	Deferred State = "deferred" // an attempt failed for now; waits for the next
	Held     State = "held"     // waits for a person; the Hold says why
)

// The final states: the recipient has left the queue, for this reason.
const (
	Delivered State = "delivered" // the next server or mailbox took it
	Relayed   State = "relayed"   // the next server took it but tells no DSN
	Expanded  State = "expanded"  // replaced by the members of a list
	Bounced   State = "bounced"   // refused for good
	Expired   State = "expired"   // still failing when its time was over
	Removed   State = "removed"   // taken out by an operator
	Dead      State = "dead"      // failed, with nobody to tell; kept as a dead letter
	Discarded State = "discarded" // dropped by policy
)

// States are all states, stored first, in the order of this file.
var States = []State{Queued, Deferred, Held, Delivered, Relayed, Expanded, Bounced, Expired, Removed, Dead, Discarded}

// Stored reports whether a recipient in state s is still in the queue.
func (s State) Stored() bool { return s == Queued || s == Deferred || s == Held }

// Final reports whether s is one of the final states.
func (s State) Final() bool {
	switch s {
	case Delivered, Relayed, Expanded, Bounced, Expired, Removed, Dead, Discarded:
		return true
	}
	return false
}

// Hold is why a recipient is held.
type Hold string

// The reasons for a hold.
const (
	HoldPolicy     Hold = "policy"
	HoldOperator   Hold = "operator"
	HoldQuarantine Hold = "quarantine"
	HoldRoute      Hold = "route"
	HoldDeadLetter Hold = "dead letter"
	HoldDamage     Hold = "damage" // its state is not certain since the store was damaged
)
