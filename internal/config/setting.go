package config

import (
	"fmt"
	"strings"

	"postern/internal/mail"
)

// setting is one row of the table: all there is to know of one setting.
type setting struct {
	// key is "name", or "table.name" for a setting of a table.
	key string
	// value is its type, its range, its default and the field it sets.
	value value
	// effect is when a change of it takes effect.
	effect Effect
	// perFile settings can be set in each file, and add up.
	perFile bool
	// required settings have no default.
	required bool
	// unique settings are different in each table of their section, but for empty ones.
	unique bool
	// byDefault says what the default is, in words, when no value can.
	byDefault string
	// example is a value for the example file, as TOML. The row of a required
	// setting has one.
	example string
	// text is the prose of the reference, in Markdown.
	text string
	// since is the first release that knows the setting; empty for the first
	// of all.
	since string
	// see names settings that belong with it.
	see []string
}

// firstRelease is that of all settings that do not say otherwise.
const firstRelease = "0.1"

// Effect is when a changed setting takes effect.
type Effect string

// The times at which a change takes effect.
const (
	AtReload  Effect = "reload"  // a running server can take it up
	AtRestart Effect = "restart" // it needs a new process
)

// section is a table of the file, or the top of it.
type section struct {
	name     string // empty for the top
	tables   tables // of one that is written [[name]], any number of times; nil for others
	required bool   // at least one must be there
	most     int    // how many there can be; 0: as many as the files have room for
	text     string // the prose of the reference, in Markdown
}

// tables are those of a repeated section.
type tables interface {
	// open gives f the struct that the fields of one table are in, and close puts it in
	// its place.
	open(f *fields)
	close(f fields)
	// each returns the tables.
	each(c *Config) []member
}

// tablesOf are tables each of which is a T.
type tablesOf[T any] struct {
	all   func(c *Config) *[]T
	in    func(f *fields) **T
	about func(t *T) about
}

// about is what all tables have.
type about struct {
	title string // what it is called
	*Placed
}

func (t tablesOf[T]) open(f *fields) {
	table := new(T)
	*t.about(table).Placed = Placed{Place: f.place, Places: f.places}
	*t.in(f) = table
}

func (t tablesOf[T]) close(f fields) {
	all := t.all(f.config)
	*all = append(*all, **t.in(&f))
}

func (t tablesOf[T]) each(c *Config) []member {
	var list []member
	for i := range *t.all(c) {
		table := &(*t.all(c))[i]
		a := t.about(table)
		m := member{name: a.title, fields: fields{config: c, places: a.Places}}
		*t.in(&m.fields) = table
		list = append(list, m)
	}
	return list
}

// defaultTable returns a table of a repeated section with every default set.
func defaultTable[T any](name string) T {
	var f fields
	s := findSection(name)
	s.tables.open(&f)
	s.reset(f)
	return **s.tables.(tablesOf[T]).in(&f)
}

// member is one table of a repeated section, with what it is called.
type member struct {
	name   string
	fields fields
}

// repeated reports whether the section can have any number of tables.
func (s *section) repeated() bool { return s.tables != nil }

// optional sections are repeated, and need not be there.
func (s *section) optional() bool { return s.repeated() && !s.required }

// example is the first required setting, by which a table is known.
func (s *section) example() *setting {
	for _, row := range s.settings() {
		if row.required {
			return row
		}
	}
	return nil
}

// fields are the structs that a setting can be a field of.
type fields struct {
	config      *Config
	listener    *Listener    // in a [[listener]] table
	handler     *Handler     // in a [[handler]] table
	list        *List        // in a [[list]] table
	blockList   *BlockList   // in a [[block_list]] table
	filter      *Filter      // in a [[filter]] table
	rate        *Rate        // in a [[rate]] table
	ldap        *LDAP        // in an [[ldap]] table
	certificate *Certificate // in a [[certificate]] table
	oidc        *OIDC        // in an [[oidc]] table
	httpAuth    *HTTPAuth    // in an [[http_auth]] table
	transport   *Transport   // in a [[transport]] table
	tls         *TLSDomains  // in a [[tls]] table
	target      *Target      // in a [[target]] table
	route       *Route       // in a [[route]] table
	company     *Company     // in a [[company]] table
	place       mail.Place   // where the table begins
	places      Places       // of the table's settings
	dir         string       // from which relative paths are taken; may be empty
	source      *source      // that is being read
}

// header is how the table is begun in a file.
func (s *section) header() string {
	if s.repeated() {
		return "[[" + s.name + "]]"
	}
	return "[" + s.name + "]"
}

// prose is the text of the section, with how many tables there can be.
func (s *section) prose() string {
	if s.most == 0 {
		return s.text
	}
	return fmt.Sprintf("%s Each has a table of its own; there can be %d.", s.text, s.most)
}

// settings returns the settings of the section, in the order of the table.
func (s *section) settings() []*setting {
	var list []*setting
	for i := range settings {
		if table, _ := settings[i].split(); table == s.name {
			list = append(list, &settings[i])
		}
	}
	return list
}

// setting returns the setting of that name, or nil.
func (s *section) setting(name string) *setting {
	for _, row := range s.settings() {
		if _, n := row.split(); n == name {
			return row
		}
	}
	return nil
}

// reset sets every field of the section to its default.
func (s *section) reset(f fields) {
	for _, row := range s.settings() {
		row.value.reset(f)
	}
}

// split returns the name of the setting's table, empty for the top, and its
// own name in it.
func (s *setting) split() (table, name string) {
	table, name, found := strings.Cut(s.key, ".")
	if !found {
		return "", table
	}
	return table, name
}

// prose is the text of the setting, with what its tables must be told apart by.
func (s *setting) prose() string {
	if !s.unique {
		return s.text
	}
	_, name := s.split()
	return s.text + " Two cannot have the same " + name + "."
}

// release returns the first release that knows the setting.
func (s *setting) release() string {
	if s.since == "" {
		return firstRelease
	}
	return s.since
}

func findSection(name string) *section {
	for i := range sections {
		if sections[i].name == name {
			return &sections[i]
		}
	}
	return nil
}

func findSetting(key string) *setting {
	for i := range settings {
		if settings[i].key == key {
			return &settings[i]
		}
	}
	return nil
}

// table returns the section that the setting is in.
func (s *setting) table() *section {
	table, _ := s.split()
	return findSection(table)
}
