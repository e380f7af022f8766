// Package crash tests Postern's first promise with the real binary: it is
// killed again and again under load, and must neither lose nor invent, nor
// alter, nor repeat a message. It is no library.
package crash

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"postern/test/harness"
)

// killsInSuite is how often Postern is killed when COUNT does not say.
const killsInSuite = 20

// startTimeout bounds a start, and a wait for load; perKill the whole test.
const (
	startTimeout = 30 * time.Second
	perKill      = 10 * time.Second
)

func TestKilledUnderLoad(t *testing.T) {
	kills := killsInSuite
	if count := os.Getenv("COUNT"); count != "" {
		var err error
		if kills, err = strconv.Atoi(count); err != nil || kills < 1 {
			t.Fatalf("COUNT=%q: write a number of kills, such as 1000", count)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(kills)*perKill)
	defer cancel()

	load := newLoad(rand.New(rand.NewPCG(uint64(kills), 1)))
	sink := &harness.Sink{Rcpt: load.rcpt, Take: load.take}
	if err := sink.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	postern := newPostern(ctx, t, sink.Addr())

	source := harness.Source{Addr: postern.Addr(), Sessions: 6, Keep: true, Redial: true,
		Next: func() *harness.Message { return load.next(ctx) }, Done: load.done}
	sourceEnd := make(chan error, 1)
	go func() { sourceEnd <- source.Run(ctx) }()
	for range kills {
		if err := killOnce(ctx, postern, load); err != nil {
			t.Fatal(err)
		}
		if err := sink.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		load.nextLife()
	}
	drain(ctx, t, postern, load, sourceEnd)
	load.report(t)
	facts, err := readJournal(postern.Journal())
	if err != nil {
		t.Fatal(err)
	}
	check(t, load, facts)
}

// newPostern makes the instance. Its files stay behind when the test fails.
func newPostern(ctx context.Context, t *testing.T, next string) *harness.Postern {
	t.Helper()
	dir, err := os.MkdirTemp("", "postern-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log, queue and journal are left in %s", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	binary, err := harness.BuildPostern(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := harness.NewPostern(harness.PosternOptions{Binary: binary, Dir: filepath.Join(dir, "instance"), NextHop: next})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// killOnce starts Postern and kills it: one time in five while it starts,
// else after a number of messages has been acknowledged.
func killOnce(ctx context.Context, postern *harness.Postern, load *load) error {
	wait := load.random.IntN(200)
	if load.random.IntN(5) == 0 {
		starting, cancel := context.WithTimeout(ctx, time.Duration(wait)*time.Millisecond)
		defer cancel()
		if postern.Start(starting) == nil { // else it is dead already
			postern.Kill()
		}
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := postern.Start(ctx); err != nil {
		return err
	}
	goal := load.acknowledged() + wait
	err := harness.Until(ctx, "enough messages are acknowledged", func() (bool, error) {
		return load.acknowledged() >= goal, nil
	})
	postern.Kill()
	return err
}

// drain lets Postern deliver what it has, and stops it.
func drain(ctx context.Context, t *testing.T, postern *harness.Postern, load *load, sourceEnd <-chan error) {
	t.Helper()
	load.stop()
	if err := postern.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-sourceEnd; err != nil {
		t.Error(err)
	}
	if err := harness.UntilEmpty(ctx, postern); err != nil {
		t.Error(err)
	}
	if err := postern.Stop(); err != nil {
		t.Error(err)
	}
}
