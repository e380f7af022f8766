package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/mail"
	"postern/internal/queue"
)

// read returns a copy of the value of a key. Errors: ErrNotFound; ErrDamaged
// when Pebble finds that its bytes fail their check.
func (s *Store) read(r pebble.Reader, key []byte) ([]byte, error) {
	value, closer, err := r.Get(key)
	if err != nil {
		return nil, readError(err)
	}
	defer closer.Close()
	return bytes.Clone(value), nil
}

// readError gives Pebble's errors the names of the contract.
func readError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pebble.ErrNotFound):
		return queue.ErrNotFound
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %w", queue.ErrDamaged, err)
	}
	return err
}

// pair is a key and its value, good until the next is read.
type pair struct{ key, value []byte }

// scan goes over the keys from lower up to, not including, upper.
func scan(r pebble.Reader, lower, upper []byte) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			yield(pair{}, readError(err))
			return
		}
		defer it.Close()
		for it.First(); it.Valid(); it.Next() {
			value, err := it.ValueAndErr()
			if err != nil {
				yield(pair{key: it.Key()}, readError(err))
				return
			}
			if !yield(pair{it.Key(), value}, nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(pair{}, readError(err))
		}
	}
}

// scanPrefix goes over the keys that begin with prefix.
func scanPrefix(r pebble.Reader, prefix ...byte) iter.Seq2[pair, error] {
	return scan(r, prefix, after(prefix))
}

// view returns what is durable. Close it. Errors: ErrUnknown.
func (s *Store) view() (view *pebble.Snapshot, err error) {
	err = s.betweenCommits(func() { view = s.db.NewSnapshot() })
	return view, err
}

// bodies returns the ids of all bodies that are durable. While a commit is
// being made the ledger has those that come with it, but the database may not.
// Errors: ErrUnknown.
func (s *Store) bodies() (all []mail.ID, err error) {
	err = s.betweenCommits(func() { all = s.ledger.all() })
	return all, err
}

// betweenCommits calls f when all that can be seen is durable.
func (s *Store) betweenCommits(f func()) error {
	select {
	case s.committing <- struct{}{}:
		defer func() { <-s.committing }()
		f()
		return nil
	case <-s.failure.done: // the committer may hang in Pebble
		return s.failure.get()
	}
}

func (s *Store) readHeader(r pebble.Reader, id mail.ID) (queue.Entry, error) {
	k := key(headerPrefix, id)
	value, closer, err := r.Get(k)
	if err != nil {
		return queue.Entry{}, fmt.Errorf("entry %q: %w", id, readError(err))
	}
	defer closer.Close()
	return s.header(k, value)
}

// header is an entry without its deliveries, in its present class.
func (s *Store) header(k, value []byte) (queue.Entry, error) {
	e, err := decodeHeader(k, value)
	if err == nil {
		s.index.Refresh(&e)
	}
	return e, err
}

func (s *Store) readDelivery(r pebble.Reader, id mail.ID, d mail.Destination) (queue.Delivery, error) {
	k := partKey(deliveryPrefix, id, string(d))
	value, closer, err := r.Get(k)
	if err != nil {
		return queue.Delivery{}, fmt.Errorf("entry %q: delivery to %q: %w", id, d, readError(err))
	}
	defer closer.Close()
	return decodeDelivery(k, value)
}

// readDeliveries fills in the deliveries of e.
func (s *Store) readDeliveries(r pebble.Reader, e *queue.Entry) error {
	for p, err := range scanPrefix(r, partKey(deliveryPrefix, e.ID, "")...) {
		if err != nil {
			return err
		}
		d, err := decodeDelivery(p.key, p.value)
		if err != nil {
			return err
		}
		e.Deliveries = append(e.Deliveries, d)
	}
	s.index.Refresh(e)
	return nil
}

func (s *Store) readEntry(r pebble.Reader, id mail.ID) (queue.Entry, error) {
	e, err := s.readHeader(r, id)
	if err == nil {
		err = s.readDeliveries(r, &e)
	}
	return e, err
}

// Get returns an entry.
func (s *Store) Get(ctx context.Context, id mail.ID) (queue.Entry, error) {
	if err := s.enter(ctx); err != nil {
		return queue.Entry{}, err
	}
	defer s.gate.leave()
	view, err := s.view()
	if err != nil {
		return queue.Entry{}, err
	}
	defer view.Close()
	return s.readEntry(view, id)
}

// List returns a page of the entries that a filter selects. Entries that are
// damaged are logged and passed over. It fails with ErrDamaged when a part of
// the database is, of which nobody knows what stood there.
func (s *Store) List(ctx context.Context, f queue.Filter, p queue.Page) ([]queue.Entry, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	selector, err := f.Selector(s.options.Clock.Now())
	if err != nil {
		return nil, err
	}
	limit, err := p.Size()
	if err != nil {
		return nil, err
	}
	view, err := s.view()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	var entries []queue.Entry
	for e, err := range s.entries(view, selector, p) {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		if selector.Entry(&e) {
			entries = append(entries, e)
		}
		if len(entries) == limit {
			break
		}
	}
	return entries, nil
}

// Classes counts what waits, by class.
func (s *Store) Classes() map[mail.Class]int { return s.index.Classes() }

// Count counts what a filter selects.
func (s *Store) Count(ctx context.Context, f queue.Filter) (map[mail.State]int, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	selector, err := f.Selector(s.options.Clock.Now())
	if err != nil {
		return nil, err
	}
	if selector.All() {
		return s.index.Total(), nil
	}
	view, err := s.view()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	counts := make(map[mail.State]int)
	for e, err := range s.entries(view, selector, queue.Page{}) {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		selector.Count(&e, counts)
	}
	return counts, nil
}

// entries goes over the entries of a page whose header the selector takes. It
// reads no entry of which the index knows that nothing is selected.
func (s *Store) entries(r pebble.Reader, selector *queue.Selector, p queue.Page) iter.Seq2[queue.Entry, error] {
	return func(yield func(queue.Entry, error) bool) {
		for e, err := range s.headers(r, selector, p) {
			if err == nil && selector.Header(&e) {
				err = s.readDeliveries(r, &e)
				s.rowsRead.Add(uint64(len(e.Deliveries)))
			} else if err == nil {
				continue
			}
			if errors.Is(err, queue.ErrDamaged) && e.ID != "" { // else nobody knows what follows
				s.options.Logger.Error("queue: entry is damaged", "message", e.ID, "error", err)
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// lookedEvery is after how many entries a listing tells that it goes on.
const lookedEvery = 1000

// headers goes over the headers of a page, those that the selector names when
// it names any.
func (s *Store) headers(r pebble.Reader, selector *queue.Selector, page queue.Page) iter.Seq2[queue.Entry, error] {
	if ids, bounded := selector.IDs(); bounded {
		return s.headersOf(r, ids, page)
	}
	return func(yield func(queue.Entry, error) bool) {
		looked := lookout{page: page}
		defer looked.end()
		lower := append(key(headerPrefix, page.After), 0)
		for p, err := range scan(r, lower, after([]byte{headerPrefix})) {
			var e queue.Entry
			if err == nil {
				looked.one()
				e.ID = mail.ID(p.key[1:])
				if !s.index.May(selector, e.ID) {
					continue
				}
				s.rowsRead.Add(1)
				e, err = s.header(p.key, p.value)
				e.ID = mail.ID(p.key[1:])
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (s *Store) headersOf(r pebble.Reader, ids []mail.ID, page queue.Page) iter.Seq2[queue.Entry, error] {
	return func(yield func(queue.Entry, error) bool) {
		looked := lookout{page: page}
		defer looked.end()
		for _, id := range ids {
			if id <= page.After {
				continue
			}
			e, err := s.readHeader(r, id)
			if errors.Is(err, queue.ErrNotFound) {
				continue
			}
			looked.one()
			s.rowsRead.Add(1)
			e.ID = id
			if !yield(e, err) {
				return
			}
		}
	}
}

// lookout counts the entries that a listing looks at.
type lookout struct {
	page queue.Page
	more int
}

func (l *lookout) one() {
	if l.more++; l.more == lookedEvery {
		l.end()
	}
}

// end tells of those that were not told of.
func (l *lookout) end() {
	l.page.Look(l.more)
	l.more = 0
}
