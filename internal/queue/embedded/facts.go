package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/mail"
	"postern/internal/queue"
)

// recorded is a fact on its way to the committer.
type recorded struct {
	fact    mail.Fact
	encoded []byte
}

// factState numbers facts. last and forgotten belong to the committer.
type factState struct {
	last      uint64 // the last number that was given out, or skipped
	forgotten uint64 // all facts up to here are gone
	readable  atomic.Uint64
	wake      queue.Signal

	mu sync.Mutex
	// fresh are all facts from some number on, in order: the journal has them
	// without reading or decoding anything.
	fresh []mail.Fact
}

// maxFreshFacts bounds fresh: more than come while the journal gathers, and a
// few megabytes. While the journal cannot be written, they lie on the disk.
const maxFreshFacts = 4096

// durable says that the facts up to last are durable, of which more are new.
func (f *factState) durable(last uint64, more []mail.Fact) {
	f.last = last
	f.mu.Lock()
	f.fresh = append(f.fresh, more...)
	if surplus := len(f.fresh) - maxFreshFacts; surplus > 0 {
		f.fresh = slices.Delete(f.fresh, 0, min(len(f.fresh), surplus+maxFreshFacts/2)) // not one by one
	}
	f.mu.Unlock()
	f.readable.Store(last)
	if len(more) > 0 {
		f.wake.Raise()
	}
}

// forget drops the fresh facts up to a number.
func (f *factState) forget(n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fresh = slices.Delete(f.fresh, 0, f.behind(n))
}

// behind is where those of the fresh facts begin that have a higher number. mu
// is held.
func (f *factState) behind(n uint64) int {
	at, _ := slices.BinarySearchFunc(f.fresh, n+1, func(f mail.Fact, n uint64) int { return cmp.Compare(f.N, n) })
	return at
}

// next returns facts behind a number; false when the first of them are not
// fresh.
func (f *factState) next(behind uint64, limit int) ([]mail.Fact, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.fresh) == 0 || f.fresh[0].N > behind+1 {
		return nil, false
	}
	facts := f.fresh[f.behind(behind):]
	return slices.Clone(facts[:min(len(facts), limit)]), true
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
	if facts, fresh := s.facts.next(behind, limit); fresh {
		return facts, nil
	}
	return s.readFacts(behind, last, limit)
}

// readFacts reads facts back.
func (s *Store) readFacts(behind, last uint64, limit int) ([]mail.Fact, error) {
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
