package queue

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// Check fails with ErrInvalid, naming the place, when the group breaks the
// contract in a way that shows without looking at what is stored.
func (g *Group) Check() error {
	if len(g.Submissions)+len(g.Facts)+len(g.Marks) == 0 {
		return fmt.Errorf("%w: the group is empty", ErrInvalid)
	}
	if err := checkSubmissions(g.Submissions); err != nil {
		return err
	}
	for i := range g.Marks {
		if err := g.Marks[i].Check(); err != nil {
			return err
		}
		if g.Marks[i].Kind == MarkSuspendSender {
			return fmt.Errorf("%w: a sender is suspended by PutMark, which looks for its entries", ErrInvalid)
		}
	}
	return checkFacts(g.Facts)
}

// Check fails with ErrInvalid when the mark cannot be stored.
func (m *Mark) Check() error {
	if m.Kind == "" || m.Key == "" || strings.ContainsRune(string(m.Kind)+m.Key, 0) {
		return fmt.Errorf("%w: mark %q of kind %q: kind and key must not be empty or contain NUL", ErrInvalid, m.Key, m.Kind)
	}
	return nil
}

func checkFacts(facts []mail.Fact) error {
	for i := range facts {
		if err := CheckFact(&facts[i]); err != nil {
			return err
		}
	}
	return nil
}

// CheckFact fails with ErrInvalid when the fact has no known reason.
func CheckFact(f *mail.Fact) error {
	if !slices.Contains(mail.Reasons, f.Reason) {
		return fmt.Errorf("%w: fact about message %q: %q is not a reason", ErrInvalid, f.Message, f.Reason)
	}
	return nil
}

// CheckLease fails with ErrInvalid when a lease could not last.
func CheckLease(now, until time.Time) error {
	if !until.After(now) {
		return fmt.Errorf("%w: a lease until %v, which is not after %v", ErrInvalid, until, now)
	}
	return nil
}

func checkSubmissions(submissions []Submission) error {
	seen := make(map[mail.ID]bool, len(submissions))
	for i := range submissions {
		s := &submissions[i]
		if err := checkSubmission(s); err != nil {
			return fmt.Errorf("%w: entry %q: %w", ErrInvalid, s.Entry.ID, err)
		}
		if seen[s.Entry.ID] {
			return fmt.Errorf("%w: entry %q stands twice in one group", ErrInvalid, s.Entry.ID)
		}
		seen[s.Entry.ID] = true
	}
	return nil
}

func checkSubmission(s *Submission) error {
	e := &s.Entry
	if _, err := mail.ParseID(string(e.ID)); err != nil {
		return err
	}
	if _, err := mail.ParseID(string(e.Message)); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	if s.Draft == nil && e.Body == "" {
		return fmt.Errorf("it has no content: neither a draft nor the name of a body")
	}
	if err := checkAddress(e.Envelope.From); err != nil && !e.Envelope.From.IsNull() {
		return fmt.Errorf("sender: %w", err)
	}
	if len(e.Deliveries) == 0 {
		return fmt.Errorf("it has no delivery")
	}
	if !e.TLS.Valid() {
		return fmt.Errorf("the demand %q of TLS is none", e.TLS)
	}
	seen := make(map[mail.Destination]bool, len(e.Deliveries))
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		if err := checkDelivery(d); err != nil {
			return fmt.Errorf("delivery to %q: %w", d.Destination, err)
		}
		if seen[d.Destination] {
			return fmt.Errorf("two deliveries have the destination %q", d.Destination)
		}
		seen[d.Destination] = true
	}
	return nil
}

func checkDelivery(d *Delivery) error {
	if strings.ContainsRune(string(d.Destination), 0) {
		return fmt.Errorf("the destination contains NUL")
	}
	if d.Attempts < 0 {
		return fmt.Errorf("%d attempts", d.Attempts)
	}
	if len(d.Recipients) == 0 {
		return fmt.Errorf("it has no recipient")
	}
	for i := range d.Recipients {
		r := &d.Recipients[i]
		if err := checkAddress(r.Address); err != nil {
			return fmt.Errorf("recipient %q: %w", r.Address, err)
		}
		if !CanFollow("", r.State) {
			return fmt.Errorf("recipient %q: it cannot begin in state %q", r.Address, r.State)
		}
		if (r.State == mail.Held) != (r.Hold != "") {
			return fmt.Errorf("recipient %q: state %q with hold %q", r.Address, r.State, r.Hold)
		}
		if r.Why != "" && r.State != mail.Held {
			return fmt.Errorf("recipient %q: it is not held, but it is said why", r.Address)
		}
		if !r.HeldAt.IsZero() && r.State != mail.Held {
			return fmt.Errorf("recipient %q: it is not held, but it is said since when", r.Address)
		}
	}
	return nil
}

// checkAddress makes sure that what is stored can be read back: an address
// that its own text does not stand for would be a damaged entry.
func checkAddress(a mail.Address) error {
	back, err := mail.ParseAddress(a.String())
	if err != nil {
		return err
	}
	if back != a {
		return fmt.Errorf("%q reads back as %q", a, back)
	}
	return nil
}

// CheckSettlements fails with ErrInvalid, naming the place, when settlements
// break the contract in a way that shows without looking at what is stored.
func CheckSettlements(settlements []Settlement) error {
	seen := make(map[uint64]bool, len(settlements))
	var all []Submission
	for i := range settlements {
		s := &settlements[i]
		if err := checkSettlement(s); err != nil {
			return fmt.Errorf("%w: settlement of entry %q: %w", ErrInvalid, s.Lease.Entry.ID, err)
		}
		if seen[s.Lease.Token] {
			return fmt.Errorf("%w: settlement of entry %q: its lease stands twice in one call", ErrInvalid, s.Lease.Entry.ID)
		}
		seen[s.Lease.Token] = true
		if err := checkFacts(s.Facts); err != nil {
			return err
		}
		all = append(all, s.New...)
	}
	return checkSubmissions(all)
}

func checkSettlement(s *Settlement) error {
	if len(s.Lease.Entry.Deliveries) != 1 {
		return fmt.Errorf("its lease is for %d deliveries, not for one", len(s.Lease.Entry.Deliveries))
	}
	if got, want := len(s.Outcomes), len(s.Lease.Delivery().Recipients); got != want {
		return fmt.Errorf("%d outcomes for %d recipients", got, want)
	}
	for i := range s.Outcomes {
		switch state := s.Outcomes[i].State; {
		case state == mail.Deferred && s.Next.IsZero():
			return fmt.Errorf("outcome %d is deferred, but there is no time of the next attempt", i)
		case state != mail.Deferred && !state.Final():
			return fmt.Errorf("outcome %d leaves its recipient in state %q; it must be deferred or final", i, state)
		}
	}
	for _, i := range s.Warned {
		if i < 0 || i >= len(s.Outcomes) || s.Outcomes[i].State != mail.Deferred {
			return fmt.Errorf("the sender is warned of recipient %d, which is not deferred", i)
		}
	}
	return nil
}

// CheckMoves fails with ErrInvalid, naming the place, when moves break the contract in
// a way that shows without looking at what is stored.
func CheckMoves(moves []Move) error {
	seen := make(map[uint64]bool, len(moves))
	for i := range moves {
		if err := checkMove(&moves[i]); err != nil {
			return fmt.Errorf("%w: move of entry %q: %w", ErrInvalid, moves[i].Lease.Entry.ID, err)
		}
		if seen[moves[i].Lease.Token] {
			return fmt.Errorf("%w: move of entry %q: its lease stands twice in one call", ErrInvalid, moves[i].Lease.Entry.ID)
		}
		seen[moves[i].Lease.Token] = true
	}
	return nil
}

func checkMove(m *Move) error {
	if len(m.Lease.Entry.Deliveries) != 1 {
		return fmt.Errorf("its lease is for %d deliveries, not for one", len(m.Lease.Entry.Deliveries))
	}
	if got, want := len(m.To), len(m.Lease.Delivery().Recipients); got != want {
		return fmt.Errorf("%d destinations for %d recipients", got, want)
	}
	for i, d := range m.To {
		if d == "" || strings.ContainsRune(string(d), 0) {
			return fmt.Errorf("destination %d is %q; it must not be empty or contain NUL", i, d)
		}
	}
	return nil
}

// Check fails with ErrInvalid when the change lacks what its kind needs.
func (c Change) Check() error {
	switch {
	case !slices.Contains(changeKinds, c.Kind):
		return fmt.Errorf("%w: %q is not a kind of change", ErrInvalid, c.Kind)
	case (c.Kind == ChangeHold) != (c.Hold != ""):
		return fmt.Errorf("%w: change %q with hold %q", ErrInvalid, c.Kind, c.Hold)
	case (c.Kind == ChangeReroute) != (c.Destination != "" || c.Route != "") || c.Destination != "" && c.Route != "" ||
		strings.ContainsRune(string(c.Destination)+string(c.Route), 0):
		return fmt.Errorf("%w: change %q with destination %q and route %q", ErrInvalid, c.Kind, c.Destination, c.Route)
	case (c.Kind == ChangeRecipient) == c.Recipient.IsNull():
		return fmt.Errorf("%w: change %q with recipient %q", ErrInvalid, c.Kind, c.Recipient)
	case !slices.Contains(mail.Classes, c.Class) || c.Kind != ChangeClass && c.Class != mail.Normal:
		return fmt.Errorf("%w: change %q with class %d", ErrInvalid, c.Kind, c.Class)
	case len(c.Why) > maxWhy:
		return fmt.Errorf("%w: the reason for a change has %d octets; %d are allowed", ErrInvalid, len(c.Why), maxWhy)
	case c.Kind == ChangeRecipient:
		if err := checkAddress(c.Recipient); err != nil {
			return fmt.Errorf("%w: change %q: %w", ErrInvalid, c.Kind, err)
		}
	}
	return nil
}

// maxWhy bounds the reason for a change, in octets: it stands in every fact of it.
const maxWhy = 1000

var changeKinds = []ChangeKind{ChangeHold, ChangeRelease, ChangeRemove, ChangeRetry, ChangeReroute, ChangeRecipient, ChangeClass}
