package route

import (
	"context"
	"fmt"

	"postern/internal/mail"
)

// Table is the router: it chooses the transport of a recipient, and asks that for the
// way. It is safe for use by several goroutines.
type Table struct {
	options TableOptions
}

// TableOptions are what a Table knows. Otherwise is required.
type TableOptions struct {
	// Transports are those of the configuration, by their names.
	Transports map[string]Transport
	// Server returns the transport to one server, which policy or a person has named.
	Server func(mail.HostPort) Transport
	// Otherwise is the transport of mail for which no other was chosen.
	Otherwise Transport
	// Finish puts into a lane what does not come of its transport alone, but of the
	// server, of the recipient's domain or of the sender. Nil: nothing does.
	Finish func(l *Lane, q Question)
}

// NewTable returns the router.
func NewTable(o TableOptions) *Table { return &Table{o} }

var errBadKey = mail.Refuse(451, "4.3.5", "The route that was chosen for the message is not known")

// Choose returns the key of the route of a recipient: "" for the general one.
func (t *Table) Choose(mail.Routing) mail.RouteKey { return "" }

// Route returns the way that the key of the destination names, and 451 4.3.5 when it
// names none: a message that must go by a route never goes round it.
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
	if name, named := key.Transport(); named {
		transport, known := t.options.Transports[name]
		if !known {
			return Route{}, errBadKey.Because(fmt.Errorf("there is no transport %q", name))
		}
		return transport.Route(ctx, q)
	}
	host, err := key.Server()
	if err != nil {
		return Route{}, errBadKey.Because(err)
	}
	return t.options.Server(host).Route(ctx, q)
}
