package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"
	"time"

	"postern/test/harness"
)

// benchFor makes a bench with a binary of Postern, in a directory that
// Postfix's daemons may enter.
func benchFor(t *testing.T) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "postern-bench-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	binary, err := harness.BuildPostern(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	made, err := newIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{settings: settings{postern: binary, pairs: 1, shrink: 1, rows: regexp.MustCompile("")}, dir: dir, identity: made}
}

// TestRelays measures real relays a little, in every way in which the bench
// does.
func TestRelays(t *testing.T) {
	b := benchFor(t)
	t.Run("figures", b.testFigures)
	t.Run("trace", b.testTrace)
	t.Run("untrusted", b.testUntrusted)
	t.Run("backlog", b.testBacklog)
}

// eachRelay runs a test for each relay that the bench compares.
func (b *bench) eachRelay(t *testing.T, test func(*testing.T, context.Context, relay)) {
	for _, r := range relaysToCompare(b.settings.postern) {
		if r.start == nil {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			test(t, ctx, r)
		})
	}
}

// must ends the test on an error; where no Postfix is required, it skips the
// test without one.
func must(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, harness.ErrNoPostfix) && !harness.Required() {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// testFigures: every relay passes on every message of every kind of workload,
// and its figures are taken.
func (b *bench) testFigures(t *testing.T) {
	b.eachRelay(t, func(t *testing.T, ctx context.Context, r relay) {
		for _, w := range []workload{small(2, 20, false, false), small(2, 20, true, true), {name: "memory", size: 100, sessions: 1, messages: 5, memory: true}} {
			f, err := b.run(ctx, r, w)
			must(t, err)
			if f.Messages != w.messages || f.Elapsed <= 0 || (f.Memory > 0) != w.memory {
				t.Errorf("%s: %+v", w.name, f)
			}
		}
	})
}

// testTrace: with one session, each message needs a sync of its own before it
// is acknowledged.
func (b *bench) testTrace(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil && !harness.Required() {
		t.Skip(err)
	}
	b.eachRelay(t, func(t *testing.T, ctx context.Context, r relay) {
		f, err := b.trace(ctx, r, small(1, 10, true, false))
		must(t, err)
		if f.Fsyncs < f.Messages {
			t.Errorf("%d fsyncs for %d messages", f.Fsyncs, f.Messages)
		}
	})
}

// testUntrusted: a source that does not know the certificate sends
// nothing.
func (b *bench) testUntrusted(t *testing.T) {
	other, err := newIdentity(t.TempDir())
	must(t, err)
	known := b.identity.source
	b.identity.source = other.source
	defer func() { b.identity.source = known }()
	b.eachRelay(t, func(t *testing.T, ctx context.Context, r relay) {
		line, err := b.set(ctx, r, small(1, 1, false, true), nil)
		must(t, err)
		if err := line.send(ctx, 1); err == nil {
			t.Error("it sent a message")
		}
		must(t, line.close())
	})
}

// testBacklog: a backlog waits in either relay, while live mail to its domain
// passes.
func (b *bench) testBacklog(t *testing.T) {
	for _, k := range []kind{{postfixFullName, b.newPostfix, 30}, {fullName, b.newPostern, 30}} {
		t.Run(k.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			i, err := k.make(ctx, k.name)
			must(t, err)
			defer func() { must(t, i.close()) }()
			must(t, i.fill(ctx, k.backlog))
			f, err := i.live(ctx, small(2, 20, true, false))
			must(t, err)
			must(t, i.checkWaiting())
			waiting, err := i.waiting(ctx)
			must(t, err)
			if f.Messages != 20 || waiting != 30 {
				t.Errorf("%d messages passed and %d wait", f.Messages, waiting)
			}
		})
	}
}

// TestSinkFaults: a message that comes twice, or that was never sent, is a
// fault.
func TestSinkFaults(t *testing.T) {
	for _, c := range []struct {
		ids   []string
		fault bool
	}{{[]string{"0", "1"}, false}, {[]string{"0", "0"}, true}, {[]string{"0", "2"}, true}, {[]string{"x"}, true}} {
		s := &ownSink{}
		all := s.expect(2)
		for _, id := range c.ids {
			s.take(&harness.Arrival{Content: harness.Header(id, from, to)})
		}
		if (s.fault() != nil) != c.fault {
			t.Errorf("%q: %v", c.ids, s.fault())
		}
		select {
		case <-all:
			if c.fault {
				t.Errorf("%q count as all", c.ids)
			}
		default:
			if slices.Equal(c.ids, []string{"0", "1"}) {
				t.Errorf("%q do not count as all", c.ids)
			}
		}
	}
}
