package directory

import (
	"fmt"
	"slices"
)

// inChange returns a record as it is in the change, committed says as what look-ups find it.
func inChange[T any](tx *Tx, k Key, committed func() (T, bool)) (T, bool) {
	record, changed := tx.records[k]
	if !changed {
		return committed()
	}
	if r, _ := record.(*T); r != nil {
		return *r, true
	}
	var none T
	return none, false
}

// edit is a change of one record.
type edit struct {
	key    Key
	record any // nil removes it
	// before and after are its fields; nil where it is not there.
	before, after []field
	more          []string // what else there is to tell
}

// edit makes a change of one record by a statement, and tells of it.
func (tx *Tx) edit(e edit, statement string, values ...any) error {
	if err := tx.exec(statement, values...); err != nil {
		return err
	}
	tx.set(e.key, e.record)
	return tx.tell(e.text())
}

func notFound(k Key) error { return fmt.Errorf("%w %s", ErrNotFound, k) }

// User returns a user as it is in the change.
func (tx *Tx) User(login string) (User, bool) {
	login, err := Login(login)
	if err != nil {
		return User{}, false
	}
	return inChange(tx, Key{Kind: KindUser, Name: login}, func() (User, bool) { return tx.d.User(login) })
}

// PutUser creates a user, or replaces the one with that login. What is known of its use
// stays. It fails with Problems.
func (tx *Tx) PutUser(u User) error {
	u, err := normalUser(u)
	if err == nil {
		err = tx.d.checkCredentials(&u)
	}
	if err != nil {
		return err
	}
	e := edit{key: u.Key(), record: &u, after: userFields(&u)}
	u.Created, u.Changed = fromMillis(millis(tx.now)), fromMillis(millis(tx.now))
	if before, exists := tx.User(u.Login); exists {
		u.Created, u.LastUsed, u.FailedLogins = before.Created, before.LastUsed, before.FailedLogins
		if e.before = userFields(&before); slices.Equal(e.before, e.after) {
			return nil
		}
	}
	if size := len(encodeUser(&u)) + len(u.Login); size > maxRecord {
		return Problems{{Key: u.Key(), Problem: fmt.Sprintf("has %d octets in all", size), Hint: fmt.Sprintf("at most %d are possible", maxRecord)}}
	}
	return tx.edit(e, putUser, userValues(&u)...)
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
	return tx.edit(edit{key: u.Key(), before: userFields(&u)}, `DELETE FROM users WHERE login = ?`, u.Login)
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
	return inChange(tx, Key{Kind: KindDomain, Name: name}, func() (Domain, bool) { return tx.d.Domain(name) })
}

// PutDomain creates a local domain, or replaces the one with that name. It fails with
// Problems.
func (tx *Tx) PutDomain(d Domain) error {
	d, err := normalDomain(d)
	if err != nil {
		return err
	}
	e := edit{key: d.Key(), record: &d, after: domainFields(&d)}
	if before, exists := tx.Domain(d.Name); exists {
		if e.before = domainFields(&before); slices.Equal(e.before, e.after) {
			return nil
		}
	}
	return tx.edit(e, `INSERT INTO domains (name, alias_of) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET alias_of = excluded.alias_of`, d.Name, d.AliasOf)
}

// DeleteDomain removes a local domain. It fails with ErrNotFound; and the change with
// Problems, if aliases or lists are left in it.
func (tx *Tx) DeleteDomain(name string) error {
	d, found := tx.Domain(name)
	if !found {
		return notFound(Key{Kind: KindDomain, Name: name})
	}
	return tx.edit(edit{key: d.Key(), before: domainFields(&d)}, `DELETE FROM domains WHERE name = ?`, d.Name)
}

// Alias returns an alias as it is in the change: the system's, or the personal one of an
// owner.
func (tx *Tx) Alias(owner, address string) (Alias, bool) {
	k, err := aliasName(owner, address)
	if err != nil {
		return Alias{}, false
	}
	return inChange(tx, k, func() (Alias, bool) { return tx.d.Alias(k.Owner, k.Name) })
}

// PutAlias creates an alias, or replaces the one with that address and owner. It fails
// with Problems.
func (tx *Tx) PutAlias(a Alias) error {
	a, err := normalAlias(a)
	if err != nil {
		return err
	}
	e := edit{key: a.Key(), record: &a, after: aliasFields(&a)}
	if before, exists := tx.Alias(a.Owner, a.Address); exists {
		if e.before = aliasFields(&before); slices.Equal(e.before, e.after) {
			return nil
		}
	}
	return tx.edit(e, `INSERT INTO aliases (domain, address, owner, targets) VALUES (?, ?, ?, ?)
		ON CONFLICT (domain, address, owner) DO UPDATE SET targets = excluded.targets`, domainOf(a.Address), a.Address, a.Owner, joinLines(a.Targets))
}

// DeleteAlias removes an alias. It fails with ErrNotFound.
func (tx *Tx) DeleteAlias(owner, address string) error {
	a, found := tx.Alias(owner, address)
	if !found {
		return notFound(Key{Kind: KindAlias, Name: address, Owner: owner})
	}
	return tx.edit(edit{key: a.Key(), before: aliasFields(&a)},
		`DELETE FROM aliases WHERE domain = ? AND address = ? AND owner = ?`, domainOf(a.Address), a.Address, a.Owner)
}

// Ban returns a ban as it is in the change, even if it has ended.
func (tx *Tx) Ban(subject string) (Ban, bool) {
	subject, err := Subject(subject)
	if err != nil {
		return Ban{}, false
	}
	return inChange(tx, Key{Kind: KindBan, Name: subject}, func() (Ban, bool) { return tx.d.recordedBan(subject) })
}

// PutBan creates a ban, or replaces the one of that subject. It fails with Problems.
func (tx *Tx) PutBan(b Ban) error {
	b, err := normalBan(b)
	if err != nil {
		return err
	}
	e := edit{key: b.Key(), record: &b, after: banFields(&b)}
	if before, exists := tx.Ban(b.Subject); exists {
		if e.before = banFields(&before); before == b {
			return nil
		}
	}
	return tx.edit(e, putBan, banValues(&b)...)
}

// DeleteBan lifts a ban. It fails with ErrNotFound.
func (tx *Tx) DeleteBan(subject string) error {
	b, found := tx.Ban(subject)
	if !found {
		return notFound(Key{Kind: KindBan, Name: subject})
	}
	return tx.edit(edit{key: b.Key(), before: banFields(&b)}, `DELETE FROM bans WHERE subject = ?`, b.Subject)
}
