package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
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
		delete(m.domains, k.Name)
	case KindAlias:
		m.aliases.remove(aliasKey(k.Owner, k.Name))
	case KindList:
		m.removeList(k.Name)
	case KindBan:
		m.removeBan(k.Name)
	}
}

func (m *image) put(record any) {
	switch r := record.(type) {
	case *User:
		m.putUser(r)
	case *Domain:
		m.domains[r.Name] = r.AliasOf
	case *Alias:
		m.aliases.put(aliasKey(r.Owner, r.Address), []byte(joinLines(r.Targets)))
	case *listRecord:
		m.putList(r)
	case *Ban:
		m.putBan(*r)
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

// changedOf returns the record of a key if tx has changed it; gone says that it was removed.
func changedOf[T any](tx *Tx, k Key) (record *T, changed bool) {
	r, changed := tx.records[k]
	record, _ = r.(*T)
	return record, changed
}

// User returns a user as it is in the change.
func (tx *Tx) User(login string) (User, bool) {
	login, err := Login(login)
	if err != nil {
		return User{}, false
	}
	if u, changed := changedOf[User](tx, Key{Kind: KindUser, Name: login}); changed {
		if u == nil {
			return User{}, false
		}
		return *u, true
	}
	return tx.d.User(login)
}

// PutUser creates a user, or replaces the one with that login. What is known of its use
// stays. It fails with Problems.
func (tx *Tx) PutUser(u User) error {
	u, err := normalUser(u)
	if err != nil {
		return err
	}
	before, exists := tx.User(u.Login)
	u.Created, u.Changed = fromMillis(millis(tx.now)), fromMillis(millis(tx.now))
	if exists {
		u.Created, u.LastUsed, u.FailedLogins = before.Created, before.LastUsed, before.FailedLogins
		if sameUser(&before, &u) {
			return nil
		}
	}
	if size := len(encodeUser(&u)) + len(u.Login); size > maxRecord {
		return Problems{{Key: u.Key(), Problem: fmt.Sprintf("has %d octets in all", size), Hint: fmt.Sprintf("at most %d are possible", maxRecord)}}
	}
	if err := tx.exec(putUser, userValues(&u)...); err != nil {
		return err
	}
	tx.set(u.Key(), &u)
	if exists {
		return tx.tell(changedText(u.Key(), userFields(&before), userFields(&u)))
	}
	return tx.tell(createdText(u.Key(), userFields(&u)))
}

// DeleteUser removes a user, and its personal aliases. It fails with ErrNotFound.
func (tx *Tx) DeleteUser(login string) error {
	u, found := tx.User(login)
	if !found {
		return notFound(Key{Kind: KindUser, Name: login})
	}
	if err := tx.deleteAliasesOf(u.Login); err != nil {
		return err
	}
	if err := tx.exec(`DELETE FROM users WHERE login = ?`, u.Login); err != nil {
		return err
	}
	tx.set(u.Key(), nil)
	return tx.tell(removedText(u.Key(), userFields(&u)))
}

func (tx *Tx) deleteAliasesOf(login string) error {
	rows, err := tx.sql.QueryContext(tx.ctx, tx.d.dialect.sql(`SELECT address FROM aliases WHERE owner = ? AND owner <> ''`), login)
	if err != nil {
		return err
	}
	addresses, err := scanTexts(rows)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if err := tx.DeleteAlias(login, a); err != nil {
			return err
		}
	}
	return nil
}

// Domain returns a local domain as it is in the change.
func (tx *Tx) Domain(name string) (Domain, bool) {
	name, err := DomainName(name)
	if err != nil {
		return Domain{}, false
	}
	if d, changed := changedOf[Domain](tx, Key{Kind: KindDomain, Name: name}); changed {
		if d == nil {
			return Domain{}, false
		}
		return *d, true
	}
	return tx.d.Domain(name)
}

// PutDomain creates a local domain, or replaces the one with that name. It fails with
// Problems.
func (tx *Tx) PutDomain(d Domain) error {
	d, err := normalDomain(d)
	if err != nil {
		return err
	}
	before, exists := tx.Domain(d.Name)
	if exists && before == d {
		return nil
	}
	const put = `INSERT INTO domains (name, alias_of) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET alias_of = excluded.alias_of`
	if err := tx.exec(put, d.Name, d.AliasOf); err != nil {
		return err
	}
	tx.set(d.Key(), &d)
	if exists {
		return tx.tell(changedText(d.Key(), domainFields(&before), domainFields(&d)))
	}
	return tx.tell(createdText(d.Key(), domainFields(&d)))
}

// DeleteDomain removes a local domain. It fails with ErrNotFound; and the change with
// Problems, if aliases or lists are left in it.
func (tx *Tx) DeleteDomain(name string) error {
	d, found := tx.Domain(name)
	if !found {
		return notFound(Key{Kind: KindDomain, Name: name})
	}
	tx.set(d.Key(), nil)
	if err := tx.tell(removedText(d.Key(), domainFields(&d))); err != nil {
		return err
	}
	return tx.exec(`DELETE FROM domains WHERE name = ?`, d.Name)
}

// Alias returns an alias as it is in the change: the system's, or the personal one of an
// owner.
func (tx *Tx) Alias(owner, address string) (Alias, bool) {
	k, err := aliasName(owner, address)
	if err != nil {
		return Alias{}, false
	}
	if a, changed := changedOf[Alias](tx, k); changed {
		if a == nil {
			return Alias{}, false
		}
		return *a, true
	}
	return tx.d.Alias(k.Owner, k.Name)
}

// PutAlias creates an alias, or replaces the one with that address and owner. It fails
// with Problems.
func (tx *Tx) PutAlias(a Alias) error {
	a, err := normalAlias(a)
	if err != nil {
		return err
	}
	before, exists := tx.Alias(a.Owner, a.Address)
	if exists && slices.Equal(before.Targets, a.Targets) {
		return nil
	}
	const put = `INSERT INTO aliases (domain, address, owner, targets) VALUES (?, ?, ?, ?)
		ON CONFLICT (domain, address, owner) DO UPDATE SET targets = excluded.targets`
	if err := tx.exec(put, domainOf(a.Address), a.Address, a.Owner, joinLines(a.Targets)); err != nil {
		return err
	}
	tx.set(a.Key(), &a)
	if exists {
		return tx.tell(changedText(a.Key(), aliasFields(&before), aliasFields(&a)))
	}
	return tx.tell(createdText(a.Key(), aliasFields(&a)))
}

// DeleteAlias removes an alias. It fails with ErrNotFound.
func (tx *Tx) DeleteAlias(owner, address string) error {
	a, found := tx.Alias(owner, address)
	if !found {
		return notFound(Key{Kind: KindAlias, Name: address, Owner: owner})
	}
	tx.set(a.Key(), nil)
	if err := tx.tell(removedText(a.Key(), aliasFields(&a))); err != nil {
		return err
	}
	return tx.exec(`DELETE FROM aliases WHERE domain = ? AND address = ? AND owner = ?`, domainOf(a.Address), a.Address, a.Owner)
}

// Ban returns a ban as it is in the change, even if it has ended.
func (tx *Tx) Ban(subject string) (Ban, bool) {
	subject, err := Subject(subject)
	if err != nil {
		return Ban{}, false
	}
	if b, changed := changedOf[Ban](tx, Key{Kind: KindBan, Name: subject}); changed {
		if b == nil {
			return Ban{}, false
		}
		return *b, true
	}
	return tx.d.recordedBan(subject)
}

// PutBan creates a ban, or replaces the one of that subject. It fails with Problems.
func (tx *Tx) PutBan(b Ban) error {
	b, err := normalBan(b)
	if err != nil {
		return err
	}
	before, exists := tx.Ban(b.Subject)
	if exists && before == b {
		return nil
	}
	if err := tx.exec(putBan, banValues(&b)...); err != nil {
		return err
	}
	tx.set(b.Key(), &b)
	if exists {
		return tx.tell(changedText(b.Key(), banFields(&before), banFields(&b)))
	}
	return tx.tell(createdText(b.Key(), banFields(&b)))
}

// DeleteBan lifts a ban. It fails with ErrNotFound.
func (tx *Tx) DeleteBan(subject string) error {
	b, found := tx.Ban(subject)
	if !found {
		return notFound(Key{Kind: KindBan, Name: subject})
	}
	tx.set(b.Key(), nil)
	if err := tx.tell(removedText(b.Key(), banFields(&b))); err != nil {
		return err
	}
	return tx.exec(`DELETE FROM bans WHERE subject = ?`, b.Subject)
}

func notFound(k Key) error { return fmt.Errorf("%s: %w", k, ErrNotFound) }
