package directory

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/lists"
)

// List returns a list as it is in the change. Nobody may change its entries.
func (tx *Tx) List(name string) (List, bool) {
	name = strings.ToLower(name)
	r, found := inChange(tx, Key{Kind: KindList, Name: name}, func() (listRecord, bool) {
		l, found := tx.d.List(name)
		return listRecord{List: l}, found
	})
	return r.List, found
}

// PutList creates a list, or replaces the one with that name, its entries included. It
// fails with Problems.
func (tx *Tx) PutList(l List) error {
	l, err := normalList(l)
	if err != nil {
		return err
	}
	return tx.putList(l)
}

// putList records a list that is in its normal form.
func (tx *Tx) putList(l List) error {
	e := edit{key: l.Key(), after: listFields(&l)}
	before, exists := tx.List(l.Name)
	if exists {
		e.before = listFields(&before)
	}
	added, removed := difference(before.Entries, l.Entries)
	if exists && slices.Equal(e.before, e.after) && len(added)+len(removed) == 0 {
		return nil
	}
	record, err := recordOf(l)
	if err != nil {
		return err
	}
	e.record, e.more = record, entriesText(added, removed)
	if err := tx.edit(e, `INSERT INTO lists (name, kind, address, owner, posters) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, address = excluded.address, owner = excluded.owner, posters = excluded.posters`,
		l.Name, string(l.Kind), l.Address, l.Owner, string(l.Posters)); err != nil {
		return err
	}
	return tx.writeEntries(l.Name, added, removed)
}

// recordOf makes of a list for policy what policy asks. It fails with Problems, where the
// entries that are right themselves cannot be together.
func recordOf(l List) (*listRecord, error) {
	r := &listRecord{List: l}
	if l.Kind == Distribution {
		return r, nil
	}
	var err error
	if r.policy, err = lists.Parse(lists.Kind(l.Kind), "list "+l.Name+" of the directory", []byte(joinLines(l.Entries))); err != nil {
		p, _ := errors.AsType[config.Problem](err)
		c := check{key: l.Key()}
		c.wrong("entries", p.Hint, "%s", p.Message)
		return nil, c.err()
	}
	return r, nil
}

func (tx *Tx) writeEntries(list string, added, removed []string) error {
	for _, entry := range removed {
		if err := tx.exec(`DELETE FROM list_entries WHERE list = ? AND entry = ?`, list, entry); err != nil {
			return err
		}
	}
	for _, entry := range added {
		if err := tx.exec(`INSERT INTO list_entries (list, entry) VALUES (?, ?)`, list, entry); err != nil {
			return err
		}
	}
	return nil
}

// AddEntries adds entries to a list; what is there already stays. It fails with
// ErrNotFound or Problems.
func (tx *Tx) AddEntries(name string, entries ...string) error {
	l, found := tx.List(name)
	if !found {
		return notFound(Key{Kind: KindList, Name: name})
	}
	c := check{key: l.Key()}
	added := c.entries(l.Kind, entries)
	if err := c.err(); err != nil {
		return err
	}
	l.Entries = merge(l.Entries, added)
	if most := maxEntries(l.Kind); len(l.Entries) > most {
		c.wrong("entries", fmt.Sprintf("at most %d are possible", most), "there would be %d", len(l.Entries))
		return c.err()
	}
	return tx.putList(l)
}

// RemoveEntries removes entries from a list. It fails with ErrNotFound, also for an entry
// that is not there.
func (tx *Tx) RemoveEntries(name string, entries ...string) error {
	l, found := tx.List(name)
	if !found {
		return notFound(Key{Kind: KindList, Name: name})
	}
	c := check{key: l.Key()}
	gone := c.entries(l.Kind, entries)
	if err := c.err(); err != nil {
		return err
	}
	for _, entry := range gone {
		if _, there := slices.BinarySearch(l.Entries, entry); !there {
			return fmt.Errorf("%s: %w entry %q", l.Key(), ErrNotFound, clip(entry))
		}
	}
	l.Entries, _ = difference(gone, l.Entries)
	return tx.putList(l)
}

// DeleteList removes a list. It fails with ErrNotFound.
func (tx *Tx) DeleteList(name string) error {
	l, found := tx.List(name)
	if !found {
		return notFound(Key{Kind: KindList, Name: name})
	}
	if err := tx.exec(`DELETE FROM list_entries WHERE list = ?`, l.Name); err != nil {
		return err
	}
	return tx.edit(edit{key: l.Key(), before: listFields(&l), more: entriesText(nil, l.Entries)}, `DELETE FROM lists WHERE name = ?`, l.Name)
}

// difference returns what one of two sorted lists has and the other has not.
func difference(before, after []string) (added, removed []string) {
	i := 0
	for _, s := range after {
		for i < len(before) && before[i] < s {
			removed = append(removed, before[i])
			i++
		}
		if i < len(before) && before[i] == s {
			i++
			continue
		}
		added = append(added, s)
	}
	return added, append(removed, before[i:]...)
}

// merge returns what is in one of two sorted lists, or in both.
func merge(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Clip(slices.Compact(all))
}
