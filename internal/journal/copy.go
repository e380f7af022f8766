package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/internal/crashpoint"
	"postern/internal/mail"
)

// Source keeps facts, committed together with the state they speak of, until
// the journal has them. queue.Store is one.
type Source interface {
	// NextFacts returns up to limit durable facts with N > after, in order
	// of N, all of one mail.Fact.Source.
	NextFacts(ctx context.Context, after uint64, limit int) ([]mail.Fact, error)
	// ForgetFacts drops the facts up to and including n, and numbers later
	// ones behind it.
	ForgetFacts(ctx context.Context, n uint64) error
	// FactsWake receives after facts became durable.
	FactsWake() <-chan struct{}
}

// copyLimit is how many facts are written and synced together.
const copyLimit = 1000

// Trim makes a source forget what the journal has of it. Call it before the
// source records anything new: a source whose own storage was lost then goes
// on behind the numbers that the journal knows.
func (j *Journal) Trim(ctx context.Context, source string, s Source) error {
	j.mu.Lock()
	n := j.ledger.complete(source)
	j.mu.Unlock()
	if err := s.ForgetFacts(ctx, n); err != nil {
		return fmt.Errorf("journal: trim %s to fact %d: %w", source, n, err)
	}
	return nil
}

// Copy copies the facts of a source until ctx ends, then those that are
// durable by that time, and returns nil. Each is in the journal, synced,
// before it is forgotten at the source; one that the journal has already is
// only forgotten. While the journal cannot be written the facts stay at the
// source, and Copy tries again every Options.Retry.
//
// It fails when the source does, when the source breaks the order of its
// numbers, with ErrClosed after Close, and when the journal cannot be written
// after ctx ended.
func (j *Journal) Copy(ctx context.Context, s Source) error {
	c := &copier{journal: j, source: s}
	j.mu.Lock()
	j.copiers = append(j.copiers, c)
	j.mu.Unlock()
	defer j.leave(c)
	for {
		err := c.drain(ctx)
		wait := j.options.Delay // gather: one sync for many commits
		if _, failed := errors.AsType[*writeError](err); failed {
			wait = j.options.Retry
		} else if err == nil {
			receive(ctx, s.FactsWake())
		} else if ctx.Err() == nil {
			return err
		}
		if !sleep(ctx, wait) {
			return c.drain(context.WithoutCancel(ctx))
		}
	}
}

// leave notes that a copier has ended.
func (j *Journal) leave(c *copier) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.copiers = slices.DeleteFunc(j.copiers, func(x *copier) bool { return x == c })
}

// CatchUp waits until all is in the journal that was durable at the sources being copied, or recorded,
// when it was called: whoever has just heard of something finds it there.
//
// It fails when ctx ends before, when a source does, and when the journal cannot be written.
func (j *Journal) CatchUp(ctx context.Context) error {
	j.mu.Lock()
	copiers := slices.Clone(j.copiers)
	j.mu.Unlock()
	for _, other := range copiers {
		// The writer leaves out what it has: what this one writes of what that has under way, or the
		// other way round.
		c := copier{journal: j, source: other.source}
		for n := copyLimit; n == copyLimit; {
			var err error
			if n, err = c.pass(ctx); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	return j.submit(ctx, nil)
}

func receive(ctx context.Context, c <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-c:
	}
}

// sleep returns false at once when ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// copier copies a source.
type copier struct {
	journal *Journal
	source  Source
	after   uint64 // the last number that it has seen to be in the journal
}

// drain copies all that the source has, which forgets it.
func (c *copier) drain(ctx context.Context) error {
	for {
		n, err := c.pass(ctx)
		if n == 0 || err != nil {
			return err
		}
		crashpoint.Reach(crashpoint.Copied)
		if err := c.source.ForgetFacts(ctx, c.after); err != nil {
			return fmt.Errorf("journal: forget facts up to %d: %w", c.after, err)
		}
		if n < copyLimit {
			return nil
		}
	}
}

// pass copies the next facts, and returns how many they are: copyLimit, or the last ones.
func (c *copier) pass(ctx context.Context) (n int, err error) {
	facts, err := c.source.NextFacts(ctx, c.after, copyLimit)
	if err != nil {
		return 0, fmt.Errorf("journal: read facts: %w", err)
	}
	if len(facts) == 0 {
		return 0, nil
	}
	if err := c.check(facts); err != nil {
		return 0, err
	}
	if err := c.journal.submit(ctx, facts); err != nil {
		return 0, err
	}
	c.after = facts[len(facts)-1].N
	return len(facts), nil
}

// check makes sure that the facts are named as the journal needs it.
func (c *copier) check(facts []mail.Fact) error {
	source, last := facts[0].Source, c.after
	for _, f := range facts {
		if f.Source == "" || f.Source == Direct || f.Source != source {
			return fmt.Errorf("journal: fact %d says it is of source %q", f.N, f.Source)
		}
		if f.N <= last {
			return fmt.Errorf("journal: fact %d of source %s came after fact %d", f.N, f.Source, last)
		}
		last = f.N
	}
	return nil
}
