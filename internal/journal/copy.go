package journal

import (
	"context"
	"errors"
	"fmt"
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
	c := copier{journal: j, source: s}
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

// copier is one Copy under way.
type copier struct {
	journal *Journal
	source  Source
	after   uint64 // the last number that is in the journal and forgotten
}

// drain copies all that the source has.
func (c *copier) drain(ctx context.Context) error {
	for {
		facts, err := c.source.NextFacts(ctx, c.after, copyLimit)
		if err != nil {
			return fmt.Errorf("journal: read facts: %w", err)
		}
		if len(facts) == 0 {
			return nil
		}
		if err := c.check(facts); err != nil {
			return err
		}
		if err := c.journal.submit(facts); err != nil {
			return err
		}
		crashpoint.Reach(crashpoint.Copied)
		last := facts[len(facts)-1].N
		if err := c.source.ForgetFacts(ctx, last); err != nil {
			return fmt.Errorf("journal: forget facts up to %d: %w", last, err)
		}
		c.after = last
		if len(facts) < copyLimit {
			return nil
		}
	}
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
