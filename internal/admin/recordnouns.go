package admin

import (
	"context"
	"slices"

	"postern/internal/directory"
)

var domains = noun[directory.Domain]{
	kind: directory.KindDomain,
	many: "domains",
	page: func(r *directory.Reader, after RecordName, limit int) ([]directory.Domain, error) {
		return r.Domains(after.Name, limit)
	},
	key:    (*directory.Domain).Key,
	get:    func(from reader, k directory.Key) (directory.Domain, bool) { return from.Domain(k.Name) },
	put:    func(tx *directory.Tx, d *directory.Domain) error { return tx.PutDomain(*d) },
	remove: func(tx *directory.Tx, k directory.Key) error { return tx.DeleteDomain(k.Name) },
	advise: func(ctx context.Context, s *Server, d *directory.Domain) []string {
		return s.Records.Advise(ctx, d.Name)
	},
	matches: func(d *directory.Domain, text string) bool {
		return contains(d.Name, text) || contains(d.AliasOf, text)
	},
}

var aliases = noun[directory.Alias]{
	kind: directory.KindAlias,
	many: "aliases",
	page: func(r *directory.Reader, after RecordName, limit int) ([]directory.Alias, error) {
		return r.Aliases(directory.Key{Kind: directory.KindAlias, Name: after.Name, Owner: after.Owner}, limit)
	},
	key: (*directory.Alias).Key,
	get: func(from reader, k directory.Key) (directory.Alias, bool) {
		a, found := from.Alias(k.Owner, k.Name)
		a.Targets = slices.Clone(a.Targets)
		return a, found
	},
	put:    func(tx *directory.Tx, a *directory.Alias) error { return tx.PutAlias(*a) },
	remove: func(tx *directory.Tx, k directory.Key) error { return tx.DeleteAlias(k.Owner, k.Name) },
	matches: func(a *directory.Alias, text string) bool {
		return contains(a.Address, text) || slices.ContainsFunc(a.Targets, func(t string) bool { return contains(t, text) }) || contains(a.Owner, text)
	},
}

// List is a list of the directory as the API has it.
type List struct {
	directory.List
	// Size is how many entries it has; a listing tells no more of them.
	Size int `json:"size" readOnly:"true"`
}

func listOf(l *directory.List) List {
	out := List{List: *l, Size: len(l.Entries)}
	out.Entries = slices.Clone(l.Entries)
	return out
}

var listRecords = noun[List]{
	kind: directory.KindList,
	many: "lists",
	page: func(r *directory.Reader, after RecordName, limit int) ([]List, error) {
		found, err := r.Lists(after.Name, limit)
		page := make([]List, len(found))
		for i := range found {
			page[i] = List{List: found[i]}
		}
		return page, err
	},
	// A listing has no entries: there may be 100,000 in each of 10,000 lists.
	complete: func(d *directory.Directory, l *List) {
		now, _ := d.List(l.Name)
		l.Size = len(now.Entries)
	},
	key: func(l *List) directory.Key { return l.List.Key() },
	get: func(from reader, k directory.Key) (List, bool) {
		l, found := from.List(k.Name)
		return listOf(&l), found
	},
	put:    func(tx *directory.Tx, l *List) error { return tx.PutList(l.List) },
	remove: func(tx *directory.Tx, k directory.Key) error { return tx.DeleteList(k.Name) },
	check:  func(s *Server, tx *directory.Tx, l *List) error { return s.fit(tx, l.Name) },
	matches: func(l *List, text string) bool {
		return contains(l.Name, text) || contains(l.Address, text) || contains(l.Owner, text)
	},
}

// fit says why a list cannot be as it is in a change.
func (s *Server) fit(tx *directory.Tx, name string) error {
	l, _ := tx.List(name)
	if l.Kind == directory.Distribution {
		return nil
	}
	if err := s.Records.CheckList(&l); err != nil {
		return directory.Problems{{Key: l.Key(), Field: "entries", Problem: err.Error()}}
	}
	return nil
}
