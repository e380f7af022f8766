package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"postern/test/harness"
)

// workload is what is sent.
type workload struct {
	name     string
	size     int // octets of the body
	sessions int
	keep     bool // a connection for all messages of a session
	messages int
	// tools sends with Postfix's smtp-source to its smtp-sink in place of our
	// own source and sink. They check no ids.
	tools bool
	// encrypted has the source say STARTTLS. What leaves the relay stays in
	// clear.
	encrypted bool
	// memory samples the relay's memory, which costs time: the run's rate is
	// not used.
	memory bool
}

// warmUp is how many messages a fresh relay is sent before it is measured.
func (w *workload) warmUp() int { return w.messages/20 + w.sessions }

// figures are what one run measured.
type figures struct {
	Messages int           `json:"messages"`
	Elapsed  time.Duration `json:"elapsed"`
	CPU      time.Duration `json:"cpu"`    // of the contender and all its processes
	Memory   int64         `json:"memory"` // their peak PSS in octets; 0 where not sampled
	Fsyncs   int           `json:"-"`      // counted in a run of its own
	load     string        // load average before the run
}

func (f figures) perSecond() float64  { return float64(f.Messages) / f.Elapsed.Seconds() }
func (f figures) cpuPer1000() float64 { return f.CPU.Seconds() * 1000 / float64(f.Messages) }
func (f figures) megabytes() float64  { return float64(f.Memory) / 1e6 }

// cpuEach is the CPU time for one message in microseconds.
func (f figures) cpuEach() float64 { return f.CPU.Seconds() * 1e6 / float64(f.Messages) }

// fsyncsEach is the number of fsyncs for one message.
func (f figures) fsyncsEach() float64 { return float64(f.Fsyncs) / float64(f.Messages) }

// results are the figures of each contender under each workload, one for each
// round.
type results map[resultKey][]figures

type resultKey struct {
	contender, workload string
	traced              bool
}

// contender is one of those that are compared.
type contender struct {
	name string
	// run measures it once.
	run func(context.Context, workload) (figures, error)
	// trace counts its fsyncs once; nil: they are not counted.
	trace func(context.Context, workload) (figures, error)
	// passes says which workloads it does not take part in; nil: none.
	passes func(workload) bool
}

// comparison measures contenders under workloads, round by round.
type comparison struct {
	workloads  []workload
	contenders []contender
	tables     []table
}

// measure makes all rounds. The contenders follow each other closely, and
// each round another one begins: the machine's speed drifts, and nobody may
// gain by it. When it fails it returns what was measured until then.
func (c *comparison) measure(ctx context.Context, s settings) (results, error) {
	all := results{}
	for round := range s.pairs {
		for _, w := range c.workloads {
			for i := range c.contenders {
				contender := c.contenders[(i+round)%len(c.contenders)]
				if contender.passes != nil && contender.passes(w) {
					continue
				}
				f, err := contender.once(ctx, w, contender.run)
				if err != nil {
					return all, err
				}
				key := resultKey{contender: contender.name, workload: w.name}
				all[key] = append(all[key], f)
				fmt.Fprintf(os.Stderr, "round %d/%d  %-60s %-22s %7.0f msg/s %6.2f CPU s/1000 %5.0f MB  load %s\n",
					round+1, s.pairs, w.name, contender.name, f.perSecond(), f.cpuPer1000(), f.megabytes(), f.load)
			}
		}
	}
	return all, nil
}

// trace counts the fsyncs of each contender under each workload.
func (c *comparison) trace(ctx context.Context, all results) error {
	for _, w := range c.workloads {
		w.messages = max(w.messages/tracedShare, w.sessions)
		for _, contender := range c.contenders {
			if contender.trace == nil {
				continue
			}
			f, err := contender.once(ctx, w, contender.trace)
			if err != nil {
				return fmt.Errorf("traced: %w", err)
			}
			all[resultKey{contender.name, w.name, true}] = []figures{f}
			fmt.Fprintf(os.Stderr, "traced  %-60s %-22s %6.2f fsyncs a message\n", w.name, contender.name, f.fsyncsEach())
		}
	}
	return nil
}

// runLimit bounds one run.
const runLimit = 3 * time.Minute

// once measures the contender once, in one of its ways.
func (c *contender) once(ctx context.Context, w workload, run func(context.Context, workload) (figures, error)) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	load := harness.LoadAverage()
	f, err := run(ctx, w)
	f.load = load
	if err != nil {
		return f, fmt.Errorf("%s, %s: %w", c.name, w.name, err)
	}
	return f, nil
}

// compare measures, and prints the tables under a line that says where and
// when: also those of a measuring that failed, as far as it went.
func (c *comparison) compare(ctx context.Context, s settings) error {
	c.workloads = s.choose(c.workloads)
	began, load := time.Now(), harness.LoadAverage()
	all, err := c.measure(ctx, s)
	if err == nil && s.fsync {
		err = c.trace(ctx, all)
	}
	fmt.Printf("%s, load %s before and %s after, %d pairs in %v", harness.Machine(), load, harness.LoadAverage(), s.pairs, time.Since(began).Round(time.Second))
	if s.shrink > 1 {
		fmt.Printf(", 1/%d of the messages", s.shrink)
	}
	fmt.Println()
	for _, t := range c.tables {
		fmt.Println()
		t.print(os.Stdout, all)
	}
	return err
}
