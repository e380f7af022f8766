package queue

import (
	"slices"
	"time"

	"postern/internal/mail"
)

// FactSource names the store in the facts that it hands out.
const FactSource = "queue"

// Clone returns a copy of e that shares nothing with it.
func (e *Entry) Clone() Entry {
	c := *e
	c.Origin.TLS = clonePointer(e.Origin.TLS)
	c.Tags = slices.Clone(e.Tags)
	c.Deliveries = slices.Clone(e.Deliveries)
	for i := range c.Deliveries {
		c.Deliveries[i] = c.Deliveries[i].Clone()
	}
	return c
}

// Clone returns a copy of d that shares nothing with it.
func (d Delivery) Clone() Delivery {
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

// TLSDemand is what the message demands of each connection over which it goes: for its
// sender, by REQUIRETLS (RFC 8689 4.2.1), or by policy.
func (e *Entry) TLSDemand() mail.TLSDemand {
	if e.Envelope.RequireTLS {
		return mail.TLSVerified
	}
	return e.TLS
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

// HeldSince returns since when a recipient of e is held; the zero time when it
// is not.
func (e *Entry) HeldSince(r *Recipient) time.Time {
	switch {
	case r.State != mail.Held:
		return time.Time{}
	case r.HeldAt.IsZero():
		return e.Accepted
	}
	return r.HeldAt
}

// Release makes a held recipient queued, with nothing left of the hold.
func (r *Recipient) Release() {
	r.State, r.Hold, r.HeldAt, r.Why = mail.Queued, "", time.Time{}, ""
}

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

// Summary is what an Index knows of a delivery. An engine that keeps it apart
// from the recipients need not read these when it opens.
type Summary struct {
	Next     time.Time
	Attempts int
	Tally
}

// Summary sums the delivery up.
func (d *Delivery) Summary() Summary {
	s := Summary{Next: d.Next, Attempts: d.Attempts}
	for i := range d.Recipients {
		s.count(d.Recipients[i].State, 1)
	}
	return s
}

// Tally counts the recipients of a delivery, or of many, by stored state.
type Tally struct{ Queued, Deferred, Held int32 }

func (t *Tally) count(s mail.State, n int32) {
	switch s {
	case mail.Queued:
		t.Queued += n
	case mail.Deferred:
		t.Deferred += n
	case mail.Held:
		t.Held += n
	}
}

// has reports whether there is a recipient in a state.
func (t Tally) has(s mail.State) bool {
	switch s {
	case mail.Queued:
		return t.Queued > 0
	case mail.Deferred:
		return t.Deferred > 0
	case mail.Held:
		return t.Held > 0
	}
	return false
}

func (t *Tally) add(other Tally, sign int32) {
	t.Queued += sign * other.Queued
	t.Deferred += sign * other.Deferred
	t.Held += sign * other.Held
}

// waiting is the number of recipients to be attempted.
func (t Tally) waiting() int { return int(t.Queued + t.Deferred) }

// byState returns the counts that are not zero.
func (t Tally) byState() map[mail.State]int {
	counts := make(map[mail.State]int)
	for state, n := range map[mail.State]int32{mail.Queued: t.Queued, mail.Deferred: t.Deferred, mail.Held: t.Held} {
		if n > 0 {
			counts[state] = int(n)
		}
	}
	return counts
}
