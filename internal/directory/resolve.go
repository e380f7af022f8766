package directory

import (
	"bytes"
	"strings"

	"postern/internal/mail"
)

// Resolution is what an address of a local domain stands for, one step of it.
type Resolution struct {
	// Kind is KindAlias, KindList or KindUser.
	Kind Kind
	// Address is the address in the form in which it is compared, its domain that of
	// which the other was another name.
	Address mail.Address
	// Targets of an alias, or entries of a list; none for a user.
	Targets []mail.Address
	// CatchAll says that the alias is that of all else in the domain, and Personal that
	// it is one of the sender.
	CatchAll, Personal bool
	// List, Owner and Posters are those of a list.
	List    string
	Owner   mail.Address
	Posters Posters
	// Login is that of a user.
	Login string
}

// Resolve returns what an address stands for: an alias, a distribution list, a user whose
// own address it is, or else what its domain has for all else. It finds nothing for an
// address whose domain is not local, and for one that nobody has. It takes a bounded
// number of look-ups, and follows nothing but the name of the domain.
func (d *Directory) Resolve(a mail.Address) (Resolution, bool) { return d.ResolveFor("", a) }

// ResolveFor is Resolve for mail that a user has sent: the personal aliases of its login
// come before all else.
func (d *Directory) ResolveFor(login string, a mail.Address) (Resolution, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var probes int
	return d.image.resolve(login, a, &probes)
}

// resolve counts in probes the records that it has looked at.
func (m *image) resolve(login string, a mail.Address, probes *int) (r Resolution, found bool) {
	var buffer keyBuffer
	key, ok := appendAddress(buffer[:0], a)
	if !ok {
		return Resolution{}, false
	}
	if key, ok = m.inDomain(key); !ok {
		return Resolution{}, false
	}
	if login != "" {
		if r, found = m.resolvePersonal(login, key, probes); found {
			return r, true
		}
	}
	if targets := m.aliases.get(key, probes); targets != nil {
		return Resolution{Kind: KindAlias, Address: parsed(string(key)), Targets: parseLines(string(targets))}, true
	}
	if name, isList := m.listAt[string(key)]; isList {
		return m.lists[name].resolution(), true
	}
	if login := m.own.get(key, probes); login != nil {
		return Resolution{Kind: KindUser, Address: parsed(string(key)), Login: string(login)}, true
	}
	at := bytes.LastIndexByte(key, '@')
	if targets := m.aliases.get(key[at:], probes); targets != nil {
		return Resolution{Kind: KindAlias, Address: parsed(string(key)), Targets: parseLines(string(targets)), CatchAll: true}, true
	}
	return Resolution{}, false
}

// inDomain returns the key of an address with the domain for which its own stands. It
// reports false if that is not local.
func (m *image) inDomain(key []byte) ([]byte, bool) {
	domain := domainOfBytes(key)
	of, local := m.domains[string(domain)]
	if of != "" {
		key = append(key[:len(key)-len(domain)], of...)
	}
	return key, local
}

func (m *image) resolvePersonal(login string, key []byte, probes *int) (Resolution, bool) {
	normal, err := Login(login)
	if err != nil {
		return Resolution{}, false
	}
	targets := m.aliases.get(aliasKey(normal, string(key)), probes)
	if targets == nil {
		return Resolution{}, false
	}
	return Resolution{Kind: KindAlias, Address: parsed(string(key)), Targets: parseLines(string(targets)), Personal: true}, true
}

func (l *List) resolution() Resolution {
	r := Resolution{Kind: KindList, Address: parsed(l.Address), List: l.Name, Posters: l.Posters}
	if l.Owner != "" {
		r.Owner = parsed(l.Owner)
	}
	r.Targets = make([]mail.Address, len(l.Entries))
	for i, entry := range l.Entries {
		r.Targets[i] = parsed(entry)
	}
	return r
}

// UserAt returns the login of the user whose own address it is, whatever alias there is.
func (d *Directory) UserAt(a mail.Address) (login string, found bool) {
	var buffer keyBuffer
	key, ok := appendAddress(buffer[:0], a)
	if !ok {
		return "", false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if to, local := d.image.inDomain(key); local {
		key = to
	}
	var probes int
	found = false
	if owner := d.image.own.get(key, &probes); owner != nil {
		login, found = string(owner), true
	}
	return login, found
}

func parseLines(s string) []mail.Address {
	list := make([]mail.Address, 0, 1+strings.Count(s, "\n"))
	for line := range strings.SplitSeq(s, "\n") {
		list = append(list, parsed(line))
	}
	return list
}

// parsed returns an address that was checked when it was recorded.
func parsed(s string) mail.Address {
	a, _ := mail.ParseAddress(s)
	return a
}
