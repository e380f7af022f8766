package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// This file chooses among the servers of a pool.

// The ways in which a pool has no way for a message.
var (
	errNone      = mail.Refuse(451, "4.4.1", "None of the target servers can be used at present")
	errNoTLS     = mail.Refuse(550, "5.7.4", "The message needs TLS, which none of the target servers offers")
	errTooLarge  = mail.Refuse(552, "5.3.4", "The message is too large for each of the target servers")
	errNoServers = errors.New("no target has an address")
)

// lack is what a server lacks for a message.
type lack int

const (
	nothing lack = iota
	lacksTLS
	lacksRoom
)

// demanded is what a message demands of TLS at the server, with what the domain of its recipient does.
func (v *server) demanded(q route.Question) tlspolicy.Policy {
	to := v.lane()
	if demand := v.pool.set.around.Demand; demand != nil {
		demand(&to, q)
	}
	return to.TLS.Demand(q.TLS)
}

// lacks returns what the server is known to lack for a message of so many octets that demands a level of
// TLS.
func (v *server) lacks(size int64, l tlspolicy.Level) lack {
	switch {
	case !v.learned:
		return nothing
	case demands(l) && !v.capabilities.StartTLS:
		return lacksTLS
	case v.most() > 0 && size > v.most():
		return lacksRoom
	}
	return nothing
}

// inCharset is a message whose texts are in the charset of a target: how large it is, and why they cannot
// be in that; nil if they can.
type inCharset struct {
	size  int64
	unfit *mail.Error
}

// inCharsets asks how a message is in the charsets of the targets, by the names of these. It fails when that cannot be
// found out now.
func (p *Pool) inCharsets(ctx context.Context, q route.Question) (map[string]inCharset, error) {
	if q.Content == nil {
		return nil, nil
	}
	var found map[string]inCharset
	for _, name := range p.charsets() {
		size, err := q.Content.InCharset(ctx, name)
		unfit, is := errors.AsType[*mail.Error](err)
		if err != nil && (!is || !unfit.Reply.Permanent()) {
			return nil, err
		}
		if found == nil {
			found = make(map[string]inCharset)
		}
		found[name] = inCharset{size, unfit}
	}
	return found, nil
}

// charsets are those of the targets.
func (p *Pool) charsets() []string {
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	var names []string
	for i := range p.settings.Targets {
		if name := p.settings.Targets[i].Charset; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// stale reports whether what the server offers was heard so long ago that no mail is to be
// undeliverable for it. One that was drained is not asked.
func (v *server) stale() bool {
	return v.pool.set.around.Probe != nil && v.drained == "" && time.Since(v.heardAt) > v.pool.settings.ConnectRetry
}

// ask has the server probed, and its mail brought back when it has answered.
func (v *server) ask() {
	v.asked = true
	if v.probeAt.IsZero() {
		v.probeAt = time.Now()
	}
	v.pool.set.hurry()
}

// most is the largest message that the server takes; 0: any.
func (v *server) most() int64 {
	if !v.capabilities.ESMTP {
		return v.target.AssumedSize
	}
	return v.capabilities.Size
}

// Route returns the servers that can take the message now, in the order in which they
// are to be tried: by preference; among equals, shared by their weights; those that have
// as many connections as they bear come last.
//
// Errors. Temporary, with the route's name and site: 451 4.4.1 when none can be used that
// may be able to take it, so that the mail waits until one can. Permanent, when all are
// known to be unable, by what was heard of each not long ago: 550 5.7.4 when the message needs TLS and none offers STARTTLS
// (RFC 3463 3.8), 552 5.3.4 when it is too large (RFC 3463 3.4), 550 5.6.3 when its texts cannot be in the
// charset of any (RFC 3463 3.7). What a message is in the charsets that targets have is asked of it first; a failure of
// that is returned as it is.
func (p *Pool) Route(ctx context.Context, q route.Question) (way route.Route, err error) {
	if err := p.ready(ctx); err != nil {
		return route.Route{}, errNone.Because(err)
	}
	texts, err := p.inCharsets(ctx, q)
	if err != nil {
		return route.Route{}, err
	}
	p.set.do(func() {
		way = route.Route{Name: p.settings.Name, Site: p.site()}
		var list []*server
		if list, way.Partial, err = p.candidates(q, texts); err != nil {
			return
		}
		for _, v := range p.servers {
			if v.usable(v.level()) {
				way.Connections += v.limit()
			}
		}
		p.order(list)
		for _, v := range list {
			way.Hops = append(way.Hops, v.hop(q))
		}
	})
	return way, err
}

// hop is the server as a hop for a message.
func (v *server) hop(q route.Question) route.Hop {
	to := v.lane()
	demanded := to.TLS.Demand(q.TLS)
	return route.Hop{
		Addresses:   []netip.AddrPort{v.at},
		FromMX:      v.target.Source == MX,
		Target:      visit{v.edition, demanded.Level, demanded.Source},
		MaxMessages: v.target.MaxMessages,
		Lane:        to,
	}
}

// candidates are the servers that can take a message, as far as is known, and whether others may
// at another time. mu is held.
func (p *Pool) candidates(q route.Question, texts map[string]inCharset) (able []*server, more bool, err error) {
	var waits, tooSmall, inClear, unfit []error
	var errUnfit *mail.Error
	for _, name := range p.unknown {
		waits = append(waits, fmt.Errorf("there was no answer from DNS for %s", name))
	}
	for _, v := range p.servers {
		recoded, is := texts[v.target.Charset]
		if recoded.unfit != nil {
			errUnfit = cmp.Or(errUnfit, recoded.unfit)
			unfit = append(unfit, fmt.Errorf("%s takes texts only in %s", v.name(), v.target.Charset))
			continue
		}
		size := q.Size
		if is {
			size = recoded.size
		}
		tls := v.demanded(q)
		switch lack := v.lacks(size, tls.Level); {
		case lack != nothing && v.stale():
			v.ask()
			waits = append(waits, errors.New(v.name()+" is asked anew what it offers"))
		case lack == lacksTLS:
			inClear = append(inClear, fmt.Errorf("%s offers no STARTTLS, which is demanded by %s", v.name(), tls.Source))
		case lack == lacksRoom:
			tooSmall = append(tooSmall, fmt.Errorf("%s takes no more than %d octets", v.name(), v.most()))
		case v.usable(tls.Level):
			able = append(able, v)
		default:
			waits = append(waits, errors.New(v.why(tls.Level)))
		}
	}
	switch {
	case len(able) > 0:
		return able, len(waits) > 0, nil
	case len(p.servers) == 0:
		return nil, false, errNone.Because(errNoServers)
	case len(waits) > 0: // it may be able when it can be used
		return nil, false, errNone.Because(errors.Join(slices.Concat(waits, inClear, tooSmall, unfit)...))
	case len(tooSmall) > 0:
		return nil, false, errTooLarge.Because(errors.Join(slices.Concat(tooSmall, inClear, unfit)...))
	case len(unfit) > 0 && len(inClear) == 0:
		return nil, false, errUnfit.Because(errors.Join(unfit...))
	case len(unfit) > 0:
		return nil, false, errNoTLS.Because(errors.Join(slices.Concat(inClear, unfit)...))
	}
	return nil, false, errNoTLS.Because(errors.Join(inClear...))
}

// order puts servers in the order in which they are tried. mu is held.
func (p *Pool) order(list []*server) {
	slices.SortStableFunc(list, func(a, b *server) int {
		return cmp.Or(cmp.Compare(full(a), full(b)), a.rank(b))
	})
	for rest := list; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].rank(rest[0]) == 0 && full(rest[n]) == full(rest[0]) {
			n++
		}
		share(rest[:n])
		rest = rest[n:]
	}
}

// rank compares by preference.
func (v *server) rank(other *server) int {
	return cmp.Or(cmp.Compare(v.target.Preference, other.target.Preference), cmp.Compare(v.target.order(), other.target.order()), cmp.Compare(v.mx, other.mx))
}

// order is where a target stands among those of its preference: those that share have
// the same place, before all others.
func (t *Target) order() int {
	if t.Weight > 0 {
		return -1
	}
	return t.place
}

func full(v *server) int {
	if v.room() {
		return 0
	}
	return 1
}

// share puts the one first whose turn it is, so that over time each is first as often as
// its weight says, and as evenly as can be: each is given its weight, and whoever is
// first pays for all.
func share(equals []*server) {
	total := 0
	for _, v := range equals {
		weight := max(1, v.target.Weight)
		v.credit += weight
		total += weight
	}
	slices.SortStableFunc(equals, func(a, b *server) int { return cmp.Compare(b.credit, a.credit) })
	equals[0].credit -= total
}

// name is the server, for a person.
func (v *server) name() string { return nameOf(v.host, v.at) }

// why says why mail that demands a level of TLS cannot go there.
func (v *server) why(l tlspolicy.Level) string {
	fault, faulty := v.faults[l]
	switch {
	case v.drained != "":
		return v.name() + " was drained by " + v.drained
	case v.state == NotUsable:
		return v.name() + " cannot be used: " + v.reason
	case faulty:
		return v.name() + " cannot be used with TLS: " + fault.reason
	}
	return v.name() + " has no room"
}
