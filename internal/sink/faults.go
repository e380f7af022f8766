package sink

import "postern/internal/mail"

const (
	// faultsPerMessage is how many attempts fail at an address that fails for
	// a while.
	faultsPerMessage = 2
	// maxFaults is how many senders and recipients are remembered.
	maxFaults = 10_000
)

// attempted is what an attempt is told apart by.
type attempted struct{ from, to mail.Address }

// faults counts the attempts that failed. The zero value has none.
type faults struct {
	failed map[attempted]int
}

// next reports whether this attempt is to fail too. The count begins anew
// after one that did not. When there are too many to remember, all counts
// begin anew: some messages then fail more often, but none for ever.
func (f *faults) next(a attempted) bool {
	if f.failed[a] == faultsPerMessage {
		delete(f.failed, a)
		return false
	}
	if f.failed == nil || len(f.failed) >= maxFaults && f.failed[a] == 0 {
		f.failed = make(map[attempted]int)
	}
	f.failed[a]++
	return true
}
