package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// The instances that are compared.
const (
	emptyName        = "Postern, empty"
	fullName         = "Postern, backlog"
	postfixEmptyName = "Postfix tuned, empty"
	postfixFullName  = "Postfix tuned, backlog"
)

// What was deferred waits for so long. The measuring must be over by then.
const (
	backlogRetry    = "1h, every 1h until 5d"
	postfixWaits    = "\nminimal_backoff_time = 1h\nmaximal_backoff_time = 1h\n"
	largestPostfix  = 200_000 // messages: it would take too much of the hour to be given more
	backlogMessages = 10_000  // of live mail
)

// backlogWorkloads are the live traffic.
func backlogWorkloads() []workload {
	each, kept := perMessage, kept
	each.messages, kept.messages = backlogMessages, backlogMessages
	return []workload{each, kept, many}
}

// backlogTables show what a backlog costs Postern, what it costs Postfix, and
// how they compare when both have it.
func backlogTables(postfixToo bool) []table {
	each, kept := perMessage.name, kept.name
	rows := []row{
		rate(each),
		rate(kept),
		{title: each + ", CPU seconds per 1,000 messages", workload: each, figure: figures.cpuPer1000, format: "%.3f", lower: true},
		{title: kept + ", CPU seconds per 1,000 messages", workload: kept, figure: figures.cpuPer1000, format: "%.3f", lower: true},
		{title: "peak memory (PSS), 100 sessions, MB", workload: many.name, figure: figures.megabytes, format: "%.0f", lower: true},
	}
	asked := slices.Clone(rows)
	asked[0].bar, asked[1].bar, asked[4].bar = times(0.9, 0.95), times(0.9, 0.95), atMost(2000, 1000)
	tables := []table{{
		rows:    asked,
		columns: []string{emptyName, fullName},
		ratios:  []ratio{{"backlog / empty", fullName, []string{emptyName}}},
	}}
	if !postfixToo {
		return tables
	}
	return append(tables, table{
		rows:    rows,
		columns: []string{postfixEmptyName, postfixFullName, fullName},
		ratios: []ratio{
			{"Postfix: backlog / empty", postfixFullName, []string{postfixEmptyName}},
			{"both with the backlog: Postern / Postfix", fullName, []string{postfixFullName}},
		},
	})
}

// compareBacklog is the part of the bench about mail that waits: what it costs
// live mail to the same site, memory, the disk, and a start.
func compareBacklog(ctx context.Context, b *bench) (err error) {
	if b.settings.postern == "" {
		return errors.New("it measures what a backlog costs Postern, whose binary was not named")
	}
	n := b.settings.backlog / b.settings.shrink
	var instances []*instance
	defer func() {
		for _, i := range instances {
			err = errors.Join(err, i.close())
		}
	}()
	// Postern is filled last: what it was given first waits no longer than
	// the measuring takes.
	kinds := []kind{{postfixEmptyName, b.newPostfix, 0}, {postfixFullName, b.newPostfix, n}, {emptyName, b.newPostern, 0}, {fullName, b.newPostern, n}}
	if n > largestPostfix {
		kinds = kinds[2:]
		fmt.Printf("Postfix is left out: it would need too long for more than %d messages.\n\n", largestPostfix)
	}
	for _, k := range kinds {
		i, err := k.make(ctx, k.name)
		if err != nil {
			return err
		}
		instances = append(instances, i)
		if err := i.fill(ctx, k.backlog); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	if err := compareLive(ctx, b.settings, instances); err != nil {
		return err
	}
	return weighAll(ctx, b.settings.pairs, instances)
}

// kind is how an instance is made.
type kind struct {
	name    string
	make    func(context.Context, string) (*instance, error)
	backlog int
}

// compareLive measures live mail through all instances.
func compareLive(ctx context.Context, s settings, instances []*instance) error {
	c := comparison{workloads: backlogWorkloads(), tables: backlogTables(len(instances) > 2)}
	for _, i := range instances {
		c.contenders = append(c.contenders, contender{name: i.name, run: i.live})
		if i.backlog > 0 {
			fmt.Printf("%s: %d messages, which came and were deferred at %.0f a second.\n\n", i.name, i.backlog, i.filled)
		}
	}
	if err := c.compare(ctx, s); err != nil {
		return err
	}
	for _, i := range instances {
		if err := i.checkWaiting(); err != nil {
			return err
		}
	}
	return nil
}

// weighAll weighs the instances of Postern.
func weighAll(ctx context.Context, times int, instances []*instance) error {
	var weighed []*instance
	for _, i := range instances {
		if i.postern == nil {
			continue
		}
		if err := i.weigh(ctx, times); err != nil {
			return fmt.Errorf("%s: %w", i.name, err)
		}
		if err := i.checkWaiting(); err != nil {
			return err
		}
		weighed = append(weighed, i)
	}
	fmt.Println()
	printWeights(os.Stdout, weighed)
	return nil
}
