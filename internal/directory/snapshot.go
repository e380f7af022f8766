package directory

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Reader reads the records as they were at one time, in the order of their keys. It is
// used by one goroutine, within Read.
type Reader struct {
	d   *Directory
	ctx context.Context
	tx  *sql.Tx
}

// MaxPage bounds how many records are read at a time.
const MaxPage = 10_000

// Read calls fn with all records as they are now. Changes go on meanwhile; they take more
// and more of the disk as long as fn runs. It fails with what fn returned, or as the
// database does.
func (d *Directory) Read(ctx context.Context, fn func(r *Reader) error) error {
	tx, err := d.reader.BeginTx(ctx, nil)
	if err != nil {
		return d.dialect.explain(err)
	}
	defer tx.Rollback()
	return d.dialect.explain(fn(&Reader{d: d, ctx: ctx, tx: tx}))
}

// Users returns up to limit users, at most MaxPage, whose logins come after one; those
// from the first on for "".
func (r *Reader) Users(after string, limit int) (users []User, err error) {
	err = r.page(selectUsers+` WHERE login > ? ORDER BY login LIMIT ?`, func(rows *sql.Rows) error {
		u, err := scanUser(rows)
		users = append(users, u)
		return err
	}, after, min(limit, MaxPage))
	for i := range users { // what is not yet written
		u := &users[i]
		if use, known := r.d.usageOf(u.Login); known {
			u.LastUsed, u.FailedLogins = fromMillis(use.last), int(use.failed)
		}
	}
	return users, err
}

func (d *Directory) usageOf(login string) (usage, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	use, known := d.image.usage[login]
	return use, known
}

// Aliases returns up to limit aliases, at most MaxPage, that come after one in the order of
// their domains, addresses and owners; those from the first on for the zero Key.
func (r *Reader) Aliases(after Key, limit int) (aliases []Alias, err error) {
	domain := ""
	if after.Name != "" {
		domain = domainOf(after.Name)
	}
	err = r.page(`SELECT address, owner, targets FROM aliases WHERE (domain, address, owner) > (?, ?, ?)
		ORDER BY domain, address, owner LIMIT ?`, func(rows *sql.Rows) error {
		var a Alias
		var targets string
		err := rows.Scan(&a.Address, &a.Owner, &targets)
		a.Targets = splitLines(targets)
		aliases = append(aliases, a)
		return err
	}, domain, after.Name, after.Owner, min(limit, MaxPage))
	return aliases, err
}

// Domains returns up to limit local domains, at most MaxPage, whose names come after one.
func (r *Reader) Domains(after string, limit int) (domains []Domain, err error) {
	err = r.page(`SELECT name, alias_of FROM domains WHERE name > ? ORDER BY name LIMIT ?`, func(rows *sql.Rows) error {
		var d Domain
		err := rows.Scan(&d.Name, &d.AliasOf)
		domains = append(domains, d)
		return err
	}, after, min(limit, MaxPage))
	return domains, err
}

// Lists returns up to limit lists, at most MaxPage, whose names come after one, without
// their entries.
func (r *Reader) Lists(after string, limit int) (list []List, err error) {
	err = r.page(`SELECT name, kind, address, owner, posters FROM lists WHERE name > ? ORDER BY name LIMIT ?`, func(rows *sql.Rows) error {
		var l List
		err := rows.Scan(&l.Name, &l.Kind, &l.Address, &l.Owner, &l.Posters)
		list = append(list, l)
		return err
	}, after, min(limit, MaxPage))
	return list, err
}

// Entries returns up to limit entries of a list, at most MaxPage, that come after one.
func (r *Reader) Entries(list, after string, limit int) ([]string, error) {
	rows, err := r.tx.QueryContext(r.ctx, r.d.dialect.sql(`SELECT entry FROM list_entries WHERE list = ? AND entry > ? ORDER BY entry LIMIT ?`), list, after, min(limit, MaxPage))
	if err != nil {
		return nil, err
	}
	return scanTexts(rows)
}

// Bans returns up to limit bans, at most MaxPage, whose subjects come after one, also
// those that have ended.
func (r *Reader) Bans(after string, limit int) (bans []Ban, err error) {
	err = r.page(`SELECT subject, since, until, reason, times FROM bans WHERE subject > ? ORDER BY subject LIMIT ?`, func(rows *sql.Rows) error {
		b, err := scanBan(rows)
		bans = append(bans, b)
		return err
	}, after, min(limit, MaxPage))
	return bans, err
}

func (r *Reader) page(query string, one func(*sql.Rows) error, values ...any) error {
	rows, err := r.tx.QueryContext(r.ctx, r.d.dialect.sql(query), values...)
	if err != nil {
		return err
	}
	return each(rows, one)
}

// Snapshot writes a copy of the database, as it is now, to a file that does not exist, and
// that nobody else can read; it is synced. Changes wait meanwhile, look-ups do not.
func (d *Directory) Snapshot(ctx context.Context, file string) error {
	if err := d.Flush(ctx); err != nil {
		return err
	}
	if err := d.acquire(ctx); err != nil {
		return err
	}
	defer d.release()
	if _, err := makeFile(file); err != nil {
		return err
	}
	_, err := d.writer.ExecContext(ctx, d.dialect.copyTo, file)
	if err == nil {
		err = syncFile(file)
	}
	if err != nil {
		os.Remove(file)
	}
	return d.dialect.explain(err)
}

// Verify reads all of the database, indexes included, and compares what is in it. It fails
// with ErrDamaged, wrapped, with up to 20 faults. Changes go on meanwhile.
func (d *Directory) Verify(ctx context.Context) error {
	var faults []string
	for _, query := range d.dialect.verify {
		rows, err := d.reader.QueryContext(ctx, query)
		if err != nil {
			return d.dialect.explain(err)
		}
		found, err := scanTexts(rows)
		if err != nil {
			return d.dialect.explain(err)
		}
		faults = append(faults, found...)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDamaged, strings.Join(faults[:min(len(faults), maxFaults)], "; "))
}

// maxFaults bounds what Verify tells.
const maxFaults = 20

// syncFile brings a file, and that it is there, to stable storage.
func syncFile(name string) error {
	for _, of := range []string{name, filepath.Dir(name)} {
		f, err := os.Open(of)
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
