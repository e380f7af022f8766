package config

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"postern/internal/mail"
)

// source is a file that was read.
type source struct {
	file string // as its reader named it
	dir  string // from which relative paths are taken; may be empty
	data []byte
}

// decoder turns the entries of one file into a Config.
type decoder struct {
	source
	lines    []int // offset of each line
	config   *Config
	problems []Problem
	top      *table
	// tables are those begun so far, by section name, in the order of the file.
	tables map[string][]*table
	// meant are the settings and sections that were perhaps meant by what is
	// not right: they are not reported as missing as well.
	meant map[string]bool
}

// table is one table of the file, or the top of it.
type table struct {
	section *section
	at      int // offset of its header
	fields  fields
	given   map[string]given
}

// given is where a setting was given.
type given struct{ key, value int }

func decode(src source) (*Config, error) {
	src.data = bytes.TrimPrefix(src.data, []byte("\ufeff"))
	d := &decoder{source: src, lines: lineOffsets(src.data), config: Default(), tables: make(map[string][]*table), meant: make(map[string]bool)}
	d.top = d.begin(findSection(""), 0)

	entries, faults := parse(src.data)
	for _, f := range faults {
		d.report(f.at, "", faultf(f.hint, "not TOML: %s", f.message))
	}
	d.read(entries)
	if len(faults) == 0 {
		// Else what seems to be missing may stand where the fault is.
		d.checkMissing()
	}
	d.check()
	if len(d.problems) > 0 {
		e := &Errors{Problems: d.problems}
		e.sort()
		return nil, e
	}
	for i := range sections {
		if s := &sections[i]; s.close != nil {
			for _, t := range d.tables[s.name] {
				s.close(t.fields)
			}
		}
	}
	return d.config, nil
}

// read goes through the entries. current is nil in a table that nobody knows
// or that could not be read: that is one problem, not one for each of its
// settings.
func (d *decoder) read(entries []entry) {
	current := d.top
	for _, e := range entries {
		switch {
		case e.brackets > 0 && len(e.key) == 0:
			current = nil
		case e.brackets > 0:
			current = d.header(e)
		case current != nil:
			d.assign(current, e.key, e.value)
		}
	}
}

// header begins the table that [key] or [[key]] names, or returns nil.
func (d *decoder) header(e entry) *table {
	key, at := join(e.key), e.key[0].at
	s := findSection(key)
	if s == nil || key == "" {
		f, meant := unknownTable(key)
		d.mean(meant)
		d.report(at, key, f)
		return nil
	}
	if s.repeated != (e.brackets == 2) {
		d.report(at, key, faultf("write "+s.header(), "is in the wrong number of brackets"))
	}
	return d.once(s, at)
}

// once begins a table. One that can be there once, and is, is a fault; it is
// then continued, so that settings given twice are found as well.
func (d *decoder) once(s *section, at int) *table {
	if before := d.tables[s.name]; len(before) > 0 && !s.repeated {
		d.report(at, s.name, faultf("put its settings together", "is begun again; it began in line %d", d.place(before[0].at).Line))
		return before[0]
	}
	return d.begin(s, at)
}

func (d *decoder) begin(s *section, at int) *table {
	t := &table{section: s, at: at, given: make(map[string]given)}
	t.fields = fields{config: d.config, place: d.place(at), dir: d.dir}
	if s.open != nil {
		s.open(&t.fields)
	}
	s.reset(t.fields)
	d.tables[s.name] = append(d.tables[s.name], t)
	return t
}

// assign gives the setting key of table t its value. At the top, a dotted key
// or a value with settings of its own stands for a table.
func (d *decoder) assign(t *table, key []word, v node) {
	at := key[0].at
	if t == d.top {
		if s := findSection(key[0].text); s != nil && s != t.section {
			d.assignTable(s, key, v)
			return
		}
	}
	full := join(key)
	if t.section.name != "" {
		full = t.section.name + "." + full
	}
	row := t.section.setting(join(key))
	if row == nil || len(key) > 1 {
		f, meant := unknownSetting(t.section, join(key))
		d.mean(meant)
		d.report(at, full, f)
		return
	}
	if before, twice := t.given[key[0].text]; twice {
		d.report(at, full, faultf("keep one of them", "is set again; it was set in line %d", d.place(before.key).Line))
		return
	}
	t.given[key[0].text] = given{key: at, value: v.at}
	row.value.read(v, t.fields, func(at int, f *fault) { d.report(at, full, f) })
}

// assignTable reads the forms that TOML allows for a table besides a header:
// log.level = "info", log = { level = "info" }, listener = [{...}, {...}].
func (d *decoder) assignTable(s *section, key []word, v node) {
	at := key[0].at
	switch {
	case len(key) > 1 && !s.repeated:
		d.assign(d.dotted(s, at), key[1:], v)
	case len(key) == 1 && !s.repeated && v.kind == nodeTable:
		d.assignPairs(d.once(s, at), v)
	case len(key) == 1 && s.repeated && v.kind == nodeList && allTables(v.items):
		for _, item := range v.items {
			d.assignPairs(d.begin(s, item.at), item)
		}
	default:
		d.mean(s.name)
		d.report(at, s.name, faultf("write "+s.header()+" on a line of its own, and its settings below", "is a table"))
	}
}

func (d *decoder) assignPairs(t *table, v node) {
	for _, p := range v.pairs {
		d.assign(t, p.key, p.value)
	}
}

// dotted returns the table that dotted keys at the top have begun.
func (d *decoder) dotted(s *section, at int) *table {
	if before := d.tables[s.name]; len(before) > 0 {
		return before[0]
	}
	return d.begin(s, at)
}

func allTables(items []node) bool {
	for _, item := range items {
		if item.kind != nodeTable {
			return false
		}
	}
	return true
}

// checkMissing reports required settings and tables that are not there.
func (d *decoder) checkMissing() {
	end := len(d.data)
	for i := range sections {
		s := &sections[i]
		if d.meant[s.name] {
			continue
		}
		begun := d.tables[s.name]
		for _, t := range begun {
			d.checkGiven(t, t.at, "write ")
		}
		switch {
		case len(begun) > 0:
		case s.required:
			d.report(end, s.name, faultf("write "+s.header()+", and below it: "+exampleLine(s), "is missing"))
		case !s.repeated:
			d.checkGiven(&table{section: s}, end, "write below "+s.header()+": ")
		}
	}
}

func (d *decoder) checkGiven(t *table, at int, write string) {
	for _, row := range t.section.settings() {
		_, name := row.split()
		if _, is := t.given[name]; row.required && !is && !d.meant[row.key] {
			d.report(at, row.key, faultf(write+name+" = "+row.example, "is missing"))
		}
	}
}

// exampleLine returns the first required setting of s with its example.
func exampleLine(s *section) string {
	for _, row := range s.settings() {
		if row.required {
			_, name := row.split()
			return name + " = " + row.example
		}
	}
	return ""
}

// mean notes that key was perhaps meant; "" is nothing in particular.
func (d *decoder) mean(key string) {
	if key != "" {
		d.meant[key] = true
	}
}

func (d *decoder) report(at int, key string, f *fault) {
	d.problems = append(d.problems, Problem{Place: d.place(at), Key: clip(key), Message: f.message, Hint: f.hint})
}

// place turns an offset into line and column; a column is a character.
func (d *decoder) place(at int) mail.Place {
	line := sort.SearchInts(d.lines, at+1)
	start := d.lines[line-1]
	return mail.Place{File: d.file, Line: line, Column: utf8.RuneCount(d.data[start:at]) + 1}
}

func lineOffsets(data []byte) []int {
	lines := []int{0}
	for i, c := range data {
		if c == '\n' {
			lines = append(lines, i+1)
		}
	}
	return lines
}

// join writes a dotted key.
func join(key []word) string {
	parts := make([]string, len(key))
	for i, w := range key {
		parts[i] = w.text
		if w.text == "" || strings.ContainsAny(w.text, ".\" \t\r\n") {
			parts[i] = fmt.Sprintf("%q", w.text)
		}
	}
	return strings.Join(parts, ".")
}
