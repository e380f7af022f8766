package directory

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"postern/internal/mail"
)

const (
	putUser = `INSERT INTO users (login, password, scram, enabled, submit, relay, pop, expires, addresses, delegates,
			messages_per_hour, recipients_per_day, max_size, language, member_of, networks, certificates,
			route, class, note, created, changed, last_used, failed_logins)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (login) DO UPDATE SET password = excluded.password, scram = excluded.scram,
			enabled = excluded.enabled, submit = excluded.submit, relay = excluded.relay, pop = excluded.pop,
			expires = excluded.expires, addresses = excluded.addresses, delegates = excluded.delegates,
			messages_per_hour = excluded.messages_per_hour, recipients_per_day = excluded.recipients_per_day,
			max_size = excluded.max_size, language = excluded.language, member_of = excluded.member_of,
			networks = excluded.networks, certificates = excluded.certificates, route = excluded.route,
			class = excluded.class, note = excluded.note, changed = excluded.changed`
	selectUsers = `SELECT login, password, scram, enabled, submit, relay, pop, expires, addresses, delegates,
		messages_per_hour, recipients_per_day, max_size, language, member_of, networks, certificates,
		route, class, note, created, changed, last_used, failed_logins FROM users`
	putBan = `INSERT INTO bans (subject, since, until, reason, times) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (subject) DO UPDATE SET since = excluded.since, until = excluded.until,
			reason = excluded.reason, times = excluded.times`
)

func userValues(u *User) []any {
	return []any{
		u.Login, u.Password, u.SCRAM, bit(u.Enabled), bit(u.Services.Submit), bit(u.Services.Relay), bit(u.Services.POP),
		millis(u.Expires), joinLines(u.Addresses), joinLines(u.Delegates),
		u.Limits.MessagesPerHour, u.Limits.RecipientsPerDay, u.Limits.MaxSize, u.Language, joinLines(u.Groups),
		joinLines(networkTexts(u.Networks)), joinLines(u.Certificates), u.Route, u.Class, u.Note,
		millis(u.Created), millis(u.Changed), millis(u.LastUsed), int64(u.FailedLogins),
	}
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func banValues(b *Ban) []any {
	return []any{b.Subject, millis(b.Since), millis(b.Until), b.Reason, int64(b.Count)}
}

func scanUser(rows *sql.Rows) (User, error) {
	var u User
	var enabled, submit, relay, pop, expires, created, changed, lastUsed int64
	var addresses, delegates, groups, networks, certificates string
	err := rows.Scan(&u.Login, &u.Password, &u.SCRAM, &enabled, &submit, &relay, &pop, &expires, &addresses, &delegates,
		&u.Limits.MessagesPerHour, &u.Limits.RecipientsPerDay, &u.Limits.MaxSize, &u.Language, &groups, &networks,
		&certificates, &u.Route, &u.Class, &u.Note, &created, &changed, &lastUsed, &u.FailedLogins)
	u.Enabled = enabled != 0
	u.Services = mail.Services{Submit: submit != 0, Relay: relay != 0, POP: pop != 0}
	u.Addresses, u.Delegates, u.Groups = splitLines(addresses), splitLines(delegates), splitLines(groups)
	u.Networks, u.Certificates = networksOf(splitLines(networks)), splitLines(certificates)
	u.Expires, u.Created, u.Changed, u.LastUsed = fromMillis(expires), fromMillis(created), fromMillis(changed), fromMillis(lastUsed)
	return u, err
}

func scanBan(rows *sql.Rows) (Ban, error) {
	var b Ban
	var since, until int64
	err := rows.Scan(&b.Subject, &since, &until, &b.Reason, &b.Count)
	b.Since, b.Until = fromMillis(since), fromMillis(until)
	return b, err
}

// each calls one for every row, and closes them.
func each(rows *sql.Rows, one func(rows *sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := one(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// scanTexts reads rows of one text.
func scanTexts(rows *sql.Rows) (list []string, err error) {
	err = each(rows, func(rows *sql.Rows) error {
		var s string
		if err := rows.Scan(&s); err != nil {
			return err
		}
		list = append(list, s)
		return nil
	})
	return list, err
}

// withRoutes is the version of the schema that gave users a route and a class, and has credentials. An older
// one is read where nobody may bring it up to date.
const withRoutes = 3

// usersOf is the query for all users in a database of a version of the schema.
func usersOf(version int) string {
	if version >= withRoutes {
		return selectUsers
	}
	return strings.Replace(selectUsers, "route, class", "'', ''", 1)
}

// load reads all records into an image, from a database of a version of the schema.
func (d *Directory) load(ctx context.Context, version int) (*image, error) {
	tx, err := d.reader.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	var users, aliases int
	if err := tx.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM users), (SELECT COUNT(*) FROM aliases)`).Scan(&users, &aliases); err != nil {
		return nil, err
	}
	l := loader{image: newImage(users, aliases), now: d.clock.Now(), lists: map[string]*List{}}
	parts := []part{
		{usersOf(version), l.user},
		{`SELECT name, alias_of FROM domains`, l.domain},
		{`SELECT address, owner, targets FROM aliases`, l.alias},
		{`SELECT name, kind, address, owner, posters FROM lists`, l.list},
		{`SELECT list, entry FROM list_entries ORDER BY list, entry`, l.entry},
		{`SELECT subject, since, until, reason, times FROM bans`, l.ban},
	}
	if version >= withRoutes {
		parts = append(parts, part{selectCredentials, l.credential})
	}
	for _, part := range parts {
		rows, err := tx.QueryContext(ctx, part.query)
		if err != nil {
			return nil, err
		}
		if err := each(rows, part.row); err != nil {
			return nil, err
		}
	}
	for _, list := range l.lists {
		r, err := recordOf(*list)
		if err != nil {
			return nil, fmt.Errorf("%w (%w)", ErrDamaged, err)
		}
		l.image.putList(r)
	}
	return l.image, nil
}

// part is a table, and what is done with each of its rows.
type part struct {
	query string
	row   func(*sql.Rows) error
}

// loader makes an image of rows.
type loader struct {
	image *image
	now   time.Time
	lists map[string]*List
}

func (l *loader) user(rows *sql.Rows) error {
	u, err := scanUser(rows)
	if err != nil {
		return err
	}
	l.image.putUser(&u)
	if !u.LastUsed.IsZero() || u.FailedLogins > 0 {
		l.image.usage[u.Login] = usage{last: millis(u.LastUsed), failed: int32(u.FailedLogins)}
	}
	return nil
}

func (l *loader) domain(rows *sql.Rows) error {
	var name, of string
	err := rows.Scan(&name, &of)
	l.image.domains[name] = of
	return err
}

// alias is called for each of a million: it copies nothing that it need not.
func (l *loader) alias(rows *sql.Rows) error {
	var address, owner string
	var targets sql.RawBytes
	if err := rows.Scan(&address, &owner, &targets); err != nil {
		return err
	}
	l.image.aliases.put(aliasKey(owner, address), targets)
	return nil
}

func (l *loader) list(rows *sql.Rows) error {
	var r List
	if err := rows.Scan(&r.Name, &r.Kind, &r.Address, &r.Owner, &r.Posters); err != nil {
		return err
	}
	l.lists[r.Name] = &r
	return nil
}

func (l *loader) entry(rows *sql.Rows) error {
	var name, entry string
	if err := rows.Scan(&name, &entry); err != nil {
		return err
	}
	r := l.lists[name]
	if r == nil {
		return fmt.Errorf("%w: an entry of list %q, which is not there", ErrDamaged, name)
	}
	r.Entries = append(r.Entries, entry)
	return nil
}

func (l *loader) ban(rows *sql.Rows) error {
	b, err := scanBan(rows)
	if err == nil && b.Active(l.now) {
		l.image.putBan(b)
	}
	return err
}
