package deliver

import (
	"cmp"
	"time"

	"postern/internal/limit"
	"postern/internal/smtpclient"
)

// Transport is how mail goes by one transport.
type Transport struct {
	Client smtpclient.Options
	// MaxConnections is how many connections each of its sites has at most, and
	// MaxRecipients how many recipients one transaction; 0: as the settings say. A site whose
	// route says how many its servers bear has so many, or MaxConnections if that is less and not 0.
	MaxConnections, MaxRecipients int
	// IdleTimeout is how long a connection is kept for the next message; 0: not at all.
	IdleTimeout time.Duration
	// Rate is how many messages go to each of its sites in a time; the zero one: any
	// number.
	Rate limit.Rate
	// MaxSize is the size of the largest message, in octets; 0: any.
	MaxSize int64

	// bounded says that MaxConnections is the transport's own.
	bounded bool
}

// connections are those of a site whose servers bear so many; 0: that is not known.
func (t *Transport) connections(bears int) int {
	if bears == 0 || t.bounded && t.MaxConnections < bears {
		return t.MaxConnections
	}
	return bears
}

// transport returns how mail goes by the transport of that name. It is shared, and not to be
// changed.
func (s *Settings) transport(name string) *Transport {
	if t, known := s.transports[name]; known {
		return t
	}
	return &s.others
}

// setTransports makes what transport returns: what is said of a transport, and what the
// settings say for all.
func (s *Settings) setTransports() {
	s.others = Transport{Client: s.Client, MaxConnections: s.MaxPerSite, MaxRecipients: s.MaxRecipients, IdleTimeout: s.IdleTimeout}
	s.transports = make(map[string]*Transport, len(s.Transports))
	for name, t := range s.Transports {
		t.Client.Hostname = s.Hostname
		t.bounded = t.MaxConnections > 0
		t.MaxConnections = cmp.Or(t.MaxConnections, s.MaxPerSite)
		t.MaxRecipients = cmp.Or(t.MaxRecipients, s.MaxRecipients)
		s.transports[name] = &t
	}
}

// withinRate takes the turn of a message at its site. If that has had as many as its
// transport sends in the time, the site is blocked until there is a turn.
func (d *Deliverer) withinRate(t *transaction, now time.Time) bool {
	rate := t.settings.transport(t.route.Name).Rate
	if rate.Max == 0 || t.at.useTurn() {
		return true
	}
	turn := d.rates.Take(limit.Named{Name: t.route.Name, Rate: rate}, t.route.Site, 1)
	if !turn.Allowed {
		t.at.block(now.Add(turn.Wait))
	}
	return turn.Allowed
}

// useTurn takes a turn that a message had at the site and did not use, if there is one.
func (p *place) useTurn() bool {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	if p.site.turns == 0 {
		return false
	}
	p.site.turns--
	return true
}

// leaveTurn leaves a turn to another message. There are no more than were in hand at once.
func (p *place) leaveTurn() {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	p.site.turns++
}

// rates are those of the transports.
func (s *Settings) rates() []limit.Named {
	var all []limit.Named
	for name, t := range s.Transports {
		if t.Rate.Max > 0 {
			all = append(all, limit.Named{Name: name, Rate: t.Rate})
		}
	}
	return all
}
