package directory

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// maxProblems bounds what is told of one change.
const maxProblems = 1000

// check looks at what the records that were changed say of others, when all changes are made.
func (tx *Tx) check() error {
	c := consistency{tx: tx, taken: map[string]string{}, hosts: map[string]string{}, lists: tx.listAddresses()}
	for _, k := range tx.order {
		if err := c.record(k, tx.records[k]); err != nil {
			return err
		}
		if len(c.found) > maxProblems {
			break
		}
	}
	c.counts()
	return c.err()
}

// listAddresses are the addresses of lists as they are in the change, with their names.
func (tx *Tx) listAddresses() map[string]string {
	at := read(tx.d, func(m *image) map[string]string { return maps.Clone(m.listAt) })
	maps.DeleteFunc(at, func(_, name string) bool {
		_, changed := tx.records[Key{Kind: KindList, Name: name}]
		return changed
	})
	for _, k := range tx.order {
		if l, _ := tx.records[k].(*listRecord); l != nil && l.Address != "" && at[l.Address] == "" {
			at[l.Address] = l.Name
		}
	}
	return at
}

// otherNames are for each domain, as it is in the change, those that are other names of it.
func (tx *Tx) otherNames() map[string][]string {
	all := read(tx.d, func(m *image) map[string]string { return maps.Clone(m.domains) })
	for _, k := range tx.order {
		if k.Kind != KindDomain {
			continue
		}
		delete(all, k.Name)
		if d, _ := tx.records[k].(*Domain); d != nil {
			all[k.Name] = d.AliasOf
		}
	}
	others := map[string][]string{}
	for name, of := range all {
		if of != "" {
			others[of] = append(others[of], name)
		}
	}
	return others
}

// consistency is the check of one change.
type consistency struct {
	tx *Tx
	check
	// hosts has those of the credentials that are changed, with their names.
	hosts map[string]string
	// taken has what only one user can have, of the users that are changed.
	taken map[string]string
	lists map[string]string // addresses of lists: their names
	// others are made when they are needed first.
	others map[string][]string
}

func (c *consistency) record(k Key, record any) error {
	c.key = k
	switch r := record.(type) {
	case *User:
		c.user(r)
	case *Domain:
		return c.domainTarget(r)
	case *Alias:
		c.aliasPlace(r)
	case *listRecord:
		c.listPlace(&r.List)
	case *Credential:
		c.credentialHosts(r)
	case nil:
		return c.removed(k)
	}
	return nil
}

func (c *consistency) user(u *User) {
	for _, login := range u.Delegates {
		if _, found := c.tx.User(login); !found {
			c.wrong("delegates", "create it, or leave it out", "there is no user %q", clip(login))
		}
	}
	if own := u.ownAddress(); own != "" {
		c.only(u, "addresses", own, c.tx.d.ownerOf(own))
	}
	for _, p := range u.Networks {
		c.only(u, "networks", p.String(), read(c.tx.d, func(m *image) string { return m.networks.owner[p] }))
	}
	for _, name := range u.Certificates {
		c.only(u, "certificates", name, read(c.tx.d, func(m *image) string { return m.certificates[name] }))
	}
}

// only wants that no other user has a value; recorded is the login of the one that had
// it before the change.
func (c *consistency) only(u *User, field, value, recorded string) {
	other := c.taken[field+" "+value]
	if other == "" && recorded != u.Login && recorded != "" {
		if _, changed := c.tx.records[Key{Kind: KindUser, Name: recorded}]; !changed {
			other = recorded
		}
	}
	if other != "" && other != u.Login {
		c.wrong(field, "leave it to one of them", "%q is that of user %q too", clip(value), clip(other))
	}
	c.taken[field+" "+value] = u.Login
}

// ownerOf returns the login of the user whose own address it is, "" for none.
func (d *Directory) ownerOf(own string) string {
	return read(d, func(m *image) string {
		var probes int
		return string(m.own.get([]byte(own), &probes))
	})
}

func (c *consistency) domainTarget(d *Domain) error {
	if d.AliasOf == "" {
		return nil
	}
	of, found := c.tx.Domain(d.AliasOf)
	switch {
	case !found:
		c.wrong("alias_of", "create it first", "%q is not a local domain", d.AliasOf)
	case of.AliasOf != "":
		c.wrong("alias_of", fmt.Sprintf("write %q", of.AliasOf), "%q is itself another name of a domain", d.AliasOf)
	}
	return c.unused(d.Name)
}

// unused wants a domain that nothing needs any more: no alias, list or other name.
func (c *consistency) unused(domain string) error {
	if c.others == nil {
		c.others = c.tx.otherNames()
	}
	if others := c.others[domain]; len(others) > 0 {
		c.wrong("", "change or remove that first", "domain %q is another name of it", slices.Min(others))
	}
	for address, list := range c.lists {
		if domainOf(address) == domain {
			c.wrong("", "delete it first", "list %q has an address in it", list)
			break
		}
	}
	var address string
	row := c.tx.sql.QueryRowContext(c.tx.ctx, c.tx.d.dialect.sql(`SELECT address FROM aliases WHERE domain = ? LIMIT 1`), domain)
	switch err := row.Scan(&address); {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	c.wrong("", "delete its aliases first", "%q is an alias in it", address)
	return nil
}

// place wants an address in a local domain that is no other name.
func (c *consistency) place(field, address string) {
	name := domainOf(address)
	d, found := c.tx.Domain(name)
	switch {
	case !found:
		c.wrong(field, "add the domain first", "%q is not a local domain", name)
	case d.AliasOf != "":
		c.wrong(field, fmt.Sprintf("write it with %q", d.AliasOf), "%q is another name of a domain", name)
	}
}

func (c *consistency) aliasPlace(a *Alias) {
	c.place("address", a.Address)
	if a.Owner != "" {
		if _, found := c.tx.User(a.Owner); !found {
			c.wrong("owner", "create it, or leave it out", "there is no user %q", clip(a.Owner))
		}
		return
	}
	if list := c.lists[a.Address]; list != "" {
		c.wrong("address", "choose another", "%q is the address of list %q", a.Address, list)
	}
}

func (c *consistency) listPlace(l *List) {
	if l.Address == "" {
		return
	}
	c.place("address", l.Address)
	if other := c.lists[l.Address]; other != l.Name {
		c.wrong("address", "choose another", "%q is the address of list %q", l.Address, other)
	}
	if _, found := c.tx.Alias("", l.Address); found {
		c.wrong("address", "choose another", "%q is an alias", l.Address)
	}
}

func (c *consistency) removed(k Key) error {
	switch k.Kind {
	case KindUser:
		for _, by := range read(c.tx.d, func(m *image) []string { return slices.Clone(m.delegations[k.Name]) }) {
			if u, found := c.tx.User(by); found && slices.Contains(u.Delegates, k.Name) {
				c.wrong("", "take it out there first", "is a delegate of user %q", clip(by))
			}
		}
	case KindDomain:
		return c.unused(k.Name)
	}
	return nil
}

// counts wants no more records than there can be.
func (c *consistency) counts() {
	n := c.tx.d.Counts()
	now := map[Kind]int{KindUser: n.Users, KindDomain: n.Domains, KindAlias: n.Aliases, KindList: n.Lists, KindBan: n.Bans, KindCredential: n.Credentials}
	for _, k := range c.tx.order {
		existed := c.tx.d.has(k)
		switch exists := c.tx.records[k] != nil; {
		case exists && !existed:
			now[k.Kind]++
		case existed && !exists:
			now[k.Kind]--
		}
	}
	c.entries()
	for kind, n := range now {
		if most := maxRecords[kind]; n > most {
			c.key = Key{Kind: kind, Name: "*"}
			c.wrong("", fmt.Sprintf("at most %d are possible", most), "there would be %d", n)
		}
	}
}

// entries wants no more entries of lists than there can be.
func (c *consistency) entries() {
	n := read(c.tx.d, func(m *image) int { return m.entries })
	for _, k := range c.tx.order {
		if k.Kind != KindList {
			continue
		}
		if l, found := c.tx.d.List(k.Name); found {
			n -= len(l.Entries)
		}
		if l, _ := c.tx.records[k].(*listRecord); l != nil {
			n += len(l.Entries)
			c.key = k
		}
	}
	if n > MaxAllEntries {
		c.wrong("entries", fmt.Sprintf("at most %d are possible", MaxAllEntries), "all lists together would have %d", n)
	}
}

// maxRecords is how many records there can be.
var maxRecords = map[Kind]int{
	KindUser: MaxUsers, KindDomain: MaxDomains, KindAlias: MaxAliases, KindList: MaxLists, KindBan: MaxBans,
	KindCredential: MaxCredentials,
}

// has reports whether there is a record.
func (d *Directory) has(k Key) bool {
	return read(d, func(m *image) bool { return m.has(k) })
}

func (m *image) has(k Key) bool {
	var probes int
	switch k.Kind {
	case KindUser:
		return m.users.get([]byte(k.Name), &probes) != nil
	case KindDomain:
		_, found := m.domains[k.Name]
		return found
	case KindAlias:
		return m.aliases.get(aliasKey(k.Owner, k.Name), &probes) != nil
	case KindList:
		return m.lists[k.Name] != nil
	case KindBan:
		_, found := m.bans[k.Name]
		return found
	case KindCredential:
		return m.credentials[k.Name] != nil
	}
	return false
}
