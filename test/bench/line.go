package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"postern/test/harness"
)

// run measures one relay, freshly started, under one workload.
func (b *bench) run(ctx context.Context, r relay, w workload) (f figures, err error) {
	line, err := b.set(ctx, r, w, nil)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, line.close()) }()
	if err := line.push(ctx, w.warmUp()); err != nil { // to warm up
		return f, err
	}
	return line.measure(ctx)
}

// line is a relay with a sink behind it and a source before it.
type line struct {
	workload workload
	relay    harness.Relay // nil: the source sends straight to the sink
	sink     sink
	to       string      // to whom everything is sent
	tls      *tls.Config // of the source; nil: it sends in clear
	dir      string
}

// set starts the sink, then the relay; that under a command such as strace,
// unless it is empty.
func (b *bench) set(ctx context.Context, r relay, w workload, under []string) (*line, error) {
	s, err := newSink(ctx, w)
	if err != nil {
		return nil, err
	}
	l := &line{workload: w, sink: s, to: to, dir: b.newDir()}
	if r.start == nil {
		return l, nil
	}
	place := place{dir: l.dir, next: s.addr(), under: under}
	if w.encrypted {
		l.tls, place.identity = b.identity.source, b.identity
	}
	started, err := r.start(place)
	if err == nil {
		err = started.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	l.relay = started
	return l, nil
}

// close stops the relay, then the sink, and removes the queue.
func (l *line) close() error {
	var err error
	if l.relay != nil {
		err = l.relay.Stop()
	}
	return errors.Join(err, l.sink.close(), l.sink.fault(), os.RemoveAll(l.dir))
}

func (l *line) addr() string {
	if l.relay == nil {
		return l.sink.addr()
	}
	return l.relay.Addr()
}

// measure takes the figures of the workload.
func (l *line) measure(ctx context.Context) (f figures, err error) {
	f.Messages = l.workload.messages
	if l.relay != nil && l.workload.memory {
		sampler := harness.SampleMemory(l.relay.PID())
		defer func() { f.Memory = sampler.Stop() }()
	}
	cpuBefore, err := l.cpu()
	if err != nil {
		return f, err
	}
	began := time.Now()
	if err := l.push(ctx, f.Messages); err != nil {
		return f, err
	}
	f.Elapsed = time.Since(began)
	cpuAfter, err := l.cpu()
	f.CPU = cpuAfter - cpuBefore
	return f, err
}

// cpu returns the CPU time that the relay has used.
func (l *line) cpu() (time.Duration, error) {
	if l.relay == nil {
		return 0, nil
	}
	return harness.TreeCPU(l.relay.PID())
}

// push sends n messages and waits until the sink has every one of them.
func (l *line) push(ctx context.Context, n int) error {
	all := l.sink.expect(n)
	if err := l.send(ctx, n); err != nil {
		return err
	}
	select {
	case <-all:
		return l.sink.fault()
	case <-ctx.Done():
		return fmt.Errorf("%w: %d of %d messages arrived", ctx.Err(), l.sink.count(), n)
	}
}
