package daemon

import (
	"context"
	"errors"
	"net/netip"

	"postern/internal/blocklist"
	"postern/internal/mail"
	"postern/internal/policy"
)

// loadPolicy makes the engine of policy. Lists, block lists and what is local come
// before it.
func (g *graph) loadPolicy() error {
	o := policy.Options{
		Config: g.config, Lists: g.lists, Local: g.local.Is, Nobody: g.nobody, Masks: g.lasting.masks, Sources: g.config.SourceNames(),
		Logger: g.told.logger, Clock: g.clock, Metrics: g.lasting.metrics,
	}
	if !g.lasting.offline {
		o.BlockLists = blockLists{g.blockLists}
	}
	if g.lasting.limits != nil {
		o.Limits, o.AccountLimits = g.lasting.limits, g.lasting.accountLimits
	}
	engine, problems := policy.Compile(o)
	g.policy = engine
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p
	}
	return errors.Join(errs...)
}

// nobody reports whether an address is of this host, and leads nowhere.
func (g *graph) nobody(a mail.Address) bool { return len(g.local.Leads(a)) == 0 }

// blockLists are the block lists as policy asks them.
type blockLists struct{ set *blocklist.Set }

// Look asks all lists about a client.
func (b blockLists) Look(ctx context.Context, client netip.Addr) policy.Listings {
	r := b.set.CheckClient(ctx, client)
	l := policy.Listings{Lists: r.Lists(), Score: int64(r.Score)}
	if len(r.Hits) == 0 {
		return l
	}
	worst := r.Hits[0]
	for _, h := range r.Hits[1:] {
		if h.Weight > worst.Weight {
			worst = h
		}
	}
	l.Text = func(ctx context.Context) string { return b.set.Text(ctx, worst) }
	return l
}
