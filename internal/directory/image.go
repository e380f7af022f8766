package directory

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/lists"
	"postern/internal/mail"
)

// image is all records in memory. Whoever uses it holds the mutex of the Directory.
type image struct {
	users   *table // login: the user
	aliases *table // aliasKey: its targets, one a line
	own     *table // address: the login of the user whose own it is
	domains map[string]string
	lists   map[string]*listRecord
	entries int               // of all lists
	listAt  map[string]string // address of a distribution list: its name
	// networks and certificates lead to the logins of users that they are.
	networks     networks
	certificates map[string]string
	// delegations has for each login whose addresses others may use who these are.
	delegations map[string][]string
	// routes has how many users have each route of their own.
	routes map[string]int
	// routing counts the changes of the domains and of the routes of users.
	routing     uint64
	bans        map[string]Ban
	banned      networks // of the subjects that are addresses
	usage       map[string]usage
	credentials map[string]*Credential
	// credentialOf leads from the hosts that a credential is for to its name.
	credentialOf map[string]string
}

func newImage(users, aliases int) *image {
	return &image{
		users: newTable(users), aliases: newTable(aliases), own: newTable(users),
		domains: map[string]string{}, lists: map[string]*listRecord{}, listAt: map[string]string{},
		networks: newNetworks(), certificates: map[string]string{}, delegations: map[string][]string{}, routes: map[string]int{},
		bans: map[string]Ban{}, banned: newNetworks(), usage: map[string]usage{},
		credentials: map[string]*Credential{}, credentialOf: map[string]string{},
	}
}

// aliasKey is the key of an alias in the image.
func aliasKey(owner, address string) []byte {
	if owner == "" {
		return []byte(address)
	}
	return []byte(owner + "\x00" + address)
}

func (m *image) user(login string) (User, bool) {
	var probes int
	record := m.users.get([]byte(login), &probes)
	if record == nil {
		return User{}, false
	}
	return m.decoded(record), true
}

// decoded returns a user with what is known of its use.
func (m *image) decoded(record []byte) User {
	u := decodeUser(record)
	use := m.usage[u.Login]
	u.LastUsed, u.FailedLogins = fromMillis(use.last), int(use.failed)
	return u
}

func (m *image) putUser(u *User) {
	if m.forgetUser(u.Login) != u.Route {
		m.routing++
	}
	m.users.put([]byte(u.Login), encodeUser(u))
	if own := u.ownAddress(); own != "" {
		m.own.put([]byte(own), []byte(u.Login))
	}
	for _, p := range u.Networks {
		m.networks.put(p, u.Login)
	}
	for _, c := range u.Certificates {
		m.certificates[c] = u.Login
	}
	if u.Route != "" {
		m.routes[u.Route]++
	}
	for _, login := range u.Delegates {
		m.delegations[login] = append(m.delegations[login], u.Login)
	}
}

func (m *image) removeUser(login string) {
	if m.forgetUser(login) != "" {
		m.routing++
	}
	m.users.remove([]byte(login))
	delete(m.usage, login)
}

// forgetUser takes away what leads to a user, and returns the route that it had. Another may
// have what leads there already: changes of
// one transaction are applied in their order, and what they lead to need not be.
func (m *image) forgetUser(login string) (route string) {
	u, found := m.user(login)
	if !found {
		return ""
	}
	var probes int
	if own := []byte(u.ownAddress()); string(m.own.get(own, &probes)) == login {
		m.own.remove(own)
	}
	for _, p := range u.Networks {
		if m.networks.owner[p] == login {
			m.networks.remove(p)
		}
	}
	for _, c := range u.Certificates {
		if m.certificates[c] == login {
			delete(m.certificates, c)
		}
	}
	if m.routes[u.Route]--; m.routes[u.Route] <= 0 {
		delete(m.routes, u.Route)
	}
	for _, of := range u.Delegates {
		m.delegations[of] = slices.DeleteFunc(m.delegations[of], func(l string) bool { return l == login })
		if len(m.delegations[of]) == 0 {
			delete(m.delegations, of)
		}
	}
	return u.Route
}

func (m *image) putDomain(r *Domain) {
	m.domains[r.Name] = r.AliasOf
	m.routing++
}

func (m *image) removeDomain(name string) {
	delete(m.domains, name)
	m.routing++
}

func (m *image) alias(owner, address string) (Alias, bool) {
	var probes int
	record := m.aliases.get(aliasKey(owner, address), &probes)
	if record == nil {
		return Alias{}, false
	}
	return Alias{Address: address, Owner: owner, Targets: splitLines(string(record))}, true
}

// listRecord is a list, and what policy asks if it is one for policy.
type listRecord struct {
	List
	policy *lists.List
}

func (m *image) putList(l *listRecord) {
	m.removeList(l.Name)
	m.lists[l.Name] = l
	m.entries += len(l.Entries)
	if l.Address != "" {
		m.listAt[l.Address] = l.Name
	}
}

func (m *image) removeList(name string) {
	l := m.lists[name]
	if l == nil {
		return
	}
	if m.listAt[l.Address] == name {
		delete(m.listAt, l.Address)
	}
	m.entries -= len(l.Entries)
	delete(m.lists, name)
}

func (m *image) putBan(b Ban) {
	m.bans[b.Subject] = b
	if p, ok := subjectNetwork(b.Subject); ok {
		m.banned.put(p, b.Subject)
	}
}

func (m *image) removeBan(subject string) {
	delete(m.bans, subject)
	if p, ok := subjectNetwork(subject); ok {
		m.banned.remove(p)
	}
}

// clone returns a copy that can be changed while m is read. It has no bans, and knows
// nothing of the use of users.
func (m *image) clone() *image {
	c := *m
	c.users, c.aliases, c.own = m.users.clone(), m.aliases.clone(), m.own.clone()
	c.domains, c.lists, c.listAt = maps.Clone(m.domains), maps.Clone(m.lists), maps.Clone(m.listAt)
	c.networks, c.certificates = m.networks.clone(), maps.Clone(m.certificates)
	c.bans, c.banned, c.usage = nil, newNetworks(), nil
	c.credentials, c.credentialOf = maps.Clone(m.credentials), maps.Clone(m.credentialOf)
	c.routes = maps.Clone(m.routes)
	c.delegations = map[string][]string{}
	for login, by := range m.delegations {
		c.delegations[login] = slices.Clone(by)
	}
	return &c
}

// ownAddress returns the address at which a user gets mail, in the form of AddressKey;
// "" for none.
func (u *User) ownAddress() string {
	own := u.Login
	if len(u.Addresses) > 0 {
		own = u.Addresses[0]
	}
	if strings.HasPrefix(own, "*@") || !strings.Contains(own, "@") {
		return ""
	}
	key, err := AddressKey(own)
	if err != nil {
		return ""
	}
	return key
}

// networks is a map from networks, of which the smallest that has an address is found
// with a step for each length of prefix that there is.
type networks struct {
	owner map[netip.Prefix]string
	// v4 and v6 are how many networks there are of each length.
	v4 *[33]int
	v6 *[129]int
}

func newNetworks() networks {
	return networks{owner: map[netip.Prefix]string{}, v4: new([33]int), v6: new([129]int)}
}

func (n networks) clone() networks {
	v4, v6 := *n.v4, *n.v6
	return networks{owner: maps.Clone(n.owner), v4: &v4, v6: &v6}
}

// count is how many there are of the length of p.
func (n networks) count(p netip.Prefix) *int {
	if p.Addr().Is4() {
		return &n.v4[p.Bits()]
	}
	return &n.v6[p.Bits()]
}

func (n networks) put(p netip.Prefix, owner string) {
	if _, known := n.owner[p]; !known {
		*n.count(p)++
	}
	n.owner[p] = owner
}

func (n networks) remove(p netip.Prefix) {
	if _, known := n.owner[p]; known {
		*n.count(p)--
		delete(n.owner, p)
	}
}

// find returns the owner of the smallest network with the address for which ok holds.
func (n networks) find(ip netip.Addr, ok func(owner string) bool) (owner string, found bool) {
	if ip = ip.Unmap().WithZone(""); !ip.IsValid() {
		return "", false
	}
	counts := n.v6[:]
	if ip.Is4() {
		counts = n.v4[:]
	}
	for bits := ip.BitLen(); bits >= 0; bits-- {
		if counts[bits] == 0 {
			continue
		}
		p, _ := ip.Prefix(bits)
		if owner, found := n.owner[p]; found && ok(owner) {
			return owner, true
		}
	}
	return "", false
}

// principalAddresses are those that a user may send as, with those of its delegates.
func (m *image) principalAddresses(u *User) []string {
	if len(u.Delegates) == 0 {
		return u.Addresses
	}
	list := u.sendAs()
	for _, login := range u.Delegates {
		if other, found := m.user(login); found {
			list = append(list, other.sendAs()...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// sendAs are the addresses of a user, the login among them if it is one and there are no
// others.
func (u *User) sendAs() []string {
	if len(u.Addresses) > 0 {
		return slices.Clone(u.Addresses)
	}
	if own := u.ownAddress(); own != "" {
		return []string{own}
	}
	return nil
}

// principal returns a user as the rest of the program knows it; the mechanism is not
// known here.
func (m *image) principal(u *User) mail.Principal {
	return mail.Principal{
		Account:  mail.Account{Name: u.Login, Source: Source},
		Services: u.Services, Addresses: m.principalAddresses(u),
		Groups: u.Groups, Limits: u.Limits, Language: u.Language,
		Route: u.Route, Class: u.Class,
	}
}
