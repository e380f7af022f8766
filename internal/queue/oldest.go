package queue

import "postern/internal/mail"

// Waits reports whether an entry has a recipient that is queued or deferred.
func (x *Index) Waits(id mail.ID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	item := x.entries[id]
	if item == nil {
		return false
	}
	for _, s := range item.slots {
		if s.Queued > 0 || s.Deferred > 0 {
			return true
		}
	}
	return false
}
