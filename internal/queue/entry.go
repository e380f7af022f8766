package queue

import (
	"slices"

	"postern/internal/mail"
)

// FactSource names the store in the facts that it hands out.
const FactSource = "queue"

// Clone returns a copy of e that shares nothing with it.
func (e *Entry) Clone() Entry {
	c := *e
	c.Origin.TLS = clonePointer(e.Origin.TLS)
	c.Deliveries = slices.Clone(e.Deliveries)
	for i := range c.Deliveries {
		c.Deliveries[i] = c.Deliveries[i].clone()
	}
	return c
}

func (d Delivery) clone() Delivery {
	d.Recipients = slices.Clone(d.Recipients)
	for i := range d.Recipients {
		r := &d.Recipients[i]
		r.Last = clonePointer(r.Last)
		if r.Last != nil {
			r.Last.TLS = clonePointer(r.Last.TLS)
		}
	}
	return d
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// find returns the position of a destination's delivery, or -1.
func (e *Entry) find(d mail.Destination) int {
	return slices.IndexFunc(e.Deliveries, func(x Delivery) bool { return x.Destination == d })
}

// waiting reports whether the recipient is to be attempted.
func (r *Recipient) waiting() bool { return r.State == mail.Queued || r.State == mail.Deferred }

// ForAttempt reduces d to what a lease on n recipients shows: of the
// recipients that are queued or deferred the first n. Later ones came while
// the lease was held.
func (d *Delivery) ForAttempt(n int) {
	var leased []Recipient
	for i := range d.Recipients {
		if len(leased) < n && d.Recipients[i].waiting() {
			leased = append(leased, d.Recipients[i])
		}
	}
	d.Recipients = leased
}

// tally counts the recipients of a delivery, or of many, by stored state.
type tally struct{ queued, deferred, held int }

func (d *Delivery) tally() tally {
	var t tally
	for i := range d.Recipients {
		t.count(d.Recipients[i].State, 1)
	}
	return t
}

func (t *tally) count(s mail.State, n int) {
	switch s {
	case mail.Queued:
		t.queued += n
	case mail.Deferred:
		t.deferred += n
	case mail.Held:
		t.held += n
	}
}

func (t *tally) add(other tally, sign int) {
	t.queued += sign * other.queued
	t.deferred += sign * other.deferred
	t.held += sign * other.held
}

// waiting is the number of recipients to be attempted.
func (t tally) waiting() int { return t.queued + t.deferred }

// byState returns the counts that are not zero.
func (t tally) byState() map[mail.State]int {
	counts := make(map[mail.State]int)
	for state, n := range map[mail.State]int{mail.Queued: t.queued, mail.Deferred: t.deferred, mail.Held: t.held} {
		if n > 0 {
			counts[state] = n
		}
	}
	return counts
}
