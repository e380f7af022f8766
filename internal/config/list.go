package config

import "postern/internal/mail"

// List is one table [[list]].
type List struct {
	// Place is where the table begins in the file; the zero Place for a list made in
	// code. Places are those of its settings.
	Place  mail.Place
	Places Places

	Name string // unique
	Kind ListKind
	File string
}

// ListKind is what the entries of a list are.
type ListKind string

// The kinds of lists.
const (
	ListNetworks  ListKind = "networks"
	ListDomains   ListKind = "domains"
	ListAddresses ListKind = "addresses"
	ListPatterns  ListKind = "patterns"
)

// Wrong returns the problem that the value of a setting of the list cannot be used.
func (l *List) Wrong(key string, err error) Problem {
	p := Problem{Place: l.Place, Key: key, Message: "list " + l.Name + ": " + err.Error(), Cause: err}
	if at, set := l.Places[key]; set {
		p.Place = at
	}
	return p
}
