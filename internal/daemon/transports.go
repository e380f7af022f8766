package daemon

import (
	"cmp"

	"postern/internal/config"
	"postern/internal/deliver"
	"postern/internal/smtpclient"
)

// This file says how mail goes by the transports of the configuration.

// transports are those of the configuration, by their names. What one leaves out is as
// [delivery] has it; how many connections and recipients, deliver knows itself.
func (d *Daemon) transports(g *graph) map[string]deliver.Transport {
	c := &g.config.Delivery
	all := make(map[string]deliver.Transport)
	for i := range g.config.Transports {
		t := &g.config.Transports[i]
		x := deliver.Transport{
			Client:         d.clientOf(g, t),
			MaxConnections: t.MaxConnections,
			MaxRecipients:  t.MaxRecipients,
			IdleTimeout:    t.IdleTimeout,
			Rate:           t.Rate,
			MaxSize:        t.MaxSize,
		}
		if x.IdleTimeout == config.AsDelivery {
			x.IdleTimeout = c.IdleTimeout
		}
		all[t.Name] = x
	}
	return all
}

// clientTo is how connections are made by the transport of that name.
func (d *Daemon) clientTo(g *graph, name string) smtpclient.Options {
	if t := g.transportNamed(name); t != nil {
		return d.clientOf(g, t)
	}
	return d.clientOf(g, &config.Transport{})
}

// clientOf is how connections are made by a transport; by one that says nothing, as by
// those that need no table.
func (d *Daemon) clientOf(g *graph, t *config.Transport) smtpclient.Options {
	c := &g.config.Delivery
	command := cmp.Or(t.CommandTimeout, c.CommandTimeout)
	o := smtpclient.Options{
		Timeouts: smtpclient.Timeouts{
			Connect:   cmp.Or(t.ConnectTimeout, c.ConnectTimeout),
			Greeting:  cmp.Or(t.GreetingTimeout, c.GreetingTimeout),
			Hello:     command,
			Mail:      command,
			Rcpt:      command,
			DataStart: cmp.Or(t.DataTimeout, c.DataTimeout),
			DataBlock: cmp.Or(t.BlockTimeout, c.BlockTimeout),
			DataEnd:   cmp.Or(t.FinalTimeout, c.FinalTimeout),
		},
		LMTP:        t.Kind == config.TransportLMTP,
		MaxMessages: t.MaxMessages,
		Logger:      d.Logger,
		Metrics:     d.counts.client,
		Clock:       d.clock,
	}
	for _, e := range t.WithoutExtensions {
		o.Without = append(o.Without, string(e))
	}
	return o
}
