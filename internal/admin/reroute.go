package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"postern/internal/mail"
	"postern/internal/queue"
)

// This file looks whether mail may go where it is rerouted.

// change is the change that is asked for, to where there is a way.
func (s *Server) change(c Change) (queue.Change, error) {
	change, err := c.change()
	if err != nil || s.Transports == nil {
		return change, err
	}
	for _, key := range []mail.RouteKey{change.Route, change.Destination.Route()} {
		if name, named := key.Transport(); named {
			if err := s.hasTransport(name); err != nil {
				return change, badRequest(err)
			}
		}
	}
	return change, nil
}

// hasTransport says that there is no transport of a name, and which there are.
func (s *Server) hasTransport(name string) error {
	known := s.Transports()
	if slices.Contains(known, name) {
		return nil
	}
	more := ""
	if n := len(known) - maxTransportsTold; n > 0 {
		known, more = known[:maxTransportsTold], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("there is no transport %.64q; there are %s%s", name, strings.Join(known, ", "), more)
}

// maxTransportsTold bounds how many transports an error names: there can be a thousand of them, and of errors a
// hundred.
const maxTransportsTold = 20

// bound counts recipients that may not be rerouted, because a route of theirs must never be
// gone round.
type bound struct {
	recipients int
	// Of the first of them: who it is, in which message, and why.
	address mail.Address
	message mail.ID
	why     string
}

// add adds those that are selected of an entry.
func (b *bound) add(why func(mail.Routing, mail.Destination) string, e *queue.Entry, selector *queue.Selector, c queue.Change) {
	if why == nil || c.Kind != queue.ChangeReroute {
		return
	}
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		for j := range selector.In(e, d) {
			r := &d.Recipients[j]
			if !c.Applies(e, d.Destination, r) {
				continue
			}
			text := why(e.Routing(r.Address), c.To(d.Destination))
			if text == "" {
				continue
			}
			if b.recipients++; b.recipients == 1 {
				b.address, b.message, b.why = r.Address, e.ID, text
			}
		}
	}
}

// problem says that some are bound; nil if none is.
func (b *bound) problem() error {
	if b.recipients == 0 {
		return nil
	}
	who := fmt.Sprintf("%s (message %s)", b.address.Path(), b.message)
	if b.recipients > 1 {
		who = fmt.Sprintf("%d recipients, %s among them", b.recipients, who)
	}
	return &Problem{Status: http.StatusConflict, Title: "Never gone round",
		Detail: fmt.Sprintf("cannot be rerouted: %s: %s; nothing was changed", who, b.why)}
}

// mayReroute looks at all that is selected, if it is to be rerouted and some mail may not be.
func (s *Server) mayReroute(ctx context.Context, f queue.Filter, c queue.Change) error {
	if c.Kind != queue.ChangeReroute || s.Bound == nil {
		return nil
	}
	var found bound
	err := s.walk(ctx, walk{filter: f, progress: func(queue.Progress) error { return nil }}, func(e *queue.Entry, selector *queue.Selector) error {
		found.add(s.Bound, e, selector, c)
		return nil
	})
	if err != nil {
		return err
	}
	return found.problem()
}
