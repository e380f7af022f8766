package main

import (
	"context"
	_ "embed"
	"path/filepath"

	"postern/test/harness"
)

// relay is a relay to be measured.
type relay struct {
	name string
	// start makes the relay. nil: there is no relay, and the figure is the
	// ceiling.
	start func(place) (harness.Relay, error)
}

// place is where a relay is put.
type place struct {
	dir      string   // where it keeps everything
	next     string   // where it passes all mail
	identity identity // with which it offers STARTTLS; empty: it does not
	under    []string // the command that it is run by; nil: none
}

// The contenders' names.
const (
	noRelay        = "no relay"
	postfixShipped = "Postfix as shipped"
	postfixTuned   = "Postfix tuned"
	posternName    = "Postern"
)

// relayName is how Postfix calls itself, and whom the certificate is for.
const relayName = "relay.test.example"

//go:embed postfix_tuned.cf
var tunedSettings string

func relaysToCompare(binary string) []relay {
	relays := []relay{
		{noRelay, nil},
		{postfixShipped, postfix("")},
		{postfixTuned, postfix(tunedSettings)},
	}
	if binary == "" {
		return relays
	}
	return append(relays, relay{posternName, postern(binary, harness.PosternOptions{})})
}

// postern makes instances of Postern with options besides the usual ones.
func postern(binary string, o harness.PosternOptions) func(place) (harness.Relay, error) {
	return func(p place) (harness.Relay, error) {
		path, err := filepath.Abs(binary)
		if err != nil {
			return nil, err
		}
		o.Binary, o.Dir, o.NextHop, o.Under = path, p.dir, p.next, p.under
		o.Certificate, o.Key = p.identity.certificate, p.identity.key
		return harness.NewPostern(o)
	}
}

func postfix(settings string) func(place) (harness.Relay, error) {
	return func(p place) (harness.Relay, error) {
		return harness.NewPostfix(harness.PostfixOptions{
			Dir: p.dir, Hostname: relayName, NextHop: p.next, Settings: settings, Under: p.under,
			Certificate: p.identity.certificate, Key: p.identity.key,
		})
	}
}

// compareRelays is the part of the bench about whole relays.
func compareRelays(ctx context.Context, b *bench) error {
	c := comparison{workloads: relayWorkloads(), tables: []table{relayTable()}}
	for _, r := range relaysToCompare(b.settings.postern) {
		contender := contender{
			name: r.name,
			run:  func(ctx context.Context, w workload) (figures, error) { return b.run(ctx, r, w) },
			// The sink has no memory to speak of, and no TLS.
			passes: func(w workload) bool { return r.start == nil && (w.memory || w.encrypted) },
		}
		if r.start != nil {
			contender.trace = func(ctx context.Context, w workload) (figures, error) { return b.trace(ctx, r, w) }
		}
		c.contenders = append(c.contenders, contender)
	}
	return c.compare(ctx, b.settings)
}
