package main

import (
	_ "embed"
	"path/filepath"

	"postern/test/harness"
)

// contender is a relay to be measured.
type contender struct {
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

func relaysToCompare(binary string) []contender {
	relays := []contender{
		{noRelay, nil},
		{postfixShipped, postfix("")},
		{postfixTuned, postfix(tunedSettings)},
	}
	if binary == "" {
		return relays
	}
	return append(relays, contender{posternName, func(dir, next string) (harness.Relay, error) {
		path, err := filepath.Abs(binary)
		if err != nil {
			return nil, err
		}
		return harness.NewPostern(harness.PosternOptions{Binary: path, Dir: dir, NextHop: next})
	}})
}

func postfix(settings string) func(dir, next string) (harness.Relay, error) {
	return func(dir, next string) (harness.Relay, error) {
		return harness.NewPostfix(harness.PostfixOptions{
			Dir: dir, Hostname: "relay.test.example", NextHop: next, Settings: settings,
		})
	}
}
