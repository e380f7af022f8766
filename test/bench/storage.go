package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"time"

	"postern/test/harness"
)

// The ways to store a message that are compared.
const (
	inLog     = "body log"
	inPebble  = "bodies in Pebble"
	asShipped = "as shipped"
	byPostfix = "Postfix, with SMTP"
)

// postfixShare is the part of the messages, as one in so many, that Postfix
// gets: it would take minutes for all.
const postfixShare = 20

// storageTable shows how ways to store a message compare.
func storageTable(workloads []workload) table {
	t := table{
		columns: []string{inLog, asShipped, inPebble, byPostfix},
		ratios:  []ratio{{inLog + " / " + inPebble, inLog, []string{inPebble}}},
	}
	for _, w := range workloads {
		t.rows = append(t.rows, rate(w.name), row{title: w.name + ", CPU µs a message", workload: w.name, figure: figures.cpuEach, format: "%.0f", lower: true})
	}
	return t
}

// storageWorkloads write enough to fill what Pebble gathers in memory several
// times: what its tables and their compaction cost is seen only then.
func storageWorkloads() []workload {
	var all []workload
	for _, size := range []struct{ kib, messages int }{{4, 40_000}, {32, 20_000}} {
		for _, writers := range []int{20, 100} {
			all = append(all, workload{
				name: fmt.Sprintf("%d KiB, %d writers", size.kib, writers),
				size: size.kib << 10, sessions: writers, keep: true, messages: size.messages,
			})
		}
	}
	return all
}

// compareStores is the part of the bench about what it takes to store a
// message: accepted and synced, not delivered.
func compareStores(ctx context.Context, b *bench) error {
	workloads := storageWorkloads()
	c := comparison{workloads: workloads, tables: []table{storageTable(workloads)}}
	for _, way := range []struct {
		name   string
		inline int64
	}{{inLog, -1}, {asShipped, 0}, {inPebble, math.MaxInt64}} {
		c.contenders = append(c.contenders, contender{name: way.name, run: func(ctx context.Context, w workload) (figures, error) {
			return b.store(ctx, storeJob{Inline: way.inline, Size: w.size, Writers: w.sessions, Messages: w.messages})
		}})
	}
	c.contenders = append(c.contenders, contender{name: byPostfix, run: b.hold})
	return c.compare(ctx, b.settings)
}

// store has a process of its own measure Postern's store, so that nothing else
// is counted among what it computes.
func (b *bench) store(ctx context.Context, job storeJob) (f figures, err error) {
	job.Dir = b.newDir()
	defer func() { err = errors.Join(err, os.RemoveAll(job.Dir)) }()
	err = runChild(ctx, storeCommand, job, &f)
	return f, err
}

// runChild has a process of its own do a job, and reads what it has measured.
func runChild(ctx context.Context, command string, job, measured any) error {
	argument, err := json.Marshal(job)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.CommandContext(ctx, self, command, string(argument))
	child.Stderr = os.Stderr
	out, err := child.Output()
	if err != nil {
		return fmt.Errorf("%v: %w", child.Args, err)
	}
	return json.Unmarshal(out, measured)
}

// holdSettings have Postfix keep what it takes in, and do nothing more.
const holdSettings = "\nsmtpd_data_restrictions = check_client_access static:HOLD\n"

// hold measures a Postfix that takes mail in.
func (b *bench) hold(ctx context.Context, w workload) (f figures, err error) {
	dir := b.newDir()
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	nowhere := harness.Loopback(9)
	relay, err := postfix(tunedSettings + holdSettings)(place{dir: dir, next: nowhere})
	if err == nil {
		err = relay.Start(ctx)
	}
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, relay.Stop()) }()
	f.Messages = w.messages / postfixShare
	if err := sendWithTool(ctx, relay.Addr(), w, 2*w.sessions); err != nil { // to warm up
		return f, err
	}
	before, err := harness.TreeCPU(relay.PID())
	if err != nil {
		return f, err
	}
	began := time.Now()
	if err := sendWithTool(ctx, relay.Addr(), w, f.Messages); err != nil {
		return f, err
	}
	f.Elapsed = time.Since(began)
	after, err := harness.TreeCPU(relay.PID())
	f.CPU = after - before
	return f, errors.Join(err, held(ctx, relay, f.Messages+2*w.sessions))
}

// held fails unless the relay has so many messages.
func held(ctx context.Context, relay harness.Relay, want int) error {
	n, err := relay.Queued(ctx)
	if err == nil && n != want {
		err = fmt.Errorf("the relay holds %d messages of %d", n, want)
	}
	return err
}
