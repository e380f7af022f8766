package queue

import (
	"context"
	"fmt"
	"io"

	"postern/internal/mail"
)

// Create opens a draft.
func (m *Memory) Create(ctx context.Context) (Draft, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	return &memoryDraft{store: m}, nil
}

// Body opens content.
func (m *Memory) Body(ctx context.Context, id mail.ID) (Body, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	body := m.state.bodies[id]
	if body == nil {
		return nil, fmt.Errorf("body %q: %w", id, ErrNotFound)
	}
	return memoryBody(body.content), nil
}

// memoryDraft is content on its way into a Memory.
type memoryDraft struct {
	store   *Memory
	content []byte
	over    bool
}

// errDraftOver is what a draft says after it was taken or discarded.
var errDraftOver = fmt.Errorf("%w: the draft was taken or discarded", ErrInvalid)

func (d *memoryDraft) Write(p []byte) (int, error) {
	if d.over {
		return 0, errDraftOver
	}
	d.content = append(d.content, p...)
	return len(p), nil
}

func (d *memoryDraft) ReadAt(p []byte, off int64) (int, error) {
	if d.over {
		return 0, errDraftOver
	}
	return readAt(d.content, p, off)
}

func (d *memoryDraft) Size() int64 { return int64(len(d.content)) }

func (d *memoryDraft) Discard() { d.over = true }

// memoryBody is content open for reading. Its bytes never change.
type memoryBody []byte

func (b memoryBody) ReadAt(p []byte, off int64) (int, error) { return readAt(b, p, off) }

func (b memoryBody) Size() int64 { return int64(len(b)) }

func (b memoryBody) Close() error { return nil }

func readAt(content, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%w: offset %d", ErrInvalid, off)
	}
	if off >= int64(len(content)) {
		return 0, io.EOF
	}
	n := copy(p, content[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
