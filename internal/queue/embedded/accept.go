package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/mail"
	"postern/internal/queue"
)

// Accept stores a group.
func (s *Store) Accept(ctx context.Context, g queue.Group) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.gate.leave()
	if err := g.Check(); err != nil {
		return err
	}
	if err := s.checkSpace(s.options.Reserve); err != nil {
		return err
	}
	c := s.newChange()
	c.record(g.Facts)
	for _, m := range g.Marks {
		s.putMark(c, m)
	}
	return s.commitWith(ctx, c, g.Submissions)
}

// checkSpace refuses before a commit what a full disk would make fail in it:
// fewer octets are free than need asks for.
func (s *Store) checkSpace(need int64) error {
	if need < 0 {
		return nil
	}
	usage, err := s.options.FS.GetDiskUsage(s.dir)
	if err != nil {
		return nil // not every file system tells
	}
	if usage.AvailBytes < uint64(need) {
		return fmt.Errorf("%w: %d octets are free on the disk, and it takes %d", queue.ErrFull, usage.AvailBytes, need)
	}
	return nil
}

// commitWith commits a change together with new entries. When it fails, the
// drafts remain the caller's.
func (s *Store) commitWith(ctx context.Context, c *change, submissions []queue.Submission) error {
	st := staging{store: s, change: c}
	err := st.stage(ctx, submissions)
	if err == nil {
		err = s.commit(ctx, c)
	}
	if err != nil {
		st.undo()
	}
	return err
}

// staging writes new entries into a change.
type staging struct {
	store   *Store
	change  *change
	brought map[mail.ID]int64 // bodies that come with it, and their sizes
	streams []mail.ID         // bodies written ahead of the commit
}

func (st *staging) stage(ctx context.Context, submissions []queue.Submission) error {
	st.brought = make(map[mail.ID]int64, len(submissions))
	entries := make([]queue.Entry, len(submissions))
	for i := range submissions {
		e := &entries[i]
		*e = submissions[i].Entry
		if err := st.body(ctx, e, submissions[i].Draft); err != nil {
			return fmt.Errorf("entry %q: %w", e.ID, err)
		}
		st.entry(e)
	}
	st.change.after(func() {
		for i := range entries {
			st.store.index.Add(&entries[i])
		}
	})
	return nil
}

// entry writes the entry but for its body.
func (st *staging) entry(e *queue.Entry) {
	header := *e
	header.Deliveries = nil
	st.change.set(key(headerPrefix, e.ID), &header)
	for i := range e.Deliveries {
		d := &e.Deliveries[i]
		st.change.set(partKey(deliveryPrefix, e.ID, string(d.Destination)), d)
	}
	st.change.setBytes(partKey(usePrefix, e.Body, string(e.ID)), nil)
}

// body names and stores the content of an entry.
func (st *staging) body(ctx context.Context, e *queue.Entry, content queue.Draft) error {
	entering := entering{entry: e.ID, body: e.Body}
	if content == nil {
		size, err := st.sizeOf(e.Body)
		if err != nil {
			return err
		}
		e.Size = size
		st.change.enter = append(st.change.enter, entering)
		return nil
	}
	d, ok := content.(*draft)
	if !ok || d.store != st.store || d.over || d.staged {
		return fmt.Errorf("%w: its draft is of another store, or used up", queue.ErrInvalid)
	}
	d.staged = true
	st.change.drafts = append(st.change.drafts, d)
	if st.store.index.Has(e.ID) { // asked again at the commit; here it saves the writing
		return fmt.Errorf("%w: it is already stored", queue.ErrInvalid)
	}
	e.Body, e.Size = e.ID, d.Size()
	p := place{Size: e.Size, Chunk: chunkSize}
	st.brought[e.Body] = e.Size
	entering.body, entering.brings, entering.chunks = e.Body, true, p.chunks()
	st.change.enter = append(st.change.enter, entering)
	st.change.set(key(placePrefix, e.Body), p)
	if p.chunks() > 1 {
		return st.stream(ctx, e.Body, d, p)
	}
	if p.chunks() == 1 {
		return putChunk(st.change.batch, e.Body, 0, d, p)
	}
	return nil
}

// sizeOf returns the size of a body that is stored, or comes with the change.
func (st *staging) sizeOf(body mail.ID) (int64, error) {
	if size, found := st.brought[body]; found {
		return size, nil
	}
	k := key(placePrefix, body)
	value, err := st.store.read(st.store.db, k)
	if err != nil {
		return 0, fmt.Errorf("body %q: %w", body, err)
	}
	p, err := decodePlace(k, value)
	return p.Size, err
}

// putChunk reads a chunk of a draft right into the batch.
func putChunk(b *pebble.Batch, body mail.ID, number int, d *draft, p place) error {
	k, size := chunkKey(body, number), p.sizeOf(number)
	op := b.SetDeferred(len(k), checksumSize+int(size))
	copy(op.Key, k)
	if n, err := d.ReadAt(op.Value[checksumSize:], int64(number)*p.Chunk); n < int(size) {
		return fmt.Errorf("cannot read the draft back: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	sealChunk(op.Value, body, number)
	return op.Finish()
}

// stream writes a large body chunk by chunk, unsynced: the log keeps the
// order, so the commit that refers to the body makes it durable too. Until
// then a note says that it is not referred to.
func (st *staging) stream(ctx context.Context, body mail.ID, d *draft, p place) error {
	note := key(streamPrefix, body)
	st.streams = append(st.streams, body)
	for number := range p.chunks() {
		c := st.store.newChange()
		c.lazy = true
		if number == 0 {
			c.setBytes(note, nil)
		}
		if err := putChunk(c.batch, body, number, d, p); err != nil {
			return err
		}
		if err := st.store.commit(ctx, c); err != nil {
			return err
		}
	}
	st.change.remove(note)
	return nil
}

// undo gives the drafts back and removes what was streamed.
func (st *staging) undo() {
	for _, d := range st.change.drafts {
		d.staged = false
	}
	if len(st.streams) == 0 || st.store.failure.get() != nil {
		return
	}
	c := st.store.newChange()
	c.lazy = true
	err := removeStreams(c.batch, st.streams)
	if err == nil {
		err = st.store.commit(context.Background(), c)
	}
	if err != nil { // they go when the store opens again
		st.store.options.Logger.Warn("queue: cannot remove a body that was not accepted", "error", err)
	}
}

func removeStreams(b *pebble.Batch, bodies []mail.ID) error {
	var err error
	for _, body := range bodies {
		prefix := partKey(chunkPrefix, body, "")
		err = errors.Join(err, b.DeleteRange(prefix, after(prefix), nil), b.Delete(key(streamPrefix, body), nil))
	}
	return err
}

// clearStreams removes bodies whose commit never came.
func (s *Store) clearStreams() error {
	var bodies []mail.ID
	for p, err := range scanPrefix(s.db, streamPrefix) {
		if err != nil {
			return err
		}
		bodies = append(bodies, mail.ID(p.key[1:]))
	}
	if len(bodies) == 0 {
		return nil
	}
	b := s.db.NewBatch()
	if err := removeStreams(b, bodies); err != nil {
		return err
	}
	return s.write(b, pebble.NoSync)
}
