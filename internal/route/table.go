package route

import (
	"context"
	"fmt"

	"postern/internal/directory"
	"postern/internal/mail"
)

// Table is the router: it chooses the transport of a recipient, and asks that for the
// way. It is safe for use by several goroutines.
type Table struct {
	options TableOptions
}

// TableOptions are what a Table knows. Otherwise is required.
type TableOptions struct {
	// Rules are the explicit routes. Nil: there are none.
	Rules *Rules
	// IsLocal reports whether an address is of a domain of this host. Nil: none is.
	IsLocal func(mail.Address) bool
	// OfUser returns the route that a user of the directory has for what he sends; ""
	// for none. Nil: nobody has one.
	OfUser func(login string) mail.RouteKey
	// Changes counts the changes of what IsLocal and OfUser say. Nil: there are none.
	Changes func() uint64
	// Transports are those of the configuration, by their names.
	Transports map[string]Transport
	// Server returns the transport to one server, which policy, a map or a person has named.
	Server func(mail.HostPort) Transport
	// Otherwise is the transport of mail for which no other was chosen: General, or one alone.
	Otherwise Transport
	// Finish puts into a lane what does not come of its transport alone, but of the
	// server, of the recipient's domain or of the sender. Nil: nothing does.
	Finish func(l *Lane, q Question)
}

// NewTable returns the router.
func NewTable(o TableOptions) *Table {
	if o.Rules == nil {
		o.Rules = &Rules{}
	}
	if o.IsLocal == nil {
		o.IsLocal = func(mail.Address) bool { return false }
	}
	if o.OfUser == nil {
		o.OfUser = func(string) mail.RouteKey { return "" }
	}
	if o.Changes == nil {
		o.Changes = func() uint64 { return 0 }
	}
	return &Table{o}
}

var errBadKey = mail.Refuse(451, "4.3.5", "The route that was chosen for the message is not known")

// Choose returns where a recipient goes that is sent on, and is at a destination now, at first
// that of its address: by the first explicit route that is for it, the sender's own, or the
// general one. What policy or a person has chosen stays, unless that first route must never
// be gone round. It asks nobody but the lists, the maps and the directory, in memory.
func (t *Table) Choose(r mail.Routing, at mail.Destination) mail.Destination {
	to, _ := t.choose(&r, at, nil)
	return to
}

// Changes counts the changes of what Choose asks: while it is the same, so is what Choose returns
// for the same recipient. It is read before Choose is asked.
func (t *Table) Changes() uint64 { return t.options.Rules.changes() + t.options.Changes() }

// chosen says who chose where a recipient goes.
type chosen struct {
	rule *rule
	at   mail.Place // of what the rule says
	user string     // whose own route it is
	// stays says that policy or a person did, and it stays.
	stays bool
}

func (t *Table) choose(r *mail.Routing, at mail.Destination, passed func(Passed)) (mail.Destination, chosen) {
	// Of an address of this host nobody has it, or it would not be sent on.
	q := asked{Routing: r, local: len(t.options.Rules.rules) > 0 && t.options.IsLocal(r.To)}
	rule, way, place := t.options.Rules.first(&q, passed)
	own := r.To.Destination()
	if at.Chosen(r.To) && (rule == nil || !rule.neverBypass || at == own.Via(way)) {
		return at, chosen{stays: true}
	}
	if rule != nil {
		return own.Via(way.ByRoutes()), chosen{rule: rule, at: place}
	}
	if a := r.Account; a != nil && a.Source == directory.Source {
		if key := t.options.OfUser(a.Name); key != "" && !t.options.IsLocal(r.To) {
			return own.Via(key.ByRoutes()), chosen{user: a.Name}
		}
	}
	return own, chosen{}
}

// Route returns the way that the key of the destination names, and 451 4.3.5 when it
// names none: a message that must go by a route never goes round it. Where the key names
// several, the servers of those behind the first come behind its own.
func (t *Table) Route(ctx context.Context, q Question) (Route, error) {
	r, err := t.way(ctx, q)
	if err != nil || t.options.Finish == nil {
		return r, err
	}
	for i := range r.Hops {
		t.options.Finish(&r.Hops[i].Lane, q)
	}
	return r.reachable()
}

func (t *Table) way(ctx context.Context, q Question) (Route, error) {
	key := q.Destination.Route()
	if key == "" {
		return t.options.Otherwise.Route(ctx, q)
	}
	ways := key.Ways()
	list := make([]Transport, len(ways))
	for i, way := range ways {
		var err error
		if list[i], err = t.transport(way); err != nil {
			return Route{}, err
		}
	}
	// A transport knows nothing of who chose it.
	q.Destination = q.Destination.Via("")
	return inOrder(list).Route(ctx, q)
}

// transport is the one that a way names.
func (t *Table) transport(way mail.RouteKey) (Transport, error) {
	if name, named := way.Transport(); named {
		transport, known := t.options.Transports[name]
		if !known {
			return nil, errBadKey.Because(fmt.Errorf("there is no transport %q", name))
		}
		return transport, nil
	}
	host, err := way.Server()
	if err != nil {
		return nil, errBadKey.Because(err)
	}
	return t.options.Server(host), nil
}
