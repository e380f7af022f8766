package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/seglog"
)

// body is content open for reading: one of the database lies in memory, one
// of the body log is read piece by piece.
type body struct {
	store *Store
	id    mail.ID
	size  int64

	mu     sync.Mutex
	source source
	err    error // once closed
}

// source is where the octets are; every one it returns is verified.
type source interface {
	io.ReaderAt
	io.Closer
}

// held is a source in memory.
type held struct{ bytes.Reader }

// Close does nothing: there is nothing to free.
func (*held) Close() error { return nil }

func inMemory(content []byte) source {
	h := new(held)
	h.Reset(content)
	return h
}

var errBodyClosed = fmt.Errorf("%w: the body is closed", queue.ErrInvalid)

// Body opens content.
func (s *Store) Body(ctx context.Context, id mail.ID) (queue.Body, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	b, err := s.openBody(id)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (s *Store) openBody(id mail.ID) (*body, error) {
	b := &body{store: s, id: id}
	if err := b.open(); err != nil {
		return nil, fmt.Errorf("body %q: %w", id, b.failed(err))
	}
	s.openMu.Lock()
	defer s.openMu.Unlock()
	s.openings[b] = struct{}{}
	return b, nil
}

// open finds the content.
func (b *body) open() error {
	if content, found := b.store.fresh.content(b.id); found {
		b.size, b.source = int64(len(content)), inMemory(content)
		return nil
	}
	return b.openStored()
}

// openStored finds the content on the disk.
func (b *body) openStored() error {
	s := b.store
	p, logged, err := s.ledger.open(s.log, b.id)
	switch {
	case err != nil:
		return err
	case logged != nil:
		b.size, b.source = p.Size, logged
		return nil
	}
	content, err := s.inline(b.id, p.Size)
	b.size, b.source = p.Size, inMemory(content)
	return err
}

// inline reads a content that is in the database.
func (s *Store) inline(id mail.ID, size int64) ([]byte, error) {
	value, err := s.read(s.db, key(contentPrefix, id))
	if errors.Is(err, queue.ErrNotFound) && s.ledger.has(id) { // else it has gone meanwhile
		return nil, fmt.Errorf("%w: the content of body %s is missing", queue.ErrDamaged, id)
	}
	if err != nil {
		return nil, err
	}
	return openContent(value, id, size)
}

// failed gives the errors of the body log the names of the contract, and
// notes that a content is damaged: its entries are set aside when they are
// claimed again.
func (b *body) failed(err error) error {
	if errors.Is(err, seglog.ErrDamaged) {
		err = fmt.Errorf("%w: %w", queue.ErrDamaged, err)
	}
	if errors.Is(err, queue.ErrDamaged) {
		b.store.ledger.spoil(b.id, err)
	}
	return err
}

func (b *body) Size() int64 { return b.size }

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
	n, err = b.source.ReadAt(p, off)
	return n, b.failed(err)
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
	b.err = err
	return b.source.Close()
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
