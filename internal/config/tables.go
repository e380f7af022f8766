package config

import "postern/internal/mail"

// Table is one table of a file that is no configuration, but written like one. What
// its keys mean, who reads it says.
type Table struct {
	// Place is where it begins.
	Place mail.Place
	Keys  []TableKey // in order, each once
}

// TableKey is a key with its value.
type TableKey struct {
	Name Text
	Argument
}

// maxTables bounds the tables of a file.
const maxTables = 10_000

// LoadTables reads a file of this machine that has tables [[name]] and nothing else,
// with text, numbers, true, false, and lists of these. It fails with *Errors when
// the file is wrong, and with an error of package fs, wrapped, when it cannot be read.
func LoadTables(path, name string) ([]Table, error) {
	src, err := openSource(machine{}, path)
	if err != nil {
		return nil, err
	}
	r := tableReader{source: src, name: name}
	entries, faults := parse(src.data)
	for _, f := range faults {
		r.report(f.at, faultf(f.hint, "not TOML: %s", f.message))
	}
	for _, e := range entries {
		r.entry(e)
	}
	if len(r.problems) > 0 {
		SortProblems(r.problems, []string{src.file})
		return nil, &Errors{Problems: r.problems}
	}
	return r.tables, nil
}

// tableReader reads the tables of one file.
type tableReader struct {
	source   *source
	name     string
	tables   []Table
	lost     bool // in a table that could not be read
	problems []Problem
}

func (r *tableReader) report(at int, f *fault) {
	r.problems = append(r.problems, Problem{Place: r.source.place(at), Message: f.message, Hint: f.hint})
}

func (r *tableReader) entry(e entry) {
	switch {
	case e.brackets > 0:
		r.header(e)
	case r.lost:
	case len(r.tables) == 0:
		r.report(e.key[0].at, faultf("write [["+r.name+"]] before it", "%s stands in no table", clip(join(e.key))))
	default:
		r.key(e.pair)
	}
}

func (r *tableReader) header(e entry) {
	r.lost = true
	switch {
	case len(e.key) == 0: // a fault was reported
	case e.brackets != 2 || join(e.key) != r.name:
		r.report(e.key[0].at, faultf("write [["+r.name+"]]", "there are no tables %s here", clip(join(e.key))))
	case len(r.tables) == maxTables:
		r.report(e.key[0].at, faultf("use several files", "there are more than %d tables", maxTables))
	default:
		r.lost = false
		r.tables = append(r.tables, Table{Place: r.source.place(e.key[0].at)})
	}
}

func (r *tableReader) key(p pair) {
	s := stepReader{fields: fields{source: r.source}, report: r.report}
	t := &r.tables[len(r.tables)-1]
	name := s.key(p)
	for i := range t.Keys {
		if t.Keys[i].Name.Text == name.Text {
			r.report(p.key[0].at, faultf("keep one of them", "%s is set again; it was set in line %d", clip(name.Text), t.Keys[i].Name.Place.Line))
			return
		}
	}
	t.Keys = append(t.Keys, TableKey{Name: name, Argument: s.argument(p.value)})
}
