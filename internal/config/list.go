package config

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

// checkLists wants a file for each list in a file, and for no other.
func (d *decoder) checkLists() {
	for _, t := range d.tables["list"] {
		file, given := t.given["file"]
		switch inDirectory := t.fields.list.Source == ListInDirectory; {
		case inDirectory && given:
			d.fault(file.key, "list.file", faultf(`leave it out, or leave out source = "directory"`, "is set, but the entries of this list are in the directory"))
		case !inDirectory && !given && !d.meant["list.file"]:
			d.fault(t.at, "list.file", faultf("write file = "+findSetting("list.file").example+`, or source = "directory"`, "is missing"))
		}
	}
}
