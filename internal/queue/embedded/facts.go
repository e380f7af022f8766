package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/mail"
	"postern/internal/queue"
)

// factState numbers facts. last and forgotten belong to the committer.
type factState struct {
	last      uint64 // the last number that was given out, or skipped
	forgotten uint64 // all facts up to here are gone
	readable  atomic.Uint64
	wake      queue.Signal
}

// durable says that the facts up to last are durable.
func (f *factState) durable(last uint64, more bool) {
	f.last = last
	f.readable.Store(last)
	if more {
		f.wake.Raise()
	}
}

// NextFacts returns facts behind a number.
func (s *Store) NextFacts(ctx context.Context, behind uint64, limit int) ([]mail.Fact, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	last := s.facts.readable.Load()
	if limit <= 0 || behind >= last {
		return nil, nil
	}
	var facts []mail.Fact
	for p, err := range scan(s.db, factKey(behind+1), append(factKey(last), 0)) {
		if err != nil {
			return nil, err
		}
		facts = append(facts, s.decodeFact(p))
		if len(facts) == limit {
			break
		}
	}
	return facts, nil
}

// decodeFact decodes a fact. One that is damaged is told as such under its
// number: the others must go on.
func (s *Store) decodeFact(p pair) mail.Fact {
	f, err := decodeFact(p.key, p.value)
	if err == nil {
		return f
	}
	n, _ := parseFactKey(p.key)
	return mail.Fact{
		Source: queue.FactSource, N: n, Time: s.options.Clock.Now(), Reason: mail.ReasonDamaged,
		Text: fmt.Sprintf("the fact with this number cannot be read: %v", err),
	}
}

// ForgetFacts drops facts up to a number. It needs no sync: should a crash
// bring them back, they are in the journal, and a later number is durable
// only together with what is forgotten here.
func (s *Store) ForgetFacts(ctx context.Context, n uint64) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	c := s.newChange()
	c.forget, c.lazy = n, true
	return s.commit(ctx, c)
}

// FactsWake receives after facts became durable.
func (s *Store) FactsWake() <-chan struct{} { return s.facts.wake }

// PutMark sets or lifts a mark.
func (s *Store) PutMark(ctx context.Context, m queue.Mark, f mail.Fact) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	if err := errors.Join(m.Check(), queue.CheckFact(&f)); err != nil {
		return err
	}
	c := s.newChange()
	s.putMark(c, m)
	c.record([]mail.Fact{f})
	if err := s.commit(ctx, c); err != nil || m.Kind != queue.MarkSuspendSender || m.Value == "" {
		return err
	}
	view, err := s.view()
	if err != nil {
		return err
	}
	defer view.Close()
	return s.withhold(view)
}

// withhold tells the index whose each entry is, of those whose sender may be
// suspended. An entry that cannot be read is not sent anyway.
func (s *Store) withhold(r pebble.Reader) error {
	for p, err := range scanPrefix(r, headerPrefix) {
		if err != nil {
			return err
		}
		if e, err := decodeHeader(p.key, p.value); err == nil {
			s.index.Withhold(e.ID, e.Envelope.From)
		}
	}
	return nil
}

func (s *Store) putMark(c *change, m queue.Mark) {
	if k := markKey(m.Kind, m.Key); m.Value == "" {
		c.remove(k)
	} else {
		c.set(k, m)
	}
	c.after(func() { s.index.Suspend(m) })
}

// Mark returns one mark.
func (s *Store) Mark(ctx context.Context, kind queue.MarkKind, name string) (queue.Mark, error) {
	if err := s.enter(ctx); err != nil {
		return queue.Mark{}, err
	}
	defer s.gate.leave()
	view, err := s.view()
	if err != nil {
		return queue.Mark{}, err
	}
	defer view.Close()
	k := markKey(kind, name)
	value, err := s.read(view, k)
	if err != nil {
		return queue.Mark{}, fmt.Errorf("mark %q of kind %q: %w", name, kind, err)
	}
	return decode[queue.Mark](k, value)
}

// ListMarks returns the marks of a kind.
func (s *Store) ListMarks(ctx context.Context, kind queue.MarkKind) ([]queue.Mark, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	view, err := s.view()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	return readMarks(view, markKey(kind, ""))
}

func readMarks(r pebble.Reader, prefix []byte) ([]queue.Mark, error) {
	var marks []queue.Mark
	for p, err := range scanPrefix(r, prefix...) {
		if err != nil {
			return nil, err
		}
		m, err := decode[queue.Mark](p.key, p.value)
		if err != nil {
			return nil, err
		}
		marks = append(marks, m)
	}
	return marks, nil
}
