package directory

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"postern/internal/mail"
)

// dialect is all that differs between databases. Statements are written with "?" for
// values, "{text}" for the type of a text that is compared octet by octet, and
// "{rowless}" behind a table whose rows lie in the order of its primary key.
type dialect struct {
	// open opens the database, only to be read if asked.
	open          func(readOnly bool) (*sql.DB, error)
	text, rowless string
	// numbered says that values are $1, $2, ….
	numbered bool
	// copyTo is the statement that writes a copy to a file, and verify says what is wrong
	// in the database, one row for each fault; "" where the database has other means.
	copyTo string
	verify []string
	// explain gives an error of the database its meaning here.
	explain func(error) error
}

// sql returns a statement as the database wants it.
func (s *dialect) sql(statement string) string {
	statement = strings.NewReplacer("{text}", s.text, "{rowless}", s.rowless).Replace(statement)
	if !s.numbered {
		return statement
	}
	var b strings.Builder
	values := 0
	for _, c := range statement {
		if c != '?' {
			b.WriteRune(c)
			continue
		}
		values++
		b.WriteString("$" + strconv.Itoa(values))
	}
	return b.String()
}

// busy is how long SQLite waits for another process, such as one that makes a copy, in
// milliseconds.
const busy = 5000

// maxLog is how long the log beside the database stays, in octets, after a large change.
const maxLog = 16 << 20

// sqliteIn is SQLite, with the database in a file. With synchronous=FULL a commit is on
// stable storage when it returns.
func sqliteIn(file string) dialect {
	open := func(readOnly bool) (*sql.DB, error) {
		pragmas := []string{
			fmt.Sprintf("busy_timeout(%d)", busy), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
			fmt.Sprintf("journal_size_limit(%d)", maxLog),
			"secure_delete(1)", // what was removed is overwritten
		}
		if readOnly {
			pragmas = append(pragmas, "query_only(1)")
		}
		values := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
		if readOnly {
			values.Set("_txlock", "deferred")
		}
		name := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: values.Encode()}
		return sql.Open("sqlite", name.String())
	}
	return dialect{
		open: open, text: "TEXT", rowless: "WITHOUT ROWID", explain: explainSQLite,
		copyTo: `VACUUM INTO ?`,
		verify: []string{
			`SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'`,
			`SELECT "table" || ' names what is not in ' || parent FROM pragma_foreign_key_check`,
		},
	}
}

// What a client is told while the disk is full, and while another program keeps the
// database busy.
var (
	storageFull  = mail.Refuse(452, "4.3.1", "Insufficient system storage")
	databaseBusy = &mail.Error{Reply: mail.LocalError}
)

func explainSQLite(err error) error {
	failed, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch failed.Code() & 0xff { // the rest of a code says more of the same
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	case sqlite3.SQLITE_FULL:
		return storageFull.Because(err)
	case sqlite3.SQLITE_BUSY:
		return databaseBusy.Because(err)
	}
	return err
}
