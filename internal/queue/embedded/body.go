package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/mail"
	"postern/internal/queue"
)

// body is content open for reading. One of a single chunk lies in memory; a
// larger one reads from a snapshot, and keeps the chunk it read last.
type body struct {
	store *Store
	id    mail.ID
	place place

	mu       sync.Mutex
	snapshot *pebble.Snapshot // nil when there is no more to read from it
	number   int              // of the chunk in content; -1 for none
	content  []byte
	err      error // once closed
}

var errBodyClosed = fmt.Errorf("%w: the body is closed", queue.ErrInvalid)

// Body opens content.
func (s *Store) Body(ctx context.Context, id mail.ID) (queue.Body, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	b := &body{store: s, id: id, number: -1, snapshot: s.db.NewSnapshot()}
	err := b.open()
	if err != nil || b.place.chunks() <= 1 {
		err = errors.Join(err, b.leaveSnapshot())
	} else {
		s.openMu.Lock()
		s.openings[b] = struct{}{}
		s.openMu.Unlock()
	}
	if err != nil {
		return nil, fmt.Errorf("body %q: %w", id, err)
	}
	return b, nil
}

// open finds the body and reads its first chunk.
func (b *body) open() error {
	k := key(placePrefix, b.id)
	value, err := b.store.read(b.snapshot, k)
	if err != nil {
		return err
	}
	if b.place, err = decodePlace(k, value); err != nil || b.place.Size == 0 {
		return err
	}
	return b.load(0)
}

// load reads and checks a chunk.
func (b *body) load(number int) error {
	if b.number == number {
		return nil
	}
	value, closer, err := b.snapshot.Get(chunkKey(b.id, number))
	if errors.Is(err, pebble.ErrNotFound) {
		return fmt.Errorf("%w: chunk %d of body %s is missing", queue.ErrDamaged, number, b.id)
	}
	if err != nil {
		return readError(err)
	}
	defer closer.Close()
	content, err := openChunk(value, b.id, number, b.place.sizeOf(number))
	if err != nil {
		return err
	}
	b.content, b.number = append(b.content[:0], content...), number
	return nil
}

func (b *body) Size() int64 { return b.place.Size }

// ReadAt reads verified content.
func (b *body) ReadAt(p []byte, off int64) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		return 0, b.err
	case off < 0:
		return 0, fmt.Errorf("%w: offset %d", queue.ErrInvalid, off)
	}
	for n < len(p) && off < b.place.Size {
		if err := b.load(int(off / b.place.Chunk)); err != nil {
			return n, err
		}
		part := copy(p[n:], b.content[off%b.place.Chunk:])
		n += part
		off += int64(part)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close frees what the body holds.
func (b *body) Close() error {
	b.store.openMu.Lock()
	delete(b.store.openings, b)
	b.store.openMu.Unlock()
	return b.end(errBodyClosed)
}

// end makes reads fail from now on.
func (b *body) end(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil
	}
	b.err, b.content = err, nil
	return b.leaveSnapshot()
}

func (b *body) leaveSnapshot() error {
	if b.snapshot == nil {
		return nil
	}
	snapshot := b.snapshot
	b.snapshot = nil
	return snapshot.Close()
}

// closeBodies ends what is still open when the store closes.
func (s *Store) closeBodies() {
	s.openMu.Lock()
	defer s.openMu.Unlock()
	for b := range s.openings {
		if err := b.end(queue.ErrClosed); err != nil {
			s.options.Logger.Error("queue: cannot close a body", "body", b.id, "error", err)
		}
	}
}
