package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"postern/internal/mail"
)

// Tx is a change under way. It sees what it has changed itself. It is used by one
// goroutine, and not after the function that got it has returned.
type Tx struct {
	d     *Directory
	ctx   context.Context
	sql   *sql.Tx
	now   time.Time
	actor string
	// records are those that were changed, as pointers; nil for one that was removed.
	records  map[Key]any
	order    []Key
	next     uint64 // number of the next fact
	facts    int
	prepared map[string]*sql.Stmt
	// failed is the first error of the database: there is nothing left to commit then.
	failed error
}

// Change makes changes for an actor, the person or program that asks for them: all that
// fn makes, or none of it if fn fails, something is wrong in what the records say of each
// other, or the database cannot. When it returns nil they are on stable storage, with
// their facts, and look-ups find them. Others wait meanwhile, with a Change of their own;
// look-ups do not.
//
// It fails with what fn returned; with Problems; with a temporary reply if the disk is full;
// with ErrClosed, or ErrUnknownOutcome; or as ctx does.
func (d *Directory) Change(ctx context.Context, actor string, fn func(tx *Tx) error) error {
	return d.transact(ctx, actor, func(tx *Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return tx.check()
	})
}

// transact is Change without the check.
func (d *Directory) transact(ctx context.Context, actor string, fn func(tx *Tx) error) (err error) {
	if err := d.acquire(ctx); err != nil {
		return err
	}
	defer d.release()
	defer func() { d.metrics.changed(err) }()
	tx, err := d.begin(ctx, actor)
	if err != nil {
		return d.dialect.explain(err)
	}
	defer tx.sql.Rollback()
	if err := fn(tx); err != nil {
		return d.dialect.explain(err)
	}
	if err := errors.Join(tx.failed, ctx.Err()); err != nil {
		return d.dialect.explain(err)
	}
	return d.commit(tx)
}

// writeRows changes what is in the database and in no record, in one transaction without a
// fact. writing is held.
func (d *Directory) writeRows(ctx context.Context, write func(tx *Tx) error) error {
	tx, err := d.begin(ctx, "")
	if err != nil {
		return d.dialect.explain(err)
	}
	defer tx.sql.Rollback()
	if err := write(tx); err != nil {
		return d.dialect.explain(err)
	}
	if err := tx.sql.Commit(); err != nil {
		return d.commitFailed(err)
	}
	return nil
}

func (d *Directory) begin(ctx context.Context, actor string) (*Tx, error) {
	// A commit that has begun is not broken off: nobody would know what became of it.
	t, err := d.writer.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return nil, err
	}
	tx := &Tx{d: d, ctx: ctx, sql: t, now: d.clock.Now(), actor: actor, records: map[Key]any{}, prepared: map[string]*sql.Stmt{}}
	const last = `SELECT COALESCE(MAX(n), 0) FROM (SELECT n FROM outbox UNION ALL SELECT n FROM forgotten) AS numbers`
	if err := t.QueryRowContext(ctx, last).Scan(&tx.next); err != nil {
		t.Rollback()
		return nil, err
	}
	tx.next++
	return tx, nil
}

// commit ends a transaction, and shows what it has changed. writing is held.
func (d *Directory) commit(tx *Tx) error {
	if len(tx.order) == 0 && tx.facts == 0 {
		return nil
	}
	if err := tx.sql.Commit(); err != nil {
		return d.commitFailed(err)
	}
	d.show(tx)
	if tx.facts > 0 {
		wakeUp(d.wake)
	}
	d.watchers.tell(tx.order)
	return nil
}

// commitFailed tells a commit that was taken back as a whole from one of which nobody
// knows what is on the disk.
func (d *Directory) commitFailed(err error) error {
	err = d.dialect.explain(err)
	if _, told := errors.AsType[*mail.Error](err); told {
		return err
	}
	d.failed = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	d.log.Error("directory: a commit failed", "error", err)
	return d.failed
}

// largeChange is from how many records on a change is made to a copy of the image, so
// that look-ups do not wait for it.
const largeChange = 1000

func (d *Directory) show(tx *Tx) {
	records, live := tx.order, []Key(nil)
	if len(records) >= largeChange {
		records, live = tx.divided()
		fresh := d.cloned()
		tx.apply(fresh, records)
		d.mu.Lock()
		defer d.mu.Unlock()
		fresh.usage, fresh.bans, fresh.banned = d.image.usage, d.image.bans, d.image.banned
		d.image = fresh
		tx.apply(fresh, live)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	tx.apply(d.image, records)
}

// cloned returns a copy of the image, of which only a change can make another one: all but
// the bans and the use of users.
func (d *Directory) cloned() *image {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.image.clone()
}

// divided returns the records that were changed: those that only a change can change, and
// those that others change meanwhile. Users that were removed are both.
func (tx *Tx) divided() (records, live []Key) {
	for _, k := range tx.order {
		if k.Kind != KindBan {
			records = append(records, k)
		}
		if k.Kind == KindBan || k.Kind == KindUser && tx.records[k] == nil {
			live = append(live, k)
		}
	}
	return records, live
}

// apply makes changes in an image: first what is gone, so that nothing else leads to it.
func (tx *Tx) apply(m *image, keys []Key) {
	for _, k := range keys {
		if tx.records[k] == nil {
			m.remove(k)
		}
	}
	for _, k := range keys {
		if record := tx.records[k]; record != nil {
			m.put(record)
		}
	}
}

func (m *image) remove(k Key) {
	switch k.Kind {
	case KindUser:
		m.removeUser(k.Name)
	case KindDomain:
		m.removeDomain(k.Name)
	case KindAlias:
		m.aliases.remove(aliasKey(k.Owner, k.Name))
	case KindList:
		m.removeList(k.Name)
	case KindBan:
		m.removeBan(k.Name)
	case KindCredential:
		m.removeCredential(k.Name)
	}
}

func (m *image) put(record any) {
	switch r := record.(type) {
	case *User:
		m.putUser(r)
	case *Domain:
		m.putDomain(r)
	case *Alias:
		m.aliases.put(aliasKey(r.Owner, r.Address), []byte(joinLines(r.Targets)))
	case *listRecord:
		m.putList(r)
	case *Ban:
		m.putBan(*r)
	case *Credential:
		m.putCredential(r)
	}
}

// set notes that a record is changed; nil removes it.
func (tx *Tx) set(k Key, record any) {
	if _, known := tx.records[k]; !known {
		tx.order = append(tx.order, k)
	}
	tx.records[k] = record
}

// exec runs a statement, which is prepared once for each transaction.
func (tx *Tx) exec(statement string, values ...any) error {
	s := tx.prepared[statement]
	if s == nil {
		var err error
		if s, err = tx.sql.PrepareContext(tx.ctx, tx.d.dialect.sql(statement)); err != nil {
			return tx.fail(err)
		}
		tx.prepared[statement] = s
	}
	_, err := s.ExecContext(tx.ctx, values...)
	return tx.fail(err)
}

// fail notes an error of the database.
func (tx *Tx) fail(err error) error {
	if tx.failed == nil {
		tx.failed = err
	}
	return err
}
