package queue

import (
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// Settling is a call of Settle, Release or Regroup under way: the leases that are
// held. Those that were settled before are left out, and so are those that are
// lost; for these Fenced is ErrFenced.
type Settling struct {
	Now     time.Time
	ByEntry [][]Ending // those of one entry each
	Fenced  error
}

// Ending is the end of a lease.
type Ending struct {
	Lease      *Lease
	Settlement *Settlement        // of Settle
	To         []mail.Destination // of Regroup
	Claimed    Claimed            // once it has begun
}

// SettlementEndings are the ends of leases that settlements bring.
func SettlementEndings(settlements []Settlement) []Ending {
	endings := make([]Ending, len(settlements))
	for i := range settlements {
		endings[i] = Ending{Lease: &settlements[i].Lease, Settlement: &settlements[i]}
	}
	return endings
}

// ReleaseEndings are those of leases that are given back.
func ReleaseEndings(leases []Lease) []Ending {
	endings := make([]Ending, len(leases))
	for i := range leases {
		endings[i].Lease = &leases[i]
	}
	return endings
}

// MoveEndings are those of leases whose recipients move.
func MoveEndings(moves []Move) []Ending {
	endings := make([]Ending, len(moves))
	for i := range moves {
		endings[i] = Ending{Lease: &moves[i].Lease, To: moves[i].To}
	}
	return endings
}

// BeginEndings sorts out which leases are held. These cannot be lost
// until Index.Apply or Index.Abort. Their entries must be locked, unless the
// engine has a lock of its own.
func BeginEndings(x *Index, endings []Ending, now time.Time) *Settling {
	b := &Settling{Now: now}
	var held []Ending
	for _, e := range endings {
		switch c, standing := x.Begin(e.Lease, now); standing {
		case LeaseHeld:
			e.Claimed = c
			held = append(held, e)
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

// settlements are those of Settle.
func (b *Settling) settlements() (all []*Settlement) {
	for _, endings := range b.ByEntry {
		for _, e := range endings {
			if e.Settlement != nil {
				all = append(all, e.Settlement)
			}
		}
	}
	return all
}

// Facts returns all facts that the settlements bring.
func (b *Settling) Facts() []mail.Fact {
	var all []mail.Fact
	for _, s := range b.settlements() {
		all = append(all, s.Facts...)
	}
	return all
}

// New returns all entries that the settlements bring forth.
func (b *Settling) New() []Submission {
	var all []Submission
	for _, s := range b.settlements() {
		all = append(all, s.New...)
	}
	return all
}
