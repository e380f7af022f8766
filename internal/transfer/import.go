package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"

	"postern/internal/admin"
	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/queue"
)

// ImportOptions say how an export is imported.
type ImportOptions struct {
	Dir string
	// Hold holds all recipients, whatever state they had.
	Hold bool
	// Twice allows an export whose messages the other queue still delivers.
	Twice bool
	// Incomplete allows an export that was cut short.
	Incomplete bool
	// Progress is told how many messages of the export were looked at.
	Progress func(queue.Progress)
	// Imported is told the new id of each message, by its old one.
	Imported func(was, now mail.ID)
	// Failed is told which message was left out, and why.
	Failed func(id mail.ID, err error)
}

// Result is what came of an import.
type Result struct {
	Header Header
	// Before counts the messages that were imported before, Imported those
	// that were now, Failed those that cannot be.
	Before, Imported, Failed int
}

// The size of a batch: messages, and octets of their contents, unless one
// alone has more.
const (
	batchMessages = 100
	batchOctets   = 8 << 20
)

// Import imports an export. What was imported before, by whatever run, is
// passed over, except what failed then: that is tried again. It fails when an
// import is not allowed, the files that name the others are damaged, or the
// server does not take them; what was imported by then stays.
func Import(ctx context.Context, s Server, o ImportOptions) (Result, error) {
	r, err := openExport(o.Dir, o.Incomplete)
	if err != nil {
		return Result{}, err
	}
	defer r.close()
	im := importing{ImportOptions: o, server: s, reader: r, result: Result{Header: r.header}}
	if r.header.Source == Kept && !o.Hold && !o.Twice {
		return im.result, fmt.Errorf("the queue of %s still has these messages and delivers them: with both, everybody would get them twice. "+
			"Export them with --hold or --move, import them with --held, or with --twice if that queue will never run again", r.header.Host)
	}
	if im.done, err = s.Imported(ctx, r.header.ID); err != nil {
		return im.result, err
	}
	defer im.clear()
	for {
		next, err := r.next()
		if errors.Is(err, io.EOF) {
			return im.result, im.flush(ctx)
		}
		if err != nil {
			return im.result, err
		}
		if err := im.take(ctx, next); err != nil {
			return im.result, err
		}
		im.Progress(queue.Progress{Done: int64(r.seen), Total: int64(r.manifest.Messages)})
	}
}

// importing is an import under way.
type importing struct {
	ImportOptions
	server Server
	reader *reader
	result Result
	done   intake.Extent // as the server has it

	batch  []admin.Importing
	files  []*os.File // of the batch
	octets int64
	failed []mail.ID // since the last batch
	mended []mail.ID // in the batch, that failed before
}

// take adds a message to the batch, unless it was imported before.
func (im *importing) take(ctx context.Context, next item) error {
	again := slices.Contains(im.done.Failed, next.id)
	if im.reader.seen <= im.done.Done && !again {
		im.result.Before++
		return nil
	}
	m, content, err := next.load()
	if err != nil {
		im.fail(next.id, err, again)
		return nil
	}
	if im.Hold {
		hold(&m.Entry)
	}
	if im.octets > 0 && im.octets+m.Entry.Size > batchOctets {
		if err := im.send(ctx, im.reader.seen-1); err != nil {
			return errors.Join(err, content.Close())
		}
	}
	im.batch = append(im.batch, admin.Importing{Entry: m.Entry, Content: content})
	im.files = append(im.files, content)
	im.octets += m.Entry.Size
	if again {
		im.mended = append(im.mended, next.id)
	}
	if len(im.batch) >= batchMessages || im.octets >= batchOctets {
		return im.send(ctx, im.reader.seen)
	}
	return nil
}

// hold holds the recipients that are not held.
func hold(e *queue.Entry) {
	for i := range e.Deliveries {
		for j := range e.Deliveries[i].Recipients {
			if r := &e.Deliveries[i].Recipients[j]; r.State != mail.Held {
				r.State, r.Hold = mail.Held, mail.HoldOperator
			}
		}
	}
}

// fail notes that a message cannot be imported.
func (im *importing) fail(id mail.ID, err error, known bool) {
	im.Failed(id, err)
	im.result.Failed++
	if !known {
		im.failed = append(im.failed, id)
	}
}

// flush sends what is left.
func (im *importing) flush(ctx context.Context) error {
	if len(im.batch)+len(im.failed) == 0 {
		return nil
	}
	return im.send(ctx, im.reader.seen)
}

// send sends the batch; with it the export is imported up to a message.
func (im *importing) send(ctx context.Context, upTo int) error {
	after := intake.Extent{Done: max(upTo, im.done.Done)}
	for _, id := range im.done.Failed {
		if !slices.Contains(im.mended, id) {
			after.Failed = append(after.Failed, id)
		}
	}
	after.Failed = append(after.Failed, im.failed...)
	if len(after.Failed) > intake.MaxFailed {
		return fmt.Errorf("more than %d messages of the export are damaged", intake.MaxFailed)
	}
	done, err := im.server.Import(ctx, intake.Batch{Export: im.reader.header.ID, Begin: im.done.Done, After: after}, im.batch)
	if problem, ok := errors.AsType[*admin.Problem](err); ok && problem.Status == http.StatusConflict {
		return fmt.Errorf("somebody else imports this export at the same time: %w; repeat the import when that has ended", err)
	}
	if err != nil {
		return err
	}
	im.done = done.Extent
	im.result.Imported += len(done.IDs)
	for _, m := range im.batch {
		if now, ok := done.IDs[m.Entry.ID]; ok {
			im.Imported(m.Entry.ID, now)
		}
	}
	for _, r := range done.Refused {
		im.Failed(r.ID, errors.New(r.Cause))
		im.result.Failed++
	}
	im.clear()
	return nil
}

// clear ends the batch.
func (im *importing) clear() {
	for _, f := range im.files {
		f.Close() // it was read
	}
	im.batch, im.files, im.octets, im.failed, im.mended = nil, nil, 0, nil, nil
}
