package directory

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/internal/mail"
)

// Format is how records are written in a file.
type Format string

// The formats.
const (
	// CSV has the records of one kind (RFC 4180), a header with the names of the columns
	// before them. Where a field has several values they are separated by ";".
	CSV Format = "csv"
	// JSON has records of all kinds in one object.
	JSON Format = "json"
)

// ImportOptions say how a file is imported.
type ImportOptions struct {
	Format Format
	// Kind is what a CSV file has.
	Kind Kind
	// File is its name, for what is wrong in it.
	File string
	// Replace removes the records that are not in the file, of the kind or kinds that it
	// has. Else they stay.
	Replace bool
	// DryRun checks all, and changes nothing.
	DryRun bool
	// CheckRoute says what is wrong with a route that a user is given, which the directory does not
	// know; nil: nothing is. A route that a user has already is not asked about.
	CheckRoute func(name string) error
}

// Imported is how many records an import has made, changed and removed, and how many
// were already as the file has them.
type Imported struct{ Created, Changed, Removed, Same int }

// ImportProblem is what is wrong at a place of a file.
type ImportProblem struct {
	mail.Place
	Problem, Hint string
}

// Error returns "file:line:column: problem; hint".
func (p ImportProblem) Error() string {
	s := p.Place.String() + ": " + p.Problem
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// ImportProblems are all that is wrong in a file, up to 100 in the order of the file.
type ImportProblems struct {
	List []ImportProblem
	More int // how many are not told
}

// Error returns them one a line.
func (p *ImportProblems) Error() string {
	var lines []string
	for _, one := range p.List {
		lines = append(lines, one.Error())
	}
	if p.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", p.More))
	}
	return strings.Join(lines, "\n")
}

// maxImportProblems bounds what is told of a file.
const maxImportProblems = 100

// Import makes of what a file says records, all of it or nothing, as a Change does. Of a
// record that is there already, what the file does not say (a column or field that is
// missing) stays. r should be a file of this host: other changes wait while it is read.
//
// It fails with *ImportProblems, or as Change does.
func (d *Directory) Import(ctx context.Context, actor string, r io.Reader, o ImportOptions) (Imported, error) {
	var done Imported
	err := d.transact(ctx, actor, func(tx *Tx) error {
		im := &importer{tx: tx, options: o, source: &source{r: withoutMark(r), file: o.File}, seen: map[Key]mail.Place{}, kinds: map[Kind]bool{}}
		err := im.all()
		done = im.done
		if err == nil && o.DryRun {
			err = errDryRun
		}
		return err
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	return done, err
}

var errDryRun = errors.New("a dry run changes nothing")

// withoutMark leaves out the byte order mark that some programs write before UTF-8.
func withoutMark(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if mark, _ := b.Peek(3); bytes.Equal(mark, []byte("\ufeff")) {
		b.Discard(3)
	}
	return b
}

// importer is an import under way.
type importer struct {
	tx       *Tx
	options  ImportOptions
	source   *source
	seen     map[Key]mail.Place // records of the file
	kinds    map[Kind]bool      // of the file
	problems ImportProblems
	done     Imported
}

// all reads the file, and checks what its records say of each other if all are right.
func (im *importer) all() error {
	if err := im.read(); err != nil {
		return err
	}
	if len(im.problems.List) > 0 {
		return &im.problems
	}
	if im.options.Replace {
		if err := im.removeOthers(); err != nil {
			return err
		}
	}
	err := im.tx.check()
	for _, p := range ProblemsOf(err) {
		at, named := im.seen[p.Key]
		if !named {
			at = mail.Place{File: im.options.File}
		}
		im.wrong(at, p.Error(), "")
	}
	if len(im.problems.List) > 0 {
		return &im.problems
	}
	return err
}

// shapes are the kinds of records, in the order in which they are written.
var shapes = []recordShape{domainShape, userShape, aliasShape, listShape, banShape}

// recordShape is a shape of any kind of records.
type recordShape interface {
	names() (kind Kind, plural string)
	readCSV(im *importer) error
	readJSON(im *importer, record []byte, at int64) error
	writeCSV(w io.Writer, r *Reader, secrets bool) error
	writeJSON(w io.Writer, r *Reader, secrets bool) error
}

func (s *shape[T]) names() (kind Kind, plural string) { return s.kind, s.plural }

// shapeOf returns the shape for which is holds.
func shapeOf(is func(kind Kind, plural string) bool) recordShape {
	for _, s := range shapes {
		if is(s.names()) {
			return s
		}
	}
	return nil
}

func (im *importer) read() error {
	switch im.options.Format {
	case JSON:
		return im.readDocument()
	case CSV:
		s := shapeOf(func(kind Kind, _ string) bool { return kind == im.options.Kind })
		if s == nil {
			return fmt.Errorf("there is no kind of records %q", im.options.Kind)
		}
		im.kinds[im.options.Kind] = true
		return s.readCSV(im)
	}
	return fmt.Errorf("there is no format %q: use csv or json", im.options.Format)
}

func (im *importer) wrong(at mail.Place, problem, hint string) {
	if len(im.problems.List) >= maxImportProblems {
		im.problems.More++
		return
	}
	im.problems.List = append(im.problems.List, ImportProblem{Place: at, Problem: problem, Hint: hint})
}

// withCheck adds to what is wrong with a record what its check says of a field with which nothing else is.
func (s *shape[T]) withCheck(problems Problems, o *ImportOptions, before, r *T) Problems {
	if s.check == nil {
		return problems
	}
	wrong := s.check(o, before, r)
	if wrong == nil || slices.ContainsFunc(problems, func(p *Invalid) bool { return p.Field == wrong.Field }) {
		return problems
	}
	return append(problems, wrong)
}

// store records what the file says at a place; of returns the place of a field. What is
// wrong in it is told, and is no error.
func (s *shape[T]) store(im *importer, record T, at mail.Place, of func(field string) mail.Place) error {
	k := s.key(&record)
	if first, twice := im.seen[k]; twice {
		im.wrong(at, fmt.Sprintf("%s is here twice", k), fmt.Sprintf("it is at line %d too", first.Line))
		return nil
	}
	im.seen[k] = at
	before, exists := s.find(im.tx, &record)
	facts := im.tx.facts
	err := s.put(im.tx, record)
	problems := ProblemsOf(err)
	if err == nil || problems != nil {
		problems = s.withCheck(problems, &im.options, &before, &record)
	}
	if len(problems) > 0 {
		for _, p := range problems {
			im.wrong(of(p.Field), p.Error(), "")
		}
		return nil
	}
	switch {
	case err != nil:
	case im.tx.facts == facts:
		im.done.Same++
	case exists:
		im.done.Changed++
	default:
		im.done.Created++
	}
	return err
}

// base returns the record that the file speaks of as it is, or a new one: r has its key.
func (s *shape[T]) base(tx *Tx, r *T) T {
	if found, exists := s.find(tx, r); exists {
		return found
	}
	return s.fresh
}

// removeOthers removes the records that the file has not.
func (im *importer) removeOthers() error {
	for _, kind := range []Kind{KindAlias, KindList, KindUser, KindDomain, KindBan} {
		if !im.kinds[kind] {
			continue
		}
		for _, k := range read(im.tx.d, func(m *image) []Key { return m.keys(kind) }) {
			if _, named := im.seen[k]; named || !im.tx.has(k) {
				continue
			}
			if err := im.tx.remove(k); err != nil {
				return err
			}
			im.done.Removed++
		}
	}
	return nil
}

// has reports whether there is a record in the change.
func (tx *Tx) has(k Key) bool {
	if record, changed := tx.records[k]; changed {
		return record != nil
	}
	return tx.d.has(k)
}

// remove removes a record of any kind.
func (tx *Tx) remove(k Key) error {
	switch k.Kind {
	case KindUser:
		return tx.DeleteUser(k.Name)
	case KindDomain:
		return tx.DeleteDomain(k.Name)
	case KindAlias:
		return tx.DeleteAlias(k.Owner, k.Name)
	case KindList:
		return tx.DeleteList(k.Name)
	}
	return tx.DeleteBan(k.Name)
}

// keys returns the keys of all records of a kind.
func (m *image) keys(kind Kind) (keys []Key) {
	add := func(name string) { keys = append(keys, Key{Kind: kind, Name: name}) }
	switch kind {
	case KindUser:
		for login := range m.users.all {
			add(string(login))
		}
	case KindAlias:
		for key := range m.aliases.all {
			owner, address, personal := strings.Cut(string(key), "\x00")
			if !personal {
				owner, address = "", owner
			}
			keys = append(keys, Key{Kind: kind, Name: address, Owner: owner})
		}
	case KindDomain:
		for name := range m.domains {
			add(name)
		}
	case KindList:
		for name := range m.lists {
			add(name)
		}
	case KindBan:
		for subject := range m.bans {
			add(subject)
		}
	}
	return keys
}
