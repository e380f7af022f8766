package ldap

import (
	"context"
	"slices"
	"strings"

	ldap3 "github.com/go-ldap/ldap/v3"
)

// groups returns the names of the groups that an entry is in, sorted: those that it
// names itself, those that are found, and as far as group_depth goes, those that these
// are in.
func (d *Directory) groups(ctx context.Context, e *ldap3.Entry, login string) ([]string, error) {
	w := groupWalk{directory: d, seen: make(map[string]bool)}
	if err := w.parents(ctx, e, login); err != nil {
		return nil, err
	}
	for depth := 1; depth < d.plan.GroupDepth && len(w.next) > 0; depth++ {
		now := w.next
		w.next = nil
		for _, dn := range now {
			group, err := d.entry(ctx, dn)
			if err == nil && group != nil {
				err = w.parents(ctx, group, "")
			}
			if err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(w.names, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return slices.CompactFunc(w.names, strings.EqualFold), nil
}

// groupWalk goes from an entry to the groups above it.
type groupWalk struct {
	directory *Directory
	seen      map[string]bool // names of entries in lower case
	names     []string
	next      []string // names of entries that were not gone through yet
	full      bool
}

// parents finds the groups that an entry is in. Only users have a login.
func (w *groupWalk) parents(ctx context.Context, e *ldap3.Entry, login string) error {
	p := &w.directory.plan
	if p.GroupAttribute != "" {
		for _, dn := range values(e, p.GroupAttribute) {
			w.add(dn, "")
		}
	}
	if p.GroupFilter == "" || login == "" && !p.groups.has("dn") {
		return nil
	}
	found, more, err := w.directory.search(ctx, search{
		key: "group_filter", base: p.GroupBase, scope: ldap3.ScopeWholeSubtree, attributes: []string{"cn"}, most: maxValues,
		filter: p.groups.fill(map[string]string{"dn": e.DN, "login": login}),
	})
	if err != nil {
		return err
	}
	for _, g := range found {
		w.add(g.DN, value(g, "cn"))
	}
	if more {
		w.warn(e.DN)
	}
	return nil
}

// add notes a group. Without a name it is called as the first part of the name of its
// entry (RFC 4514) says.
func (w *groupWalk) add(dn, name string) {
	key := strings.ToLower(dn)
	if w.seen[key] {
		return
	}
	parsed, err := ldap3.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 || len(parsed.RDNs[0].Attributes) == 0 {
		return
	}
	if below := w.directory.plan.groupsBelow; below != nil && !below.AncestorOfFold(parsed) {
		return
	}
	if len(w.seen) >= maxValues {
		w.warn(dn)
		return
	}
	if name == "" {
		name = parsed.RDNs[0].Attributes[0].Value
	}
	w.seen[key] = true
	w.names = append(w.names, name)
	w.next = append(w.next, dn)
}

// warn tells, once, that there are more groups than are looked at.
func (w *groupWalk) warn(dn string) {
	if !w.full {
		w.directory.options.Logger.Warn("a user is in too many groups; the others are left out", "ldap", w.directory.Name(), "entry", dn, "taken", maxValues)
	}
	w.full = true
}

// entry returns the entry of a name, nil if there is none, such as a group that is not
// to be seen.
func (d *Directory) entry(ctx context.Context, dn string) (*ldap3.Entry, error) {
	found, _, err := d.search(ctx, search{key: "name", base: dn, scope: ldap3.ScopeBaseObject, filter: "(objectClass=*)", attributes: append(d.plan.attributes(), memberAttributes...), most: 1})
	if ldap3.IsErrorAnyOf(err, ldap3.LDAPResultNoSuchObject, ldap3.LDAPResultInsufficientAccessRights) || err == nil && len(found) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}
