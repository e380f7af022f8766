package directory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// column is one of a file of comma-separated values.
type column[T any] struct {
	name string
	get  func(r *T) string
	// set is nil for what is written and not read.
	set func(r *T, value string) error
	// secret is written only if asked for.
	secret bool
}

// shape is how records of a kind are written and read. The first columns are those of
// the key.
type shape[T any] struct {
	kind    Kind
	plural  string // in JSON
	keys    int    // columns of the key
	columns []column[T]
	fresh   T // what a new record is where nothing is said
	key     func(r *T) Key
	find    func(tx *Tx, r *T) (T, bool)
	put     func(tx *Tx, r T) error
	// check says what is wrong with a record of a file that only whoever imports it knows, with the
	// record as it is. Nil: nothing.
	check func(o *ImportOptions, before, r *T) *Invalid
	// rows are those of a record, and join takes another row of it in; nil where there is
	// one row each.
	rows func(r T) []T
	join func(r, more *T) error
	// page returns the records that come after one; fill reads what is missing in them.
	page func(r *Reader, last *T) ([]T, error)
	fill func(r *Reader, l *T) error
	// bare takes the secrets out.
	bare func(r *T)
}

// column returns the column of a name.
func (s *shape[T]) column(name string) *column[T] {
	for i := range s.columns {
		if s.columns[i].name == name {
			return &s.columns[i]
		}
	}
	return nil
}

func textColumn[T any](name string, at func(r *T) *string) column[T] {
	return column[T]{name: name,
		get: func(r *T) string { return *at(r) },
		set: func(r *T, s string) error { *at(r) = strings.TrimSpace(s); return nil }}
}

func textsColumn[T any](name string, at func(r *T) *[]string) column[T] {
	return column[T]{name: name,
		get: func(r *T) string { return joinValues(*at(r)) },
		set: func(r *T, s string) error { *at(r) = splitValues(s); return nil }}
}

func flagColumn[T any](name string, at func(r *T) *bool) column[T] {
	return column[T]{name: name,
		get: func(r *T) string { return strconv.FormatBool(*at(r)) },
		set: func(r *T, s string) error {
			s = strings.ToLower(strings.TrimSpace(s))
			if s != "true" && s != "false" {
				return fmt.Errorf("%q is neither true nor false", clip(s))
			}
			*at(r) = s == "true"
			return nil
		}}
}

func numberColumn[T any, N int | int64](name string, at func(r *T) *N) column[T] {
	return column[T]{name: name,
		get: func(r *T) string { return numberText(int64(*at(r))) },
		set: func(r *T, s string) (err error) {
			var n int64
			if s = strings.TrimSpace(s); s != "" {
				if n, err = strconv.ParseInt(s, 10, 64); err != nil {
					return fmt.Errorf("%q is no whole number", clip(s))
				}
			}
			*at(r) = N(n)
			return nil
		}}
}

func timeColumn[T any](name string, at func(r *T) *time.Time) column[T] {
	return column[T]{name: name,
		get: func(r *T) string { return timeText(*at(r)) },
		set: func(r *T, s string) (err error) {
			if s = strings.TrimSpace(s); s == "" {
				*at(r) = time.Time{}
				return nil
			}
			if *at(r), err = time.Parse(time.RFC3339, s); err != nil {
				return fmt.Errorf("%q is no time such as 2026-12-31T23:00:00Z", clip(s))
			}
			return nil
		}}
}

// shown makes a column one that is written and not read.
func shown[T any](c column[T]) column[T] {
	c.set = nil
	return c
}

func hidden[T any](c column[T]) column[T] {
	c.secret = true
	return c
}

// joinValues writes several values into one: they are separated by ";", and a backslash
// takes the character behind it as it is.
func joinValues(list []string) string {
	escaped := make([]string, len(list))
	for i, s := range list {
		escaped[i] = strings.NewReplacer(`\`, `\\`, ";", `\;`).Replace(s)
	}
	return strings.Join(escaped, ";")
}

// splitValues reads what joinValues wrote; space around values, and values that are
// empty, are left out.
func splitValues(s string) []string {
	var list []string
	var value strings.Builder
	end := func() {
		if v := strings.TrimSpace(value.String()); v != "" {
			list = append(list, v)
		}
		value.Reset()
	}
	escaped := false
	for i := range len(s) {
		switch c := s[i]; {
		case escaped:
			value.WriteByte(c)
			escaped = false
		case c == '\\':
			escaped = true
		case c == ';':
			end()
		default:
			value.WriteByte(c)
		}
	}
	end()
	return list
}

var userShape = &shape[User]{
	kind: KindUser, plural: "users", keys: 1,
	columns: []column[User]{
		textColumn("login", func(u *User) *string { return &u.Login }),
		hidden(textColumn("password", func(u *User) *string { return &u.Password })),
		hidden(textColumn("scram", func(u *User) *string { return &u.SCRAM })),
		flagColumn("enabled", func(u *User) *bool { return &u.Enabled }),
		timeColumn("expires", func(u *User) *time.Time { return &u.Expires }),
		flagColumn("submit", func(u *User) *bool { return &u.Services.Submit }),
		flagColumn("relay", func(u *User) *bool { return &u.Services.Relay }),
		flagColumn("pop", func(u *User) *bool { return &u.Services.POP }),
		textsColumn("addresses", func(u *User) *[]string { return &u.Addresses }),
		textsColumn("delegates", func(u *User) *[]string { return &u.Delegates }),
		numberColumn("messages_per_hour", func(u *User) *int64 { return &u.Limits.MessagesPerHour }),
		numberColumn("recipients_per_day", func(u *User) *int64 { return &u.Limits.RecipientsPerDay }),
		numberColumn("max_size", func(u *User) *int64 { return &u.Limits.MaxSize }),
		textColumn("language", func(u *User) *string { return &u.Language }),
		textsColumn("groups", func(u *User) *[]string { return &u.Groups }),
		{name: "networks", get: func(u *User) string { return joinValues(networkTexts(u.Networks)) }, set: setNetworks},
		textsColumn("certificates", func(u *User) *[]string { return &u.Certificates }),
		textColumn("route", func(u *User) *string { return &u.Route }),
		textColumn("class", func(u *User) *string { return &u.Class }),
		textColumn("note", func(u *User) *string { return &u.Note }),
		shown(timeColumn("created", func(u *User) *time.Time { return &u.Created })),
		shown(timeColumn("changed", func(u *User) *time.Time { return &u.Changed })),
		shown(timeColumn("last_used", func(u *User) *time.Time { return &u.LastUsed })),
		shown(numberColumn("failed_logins", func(u *User) *int { return &u.FailedLogins })),
	},
	fresh: User{Enabled: true},
	key:   func(u *User) Key { return Key{Kind: KindUser, Name: orGiven(Login(u.Login))(u.Login)} },
	find:  func(tx *Tx, u *User) (User, bool) { return tx.User(u.Login) },
	put:   func(tx *Tx, u User) error { return tx.PutUser(u) },
	check: func(o *ImportOptions, before, u *User) *Invalid {
		if o.CheckRoute == nil || u.Route == "" || u.Route == before.Route {
			return nil
		}
		if err := o.CheckRoute(u.Route); err != nil {
			return &Invalid{Key: Key{Kind: KindUser, Name: orGiven(Login(u.Login))(u.Login)}, Field: "route", Problem: err.Error()}
		}
		return nil
	},
	page: func(r *Reader, last *User) ([]User, error) { return r.Users(last.Login, pageSize) },
	bare: func(u *User) { u.Password, u.SCRAM = "", "" },
}

func setNetworks(u *User, s string) error {
	u.Networks = nil
	for _, value := range splitValues(s) {
		p, err := network(value)
		if err != nil {
			return fmt.Errorf("%q: %w", clip(value), err)
		}
		u.Networks = append(u.Networks, p)
	}
	return nil
}

// orGiven returns a normal form, or what was given if it has none.
func orGiven(normal string, err error) func(given string) string {
	return func(given string) string {
		if err != nil {
			return given
		}
		return normal
	}
}

var domainShape = &shape[Domain]{
	kind: KindDomain, plural: "domains", keys: 1,
	columns: []column[Domain]{
		textColumn("name", func(d *Domain) *string { return &d.Name }),
		textColumn("alias_of", func(d *Domain) *string { return &d.AliasOf }),
	},
	key:  func(d *Domain) Key { return Key{Kind: KindDomain, Name: orGiven(DomainName(d.Name))(d.Name)} },
	find: func(tx *Tx, d *Domain) (Domain, bool) { return tx.Domain(d.Name) },
	put:  func(tx *Tx, d Domain) error { return tx.PutDomain(d) },
	page: func(r *Reader, last *Domain) ([]Domain, error) { return r.Domains(last.Name, pageSize) },
}

var aliasShape = &shape[Alias]{
	kind: KindAlias, plural: "aliases", keys: 2,
	columns: []column[Alias]{
		textColumn("address", func(a *Alias) *string { return &a.Address }),
		textColumn("owner", func(a *Alias) *string { return &a.Owner }),
		textsColumn("targets", func(a *Alias) *[]string { return &a.Targets }),
	},
	key: func(a *Alias) Key {
		if k, err := aliasName(a.Owner, a.Address); err == nil {
			return k
		}
		return a.Key()
	},
	find: func(tx *Tx, a *Alias) (Alias, bool) { return tx.Alias(a.Owner, a.Address) },
	put:  func(tx *Tx, a Alias) error { return tx.PutAlias(a) },
	page: func(r *Reader, last *Alias) ([]Alias, error) { return r.Aliases(last.Key(), pageSize) },
}

var listShape = &shape[List]{
	kind: KindList, plural: "lists", keys: 1,
	columns: []column[List]{
		textColumn("name", func(l *List) *string { return &l.Name }),
		{name: "kind", get: func(l *List) string { return string(l.Kind) },
			set: func(l *List, s string) error { l.Kind = ListKind(strings.TrimSpace(s)); return nil }},
		textColumn("address", func(l *List) *string { return &l.Address }),
		textColumn("owner", func(l *List) *string { return &l.Owner }),
		{name: "posters", get: func(l *List) string { return string(l.Posters) },
			set: func(l *List, s string) error { l.Posters = Posters(strings.TrimSpace(s)); return nil }},
		textsColumn("entries", func(l *List) *[]string { return &l.Entries }),
	},
	key: func(l *List) Key { return Key{Kind: KindList, Name: strings.ToLower(l.Name)} },
	find: func(tx *Tx, l *List) (List, bool) {
		found, exists := tx.List(l.Name)
		found.Entries = slices.Clone(found.Entries)
		return found, exists
	},
	put:  func(tx *Tx, l List) error { return tx.PutList(l) },
	rows: listRows,
	join: joinList,
	page: func(r *Reader, last *List) ([]List, error) { return r.Lists(last.Name, pageSize) },
	fill: fillList,
}

// entriesInRow is how many entries of a list a row has.
const entriesInRow = 100

// listRows are a list with its first entries, and then its name with more of them.
func listRows(l List) []List {
	if len(l.Entries) <= entriesInRow {
		return []List{l}
	}
	var rows []List
	for entries := range slices.Chunk(l.Entries, entriesInRow) {
		rows = append(rows, List{Name: l.Name, Entries: entries})
	}
	l.Entries = rows[0].Entries
	rows[0] = l
	return rows
}

// joinList takes the entries of another row of a list in.
func joinList(l, more *List) error {
	c := check{key: l.Key()}
	if len(l.Entries)+len(more.Entries) > maxEntries(l.Kind) {
		c.wrong("entries", fmt.Sprintf("at most %d are possible", maxEntries(l.Kind)), "there are more")
		return c.err()
	}
	l.Entries = append(l.Entries, c.entries(l.Kind, more.Entries)...)
	return c.err()
}

var banShape = &shape[Ban]{
	kind: KindBan, plural: "bans", keys: 1,
	columns: []column[Ban]{
		textColumn("subject", func(b *Ban) *string { return &b.Subject }),
		timeColumn("since", func(b *Ban) *time.Time { return &b.Since }),
		timeColumn("until", func(b *Ban) *time.Time { return &b.Until }),
		textColumn("reason", func(b *Ban) *string { return &b.Reason }),
		numberColumn("count", func(b *Ban) *int { return &b.Count }),
	},
	key:  func(b *Ban) Key { return Key{Kind: KindBan, Name: orGiven(Subject(b.Subject))(b.Subject)} },
	find: func(tx *Tx, b *Ban) (Ban, bool) { return tx.Ban(b.Subject) },
	put:  func(tx *Tx, b Ban) error { return tx.PutBan(b) },
	page: func(r *Reader, last *Ban) ([]Ban, error) { return r.Bans(last.Subject, pageSize) },
}

// pageSize is how many records an export reads at a time.
const pageSize = 1000

// all calls one with all records.
func (s *shape[T]) all(r *Reader, one func(*T) error) error {
	whole := func(record *T) error {
		copied := *record // what is read into it is not kept
		if s.fill != nil {
			if err := s.fill(r, &copied); err != nil {
				return err
			}
		}
		return one(&copied)
	}
	return eachPage(whole, func(last *T) ([]T, error) { return s.page(r, last) })
}

// fillList reads the entries of a list.
func fillList(r *Reader, l *List) error {
	return eachPage(func(entry *string) error {
		l.Entries = append(l.Entries, *entry)
		return nil
	}, func(last *string) ([]string, error) { return r.Entries(l.Name, *last, pageSize) })
}

// eachPage calls one with all that page returns, which is asked for what comes after the
// last, at first the zero value, until there is nothing.
func eachPage[T any](one func(*T) error, page func(last *T) ([]T, error)) error {
	last := new(T)
	for {
		list, err := page(last)
		if err != nil || len(list) == 0 {
			return err
		}
		for i := range list {
			if err := one(&list[i]); err != nil {
				return err
			}
		}
		last = &list[len(list)-1]
	}
}
