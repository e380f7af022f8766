package queue

import (
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// Settling is a call of Settle under way: the settlements whose leases are
// held. Those that were settled before are left out, and so are those whose
// leases are lost; for these Fenced is ErrFenced.
type Settling struct {
	Now     time.Time
	ByEntry [][]Ending // the settlements of one entry each
	Fenced  error
}

// Ending is a settlement whose lease is held.
type Ending struct {
	Claimed    Claimed
	Settlement *Settlement
}

// BeginSettlements sorts out which leases are held. These cannot be lost
// until Index.Apply or Index.Abort. Their entries must be locked, unless the
// engine has a lock of its own.
func BeginSettlements(x *Index, settlements []Settlement, now time.Time) *Settling {
	b := &Settling{Now: now}
	var held []Ending
	for i := range settlements {
		s := &settlements[i]
		switch c, standing := x.Begin(&s.Lease, now); standing {
		case LeaseHeld:
			held = append(held, Ending{c, s})
		case LeaseLost:
			b.Fenced = ErrFenced
		case LeaseSettled: // this is a repetition
		}
	}
	slices.SortStableFunc(held, func(a, b Ending) int { return strings.Compare(string(a.Claimed.ID), string(b.Claimed.ID)) })
	for i := range held {
		if last := len(b.ByEntry) - 1; last >= 0 && b.ByEntry[last][0].Claimed.ID == held[i].Claimed.ID {
			b.ByEntry[last] = append(b.ByEntry[last], held[i])
		} else {
			b.ByEntry = append(b.ByEntry, []Ending{held[i]})
		}
	}
	return b
}

// Leases returns the leases of endings.
func Leases(endings []Ending) []Claimed {
	leases := make([]Claimed, len(endings))
	for i := range endings {
		leases[i] = endings[i].Claimed
	}
	return leases
}

// Leases returns all leases.
func (b *Settling) Leases() []Claimed {
	var all []Claimed
	for _, endings := range b.ByEntry {
		all = append(all, Leases(endings)...)
	}
	return all
}

// Facts returns all facts that the settlements bring.
func (b *Settling) Facts() []mail.Fact {
	var all []mail.Fact
	for _, endings := range b.ByEntry {
		for _, e := range endings {
			all = append(all, e.Settlement.Facts...)
		}
	}
	return all
}

// New returns all entries that the settlements bring forth.
func (b *Settling) New() []Submission {
	var all []Submission
	for _, endings := range b.ByEntry {
		for _, e := range endings {
			all = append(all, e.Settlement.New...)
		}
	}
	return all
}
