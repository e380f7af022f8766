package senders

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"postern/internal/directory"
)

// run writes what has changed until ctx ends, and then what is left.
func (v *Inventory) run(ctx context.Context) {
	defer close(v.done)
	failing := false
	for wait := WriteEvery; ; {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			v.err = v.Flush(context.WithoutCancel(ctx))
			return
		case <-timer.C:
		}
		more, err := v.write(ctx)
		if err != nil && ctx.Err() == nil && !failing { // told once, and tried again
			v.Logger.Warn("senders: the inventory cannot be written now", "error", err)
		}
		failing = err != nil
		if wait = WriteEvery; more {
			wait = time.Second
		}
	}
}

// Close writes what is left, and ends the writing. What is counted later is lost.
func (v *Inventory) Close() error {
	v.end()
	<-v.done
	return v.err
}

// Flush writes all that has changed. It fails as a Change of the directory does; what was
// not written then is written later.
func (v *Inventory) Flush(ctx context.Context) error {
	for {
		if more, err := v.write(ctx); err != nil || !more {
			return err
		}
	}
}

// row is a source as it was when it was to be written.
type row struct {
	of *source
	source
}

// write writes what has changed, in one transaction, and reports whether there is more.
func (v *Inventory) write(ctx context.Context) (more bool, err error) {
	v.writing.Lock()
	defer v.writing.Unlock()
	gone, rows, more := v.take()
	if len(gone)+len(rows) == 0 {
		return false, nil
	}
	counted := make([]directory.Sender, len(rows))
	for i := range rows {
		if counted[i], err = rows[i].record(); err != nil {
			return false, err
		}
	}
	if err := v.Directory.WriteSenders(ctx, gone, counted); err != nil {
		v.putBack(gone, rows)
		return false, err
	}
	return more, nil
}

// take returns what is to be removed and what is to be written. writing is held.
func (v *Inventory) take() (gone []string, rows []row, more bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dropOld(v.Clock.Now())
	gone = slices.Sorted(maps.Keys(v.gone))
	clear(v.gone)
	n := min(len(v.changed), maxWrite)
	for _, s := range v.changed[:n] {
		s.changed = false
		if !s.forgotten {
			s.stored = true
			rows = append(rows, row{s, *s})
		}
	}
	v.changed = slices.Delete(v.changed, 0, n)
	return gone, rows, len(v.changed) > 0
}

// dropOld forgets who was not seen for long. mu is held.
func (v *Inventory) dropOld(now time.Time) {
	for oldest := v.recent.newer; oldest != &v.recent && now.Sub(oldest.last) > Keep; oldest = v.recent.newer {
		v.drop(oldest)
		v.Metrics.forgotten.Add(1, forAge)
	}
}

// putBack notes again what could not be written.
func (v *Inventory) putBack(gone []string, rows []row) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, source := range gone {
		v.gone[source] = struct{}{}
	}
	for i := range rows {
		if !rows[i].of.forgotten {
			v.touch(rows[i].of)
		}
	}
}

// record is a source as the directory has it.
func (s *source) record() (directory.Sender, error) {
	text, err := json.Marshal(&s.details)
	return directory.Sender{
		Source: s.key.String(), First: s.first, Last: s.last, Messages: s.messages, Recipients: s.recipients,
		Octets: s.octets, Details: string(text), Owner: s.owner, Note: s.note,
	}, err
}

// Forget removes all that is kept of a source, also of what was said of it. It fails with
// ErrSource or directory.ErrNotFound, wrapped, or as a Change of the directory does.
func (v *Inventory) Forget(ctx context.Context, name string) error {
	v.writing.Lock()
	defer v.writing.Unlock()
	s, err := v.hold(name)
	if err != nil {
		return err
	}
	if err := v.Directory.WriteSenders(ctx, []string{s.key.String()}, nil); err != nil {
		v.release(s)
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s.stored = false
	v.drop(s)
	return nil
}
