package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/crashpoint"
	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/seglog"
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
	if err := s.checkSpace(s.reserve.Load()); err != nil {
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

// staging writes new entries into a change, and their contents where they
// belong.
type staging struct {
	store   *Store
	change  *change
	entries []queue.Entry
	brought []bringing
}

// bringing is a content that comes with the change.
type bringing struct {
	body  mail.ID
	place place
	draft *draft
}

func (st *staging) stage(ctx context.Context, submissions []queue.Submission) error {
	st.entries = make([]queue.Entry, len(submissions))
	for i := range submissions {
		e := &st.entries[i]
		*e = submissions[i].Entry
		if err := st.body(ctx, e, submissions[i].Draft); err != nil {
			return fmt.Errorf("entry %q: %w", e.ID, err)
		}
		st.entry(e)
	}
	st.change.after(st.handOver)
	return nil
}

// entry writes the entry but for its body.
func (st *staging) entry(e *queue.Entry) {
	header := *e
	header.Deliveries = nil
	st.change.set(key(headerPrefix, e.ID), &header)
	for i := range e.Deliveries {
		st.change.setDelivery(e.ID, e.Body, e.Class, &e.Deliveries[i])
	}
	st.change.setBytes(partKey(usePrefix, e.Body, string(e.ID)), nil)
}

// body names and stores the content of an entry.
func (st *staging) body(ctx context.Context, e *queue.Entry, content queue.Draft) error {
	entering := entering{entry: e.ID, body: e.Body}
	if content == nil {
		p, err := st.placeOf(e.Body)
		if err != nil {
			return fmt.Errorf("body %q: %w", e.Body, err)
		}
		e.Size = p.Size
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
	p, err := st.keep(ctx, e, d)
	if err != nil {
		return err
	}
	st.brought = append(st.brought, bringing{e.Body, p, d})
	entering.body, entering.brings = e.Body, &p
	st.change.enter = append(st.change.enter, entering)
	st.change.setBytes(key(placePrefix, e.Body), p.encode())
	return nil
}

// placeOf finds a body that is stored, or comes with the change.
func (st *staging) placeOf(body mail.ID) (place, error) {
	for _, b := range st.brought {
		if b.body == body {
			return b.place, nil
		}
	}
	return st.store.ledger.placeOf(body)
}

// keep writes a content where its size says: into the change, into the body
// log, or to a file of its own. In the log it is durable when keep returns.
func (st *staging) keep(ctx context.Context, e *queue.Entry, d *draft) (place, error) {
	if d.Size() <= st.store.options.InlineSize {
		return place{inline: true, Place: seglog.Place{Size: d.Size()}}, putContent(st.change.batch, e.Body, d)
	}
	head, err := json.Marshal(e)
	if err != nil {
		return place{}, fmt.Errorf("%w: %w", queue.ErrInvalid, err)
	}
	record := seglog.Record{ID: e.Body, Head: head, Content: d, Size: d.Size()}
	var p seglog.Place
	if d.Size() <= ownFile {
		p, err = st.store.append(ctx, record)
	} else {
		p, err = d.adopt(record)
	}
	if err != nil {
		return place{}, fmt.Errorf("cannot store its content: %w", fullError(err))
	}
	crashpoint.Reach(crashpoint.Stored)
	return place{Place: p}, nil
}

// append stores a record in the body log.
func (s *Store) append(ctx context.Context, r seglog.Record) (seglog.Place, error) {
	began := s.appended.begin()
	defer s.appended.end(began)
	return s.log.Append(ctx, r)
}

// putContent reads a draft right into the batch.
func putContent(b *pebble.Batch, body mail.ID, d *draft) error {
	k, size := key(contentPrefix, body), int(d.Size())
	op := b.SetDeferred(len(k), checksumSize+size)
	copy(op.Key, k)
	if n, err := d.ReadAt(op.Value[checksumSize:], 0); n < size {
		return fmt.Errorf("cannot read the draft back: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	sealContent(op.Value, body)
	return op.Finish()
}

// handOver tells of the entries once they are durable. Those that lie in
// memory stay there for their first attempt.
func (st *staging) handOver() {
	now := st.store.options.Clock.Now()
	for i := range st.entries {
		e := &st.entries[i]
		for _, b := range st.brought {
			if b.body == e.ID && b.draft.flushed == 0 && len(b.draft.tail) <= freshSize {
				st.store.fresh.add(e.Clone(), b.draft.tail, now)
			}
		}
		st.store.index.Add(e)
	}
}

// undo gives the drafts back, and frees what was written for them. When the
// commit itself failed nobody knows whether it is needed.
func (st *staging) undo() {
	for _, d := range st.change.drafts {
		d.staged = false
	}
	if st.store.failure.get() != nil {
		return
	}
	for _, b := range st.brought {
		if b.place.inline {
			continue
		}
		if err := b.draft.recover(b.body, b.place.Place); err != nil {
			st.store.options.Logger.Warn("queue: a draft that was not accepted is lost", "entry", b.body, "error", err)
		}
		// At once: a file of its own has the same name when it comes again.
		st.store.log.Free(b.body, b.place.Place)
	}
}
