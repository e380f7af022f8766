package config

import (
	"fmt"
	"strings"

	"postern/internal/mail"
)

// decoder turns the entries of a file, and of those it includes, into a
// Config.
type decoder struct {
	*source        // the file that is being read
	system  system // from which files are read
	sources []*source
	octets  int // read so far, of all files

	config   *Config
	problems []Problem
	top      *table
	// tables are those begun so far, by section name, in the order of the files.
	tables map[string][]*table
	// meant are the settings and sections that were perhaps meant by what is
	// not right: they are not reported as missing as well.
	meant map[string]bool
	// unread is set when a part could not be read: what seems to be missing
	// may stand there.
	unread bool
}

// table is one table of the configuration, or the top of it.
type table struct {
	section *section
	at      mail.Place // of its header
	last    mail.Place // of its header in the file that continued it last
	fields  fields
	given   map[string]given
}

// key is the whole key of a setting of the table.
func (t *table) key(setting string) string { return t.section.name + "." + setting }

// given is where a setting was given, with its value as it was written.
type given struct {
	key, value mail.Place
	source     *source
	node       node
}

func newDecoder(from system) *decoder {
	c := Default()
	c.Places = make(Places)
	d := &decoder{system: from, config: c, tables: make(map[string][]*table), meant: make(map[string]bool)}
	return d
}

// decode reads the first file and those that it includes.
func (d *decoder) decode(first *source) (*Config, error) {
	d.source = first
	d.top = d.begin(findSection(""), 0)
	d.readSource(first)
	if !d.unread && !d.meant["include"] {
		d.checkMissing(first.place(len(first.data)))
	}
	d.check()
	d.advise()
	for _, s := range d.sources {
		d.config.Files = append(d.config.Files, s.file)
	}
	SortProblems(d.config.Warnings, d.config.Files)
	if len(d.problems) > 0 {
		SortProblems(d.problems, d.config.Files)
		return nil, &Errors{Problems: d.problems, Socket: d.config.likelySocket()}
	}
	for i := range sections {
		if s := &sections[i]; s.repeated() {
			for _, t := range d.tables[s.name] {
				s.tables.close(t.fields)
			}
		}
	}
	return d.config, nil
}

// readSource reads one file, and after it those that it includes.
func (d *decoder) readSource(src *source) {
	before := d.source
	d.source = src
	d.sources = append(d.sources, src)
	entries, faults := parse(src.data)
	for _, f := range faults {
		d.unread = true
		d.report(f.at, "", faultf(f.hint, "not TOML: %s", f.message))
	}
	d.read(entries)
	d.include()
	d.source = before
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
	if s.repeated() != (e.brackets == 2) {
		d.report(at, key, faultf("write "+s.header(), "is in the wrong number of brackets"))
	}
	return d.once(s, at)
}

// once begins a table. One that can be there once, and is, is continued: in
// another file that is how it is meant, and in the same one it is a fault,
// but settings given twice shall be found as well.
func (d *decoder) once(s *section, at int) *table {
	begun := d.tables[s.name]
	if len(begun) == 0 || s.repeated() {
		return d.begin(s, at)
	}
	t, here := begun[0], d.place(at)
	if t.last.File == here.File {
		d.report(at, s.name, faultf("put its settings together", "is begun again; it began in line %d", t.last.Line))
	}
	t.last = here
	return t
}

func (d *decoder) begin(s *section, at int) *table {
	t := &table{section: s, at: d.place(at), last: d.place(at), given: make(map[string]given)}
	t.fields = fields{config: d.config, place: t.at, places: d.config.Places}
	if s.repeated() {
		t.fields.places = make(Places)
		s.tables.open(&t.fields)
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
	here := given{key: d.place(at), value: d.place(v.at), source: d.source, node: v}
	before, twice := t.given[key[0].text]
	if twice && (!row.perFile || before.source == d.source) {
		d.report(at, full, faultf("keep one of them", "is set again; it was set %s", whence(before.key, here.key)))
		return
	}
	t.given[key[0].text] = here
	if !twice {
		t.fields.places[row.key] = here.key
	}
	f := t.fields
	f.dir, f.source = d.dir, d.source
	row.value.read(v, f, func(at int, f *fault) { d.report(at, full, f) })
}

// assignTable reads the forms that TOML allows for a table besides a header:
// log.level = "info", log = { level = "info" }, listener = [{...}, {...}].
func (d *decoder) assignTable(s *section, key []word, v node) {
	at := key[0].at
	switch {
	case len(key) > 1 && !s.repeated():
		d.assign(d.dotted(s, at), key[1:], v)
	case len(key) == 1 && !s.repeated() && v.kind == nodeTable:
		d.assignPairs(d.once(s, at), v)
	case len(key) == 1 && s.repeated() && v.kind == nodeList && allTables(v.items):
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

// checkMissing reports required settings and tables that are not there. end is
// where they could stand.
func (d *decoder) checkMissing(end mail.Place) {
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
			d.fault(end, s.name, faultf("write "+s.header()+", and below it: "+exampleLine(s), "is missing"))
		case !s.repeated():
			d.checkGiven(&table{section: s}, end, "write below "+s.header()+": ")
		}
	}
}

func (d *decoder) checkGiven(t *table, at mail.Place, write string) {
	for _, row := range t.section.settings() {
		_, name := row.split()
		if _, is := t.given[name]; row.required && !is && !d.meant[row.key] {
			d.fault(at, row.key, faultf(write+name+" = "+row.example, "is missing"))
		}
	}
}

// exampleLine returns the first required setting of s with its example.
func exampleLine(s *section) string {
	row := s.example()
	if row == nil {
		return ""
	}
	_, name := row.split()
	return name + " = " + row.example
}

// mean notes that key was perhaps meant; "" is nothing in particular.
func (d *decoder) mean(key string) {
	if key != "" {
		d.meant[key] = true
	}
}

// report notes a fault at an offset in the file that is being read.
func (d *decoder) report(at int, key string, f *fault) { d.fault(d.place(at), key, f) }

func (d *decoder) fault(at mail.Place, key string, f *fault) {
	p := Problem{Place: at, Key: clip(key), Message: f.message, Hint: f.hint}
	if f.advice {
		d.config.Warnings = append(d.config.Warnings, p)
		return
	}
	d.problems = append(d.problems, p)
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
