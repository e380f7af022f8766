package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"postern/internal/mail"
	"postern/test/harness"
)

// The instances that are compared.
const (
	emptyName = "empty queue"
	fullName  = "backlog"
)

// backlogRetry has what was deferred wait for an hour. The measuring must be
// over by then.
const backlogRetry = "1h, every 1h until 5d"

// backlogWorkloads are the live traffic.
func backlogWorkloads() []workload {
	each, kept, many := perMessage, kept, relayWorkloads[len(relayWorkloads)-1]
	each.messages, kept.messages = 10_000, 10_000
	return []workload{each, kept, many}
}

func backlogTable() table {
	each, kept := perMessage.name, kept.name
	return table{
		rows: []row{
			rate(each),
			rate(kept),
			{each + ", CPU seconds per 1,000 messages", each, figures.cpuPer1000, "%.3f", true},
			{kept + ", CPU seconds per 1,000 messages", kept, figures.cpuPer1000, "%.3f", true},
			{"peak memory (PSS), 100 sessions, MB", "100 sessions", figures.megabytes, "%.0f", true},
		},
		columns: []string{emptyName, fullName},
		ratio:   "backlog / empty",
		of:      fullName,
		to:      []string{emptyName},
	}
}

// compareBacklog is the part of the bench about mail that waits: what it costs
// live mail, memory, the disk, and a start.
func compareBacklog(ctx context.Context, b *bench) (err error) {
	if b.settings.postern == "" {
		return errors.New("it measures Postern alone, whose binary was not named")
	}
	var instances []*instance
	defer func() {
		for _, i := range instances {
			err = errors.Join(err, i.close())
		}
	}()
	for _, name := range []string{emptyName, fullName} {
		i, err := b.newInstance(ctx, name)
		if err != nil {
			return err
		}
		instances = append(instances, i)
	}
	n, full := b.settings.backlog/b.settings.shrink, instances[1]
	began := time.Now()
	if err := full.fill(ctx, n); err != nil {
		return err
	}
	fmt.Printf("The backlog is %d messages, which came and were deferred at %.0f a second.\n\n", n, float64(n)/time.Since(began).Seconds())
	c := comparison{workloads: backlogWorkloads(), table: backlogTable()}
	for _, i := range instances {
		c.contenders = append(c.contenders, contender{name: i.name, run: i.live})
	}
	if err := c.compare(ctx, b.settings); err != nil {
		return err
	}
	for _, i := range instances {
		if err := i.weigh(ctx, b.settings.pairs); err != nil {
			return fmt.Errorf("%s: %w", i.name, err)
		}
	}
	fmt.Println()
	printWeights(os.Stdout, instances)
	if got := full.sink.deferred.Load(); got != int64(n) {
		return fmt.Errorf("%d attempts at a backlog of %d messages: some were made a second time while others were measured", got, n)
	}
	return nil
}

// instance is a Postern that goes on for the whole measuring, with a sink that
// defers some of the mail.
type instance struct {
	name    string
	line    *line
	postern *harness.Postern
	sink    *deferring
	weights map[weight][]float64
}

func (b *bench) newInstance(ctx context.Context, name string) (*instance, error) {
	s := newDeferring()
	if err := s.server.Listen(); err != nil {
		return nil, err
	}
	i := &instance{name: name, sink: s, line: &line{sink: s, dir: b.newDir()}, weights: map[weight][]float64{}}
	relay, err := postern(b.settings.postern, harness.PosternOptions{
		Retry: backlogRetry, RetryReports: "1s, every 1s until 1d",
	})(i.line.dir, s.addr())
	if err == nil {
		err = relay.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, i.close())
	}
	i.line.relay, i.postern = relay, relay.(*harness.Postern)
	return i, nil
}

func (i *instance) close() error { return i.line.close() }

// live measures live traffic.
func (i *instance) live(ctx context.Context, w workload) (figures, error) {
	i.line.workload = w
	if err := i.line.push(ctx, w.messages/20+w.sessions); err != nil { // to warm up
		return figures{}, err
	}
	return i.line.measure(ctx)
}

// weight is something that a backlog weighs upon.
type weight string

// What is weighed, in the order of the table.
const (
	memoryAtRest   weight = "memory at rest (PSS), MB"
	memoryStarted  weight = "memory after a start (PSS), MB"
	databaseDisk   weight = "database on disk, MB"
	bodyDisk       weight = "body log on disk, MB"
	journalDisk    weight = "journal on disk, MB"
	stopping       weight = "stop, s"
	greetAfterStop weight = "start after a stop, to the greeting, s"
	tryAfterStop   weight = "start after a stop, to the first attempt, s"
	greetAfterKill weight = "start after `kill -9`, to the greeting, s"
	tryAfterKill   weight = "start after `kill -9`, to the first attempt, s"
)

var weights = []weight{
	memoryAtRest, memoryStarted, databaseDisk, bodyDisk, journalDisk, stopping, greetAfterStop, tryAfterStop, greetAfterKill, tryAfterKill,
}

// printWeights prints the medians.
func printWeights(out io.Writer, instances []*instance) {
	line, rule := "|", "|---|"
	for _, i := range instances {
		line += " | " + i.name
		rule += "---|"
	}
	fmt.Fprintln(out, line+" |\n"+rule)
	for _, w := range weights {
		line := "| " + string(w)
		for _, i := range instances {
			line += fmt.Sprintf(" | %.2f", harness.Median(i.weights[w]))
		}
		fmt.Fprintln(out, line+" |")
	}
}

func (i *instance) note(w weight, value float64) { i.weights[w] = append(i.weights[w], value) }

// weigh looks at the instance, and starts it again so many times.
func (i *instance) weigh(ctx context.Context, times int) error {
	if err := i.noteMemory(memoryAtRest); err != nil {
		return err
	}
	for w, dir := range map[weight]string{
		databaseDisk: filepath.Join(i.postern.Queue(), "db-*"),
		bodyDisk:     filepath.Join(i.postern.Queue(), "bodies"),
		journalDisk:  i.postern.Journal(),
	} {
		used, err := diskUsed(dir)
		if err != nil {
			return err
		}
		i.note(w, float64(used)/1e6)
	}
	if err := i.sendProbe(ctx); err != nil {
		return err
	}
	for range times {
		began := time.Now()
		if err := i.postern.Stop(); err != nil {
			return err
		}
		i.note(stopping, time.Since(began).Seconds())
		if err := i.restart(ctx, greetAfterStop, tryAfterStop); err != nil {
			return err
		}
		i.postern.Kill()
		if err := i.restart(ctx, greetAfterKill, tryAfterKill); err != nil {
			return err
		}
		if err := i.noteMemory(memoryStarted); err != nil {
			return err
		}
	}
	return nil
}

// restart starts an instance that has ended.
func (i *instance) restart(ctx context.Context, greeting, attempt weight) error {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	select {
	case <-time.After(probeWait): // by then the probe is due
	case <-ctx.Done():
		return ctx.Err()
	}
	i.sink.probed.Store(0)
	began := time.Now()
	if err := i.postern.Start(ctx); err != nil {
		return err
	}
	i.note(greeting, time.Since(began).Seconds())
	if err := i.untilProbed(ctx); err != nil {
		return err
	}
	i.note(attempt, time.Unix(0, i.sink.probed.Load()).Sub(began).Seconds())
	fmt.Fprintf(os.Stderr, "%s: %s %.2f, to the first attempt %.2f\n",
		i.name, greeting, i.weights[greeting][len(i.weights[greeting])-1], i.weights[attempt][len(i.weights[attempt])-1])
	return nil
}

func (i *instance) untilProbed(ctx context.Context) error {
	return harness.Until(ctx, "the probe is attempted", func() (bool, error) { return i.sink.probed.Load() != 0, nil })
}

// sendProbe submits the probe, and waits for its first attempt.
func (i *instance) sendProbe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	if err := i.submitOne(ctx, &harness.Message{ID: "probe", To: []string{"probe@" + probeDomain}, Content: harness.Header("probe", "", "probe@"+probeDomain)}); err != nil {
		return err
	}
	return i.untilProbed(ctx)
}

// submitOne submits one message.
func (i *instance) submitOne(ctx context.Context, m *harness.Message) error {
	c, err := harness.Dial(ctx, i.postern.Addr())
	if err != nil {
		return err
	}
	if _, err := c.Send(m); err != nil {
		return err
	}
	return c.Close()
}

func (i *instance) noteMemory(w weight) error {
	octets, err := harness.TreePSS(i.postern.PID())
	i.note(w, float64(octets)/1e6)
	return err
}

// deferred returns how many recipients wait.
func (i *instance) deferred(ctx context.Context) (int, error) {
	recipients, err := i.postern.Recipients(ctx)
	return recipients[mail.Deferred], err
}

// diskUsed is what the files in the directories that match a pattern take.
func diskUsed(pattern string) (octets int64, err error) {
	dirs, err := filepath.Glob(pattern)
	for _, dir := range dirs {
		err = errors.Join(err, filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil // it has gone while we look
			}
			if err != nil {
				return err
			}
			octets += info.Sys().(*syscall.Stat_t).Blocks * 512 // stat(2)
			return nil
		}))
	}
	return octets, err
}
