package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"time"

	"postern/internal/config"
	"postern/internal/deliver"
	"postern/internal/mail"
	"postern/internal/pool"
	"postern/internal/route"
	"postern/internal/smtpclient"
	"postern/internal/tlspolicy"
)

// This file puts the pools of target servers together, which outlast every graph.

func newPools(d *Daemon) *pool.Set {
	return pool.New(pool.Options{
		Recovered: func(site string) { d.deliverer.Recovered(site) },
		Record:    func(f mail.Fact) { d.journal.Record(f) },
		Clock:     d.clock, Logger: d.Logger, Metrics: d.counts.pool,
	})
}

// pools are those of the graph. Those of one that is not of a server which runs are its
// own, and know nothing.
func (g *graph) pools() *pool.Set {
	if g.lasting.pools != nil {
		return g.lasting.pools
	}
	s := pool.New(pool.Options{Clock: g.clock})
	s.Change(g.aroundPools(), g.poolSettings())
	return s
}

// changePools puts the pools of a graph in force.
func (d *Daemon) changePools(g *graph) {
	around := g.aroundPools()
	around.Probe = d.prober(g)
	d.pools.Change(around, g.poolSettings())
}

// aroundPools is what pools have of the rest of the graph. Nothing is probed.
func (g *graph) aroundPools() pool.Around {
	return pool.Around{Resolver: g.outgoing(), Self: g.own, Demand: g.finishTLS}
}

// poolSettings are those of all pools.
func (g *graph) poolSettings() []pool.Settings {
	targets := make(map[string][]pool.Target)
	for i := range g.config.Targets {
		t := &g.config.Targets[i]
		targets[t.Pool] = append(targets[t.Pool], targetOf(t))
	}
	var list []pool.Settings
	for i := range g.config.Transports {
		t := &g.config.Transports[i]
		if t.Kind == config.TransportPool {
			list = append(list, pool.Settings{
				Name: t.Name, Targets: targets[t.Name], Lane: g.laneOf(t),
				Refresh: t.Refresh, ConnectRetry: t.ConnectRetry, Drain: t.DrainTimeout,
			})
		}
	}
	return list
}

// poolWarnings say which pools have servers to which no mail goes, and why.
func poolWarnings(pools []pool.View) (list []string) {
	for i := range pools {
		p := &pools[i]
		var why []string
		for j := range p.Servers {
			if reason := outOfUse(&p.Servers[j]); reason != "" {
				why = append(why, reason)
			}
		}
		if len(p.Servers) == 0 {
			if why = p.Warnings; len(why) == 0 {
				why = []string{"none of its targets has an address"}
			}
		}
		if len(why) == 0 {
			continue
		}
		rest := ""
		if more := len(why) - 1; more > 0 {
			rest = fmt.Sprintf("; and %d more, see postern target list", more)
		}
		what := "pool " + p.Name
		if p.Usable == 0 {
			what += ": NO SERVER CAN BE USED, and its mail waits"
		}
		list = append(list, what+": "+why[0]+rest)
	}
	return list
}

// outOfUse says why no mail goes to a server, or not all; it is empty for one that takes all.
func outOfUse(v *pool.Server) string {
	name := v.Pool + "/" + v.Address.String()
	switch {
	case v.Drained != "":
		return fmt.Sprintf("%s was drained by %s, until postern target drain --undo %[1]s", name, v.Drained)
	case v.State == pool.NotUsable:
		return fmt.Sprintf("%s is not usable since %s: %s", name, v.Since.Local().Format(time.RFC3339), v.Reason)
	case len(v.Faults) > 0:
		f := &v.Faults[0]
		return fmt.Sprintf("%s gets no mail that demands TLS %s since %s: %s", name, f.TLS, f.Since.Local().Format(time.RFC3339), f.Reason)
	}
	return ""
}

func targetOf(t *config.Target) pool.Target {
	to := pool.Target{
		Port: uint16(t.Port), Preference: t.Preference, Weight: t.Weight, MaxConnections: t.MaxConnections,
		MaxMessages: t.MaxMessages, AssumedSize: t.AssumedSize, Secure: t.Secure, Charset: t.Charset,
	}
	switch {
	case t.Address.IsValid():
		to.Source, to.Host = pool.Address, t.Address.String()
	case t.MX != "":
		to.Source, to.Host = pool.MX, t.MX
	default:
		to.Source, to.Host = pool.Name, t.Name
	}
	return to
}

// prober returns what probes a server: it connects as mail would, but for AUTH, and
// STARTTLS is said only where TLS is demanded. (Where it is not, mail would go on in clear.)
func (d *Daemon) prober(g *graph) func(context.Context, route.Lane, netip.AddrPort) (route.Capabilities, error) {
	return func(ctx context.Context, to route.Lane, at netip.AddrPort) (route.Capabilities, error) {
		o := d.clientTo(g, to.Transport)
		o.Hostname = cmp.Or(to.From.Hostname, g.config.Hostname)
		o.LocalAddr = to.From.Source(at.Addr())
		o.TLS = to.TLS
		if !o.TLS.Demanded() && o.TLS.Begin != tlspolicy.Implicit {
			o.TLS.Level = tlspolicy.None
		}
		conn, err := smtpclient.Dial(ctx, to.Host, at, o)
		if err != nil {
			return route.Capabilities{}, err
		}
		defer conn.Close()
		return deliver.Capabilities(conn), nil
	}
}
