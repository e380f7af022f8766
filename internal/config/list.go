package config

import "postern/internal/mail"

// List is one table [[list]].
type List struct {
	Placed

	Name   string // unique
	Kind   ListKind
	Source ListSource
	File   string // of a list in a file
}

// ListSource is where the entries of a list are.
type ListSource string

// The sources of lists.
const (
	ListInFile      ListSource = "file"
	ListInDirectory ListSource = "directory"
)

// ListKind is what the entries of a list are.
type ListKind string

// The kinds of lists.
const (
	ListNetworks  ListKind = "networks"
	ListDomains   ListKind = "domains"
	ListAddresses ListKind = "addresses"
	ListPatterns  ListKind = "patterns"
	// ListWays is not for tables [[list]]: the lines of a map, an address and its way.
	ListWays ListKind = "ways"
)

// Problem returns one with a setting of the list, which it names, at its place if it was
// set, else at that of the table.
func (l *List) Problem(key, message, hint string) Problem {
	return l.Placed.Problem(key, "list "+l.Name+": "+message, hint)
}

// Wrong returns the problem that the value of a setting of the list cannot be used.
func (l *List) Wrong(key string, err error) Problem {
	return l.Problem(key, err.Error(), "").because(err)
}

// maxLists bounds the lists: each file is looked at every few seconds.
const maxLists = 100

// checkLists wants lists that can be told apart, and not too many.
func (d *decoder) checkLists() {
	names := make(map[string]mail.Place)
	d.checkCount("list", maxLists)
	for _, t := range d.tables["list"] {
		if name := t.fields.list.Name; name != "" {
			d.unique(t, "name", name, names)
		}
		d.checkSource(t)
	}
}

// checkSource wants a file for a list in a file, and for no other.
func (d *decoder) checkSource(t *table) {
	file, given := t.given["file"]
	switch inDirectory := t.fields.list.Source == ListInDirectory; {
	case inDirectory && given:
		d.fault(file.key, "list.file", faultf(`leave it out, or leave out source = "directory"`, "is set, but the entries of this list are in the directory"))
	case !inDirectory && !given && !d.meant["list.file"]:
		d.fault(t.at, "list.file", faultf("write file = "+findSetting("list.file").example+`, or source = "directory"`, "is missing"))
	}
}

// checkCount wants no more than so many tables of a section.
func (d *decoder) checkCount(section string, most int) {
	if tables := d.tables[section]; len(tables) > most {
		d.fault(tables[most].at, section, faultf("leave out some", "is one too many; there can be %d", most))
	}
}
