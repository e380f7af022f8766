package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	ldap3 "github.com/go-ldap/ldap/v3"

	"postern/internal/auth"
	"postern/internal/directory"
	"postern/internal/mail"
)

// found is whose an address is.
type found struct {
	dn string
	// login is that of a user, empty for what is no user.
	login string
	// group says that the targets are its members; else they are those to which the
	// entry forwards.
	group   bool
	name    string // of a group
	targets []mail.Address
	owner   mail.Address // of a group; null for none
}

// weight is how much there is to remember of it.
func (f *found) weight() int { return len(f.targets) }

// Resolve tells what a mail address stands for: a group is a list of its members, an
// entry that forwards an alias, and any other a user.
//
// It fails when that cannot be told for the moment; then the address may be somebody's.
func (d *Directory) Resolve(ctx context.Context, a mail.Address) (r directory.Resolution, is bool, err error) {
	f, err := d.find(ctx, a)
	switch {
	case errors.Is(err, auth.ErrUnknown):
		return directory.Resolution{}, false, nil
	case err != nil:
		return directory.Resolution{}, false, d.wrap(err)
	}
	r = directory.Resolution{Kind: directory.KindUser, Address: a, Login: f.login, Targets: without(f.targets, a)}
	switch {
	case f.group:
		r.Kind, r.List, r.Owner, r.Posters = directory.KindList, f.name, f.owner, directory.Posters(d.plan.ListPosters)
	case len(r.Targets) > 0:
		r.Kind, r.Login = directory.KindAlias, ""
	}
	return r, true, nil
}

// without returns the targets other than the address itself: who forwards to himself
// keeps his mail.
func without(targets []mail.Address, a mail.Address) []mail.Address {
	var others []mail.Address
	for _, t := range targets {
		if !strings.EqualFold(t.String(), a.String()) {
			others = append(others, t)
		}
	}
	return others
}

// memberAttributes name members: by the names of their entries (RFC 4519 2.17, 2.40),
// their logins, or their mail addresses.
var memberAttributes = append(append(slices.Clone(memberDNs), memberUIDs), memberMails...)

var (
	memberDNs   = []string{"member", "uniqueMember"}
	memberMails = []string{"rfc822MailMember", "mgrpRFC822MailMember"}
)

const memberUIDs = "memberUid"

// find tells whose an address is.
func (d *Directory) find(ctx context.Context, a mail.Address) (*found, error) {
	text := a.String()
	if len(text) > maxLogin+1+maxLogin {
		return nil, auth.ErrUnknown
	}
	f, _, err := recall(ctx, d, d.addresses, strings.ToLower(text), func(ctx context.Context) (*found, error) {
		s := search{key: "address_filter", filter: d.plan.byAddress.fill(map[string]string{"address": text, "local": a.Local, "domain": a.Domain})}
		for _, s.base = range d.plan.bases {
			e, err := d.one(ctx, s)
			if errors.Is(err, auth.ErrUnknown) {
				continue
			}
			if err != nil {
				return nil, err
			}
			return d.meant(ctx, e)
		}
		return nil, auth.ErrUnknown
	})
	return f, err
}

// meant tells what mail to an entry is for.
func (d *Directory) meant(ctx context.Context, e *ldap3.Entry) (*found, error) {
	f := &found{dn: e.DN, group: isGroup(e), targets: d.forwards(e)}
	if !f.group {
		if names := values(e, d.plan.LoginAttribute); len(names) > 0 {
			f.login = names[0]
		}
		return f, nil
	}
	members, err := d.members(ctx, e)
	if err != nil {
		return nil, err
	}
	f.name, f.targets = value(e, "cn"), append(members, f.targets...)
	f.owner, err = d.owner(ctx, e)
	return f, err
}

// owner returns the address of who looks after a group, if any.
func (d *Directory) owner(ctx context.Context, group *ldap3.Entry) (mail.Address, error) {
	for _, dn := range append(values(group, "managedBy"), values(group, "owner")...) {
		e, err := d.entry(ctx, dn)
		if err != nil {
			return mail.Address{}, err
		}
		if e == nil {
			continue
		}
		if addresses := d.addressesOf(e); len(addresses) > 0 {
			a, _ := mail.ParseAddress(addresses[0]) // which it was
			return a, nil
		}
	}
	return mail.Address{}, nil
}

// isGroup reports whether an entry has members.
func isGroup(e *ldap3.Entry) bool {
	for _, class := range values(e, "objectClass") {
		switch strings.ToLower(class) {
		case "group", "posixgroup", "groupofnames", "groupofuniquenames", "groupofmembers", "nismailalias", "mailgroup", "rfc822mailgroup":
			return true
		}
	}
	return false
}

// forwards returns the addresses to which mail for an entry goes instead.
func (d *Directory) forwards(e *ldap3.Entry) []mail.Address {
	var list []mail.Address
	for _, attribute := range d.plan.ForwardAttributes {
		list = append(list, mailValues(e, attribute)...)
	}
	return list[:min(len(list), maxValues)]
}

func mailValues(e *ldap3.Entry, attribute string) []mail.Address {
	var list []mail.Address
	for _, v := range addressValues(e, attribute) {
		if text, ok := readAddress(v); ok {
			a, _ := mail.ParseAddress(text) // which it was
			list = append(list, a)
		}
	}
	return list
}

// maxMembers bounds the members of a group, and batch how many are looked up at once.
const (
	maxMembers = 10_000
	batch      = 50
	maxNesting = 10
)

// members returns the addresses of those in a group. A group in it that has an address
// is one of them; of one that has none, its members are.
func (d *Directory) members(ctx context.Context, group *ldap3.Entry) ([]mail.Address, error) {
	m := membership{directory: d, seen: map[string]bool{strings.ToLower(group.DN): true}}
	within := []*ldap3.Entry{group}
	for depth := 0; len(within) > 0; depth++ {
		if depth == maxNesting {
			return nil, fmt.Errorf("%s: groups are more than %d deep in each other", group.DN, maxNesting)
		}
		m.within = nil
		for _, g := range within {
			if err := m.add(ctx, g.DN); err != nil {
				return nil, err
			}
		}
		within = m.within
	}
	return m.addresses, nil
}

// membership gathers the members of a group.
type membership struct {
	directory *Directory
	seen      map[string]bool
	addresses []mail.Address
	within    []*ldap3.Entry // groups without an address
}

// add gathers the members of one group.
func (m *membership) add(ctx context.Context, dn string) error {
	d := m.directory
	group, err := d.entry(ctx, dn)
	if err != nil || group == nil {
		return err
	}
	for _, attribute := range memberMails {
		for _, a := range mailValues(group, attribute) {
			m.take(a)
		}
	}
	var alternatives []string
	if d.plan.GroupAttribute != "" {
		// The way of Active Directory, which shows only the first 1,500 members of a group.
		alternatives = append(alternatives, equals(d.plan.GroupAttribute, dn))
	} else {
		for _, attribute := range memberDNs {
			for _, name := range values(group, attribute) {
				alternatives = append(alternatives, equals(d.plan.nameAttribute, name))
			}
		}
	}
	for _, login := range values(group, memberUIDs) {
		alternatives = append(alternatives, equals(d.plan.LoginAttribute, login))
	}
	var found int
	for some := range slices.Chunk(alternatives, batch) {
		n, err := m.lookUp(ctx, "(|"+strings.Join(some, "")+")")
		if err != nil {
			return err
		}
		found += n
	}
	if found < len(alternatives) && d.plan.GroupAttribute == "" {
		d.options.Logger.Warn("members of a group are not below base or group_base, and get nothing", "ldap", d.Name(), "entry", dn, "members", len(alternatives), "found", found)
	}
	if len(m.addresses) > maxMembers {
		return fmt.Errorf("%s has more than %d members", dn, maxMembers)
	}
	return nil
}

func equals(attribute, value string) string {
	return "(" + attribute + "=" + ldap3.EscapeFilter(value) + ")"
}

// lookUp gathers the members that a filter finds, and returns how many there are.
func (m *membership) lookUp(ctx context.Context, filter string) (int, error) {
	d := m.directory
	var entries []*ldap3.Entry
	for _, base := range d.plan.bases {
		some, err := d.searchAll(ctx, base, filter)
		if err != nil {
			return 0, err
		}
		entries = append(entries, some...)
	}
	for _, e := range entries {
		key := strings.ToLower(e.DN)
		if m.seen[key] {
			continue
		}
		m.seen[key] = true
		switch addresses := d.addressesOf(e); {
		case len(addresses) > 0:
			a, _ := mail.ParseAddress(addresses[0]) // which it was
			m.take(a)
		case isGroup(e):
			m.within = append(m.within, e)
		default:
			d.options.Logger.Warn("a member of a group has no mail address, and gets nothing", "ldap", d.Name(), "entry", e.DN)
		}
	}
	return len(entries), nil
}

func (m *membership) take(a mail.Address) {
	if !slices.Contains(m.addresses, a) {
		m.addresses = append(m.addresses, a)
	}
}

// page is how many entries a server is asked for at a time (RFC 2696): Active Directory
// gives no more than 1,000.
const page = 500

// searchAll finds the addresses of all entries, page by page.
func (d *Directory) searchAll(ctx context.Context, base, filter string) ([]*ldap3.Entry, error) {
	attributes := append([]string{"objectClass"}, d.plan.AddressAttributes...)
	request := ldap3.NewSearchRequest(base, ldap3.ScopeWholeSubtree, ldap3.NeverDerefAliases, 0, 0, false, filter, attributes, nil)
	var entries []*ldap3.Entry
	err := d.ask(ctx, searchers, func(l *ldap3.Conn) error {
		result, err := l.SearchWithPaging(request, page)
		if result != nil {
			entries = result.Entries
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("search below %q for members: %w", base, err)
	}
	return entries, nil
}
