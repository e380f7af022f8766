package main

import (
	"context"
	"errors"
	"fmt"

	"postern/internal/mail"
	"postern/test/harness"
)

// instance is a relay that goes on for the whole measuring, with a sink that
// defers some of the mail.
type instance struct {
	name    string
	line    *line
	sink    *deferring
	backlog int     // how many messages wait
	filled  float64 // messages per second, while the backlog came
	// waiting counts the messages that were deferred.
	waiting func(context.Context) (int, error)
	// postern is the relay, where it is one; and what it weighs.
	postern *harness.Postern
	weights map[weight][]float64
}

// newPostern starts an instance of Postern.
func (b *bench) newPostern(ctx context.Context, name string) (*instance, error) {
	i, relay, err := b.newInstance(ctx, name, postern(b.settings.postern, harness.PosternOptions{
		Retry: backlogRetry, RetryReports: "1s, every 1s until 1d",
	}))
	if err != nil {
		return nil, err
	}
	i.postern, i.weights = relay.(*harness.Postern), map[weight][]float64{}
	i.waiting = func(ctx context.Context) (int, error) {
		recipients, err := i.postern.Recipients(ctx)
		return recipients[mail.Deferred], err
	}
	return i, nil
}

// newPostfix starts an instance of Postfix tuned.
func (b *bench) newPostfix(ctx context.Context, name string) (*instance, error) {
	i, relay, err := b.newInstance(ctx, name, postfix(tunedSettings+postfixWaits))
	if err != nil {
		return nil, err
	}
	i.waiting = relay.(*harness.Postfix).Deferred
	return i, nil
}

func (b *bench) newInstance(ctx context.Context, name string, make func(place) (harness.Relay, error)) (*instance, harness.Relay, error) {
	s := newDeferring()
	if err := s.server.Listen(); err != nil {
		return nil, nil, err
	}
	i := &instance{name: name, sink: s, line: &line{sink: s, to: live, dir: b.newDir()}}
	relay, err := make(place{dir: i.line.dir, next: s.addr()})
	if err == nil {
		err = relay.Start(ctx)
	}
	if err != nil {
		return nil, nil, errors.Join(err, i.close())
	}
	i.line.relay = relay
	return i, relay, nil
}

func (i *instance) close() error { return i.line.close() }

// live measures live traffic.
func (i *instance) live(ctx context.Context, w workload) (figures, error) {
	i.line.workload = w
	if err := i.line.push(ctx, w.warmUp()); err != nil {
		return figures{}, err
	}
	return i.line.measure(ctx)
}

// checkWaiting fails when an attempt was made at the backlog while something
// else was measured.
func (i *instance) checkWaiting() error {
	if got := i.sink.deferred.Load(); got != int64(i.backlog) {
		return fmt.Errorf("%s: %d attempts at a backlog of %d messages: some were made a second time while others were measured", i.name, got, i.backlog)
	}
	return nil
}
