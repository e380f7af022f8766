package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"postern/test/harness"
)

// runLimit bounds one run.
const runLimit = 3 * time.Minute

// figures are what one run measured.
type figures struct {
	messages int
	elapsed  time.Duration
	cpu      time.Duration // of the relay and all its processes
	memory   int64         // their peak PSS in octets; 0 where not sampled
	load     string        // load average before the run
}

func (f figures) perSecond() float64  { return float64(f.messages) / f.elapsed.Seconds() }
func (f figures) cpuPer1000() float64 { return f.cpu.Seconds() * 1000 / float64(f.messages) }
func (f figures) megabytes() float64  { return float64(f.memory) / 1e6 }

// resultKey names the figures of one relay under one workload, one for each
// round.
type resultKey struct{ relay, workload string }

// runner runs every relay under every workload, round by round.
type runner struct {
	settings settings
	dir      string
	relays   []contender
	results  map[resultKey][]figures
	runs     int // so far, for names of directories
}

// round runs each relay once under each workload. The relays follow each
// other closely, and each round another one begins: the machine's speed
// drifts, and no relay may gain by it.
func (b *runner) round(ctx context.Context, round int) error {
	for _, w := range workloads {
		w.messages /= b.settings.shrink
		for i := range b.relays {
			c := b.relays[(i+round)%len(b.relays)]
			if w.memory && c.start == nil {
				continue
			}
			f, err := b.run(ctx, c, w)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.name, w.name, err)
			}
			key := resultKey{c.name, w.name}
			b.results[key] = append(b.results[key], f)
			fmt.Fprintf(os.Stderr, "round %d/%d  %-60s %-18s %7.0f msg/s %6.2f CPU s/1000 %5.0f MB  load %s\n",
				round+1, b.settings.pairs, w.name, c.name, f.perSecond(), f.cpuPer1000(), f.megabytes(), f.load)
		}
	}
	return nil
}

// run measures one relay, freshly started, under one workload.
func (b *runner) run(ctx context.Context, c contender, w workload) (f figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	line, err := b.set(ctx, c, w)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, line.close()) }()
	if err := line.push(ctx, w.messages/20+w.sessions); err != nil { // to warm up
		return f, err
	}
	f = figures{messages: w.messages, load: loadAverage()}
	if line.relay != nil && w.memory {
		sampler := sampleMemory(line.relay.PID())
		defer func() { f.memory = sampler.stop() }()
	}
	cpuBefore, err := line.cpu()
	if err != nil {
		return f, err
	}
	began := time.Now()
	if err := line.push(ctx, w.messages); err != nil {
		return f, err
	}
	f.elapsed = time.Since(began)
	cpuAfter, err := line.cpu()
	f.cpu = cpuAfter - cpuBefore
	return f, err
}

// line is a relay with a sink behind it and a source before it.
type line struct {
	workload workload
	relay    harness.Relay // nil: the source sends straight to the sink
	sink     sink
	dir      string
}

// set starts the sink, then the relay.
func (b *runner) set(ctx context.Context, c contender, w workload) (*line, error) {
	s, err := newSink(ctx, w)
	if err != nil {
		return nil, err
	}
	b.runs++
	l := &line{workload: w, sink: s, dir: filepath.Join(b.dir, fmt.Sprint(b.runs))}
	if c.start == nil {
		return l, nil
	}
	relay, err := c.start(l.dir, s.addr())
	if err == nil {
		err = relay.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	l.relay = relay
	return l, nil
}

// close stops the relay, then the sink, and removes the queue.
func (l *line) close() error {
	var err error
	if l.relay != nil {
		err = l.relay.Stop()
	}
	return errors.Join(err, l.sink.close(), os.RemoveAll(l.dir))
}

func (l *line) addr() string {
	if l.relay == nil {
		return l.sink.addr()
	}
	return l.relay.Addr()
}

// cpu returns the CPU time that the relay has used.
func (l *line) cpu() (time.Duration, error) {
	if l.relay == nil {
		return 0, nil
	}
	return treeCPU(l.relay.PID())
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
