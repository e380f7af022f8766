package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"postern/internal/admin"
	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/queue"
)

// Server is the running server that is asked.
type Server interface {
	Status(ctx context.Context) (admin.Status, error)
	List(ctx context.Context, l admin.Listing, progress func(queue.Progress), each func(*queue.Entry) error) error
	Message(ctx context.Context, id mail.ID) (admin.Message, error)
	Content(ctx context.Context, id mail.ID) (io.ReadCloser, error)
	Edit(ctx context.Context, e admin.Edit, progress func(queue.Edited)) (queue.Edited, error)
	Imported(ctx context.Context, export mail.ID) (intake.Extent, error)
	Import(ctx context.Context, b intake.Batch, messages []admin.Importing) (admin.Imported, error)
}

// Options say what an export is to be.
type Options struct {
	Dir    string
	Filter string // of which a recipient is selected; "" for all messages
	Source Source // what becomes of the messages in the queue
	// Progress is told how many messages were looked at.
	Progress func(queue.Progress)
	// Waiting is told for how many attempts it waits.
	Waiting func(attempts int)
	// Failed is told which message was left out, and why.
	Failed func(id mail.ID, err error)
}

// exportPage is how many messages are held, written and removed together.
const exportPage = 50

// settleEvery is how often it is looked whether an attempt has ended.
const settleEvery = 500 * time.Millisecond

// Export writes messages with all their recipients. With Held they are held
// before the export has them; with Removed they are removed when it has them
// durably. So of each message that it has nothing is sent by the old queue
// afterwards, wherever it is cut short; the next run goes on.
func Export(ctx context.Context, s Server, ids *mail.IDs, o Options) (Manifest, error) {
	status, err := s.Status(ctx)
	if err != nil {
		return Manifest{}, err
	}
	now := time.Now()
	w, err := begin(o.Dir, Header{Version: version, ID: ids.New(now), Made: now.UTC(), Host: status.Hostname, Source: o.Source, Filter: o.Filter})
	if err != nil {
		return Manifest{}, err
	}
	defer w.close()
	e := exporting{Options: o, server: s, writer: w}
	if err := e.resume(ctx); err != nil {
		return w.manifest, err
	}
	if err := e.all(ctx); err != nil {
		return w.manifest, err
	}
	if err := e.settleBusy(ctx); err != nil {
		return w.manifest, err
	}
	return w.manifest, w.finish()
}

// exporting is an export under way.
type exporting struct {
	Options
	server Server
	writer *writer
	busy   []mail.ID // held when the attempt ends that is under way
}

// resume ends what an earlier run has begun.
func (e *exporting) resume(ctx context.Context) error {
	if e.Source == Kept {
		return nil
	}
	for page := range slices.Chunk(sortedIDs(e.writer.kept), exportPage) {
		if err := e.remove(ctx, page); err != nil {
			return err
		}
	}
	planned, err := e.writer.readable()
	if err != nil {
		return err
	}
	for page := range slices.Chunk(planned, exportPage) {
		if err := e.hold(ctx, page); err != nil {
			return err
		}
	}
	return nil
}

func sortedIDs(set map[mail.ID]bool) []mail.ID {
	ids := make([]mail.ID, 0, len(set))
	for id := range set {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// all exports what the filter selects.
func (e *exporting) all(ctx context.Context) error {
	var page []mail.ID
	err := e.server.List(ctx, admin.Listing{Filter: e.Filter}, e.Progress, func(entry *queue.Entry) error {
		if e.writer.has(entry.ID) || slices.Contains(e.busy, entry.ID) {
			return nil
		}
		if page = append(page, entry.ID); len(page) < exportPage {
			return nil
		}
		err := e.page(ctx, page)
		page = page[:0]
		return err
	})
	if err != nil {
		return err
	}
	return e.page(ctx, page)
}

// page exports some messages.
func (e *exporting) page(ctx context.Context, ids []mail.ID) error {
	var written []mail.ID
	for _, id := range ids {
		err := e.write(ctx, id)
		switch {
		case err == nil:
			written = append(written, id)
		case isGone(err): // delivered meanwhile
		case isDamaged(err):
			e.Failed(id, err)
			if err := e.writer.drop(id); err != nil {
				return err
			}
		default:
			return err
		}
	}
	if e.Source == Kept {
		return e.keepAll(written)
	}
	return e.hold(ctx, written)
}

// isGone reports whether a message is not in the queue.
func isGone(err error) bool {
	problem, ok := errors.AsType[*admin.Problem](err)
	return ok && problem.Status == http.StatusNotFound
}

// isDamaged reports whether the server cannot read a content.
func isDamaged(err error) bool {
	problem, ok := errors.AsType[*admin.Problem](err)
	return ok && problem.Status == http.StatusInternalServerError || errors.Is(err, io.ErrUnexpectedEOF)
}

// write writes a message as it is now.
func (e *exporting) write(ctx context.Context, id mail.ID) error {
	m, err := e.server.Message(ctx, id)
	if err != nil {
		return err
	}
	content, err := e.server.Content(ctx, id)
	if err != nil {
		return err
	}
	defer content.Close()
	return e.writer.plan(m.Entry, content)
}

func (e *exporting) keepAll(ids []mail.ID) error {
	if err := e.writer.sync(); err != nil {
		return err
	}
	for _, id := range ids {
		m, err := e.writer.read(id)
		if err != nil {
			return err
		}
		if err := e.writer.keep(m); err != nil {
			return err
		}
	}
	return e.writer.sync()
}

// hold holds messages whose states are written durably, and puts them into
// the export.
func (e *exporting) hold(ctx context.Context, ids []mail.ID) error {
	if len(ids) == 0 {
		return nil
	}
	if err := e.writer.sync(); err != nil {
		return err
	}
	if err := e.edit(ctx, queue.ChangeHold, ids); err != nil {
		return err
	}
	return e.settle(ctx, ids)
}

// settle puts messages into the export that are held, and of which no attempt
// is under way. The others are busy.
func (e *exporting) settle(ctx context.Context, ids []mail.ID) error {
	var kept []mail.ID
	for _, id := range ids {
		now, err := e.server.Message(ctx, id)
		switch {
		case isGone(err):
			err = e.writer.drop(id)
		case err == nil && len(now.Attempting) > 0:
			e.busy = append(e.busy, id)
		case err == nil:
			kept = append(kept, id)
			err = e.keep(&now.Entry)
		}
		if err != nil {
			return err
		}
	}
	if err := e.writer.sync(); err != nil {
		return err
	}
	return e.remove(ctx, kept)
}

// keep puts a held message into the export, with the states that it had.
func (e *exporting) keep(now *queue.Entry) error {
	m, err := e.writer.read(now.ID)
	if err != nil {
		return err
	}
	m.Entry = unheld(&m.Entry, now)
	return e.writer.keep(m)
}

// unheld is an entry that was held for its export, as it would be without
// that: what was held before stays so.
func unheld(before, now *queue.Entry) queue.Entry {
	entry := now.Clone()
	for i := range entry.Deliveries {
		d := &entry.Deliveries[i]
		was := deliveryOf(before, d.Destination)
		if was == nil {
			continue // an operator has rerouted it meanwhile
		}
		for j := range d.Recipients {
			r := &d.Recipients[j]
			if r.State != mail.Held || r.Hold != mail.HoldOperator || wasHeld(was, r) {
				continue
			}
			r.Release()
			if r.Last != nil {
				r.State = mail.Deferred
			}
		}
	}
	return entry
}

func deliveryOf(e *queue.Entry, to mail.Destination) *queue.Delivery {
	at := slices.IndexFunc(e.Deliveries, func(d queue.Delivery) bool { return d.Destination == to })
	if at < 0 {
		return nil
	}
	return &e.Deliveries[at]
}

func wasHeld(d *queue.Delivery, r *queue.Recipient) bool {
	at := slices.IndexFunc(d.Recipients, func(o queue.Recipient) bool { return o.Recipient == r.Recipient })
	return at < 0 || d.Recipients[at].State == mail.Held
}

// settleBusy waits for the attempts that are under way.
func (e *exporting) settleBusy(ctx context.Context) error {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for len(e.busy) > 0 {
		e.Waiting(len(e.busy))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		busy := e.busy
		e.busy = nil
		if err := e.settle(ctx, busy); err != nil {
			return err
		}
	}
	return nil
}

// remove removes messages that the export has, when that is asked for.
func (e *exporting) remove(ctx context.Context, ids []mail.ID) error {
	if e.Source != Removed || len(ids) == 0 {
		return nil
	}
	return e.edit(ctx, queue.ChangeRemove, ids)
}

func (e *exporting) edit(ctx context.Context, kind queue.ChangeKind, ids []mail.ID) error {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	_, err := e.server.Edit(ctx, admin.Edit{
		Filter: "id in (" + strings.Join(names, ", ") + ")", Change: admin.Change{Kind: kind},
	}, func(queue.Edited) {})
	if err != nil {
		return fmt.Errorf("cannot %s what is exported: %w", kind, err)
	}
	return nil
}
