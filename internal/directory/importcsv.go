package directory

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/internal/mail"
)

// csvReader reads the rows of a file.
type csvReader struct {
	*csv.Reader
	im     *importer
	header []string
}

// next returns the next row, nil at the end. What is wrong with one is told, and the row
// is passed over.
func (c *csvReader) next() ([]string, error) {
	for {
		c.im.source.begin(c.InputOffset())
		row, err := c.Read()
		malformed, isMalformed := errors.AsType[*csv.ParseError](err)
		switch {
		case err == nil:
			return row, nil
		case errors.Is(err, io.EOF):
			return nil, nil
		case errors.Is(err, csv.ErrFieldCount):
			c.im.wrong(c.at(malformed.Line, 1), fmt.Sprintf("the row has %d columns, the header %d", len(row), len(c.header)), "write each column, also an empty one")
		case isMalformed:
			c.im.wrong(c.at(malformed.Line, malformed.Column), malformed.Err.Error(), `put a value with a comma, a quote or a line end between quotes, and double the quotes in it`)
		case errors.Is(err, errRowLength), errors.Is(err, errImportLength):
			c.im.wrong(c.im.source.place(c.im.source.start), err.Error(), "")
			return nil, nil
		default:
			return nil, err
		}
	}
}

func (c *csvReader) at(line, column int) mail.Place {
	return mail.Place{File: c.im.options.File, Line: line, Column: column}
}

// places returns where each column of the row that was read last is.
func (c *csvReader) places() []mail.Place {
	places := make([]mail.Place, len(c.header))
	for i := range places {
		places[i] = c.at(c.FieldPos(i))
	}
	return places
}

func (s *shape[T]) readCSV(im *importer) error {
	c := &csvReader{Reader: csv.NewReader(im.source), im: im}
	columns, err := s.readHeader(c)
	if err != nil || columns == nil {
		return err
	}
	var waiting *csvRecord[T] // for rows of the same
	for {
		row, err := c.next()
		if err != nil {
			return err
		}
		var more *csvRecord[T]
		if row != nil {
			more = s.readRow(c, columns, row)
			if waiting != nil && s.join != nil && s.key(&waiting.value) == s.key(&more.value) {
				waiting.take(im, s, more)
				continue
			}
		}
		if waiting != nil && !waiting.wrong {
			if err := s.store(im, waiting.value, waiting.places[0], waiting.place(c.header)); err != nil {
				return err
			}
		}
		if waiting = more; waiting == nil {
			return nil
		}
	}
}

// csvRecord is a record with the places of its columns.
type csvRecord[T any] struct {
	value  T
	places []mail.Place
	wrong  bool // it was told what is wrong
}

func (r *csvRecord[T]) place(header []string) func(field string) mail.Place {
	return func(field string) mail.Place {
		if i := slices.Index(header, field); i >= 0 {
			return r.places[i]
		}
		return r.places[0]
	}
}

// take takes another row of the same record in.
func (r *csvRecord[T]) take(im *importer, s *shape[T], more *csvRecord[T]) {
	r.wrong = r.wrong || more.wrong
	if r.wrong {
		return
	}
	for _, p := range ProblemsOf(s.join(&r.value, &more.value)) {
		r.wrong = true
		im.wrong(more.places[0], p.Error(), "")
	}
}

// readHeader returns the columns of the file; nil if it was told what is wrong with them.
func (s *shape[T]) readHeader(c *csvReader) ([]*column[T], error) {
	header, err := c.next()
	if err != nil {
		return nil, err
	}
	if header == nil {
		if len(c.im.problems.List) == 0 {
			c.im.wrong(c.at(1, 1), "the file is empty", "write the names of the columns first: "+s.columnNames())
		}
		return nil, nil
	}
	before := len(c.im.problems.List)
	columns := make([]*column[T], len(header))
	for i, name := range header {
		header[i] = strings.ToLower(strings.TrimSpace(name))
		at := c.at(c.FieldPos(i))
		if columns[i] = s.column(header[i]); columns[i] == nil {
			hint := "the columns are " + s.columnNames()
			if strings.Contains(name, ";") {
				hint = "separate columns by commas; a semicolon separates the values of one"
			}
			c.im.wrong(at, fmt.Sprintf("there is no column %q", clip(header[i])), hint)
		}
		if slices.Contains(header[:i], header[i]) {
			c.im.wrong(at, fmt.Sprintf("column %q is here twice", clip(header[i])), "leave one out")
		}
	}
	if name := s.columns[0].name; !slices.Contains(header, name) {
		c.im.wrong(c.at(1, 1), fmt.Sprintf("there is no column %q", name), "the first row has the names of the columns: "+s.columnNames())
	}
	c.header = header
	if len(c.im.problems.List) > before {
		return nil, nil
	}
	return columns, nil
}

func (s *shape[T]) columnNames() string {
	var names []string
	for _, c := range s.columns {
		if c.set != nil {
			names = append(names, c.name)
		}
	}
	return strings.Join(names, ", ")
}

// readRow returns what a row makes of the record of its key. What cannot be read is told.
func (s *shape[T]) readRow(c *csvReader, columns []*column[T], row []string) *csvRecord[T] {
	r := &csvRecord[T]{places: c.places()}
	set := func(of []column[T]) {
		for i, at := range columns {
			isOf := slices.ContainsFunc(of, func(o column[T]) bool { return o.name == at.name })
			if !isOf || at.set == nil {
				continue
			}
			if err := at.set(&r.value, row[i]); err != nil {
				r.wrong = true
				c.im.wrong(r.places[i], at.name+": "+err.Error(), "")
			}
		}
	}
	set(s.columns[:s.keys])
	r.value = s.base(c.im.tx, &r.value)
	set(s.columns)
	return r
}
