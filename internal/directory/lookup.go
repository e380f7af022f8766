package directory

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/lists"
	"postern/internal/mail"
)

// Source is the name of the directory as a source of accounts and of facts.
const Source = "directory"

// read returns what ask finds in the image.
func read[T any](d *Directory, ask func(m *image) T) T {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return ask(d.image)
}

// User returns the user of a login, written in whatever way.
func (d *Directory) User(login string) (User, bool) {
	var buffer keyBuffer
	key, ok := appendLogin(buffer[:0], login)
	if !ok {
		return User{}, false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	var probes int
	record := d.image.users.get(key, &probes)
	if record == nil {
		return User{}, false
	}
	return d.image.decoded(record), true
}

// UserByAddress returns the user whose network a client is in, if it is usable now. Of
// several such networks the smallest counts.
func (d *Directory) UserByAddress(ip netip.Addr) (u User, found bool) {
	now := d.clock.Now()
	d.mu.RLock()
	defer d.mu.RUnlock()
	d.image.networks.find(ip, func(login string) bool {
		u, found = d.image.user(login)
		found = found && u.Usable(now)
		return true
	})
	if !found {
		return User{}, false
	}
	return u, true
}

// UserByCertificate returns the user whose certificate a client has shown: by its
// fingerprint or, when the certificate was verified, by its names. Of several the first
// that is usable now counts; where none is, the user is one who must not be let in.
func (d *Directory) UserByCertificate(c mail.Certificate, verified bool) (u User, found bool) {
	now := d.clock.Now()
	names := []string{"sha256:" + strings.ToLower(c.Fingerprint)}
	if verified {
		for _, name := range c.Names {
			names = append(names, certificateName(name))
		}
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, name := range names {
		login, known := d.image.certificates[name]
		if !known {
			continue
		}
		of, is := d.image.user(login)
		if is && of.Usable(now) {
			return of, true
		}
		if is && !found {
			u, found = of, true
		}
	}
	return u, found
}

// certificateName returns a name in a certificate as User.Certificates has it.
func certificateName(name string) string {
	if !strings.Contains(name, "@") {
		return "dns:" + strings.ToLower(name)
	}
	if key, err := AddressKey(name); err == nil {
		name = key
	}
	return "email:" + name
}

// Principal returns a user as policy knows it, with the addresses of those whose
// addresses it may use. The mechanism is left to whoever has authenticated it.
func (d *Directory) Principal(u User) mail.Principal {
	return read(d, func(m *image) mail.Principal { return m.principal(&u) })
}

// IsLocal reports whether a domain, in whatever case and form, is a local one.
func (d *Directory) IsLocal(domain string) bool {
	var buffer [mail.MaxDomain]byte
	key, ok := appendDomain(buffer[:0], domain)
	if !ok {
		return false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, local := d.image.domains[string(key)]
	return local
}

// Domains returns the local domains, sorted by name.
func (d *Directory) Domains() []Domain {
	return read(d, func(m *image) []Domain {
		list := make([]Domain, 0, len(m.domains))
		for name, of := range m.domains {
			list = append(list, Domain{Name: name, AliasOf: of})
		}
		slices.SortFunc(list, func(a, b Domain) int { return strings.Compare(a.Name, b.Name) })
		return list
	})
}

// Domain returns a local domain.
func (d *Directory) Domain(name string) (Domain, bool) {
	name, err := DomainName(name)
	if err != nil {
		return Domain{}, false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	of, found := d.image.domains[name]
	if !found {
		return Domain{}, false
	}
	return Domain{Name: name, AliasOf: of}, true
}

// Alias returns the alias with an address, the personal one of an owner if that is not
// empty.
func (d *Directory) Alias(owner, address string) (Alias, bool) {
	k, err := aliasName(owner, address)
	if err != nil {
		return Alias{}, false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.image.alias(k.Owner, k.Name)
}

// List returns the list of a name. Nobody may change its entries.
func (d *Directory) List(name string) (List, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if l := d.image.lists[strings.ToLower(name)]; l != nil {
		return l.List, true
	}
	return List{}, false
}

// PolicyList returns the entries of a list for policy as they are now; nil if there is
// no such list. A place in it is the number of an entry.
func (d *Directory) PolicyList(name string) *lists.List {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if l := d.image.lists[strings.ToLower(name)]; l != nil {
		return l.policy
	}
	return nil
}

// Lists returns all lists, sorted by name. Nobody may change their entries.
func (d *Directory) Lists() []List {
	return read(d, func(m *image) []List {
		list := make([]List, 0, len(m.lists))
		for _, l := range m.lists {
			list = append(list, l.List)
		}
		slices.SortFunc(list, func(a, b List) int { return strings.Compare(a.Name, b.Name) })
		return list
	})
}

// Routes returns how many users have each route of their own that somebody has.
func (d *Directory) Routes() map[string]int {
	return read(d, func(m *image) map[string]int { return maps.Clone(m.routes) })
}

// RoutingChanges counts the changes of what routes ask: which domains there are, and the routes of
// users. Others do not count, such as those of passwords.
func (d *Directory) RoutingChanges() uint64 {
	return read(d, func(m *image) uint64 { return m.routing })
}

// Counts is how many records there are of each kind.
type Counts struct{ Users, Domains, Aliases, Lists, Bans, Credentials int }

// Counts returns how many records there are.
func (d *Directory) Counts() Counts {
	return read(d, func(m *image) Counts {
		return Counts{m.users.len(), len(m.domains), m.aliases.len(), len(m.lists), len(m.bans), len(m.credentials)}
	})
}
