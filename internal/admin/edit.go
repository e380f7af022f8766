package admin

import (
	"cmp"
	"context"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// Selection is what a filter selects.
type Selection struct {
	Messages   int                `json:"messages"`
	Recipients map[mail.State]int `json:"recipients"` // by state
	Size       int64              `json:"size"`       // of the messages, in octets
	Oldest     time.Time          `json:"oldest,omitzero"`
	// Changes is how many recipients the change would change.
	Changes int `json:"changes"`
}

// Total is the number of recipients.
func (s *Selection) Total() int {
	n := 0
	for _, count := range s.Recipients {
		n += count
	}
	return n
}

// Merge adds another selection.
func (s *Selection) Merge(other *Selection) {
	s.Messages += other.Messages
	s.Size += other.Size
	s.Changes += other.Changes
	for state, n := range other.Recipients {
		s.Recipients[state] += n
	}
	if s.Oldest.IsZero() || !other.Oldest.IsZero() && other.Oldest.Before(s.Oldest) {
		s.Oldest = other.Oldest
	}
}

// Change is what an edit does to each recipient that it selects.
type Change struct {
	Kind        queue.ChangeKind `json:"kind" enum:"hold,release,remove,retry,reroute,set-recipient,set-class" doc:"What is done"`
	Destination mail.Destination `json:"destination,omitempty" doc:"Where to, of reroute: a domain"`
	Via         string           `json:"via,omitempty" doc:"By which way, of reroute, instead: the name of a transport, or host:port"`
	Recipient   string           `json:"recipient,omitempty" doc:"The new address, of set-recipient"`
	Class       string           `json:"class,omitempty" enum:"bulk,normal,urgent" doc:"The new priority class of the whole message, of set-class"`
	Hold        mail.Hold        `json:"hold,omitempty" enum:"operator,quarantine" doc:"Why, of hold; operator without it"`
}

// change is the change in the words of the queue.
func (c Change) change() (queue.Change, error) {
	change := queue.Change{Kind: c.Kind, Destination: c.Destination, Hold: c.Hold}
	if c.Via != "" {
		var err error
		if change.Route, err = mail.ParseRouteKey(c.Via); err != nil {
			return change, badRequest(err)
		}
	}
	if c.Kind == queue.ChangeHold {
		change.Hold = cmp.Or(c.Hold, mail.HoldOperator)
	}
	if c.Recipient != "" {
		var err error
		if change.Recipient, err = mail.ParseAddress(c.Recipient); err != nil {
			return change, badRequest(err)
		}
	}
	if c.Class != "" || c.Kind == queue.ChangeClass {
		var err error
		if change.Class, err = mail.ParseClass(c.Class); err != nil {
			return change, badRequest(err)
		}
	}
	return change, change.Check()
}

// Edit is an edit of the queue.
type Edit struct {
	Filter string `json:"filter" minLength:"1" doc:"Which recipients; all for everybody (docs/queue.md)"`
	Change Change `json:"change"`
}

// CountLine is a line of the answer to a count: one of its members is set.
type CountLine struct {
	Progress  *queue.Progress `json:"progress,omitempty"`  // in messages
	Selection *Selection      `json:"selection,omitempty"` // in the last line
	Problem   *Problem        `json:"problem,omitempty"`   // likewise
}

// EditLine is a line of the answer to an edit: one of its members is set.
type EditLine struct {
	Progress *queue.Edited `json:"progress,omitempty"` // in recipients
	Edited   *queue.Edited `json:"edited,omitempty"`   // in the last line
	Problem  *Problem      `json:"problem,omitempty"`  // likewise
}

type editInput struct{ Body Edit }

// count tells what a filter selects, and a change would change.
func (s *Server) count(ctx context.Context, in *editInput, out *lines[CountLine]) error {
	change, err := s.change(in.Body.Change)
	if err != nil {
		return err
	}
	found := Selection{Recipients: make(map[mail.State]int)}
	w := walk{filter: queue.Filter{Where: in.Body.Filter}, progress: func(p queue.Progress) error { return out.sendNow(CountLine{Progress: &p}) }}
	var bound bound
	err = s.walk(ctx, w, func(e *queue.Entry, selector *queue.Selector) error {
		found.add(e, selector, change)
		bound.add(s.Bound, e, selector, change)
		return nil
	})
	if err == nil {
		err = bound.problem()
	}
	if err != nil {
		return err
	}
	return out.send(CountLine{Selection: &found})
}

// add adds what is selected of an entry.
func (s *Selection) add(e *queue.Entry, selector *queue.Selector, c queue.Change) {
	s.Messages++
	s.Size += e.Size
	if s.Oldest.IsZero() || e.Accepted.Before(s.Oldest) {
		s.Oldest = e.Accepted
	}
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		for j := range selector.In(e, d) {
			r := &d.Recipients[j]
			s.Recipients[r.State]++
			if c.Applies(e, d.Destination, r) {
				s.Changes++
			}
		}
	}
}

// edit changes what a filter selects. It waits for the end although the
// client leaves: the edit goes on.
func (s *Server) edit(ctx context.Context, in *editInput, out *lines[EditLine]) error {
	change, err := s.change(in.Body.Change)
	if err != nil {
		return err
	}
	filter := queue.Filter{Where: in.Body.Filter}
	if _, err := filter.Selector(s.Clock.Now()); err != nil {
		return err
	}
	if err := s.mayReroute(ctx, filter, change); err != nil {
		return err
	}
	if err := out.begin(); err != nil {
		return nil // the client has left
	}
	if change.Kind != queue.ChangeHold && change.Kind != queue.ChangeRemove {
		s.Sites.TryNow() // before anything is due, or it would be answered that its site is down
	}
	done, err := s.apply(ctx, filter, change, func(now queue.Edited) {
		_ = out.sendNow(EditLine{Progress: &now}) // fails when the client has left
	})
	if err != nil {
		return err
	}
	return out.send(EditLine{Edited: &done})
}

// apply changes what a filter selects, and tells of its progress.
func (s *Server) apply(ctx context.Context, f queue.Filter, c queue.Change, progress func(queue.Edited)) (queue.Edited, error) {
	type result struct {
		done queue.Edited
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		done, err := s.Queue.Edit(ctx, f, c, actor(ctx))
		ended <- result{done, err}
	}()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case r := <-ended:
			return r.done, r.err
		case <-tick.C:
			if now, underWay := s.Queue.Editing(); underWay && now.Filter.Where == f.Where && now.Change == c {
				progress(now.Done)
			}
		}
	}
}
