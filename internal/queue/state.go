package queue

import "postern/internal/mail"

// transitions is the state table: what may follow each stored state. Final
// states have no successor. "Active" is not a state: it is a lease.
// docs/states.md shows the table; a test holds the two together.
var transitions = map[mail.State][]mail.State{
	"": { // at acceptance; deferred is what was tried in another queue, and imported
		mail.Queued, mail.Deferred, mail.Held,
	},
	mail.Queued: {
		mail.Deferred, mail.Held,
		mail.Delivered, mail.Relayed, mail.Expanded, mail.Bounced, mail.Expired, mail.Removed, mail.Dead, mail.Discarded,
	},
	mail.Deferred: {
		mail.Deferred, mail.Held,
		mail.Delivered, mail.Relayed, mail.Expanded, mail.Bounced, mail.Expired, mail.Removed, mail.Dead, mail.Discarded,
	},
	mail.Held: {
		mail.Queued, mail.Expired, mail.Removed, mail.Discarded,
	},
}

// CanFollow reports whether a recipient may go from one state to another.
// From "" tells in which states a recipient may begin.
func CanFollow(from, to mail.State) bool {
	for _, s := range transitions[from] {
		if s == to {
			return true
		}
	}
	return false
}
