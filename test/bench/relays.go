package main

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"

	"postern/test/harness"
)

// relay is a relay to be measured.
type relay struct {
	name string
	// start makes the relay, which keeps everything in dir and passes all
	// mail to next. nil: there is no relay, and the figure is the ceiling.
	start func(dir, next string) (harness.Relay, error)
}

// The contenders' names.
const (
	noRelay        = "no relay"
	postfixShipped = "Postfix as shipped"
	postfixTuned   = "Postfix tuned"
	posternName    = "Postern"
)

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
func postern(binary string, o harness.PosternOptions) func(dir, next string) (harness.Relay, error) {
	return func(dir, next string) (harness.Relay, error) {
		path, err := filepath.Abs(binary)
		if err != nil {
			return nil, err
		}
		o.Binary, o.Dir, o.NextHop = path, dir, next
		return harness.NewPostern(o)
	}
}

func postfix(settings string) func(dir, next string) (harness.Relay, error) {
	return func(dir, next string) (harness.Relay, error) {
		return harness.NewPostfix(harness.PostfixOptions{
			Dir: dir, Hostname: "relay.test.example", NextHop: next, Settings: settings,
		})
	}
}

// compareRelays is the part of the bench about whole relays.
func compareRelays(ctx context.Context, b *bench) error {
	relays := relaysToCompare(b.settings.postern)
	c := comparison{workloads: relayWorkloads, table: relayTable()}
	for _, r := range relays {
		c.contenders = append(c.contenders, contender{
			name:   r.name,
			run:    func(ctx context.Context, w workload) (figures, error) { return b.run(ctx, r, w) },
			passes: func(w workload) bool { return w.memory && r.start == nil },
		})
	}
	if err := c.compare(ctx, b.settings); err != nil || !b.settings.fsync {
		return err
	}
	return b.countFsyncs(ctx, relays, os.Stdout)
}
