package queue

import (
	"strings"

	"postern/internal/mail"
)

// suspended is what an Index knows of suspensions.
type suspended struct {
	delivery     bool
	destinations map[mail.Destination]bool
	senders      map[string]bool
	classes      map[mail.Class]bool
	// entries are those that a suspended sender withholds, and who that is.
	entries map[mail.ID]mail.Address
}

func newSuspended() suspended {
	return suspended{destinations: make(map[mail.Destination]bool), senders: make(map[string]bool), classes: make(map[mail.Class]bool), entries: make(map[mail.ID]mail.Address)}
}

// SenderKeys returns the keys of marks that suspend a sender: its address and
// its domain.
func SenderKeys(a mail.Address) []string {
	if a.IsNull() {
		return []string{"<>"}
	}
	address := strings.ToLower(a.String())
	return []string{address, "@" + strings.ToLower(a.Domain)}
}

func (s *suspended) sender(a mail.Address) bool {
	if len(s.senders) == 0 {
		return false
	}
	for _, key := range SenderKeys(a) {
		if s.senders[key] {
			return true
		}
	}
	return false
}

// setTo sets or clears a place of a set.
func setTo[K comparable](set map[K]bool, key K, to bool) {
	if to {
		set[key] = true
	} else {
		delete(set, key)
	}
}

// Suspend takes out of Due and Claim what a mark suspends, or puts it back
// when the mark is lifted. Marks of other kinds do nothing. Of the entries
// that are there when a sender is suspended the engine must tell it with
// Withhold.
func (x *Index) Suspend(m Mark) {
	x.mu.Lock()
	defer x.mu.Unlock()
	suspend := m.Value != ""
	switch m.Kind {
	case MarkSuspend:
		d := mail.Destination(m.Key)
		setTo(x.suspended.destinations, d, suspend)
		if d.Route() != "" {
			x.refresh(x.lines[d])
			break
		}
		for at, l := range x.lines {
			if at.Domain() == m.Key {
				x.refresh(l)
			}
		}
	case MarkSuspendDelivery:
		x.suspended.delivery = suspend
		for _, l := range x.lines {
			x.fix(l)
		}
	case MarkSuspendSender:
		setTo(x.suspended.senders, m.Key, suspend)
		x.letGo()
	case MarkSuspendClass:
		class, err := mail.ParseClass(m.Key)
		if err != nil { // a mark that means nothing
			return
		}
		setTo(x.suspended.classes, class, suspend)
		for _, item := range x.entries {
			if item.class == class {
				x.placeAll(item)
			}
		}
	default:
		return
	}
	x.wake.Raise()
}

// destination reports whether a destination is suspended, or its domain is.
func (s *suspended) destination(d mail.Destination) bool {
	return len(s.destinations) > 0 && (s.destinations[d] || s.destinations[mail.Destination(d.Domain())])
}

// refresh looks anew whether a line, if there is one, is suspended.
func (x *Index) refresh(l *line) {
	if l != nil {
		l.suspended = x.suspended.destination(l.destination)
		x.fix(l)
	}
}

// Withhold tells whose an entry is. If that sender is suspended it waits.
func (x *Index) Withhold(id mail.ID, sender mail.Address) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if item := x.entries[id]; item != nil {
		x.withhold(item, sender)
		x.placeAll(item)
	}
}

func (x *Index) withhold(item *indexed, sender mail.Address) {
	if x.suspended.sender(sender) {
		item.withheld = true
		x.suspended.entries[item.id] = sender
	}
}

// letGo puts back the entries whose sender is not suspended any more.
func (x *Index) letGo() {
	for id, sender := range x.suspended.entries {
		if x.suspended.sender(sender) {
			continue
		}
		delete(x.suspended.entries, id)
		item := x.entries[id]
		item.withheld = false
		x.placeAll(item)
	}
}

func (x *Index) placeAll(item *indexed) {
	for _, s := range item.slots {
		x.place(s)
	}
}
