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

	"postern/test/harness"
)

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

// bar is what is asked of a weight.
func (w weight) bar() bar {
	switch w {
	case memoryAtRest, memoryStarted:
		return atMost(2000, 1000)
	case tryAfterStop, tryAfterKill:
		return atMost(10, 3)
	default:
		return bar{}
	}
}

// printWeights prints the medians, and what is asked of the last instance.
func printWeights(out io.Writer, instances []*instance) {
	line, rule := "|", "|---|---|---|"
	for _, i := range instances {
		line += " | " + i.name
		rule += "---|"
	}
	fmt.Fprintln(out, line+" | floor | goal |\n"+rule)
	for _, w := range weights {
		line := "| " + string(w)
		for _, i := range instances {
			line += fmt.Sprintf(" | %.2f", harness.Median(i.weights[w]))
		}
		floor, goal := "–", "–"
		if bar := w.bar(); bar.absolute {
			last := instances[len(instances)-1].weights[w]
			floor, goal = bar.verdict(bar.floor, last), bar.verdict(bar.goal, last)
		}
		fmt.Fprintln(out, line, "|", floor, "|", goal, "|")
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
