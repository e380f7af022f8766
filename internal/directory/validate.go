package directory

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"

	"postern/internal/config"
	"postern/internal/lists"
	"postern/internal/mail"
)

// Bounds of the directory.
const (
	MaxUsers   = 1_000_000
	MaxDomains = 100_000
	MaxAliases = 5_000_000
	MaxLists   = 10_000
	MaxBans    = 100_000
	// MaxCredentials bounds those of this host.
	MaxCredentials = 10_000
	// MaxAllEntries bounds the entries of all lists together.
	MaxAllEntries = 2_000_000
)

// Bounds of a record; lengths are in octets.
const (
	MaxAddresses    = 1000 // of a user
	MaxDelegates    = 100
	MaxGroups       = 1000
	MaxGroup        = 255
	MaxNetworks     = 100
	MaxCertificates = 100
	MaxCredential   = 512 // a password's hash, a SCRAM key
	MaxNote         = 1000
	MaxReason       = 1000    // of a ban
	MaxTargets      = 1000    // of an alias
	MaxMembers      = 10_000  // of a distribution list
	MaxEntries      = 100_000 // of a list for policy
	MaxName         = 64      // of a list
)

const (
	addressHint = `write local-part@domain, such as "joe@example.com"`
	loginHint   = "use letters, digits and ASCII signs, without space, at most 255 octets"
)

// normalUser returns a user in the form in which it is recorded, or what is wrong in it.
func normalUser(u User) (User, error) {
	c := check{key: u.Key()}
	if login, err := Login(u.Login); err != nil {
		c.wrong("login", loginHint, "%q is no login", clip(u.Login))
	} else {
		u.Login, c.key.Name = login, login
	}
	c.credential("password", u.Password, isPHC, `write a hash of argon2id in the form of PHC, "$argon2id$v=19$m=…,t=…,p=…$salt$hash"`)
	c.credential("scram", u.SCRAM, isSCRAM, `write "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey", in base64`)
	u.Expires = c.time("expires", u.Expires)
	u.Addresses = c.texts("addresses", u.Addresses, MaxAddresses, c.sender)
	u.Delegates = c.texts("delegates", u.Delegates, MaxDelegates, c.login)
	u.Groups = c.texts("groups", u.Groups, MaxGroups, c.group)
	u.Certificates = c.texts("certificates", u.Certificates, MaxCertificates, c.certificate)
	u.Networks = c.networks(u.Networks)
	c.limits(u.Limits)
	u.Language = c.language(u.Language)
	c.word("route", u.Route, "partners")
	if _, err := mail.ParseClass(u.Class); u.Class != "" && err != nil {
		c.wrong("class", "write one of them, or leave it out", "%v", err)
	}
	u.Class = strings.ToLower(u.Class)
	c.text("note", u.Note, MaxNote)
	if slices.Contains(u.Delegates, u.Login) {
		c.wrong("delegates", "leave it out", "%q is the user itself", u.Login)
	}
	return u, c.err()
}

// checkCredentials wants credentials that can be verified: those that another program has
// made may cost more than a login may.
func (d *Directory) checkCredentials(u *User) error {
	if d.credentials == nil {
		return nil
	}
	const hint = "set the password instead (postern user password)"
	c := check{key: u.Key()}
	if err := d.credentials(u.Password, ""); err != nil {
		c.wrong("password", hint, "%v", err)
	}
	if err := d.credentials("", u.SCRAM); err != nil {
		c.wrong("scram", hint, "%v", err)
	}
	return c.err()
}

// texts checks and normalises each of several texts; what is there twice is left out.
func (c *check) texts(field string, list []string, most int, one func(field, s string) (string, bool)) []string {
	if len(list) > most {
		c.wrong(field, fmt.Sprintf("at most %d are possible", most), "there are %d", len(list))
		return nil
	}
	var normal []string
	for _, s := range list {
		if s, ok := one(field, strings.TrimSpace(s)); ok && !slices.Contains(normal, s) {
			normal = append(normal, s)
		}
	}
	return normal
}

// sender is an address that a user may send as.
func (c *check) sender(field, s string) (string, bool) {
	if domain, all := strings.CutPrefix(s, "*@"); all {
		name, err := DomainName(domain)
		if err != nil {
			c.wrong(field, `write "*@" and a domain, such as "*@example.com"`, "%q: %v", clip(s), err)
		}
		return "*@" + name, err == nil
	}
	if strings.Contains(s, "*") {
		c.wrong(field, `write an address, or "*@example.com" for all of a domain`, `%q has a "*" that is not all of the local part`, clip(s))
		return "", false
	}
	return c.address(field, s)
}

// address is one of a local domain, in the form in which they are compared.
func (c *check) address(field, s string) (string, bool) {
	key, err := AddressKey(s)
	c.noAddress(field, s, err)
	return key, err == nil
}

// target is an address anywhere: its local part is left as it is.
func (c *check) target(field, s string) (string, bool) {
	a, err := address(s)
	c.noAddress(field, s, err)
	return a.String(), err == nil
}

func (c *check) noAddress(field, s string, err error) {
	switch {
	case err != nil && s == "":
		c.wrong(field, addressHint, "is empty")
	case err != nil:
		c.wrong(field, addressHint, "%q: %v", clip(s), err)
	}
}

func (c *check) login(field, s string) (string, bool) {
	login, err := Login(s)
	if err != nil {
		c.wrong(field, loginHint, "%q is no login", clip(s))
	}
	return login, err == nil
}

func (c *check) group(field, s string) (string, bool) {
	return s, c.text(field, s, MaxGroup) && c.filled(field, s)
}

func (c *check) filled(field, s string) bool {
	if s == "" {
		c.wrong(field, "leave it out", "is an empty name")
	}
	return s != ""
}

// text wants plain text in one line.
func (c *check) text(field, s string, most int) bool {
	switch {
	case len(s) > most:
		c.wrong(field, fmt.Sprintf("at most %d are possible", most), "has %d octets", len(s))
	case !utf8.ValidString(s):
		c.wrong(field, "write it in UTF-8", "is not UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		c.wrong(field, "write one line of text", "has a control character")
	default:
		return true
	}
	return false
}

// word wants a name as those of transports are, or none.
func (c *check) word(field, s, example string) {
	if s != "" && !mail.IsTransportName(s) {
		c.wrong(field, fmt.Sprintf(`write a word of letters, digits, "-" and "_" that begins with a letter, such as %q`, example), "%q is no such name", clip(s))
	}
}

var fingerprint = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (c *check) certificate(field, s string) (string, bool) {
	const hint = `write "sha256:" and 64 hexadecimal digits, "dns:" and a name, or "email:" and an address`
	kind, value, _ := strings.Cut(s, ":")
	switch kind {
	case "sha256":
		value = strings.ToLower(strings.ReplaceAll(value, ":", ""))
		if !fingerprint.MatchString(value) {
			c.wrong(field, hint, "%q is no fingerprint of SHA-256", clip(s))
			return "", false
		}
	case "dns":
		name, err := DomainName(value)
		if err != nil {
			c.wrong(field, hint, "%q: %v", clip(s), err)
			return "", false
		}
		value = name
	case "email":
		key, ok := c.address(field, value)
		if !ok {
			return "", false
		}
		value = key
	default:
		c.wrong(field, hint, "%q says not what of the certificate is meant", clip(s))
		return "", false
	}
	return kind + ":" + value, true
}

// smallestPrefix is the length that the prefix of a user's network has at least: as what a
// listener can trust.
func smallestPrefix(ip netip.Addr) int {
	if ip.Is4() {
		return 8
	}
	return 16
}

func (c *check) networks(list []netip.Prefix) []netip.Prefix {
	if len(list) > MaxNetworks {
		c.wrong("networks", fmt.Sprintf("at most %d are possible", MaxNetworks), "there are %d", len(list))
		return nil
	}
	var normal []netip.Prefix
	for _, p := range list {
		if !p.IsValid() || p.Addr().Zone() != "" {
			c.wrong("networks", `write a network such as "192.0.2.0/24"`, "%q is none", p)
			continue
		}
		if p = normalPrefix(p); p.Bits() == 0 {
			c.wrong("networks", "name the network of the application", "%q is everybody", p)
		} else if p.Bits() < smallestPrefix(p.Addr()) {
			c.wrong("networks", "name the network of the application", "%q is a large part of the Internet, and all of it would be this user", p)
		} else if !slices.Contains(normal, p) {
			normal = append(normal, p)
		}
	}
	return normal
}

var (
	isPHC   = regexp.MustCompile(`^\$argon2id\$v=[0-9]+\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$`)
	isSCRAM = regexp.MustCompile(`^SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/]+={0,2}\$[A-Za-z0-9+/]+={0,2}:[A-Za-z0-9+/]+={0,2}$`)
)

// credential never tells the value: it may be a password that somebody has put into the
// wrong place.
func (c *check) credential(field, s string, form *regexp.Regexp, hint string) {
	switch {
	case s == "":
	case len(s) > MaxCredential:
		c.wrong(field, hint, "has %d octets, the limit is %d", len(s), MaxCredential)
	case !form.MatchString(s):
		c.wrong(field, hint, "has not the form of a stored credential")
	}
}

// time wants one that the database and the journal can tell.
func (c *check) time(field string, t time.Time) time.Time {
	if !t.IsZero() && (t.Year() < 1970 || t.Year() > 9999 || t.UnixMilli() == 0) {
		c.wrong(field, "write a year from 1970 to 9999", "%d is no year that can be recorded", t.Year())
	}
	return fromMillis(millis(t))
}

func (c *check) limits(l mail.AccountLimits) {
	for _, of := range []struct {
		field string
		n     int64
	}{{"messages_per_hour", l.MessagesPerHour}, {"recipients_per_day", l.RecipientsPerDay}, {"max_size", l.MaxSize}} {
		if of.n < 0 {
			c.wrong(of.field, "write 0 for no limit", "%d is less than nothing", of.n)
		}
	}
}

func (c *check) language(s string) string {
	if s == "" {
		return ""
	}
	if len(s) > MaxName {
		c.wrong("language", `write a tag such as "de" or "en-GB"`, "has %d octets", len(s))
		return ""
	}
	tag, err := language.Parse(s)
	if err != nil {
		c.wrong("language", `write a tag such as "de" or "en-GB"`, "%q is no language", clip(s))
		return ""
	}
	return tag.String()
}

// domain is the name of a domain.
func (c *check) domain(field, s string) string {
	name, err := DomainName(s)
	if err != nil {
		c.wrong(field, `write a name such as "example.com"`, "%q: %v", clip(s), err)
	}
	return name
}

func normalDomain(d Domain) (Domain, error) {
	c := check{key: d.Key()}
	if name := c.domain("name", d.Name); name != "" {
		d.Name, c.key.Name = name, name
	}
	if d.AliasOf != "" {
		d.AliasOf = c.domain("alias_of", d.AliasOf)
	}
	if d.AliasOf == d.Name {
		c.wrong("alias_of", "name the other domain, or leave it out", "%q is the domain itself", clip(d.Name))
	}
	return d, c.err()
}

// aliasName returns the key of an alias from its address and owner.
func aliasName(owner, addr string) (Key, error) {
	c := check{key: Key{Kind: KindAlias, Name: addr, Owner: owner}}
	k := c.key
	if domain, all := strings.CutPrefix(addr, "@"); all {
		k.Name = "@" + c.domain("address", domain)
	} else if key, ok := c.address("address", addr); ok {
		k.Name = key
	}
	if owner != "" {
		k.Owner, _ = c.login("owner", owner)
		if strings.HasPrefix(addr, "@") {
			c.wrong("address", "leave out the owner", "%q, all of a domain, can be no personal alias", clip(addr))
		}
	}
	return k, c.err()
}

func normalAlias(a Alias) (Alias, error) {
	c := check{key: a.Key()}
	key, err := aliasName(a.Owner, a.Address)
	if err != nil {
		c.found = append(c.found, ProblemsOf(err)...)
	} else {
		a.Address, a.Owner, c.key = key.Name, key.Owner, key
	}
	given := len(a.Targets)
	a.Targets = c.texts("targets", a.Targets, MaxTargets, c.target)
	if given == 0 {
		c.wrong("targets", addressHint, "there are none")
	}
	return a, c.err()
}

var listName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

// normalList leaves the entries to normalEntries.
func normalList(l List) (List, error) {
	c := check{key: l.Key()}
	l.Name = strings.ToLower(l.Name)
	c.key.Name = l.Name
	if len(l.Name) > MaxName || !listName.MatchString(l.Name) {
		c.wrong("name", `use letters, digits, ".", "_" and "-", at most 64`, "%q is no name", clip(l.Name))
	}
	switch l.Kind {
	case Distribution:
		c.distribution(&l)
	case Networks, Domains, Addresses, Patterns:
		if l.Address != "" || l.Owner != "" || l.Posters != "" {
			c.wrong("kind", "leave out address, owner and posters", "a list of %s is not sent to", l.Kind)
		}
	default:
		c.wrong("kind", "write distribution, networks, domains, addresses or patterns", "%q is no kind of list", clip(string(l.Kind)))
	}
	if c.found == nil {
		l.Entries = c.entries(l.Kind, l.Entries)
	}
	return l, c.err()
}

func (c *check) distribution(l *List) {
	l.Address, _ = c.address("address", l.Address)
	if l.Owner != "" {
		l.Owner, _ = c.target("owner", l.Owner)
	}
	switch l.Posters {
	case "":
		l.Posters = Everybody
	case Everybody, Members, Accounts:
	default:
		c.wrong("posters", "write everybody, members or accounts", "%q is nobody", clip(string(l.Posters)))
	}
}

// entries returns entries of a list sorted, each once.
func (c *check) entries(kind ListKind, entries []string) []string {
	one := func(_, s string) (string, bool) { return c.policyEntry(kind, s) }
	if kind == Distribution {
		one = c.target
	}
	if most := maxEntries(kind); len(entries) > most {
		c.wrong("entries", fmt.Sprintf("at most %d are possible", most), "there are %d", len(entries))
		return nil
	}
	normal := make([]string, 0, len(entries))
	for _, s := range entries {
		if s, ok := one("entries", strings.TrimSpace(s)); ok {
			normal = append(normal, s)
		}
	}
	slices.Sort(normal)
	return slices.Clip(slices.Compact(normal))
}

func maxEntries(kind ListKind) int {
	if kind == Distribution {
		return MaxMembers
	}
	return MaxEntries
}

// policyEntry wants what package lists can read in a line of a file.
func (c *check) policyEntry(kind ListKind, s string) (string, bool) {
	if strings.ContainsAny(s, "\r\n") {
		c.wrong("entries", "write each as an entry of its own", "%q has several lines", clip(s))
		return "", false
	}
	l, err := lists.Parse(lists.Kind(kind), "", []byte(s))
	if err != nil {
		p, _ := errors.AsType[config.Problem](err)
		c.wrong("entries", p.Hint, "%s", p.Message)
		return "", false
	}
	if l.Len() != 1 || strings.Contains(s, " #") {
		c.wrong("entries", "leave out comments", "%q is not an entry", clip(s))
		return "", false
	}
	return s, true
}

func normalBan(b Ban) (Ban, error) {
	c := check{key: b.Key()}
	if subject, err := Subject(b.Subject); err != nil {
		c.wrong("subject", `write "address:" and an address or network, or "account:" and a login`, "%q: %v", clip(b.Subject), err)
	} else {
		b.Subject, c.key.Name = subject, subject
	}
	b.Since, b.Until = c.time("since", b.Since), c.time("until", b.Until)
	c.text("reason", b.Reason, MaxReason)
	if b.Count < 0 {
		c.wrong("count", "write how often it was banned", "%d is less than never", b.Count)
	}
	return b, c.err()
}
