package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/mail"
)

// A file that is no database, or that lacks what must be in it, stops the start with a
// message that says which file, and what to do.
func TestDamagedFile(t *testing.T) {
	for what, damage := range map[string]func(data []byte) []byte{
		"not a database":       func([]byte) []byte { return bytes.Repeat([]byte("no database "), 1000) },
		"an overwritten head":  func(data []byte) []byte { copy(data, make([]byte, 100)); return data },
		"cut off":              func(data []byte) []byte { return data[:len(data)/2] },
		"an overwritten start": func(data []byte) []byte { copy(data[100:], bytes.Repeat([]byte{0xa5}, 4096)); return data },
	} {
		t.Run(what, func(t *testing.T) {
			o := newDirectory(t)
			o.fill()
			o.change(func(tx *Tx) error { return putMany(tx, 300, 300) })
			o.damage(damage)
			d, err := Open(t.Context(), Options{Dir: o.dir})
			if err == nil {
				d.Close()
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), filepath.Join(o.dir, File)) || !strings.Contains(err.Error(), "backup") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// damage closes the directory and changes its file.
func (o *opened) damage(how func(data []byte) []byte) {
	o.t.Helper()
	if err := o.Close(); err != nil {
		o.t.Fatal(err)
	}
	file := filepath.Join(o.dir, File)
	data, err := os.ReadFile(file)
	if err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(file, how(data), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

// Whichever page of the file is damaged, nothing panics: the start fails, or what is read
// is what was there, and Verify finds the damage.
func TestDamagedPages(t *testing.T) {
	o := newDirectory(t)
	o.fill()
	o.change(func(tx *Tx) error { return putMany(tx, 20, 50) })
	want := o.export(ExportOptions{Format: JSON})
	o.damage(func(data []byte) []byte { return data })
	file := filepath.Join(o.dir, File)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	refused, found := 0, 0
	for at := page; at+page <= len(whole); at += page {
		damaged := bytes.Clone(whole)
		copy(damaged[at:at+page], bytes.Repeat([]byte{0xa5}, page))
		if err := os.WriteFile(file, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(t.Context(), Options{Dir: o.dir, Clock: o.clock})
		switch {
		case errors.Is(err, ErrDamaged):
			refused++
			continue
		case err != nil:
			t.Errorf("page %d: %v", at/page, err)
			continue
		}
		o.Directory = d
		if err := d.Verify(t.Context()); !errors.Is(err, ErrDamaged) {
			t.Errorf("page %d: Verify finds %v", at/page, err)
		} else {
			found++
		}
		var b bytes.Buffer
		if err := d.Export(t.Context(), &b, ExportOptions{Format: JSON}); err == nil && b.String() != want {
			t.Errorf("page %d: other records are there", at/page)
		}
		d.Close()
	}
	if refused < 5 || found < 1 {
		t.Errorf("%d damaged pages refused the start, %d were found by Verify", refused, found)
	}
}

// A directory that is not there any more is not taken for one that is empty, at this start
// and the next ones, until somebody says so.
func TestLost(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(Domain{Name: "example.com"}))
	if err := o.ForgetFacts(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(o.dir, File)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		o.open()
		if err := o.ForgetFacts(t.Context(), 1); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), file) {
			t.Errorf("got %v", err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("an empty directory was left")
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.open()
	if err := o.ForgetFacts(t.Context(), 1); err != nil {
		t.Errorf("of a file that somebody has made: %v", err)
	}
	o.change(putAll(Domain{Name: "example.org"}))
	facts, err := o.NextFacts(t.Context(), 0, 10)
	if err != nil || len(facts) != 1 || facts[0].N != 2 {
		t.Errorf("got %v, %v", facts, err)
	}
}

func TestNewerSchema(t *testing.T) {
	o := newDirectory(t)
	if _, err := o.writer.Exec(`INSERT INTO schema_version (version) VALUES (1000)`); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err := Open(t.Context(), Options{Dir: o.dir}); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v, %v, want ErrNewer", d, err)
	}
}

// While the disk is full a change fails for now, and all is as before; when there is
// room again it succeeds.
func TestDiskFull(t *testing.T) {
	o := newDirectory(t)
	o.fill()
	before := o.export(ExportOptions{Format: JSON})
	told := o.texts()
	var pages int
	if err := o.writer.QueryRow(`PRAGMA page_count`).Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		if _, err := o.writer.Exec(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages)
	many := func(tx *Tx) error { return putMany(tx, 1000, 1000) }
	for range 2 {
		err := o.Change(t.Context(), "ann", many)
		if r := mail.ReplyOf(err); r.Code != 452 || r.Enhanced != "4.3.1" {
			t.Fatalf("got %v", err)
		}
	}
	if o.export(ExportOptions{Format: JSON}) != before || len(o.texts()) != len(told) {
		t.Error("something has changed")
	}
	limit(1 << 30)
	o.change(many)
	o.reopen()
	if n := o.Counts().Users; n < 1000 {
		t.Errorf("%d users", n)
	}
	if err := o.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// When nobody knows what a failed commit has left on the disk, nothing is changed any more;
// look-ups go on with what was there before.
func TestUnknownOutcome(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(Domain{Name: "a.example"}))
	failed := errors.New("input/output error")
	if err := o.commitFailed(failed); !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	if err := o.Change(t.Context(), "ann", putAll(Domain{Name: "b.example"})); !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
	if !o.IsLocal("a.example") || o.IsLocal("b.example") {
		t.Error("look-ups find something else")
	}
	o.Close()
	o.open()
	o.change(putAll(Domain{Name: "b.example"}))
}

// A change that is given up, or that goes on although the database has failed, leaves
// nothing; the next one succeeds.
func TestChangeGivenUp(t *testing.T) {
	o := newDirectory(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := o.Change(ctx, "ann", func(tx *Tx) error {
		defer cancel()
		return tx.PutDomain(Domain{Name: "a.example"})
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("given up at its end: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	err = o.Change(ctx, "ann", func(tx *Tx) error {
		cancel()
		return tx.PutDomain(Domain{Name: "a.example"})
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("given up at its start: %v", err)
	}
	err = o.Change(t.Context(), "ann", func(tx *Tx) error {
		if err := tx.PutDomain(Domain{Name: "a.example"}); err != nil {
			return err
		}
		if err := tx.exec(`INSERT INTO domains (name, alias_of) VALUES (?, ?)`, "a.example", ""); err == nil {
			t.Error("two domains have the same name")
		}
		return nil
	})
	if err == nil {
		t.Error("a change in which the database has failed was committed")
	}
	for range 2 {
		if o.IsLocal("a.example") || len(o.texts()) > 0 {
			t.Error("something was left")
		}
		o.reopen()
	}
	o.change(putAll(Domain{Name: "b.example"}))
}

// While another program keeps the database to itself a change fails for now.
func TestBusy(t *testing.T) {
	o := newDirectory(t)
	if _, err := o.writer.Exec(`PRAGMA busy_timeout = 1`); err != nil {
		t.Fatal(err)
	}
	other, err := sqliteIn(filepath.Join(o.dir, File)).open(false)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	err = o.Change(t.Context(), "ann", putAll(Domain{Name: "a.example"}))
	if r := mail.ReplyOf(err); !r.Temporary() || errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	o.change(putAll(Domain{Name: "a.example"}))
}

// A copy that is made while the directory is used has all of it, also what waits to be
// written, and no file of it is overwritten.
func TestSnapshot(t *testing.T) {
	o := newDirectory(t)
	o.fill()
	o.LoginFailed("joe")
	to := t.TempDir()
	copied := filepath.Join(to, File)
	if err := o.Snapshot(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if err := o.Snapshot(t.Context(), copied); err == nil {
		t.Error("a file was overwritten")
	}
	for _, file := range []string{copied, filepath.Join(o.dir, File), filepath.Join(o.dir, File+"-wal")} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v: there are hashes of passwords in it", file, info.Mode())
		}
	}
	other := &opened{t: t, clock: o.clock, dir: to}
	other.open()
	defer other.Close()
	if err := other.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	all := ExportOptions{Format: JSON, Secrets: true}
	if got, want := other.export(all), o.export(all); got != want || !strings.Contains(got, `"failed_logins":1`) {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(other.texts()), fmt.Sprint(o.texts()); got != want {
		t.Errorf("facts: got %s, want %s", got, want)
	}
}
