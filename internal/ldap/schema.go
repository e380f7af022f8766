package ldap

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	ldap3 "github.com/go-ldap/ldap/v3"

	"postern/internal/config"
)

// schema is how a directory names things, and how it says that an account is not to be
// used.
type schema struct {
	userFilter, loginAttribute  string
	addressAttributes           []string
	groupFilter, groupAttribute string
	// nameAttribute is one with the name of an entry, by which it can be searched.
	nameAttribute string
	stateNames    []string
	// state says why the account must not be used, "" if it may be, and until when.
	state func(e *ldap3.Entry) (barred string, expires time.Time)
}

// The schemas of RFC 2307 and RFC 2798 with the state attributes of the servers that
// have them, and of Active Directory.
var schemas = map[config.LDAPSchema]schema{
	config.LDAPRFC2307: {
		userFilter:        "(&(|(objectClass=posixAccount)(objectClass=inetOrgPerson))(uid={login}))",
		loginAttribute:    "uid",
		addressAttributes: []string{"mail"},
		groupFilter: "(|(&(objectClass=posixGroup)(memberUid={login}))(&(objectClass=groupOfNames)(member={dn}))" +
			"(&(objectClass=groupOfUniqueNames)(uniqueMember={dn})))",
		nameAttribute: "entryDN", // RFC 5020
		stateNames:    []string{"shadowExpire", "nsAccountLock", "pwdAccountLockedTime"},
		state:         posixState,
	},
	config.LDAPActiveDirectory: {
		// 805306368 is the sAMAccountType of user accounts, which is indexed.
		userFilter:        "(&(sAMAccountType=805306368)(|(sAMAccountName={login})(userPrincipalName={login})))",
		loginAttribute:    "sAMAccountName",
		addressAttributes: []string{"proxyAddresses", "mail"},
		groupAttribute:    "memberOf",
		nameAttribute:     "distinguishedName",
		stateNames:        []string{"userAccountControl", "accountExpires"},
		state:             activeState,
	},
}

// posixState reads shadowExpire (days since 1970, shadow(5); -1 for never), and how
// 389 Directory Server and the password policy of OpenLDAP lock an account.
func posixState(e *ldap3.Entry) (barred string, expires time.Time) {
	if days, err := strconv.ParseInt(value(e, "shadowExpire"), 10, 32); err == nil && days >= 0 {
		expires = time.Unix(days*86_400, 0)
	}
	switch {
	case strings.EqualFold(value(e, "nsAccountLock"), "TRUE"):
		barred = "the account is locked (nsAccountLock)"
	case value(e, "pwdAccountLockedTime") != "":
		barred = "the account is locked (pwdAccountLockedTime)"
	}
	return barred, expires
}

// accountDisabled is the bit of userAccountControl for an account that is disabled.
const accountDisabled = 0x2

// Active Directory counts time in units of 100 ns from 1601; 0 and the largest number
// are never.
const (
	ticksPerSecond = 10_000_000
	from1601       = 11_644_473_600 // seconds until 1970
	neverExpires   = 1<<63 - 1
)

// activeState reads userAccountControl and accountExpires.
func activeState(e *ldap3.Entry) (barred string, expires time.Time) {
	if bits, err := strconv.ParseInt(value(e, "userAccountControl"), 10, 64); err == nil && bits&accountDisabled != 0 {
		barred = "the account is disabled (userAccountControl)"
	}
	ticks, err := strconv.ParseInt(value(e, "accountExpires"), 10, 64)
	if err == nil && ticks > 0 && ticks != neverExpires {
		expires = time.Unix(ticks/ticksPerSecond-from1601, 0)
	}
	return barred, expires
}

// plan is what is asked for, with the defaults of the schema.
type plan struct {
	config.LDAP
	schema
	users, byAddress, groups template
	groupsBelow              *ldap3.DN // nil: everywhere
	// bases are those below which there may be mail addresses: of users and of groups.
	bases []string
}

// newPlan fails with config.Problem, one for each setting that is wrong.
func newPlan(c *config.LDAP) (plan, error) {
	p := plan{LDAP: *c, schema: schemas[c.Schema]}
	p.Base = c.Base
	set(&p.UserFilter, p.schema.userFilter)
	set(&p.LoginAttribute, p.schema.loginAttribute)
	set(&p.GroupBase, c.Base)
	if len(p.AddressAttributes) == 0 {
		p.AddressAttributes = p.schema.addressAttributes
	}
	if p.GroupFilter == "" && p.GroupAttribute == "" {
		p.GroupFilter, p.GroupAttribute = p.schema.groupFilter, p.schema.groupAttribute
	}
	set(&p.AddressFilter, addressFilter(p.AddressAttributes))
	return p, p.compile(c)
}

func set(s *string, byDefault string) {
	if *s == "" {
		*s = byDefault
	}
}

// compile reads filters and names of entries.
func (p *plan) compile(c *config.LDAP) error {
	var errs []error
	filters := []struct {
		key, text string
		into      *template
		names     []string
	}{
		{"ldap.user_filter", p.UserFilter, &p.users, []string{"login"}},
		{"ldap.address_filter", p.AddressFilter, &p.byAddress, []string{"address", "local", "domain"}},
		{"ldap.group_filter", p.GroupFilter, &p.groups, []string{"dn", "login"}},
	}
	for _, f := range filters {
		if f.text == "" {
			continue
		}
		t, err := parseTemplate(f.text, f.names...)
		if err != nil {
			errs = append(errs, c.Problem(f.key, err.Error(), "write a filter of RFC 4515 with "+places(f.names)))
		}
		*f.into = t
	}
	names := []struct{ key, text string }{{"ldap.base", c.Base}, {"ldap.group_base", c.GroupBase}}
	for _, n := range names {
		if _, err := ldap3.ParseDN(n.text); n.text != "" && err != nil {
			errs = append(errs, c.Problem(n.key, fmt.Sprintf("%q is not the name of an entry: %v", n.text, err), `write it as "ou=people,dc=example,dc=com"`))
		}
	}
	if len(errs) == 0 {
		p.placeGroups(c)
	}
	return errors.Join(errs...)
}

// placeGroups says where groups are.
func (p *plan) placeGroups(c *config.LDAP) {
	p.bases = []string{c.Base}
	if c.GroupBase == "" {
		return
	}
	base, _ := ldap3.ParseDN(c.Base) // which was done before
	p.groupsBelow, _ = ldap3.ParseDN(c.GroupBase)
	if !base.EqualFold(p.groupsBelow) && !base.AncestorOfFold(p.groupsBelow) {
		p.bases = append(p.bases, c.GroupBase)
	}
}

// proxyAddresses is the attribute of Active Directory whose values have the kind of
// their address before it: "SMTP:" is the first address, "smtp:" another.
const proxyAddresses = "proxyAddresses"

// addressFilter asks for an address in any of the attributes.
func addressFilter(attributes []string) string {
	var b strings.Builder
	for _, a := range attributes {
		prefix := ""
		if strings.EqualFold(a, proxyAddresses) {
			prefix = "smtp:"
		}
		fmt.Fprintf(&b, "(%s=%s{address})", a, prefix)
	}
	if len(attributes) == 1 {
		return b.String()
	}
	return "(|" + b.String() + ")"
}

// attributes are what is asked of an entry of a user.
func (p *plan) attributes() []string {
	names := append([]string{"objectClass", "cn", "preferredLanguage", "managedBy", "owner", p.LoginAttribute}, p.AddressAttributes...)
	names = append(names, p.ForwardAttributes...)
	names = append(names, p.stateNames...)
	for _, a := range []string{p.GroupAttribute, p.CertificateAttribute} {
		if a != "" {
			names = append(names, a)
		}
	}
	return names
}

// template is a filter with places for what is not known yet.
type template struct {
	text  string
	names []string
}

// mark stands for a value while a template is checked.
const mark = "x-postern-mark-x"

// parseTemplate reads a filter in which {name} stands for each of the names. A place may
// be within the value of an assertion and nowhere else.
func parseTemplate(text string, names ...string) (template, error) {
	t := template{text: text, names: names}
	marks := make(map[string]string)
	for _, n := range names {
		marks[n] = mark
	}
	filled := t.replace(func(name string) string { return marks[name] })
	if before, _, braces := strings.Cut(filled, "{"); braces {
		return t, fmt.Errorf("what stands in braces after %q is not known", clip(before))
	}
	packet, err := ldap3.CompileFilter(filled)
	if err != nil {
		return t, fmt.Errorf("is not a filter: %w", errors.Unwrap(err))
	}
	if err := checkPlaces(packet, false); err != nil {
		return t, err
	}
	if !strings.Contains(filled, mark) {
		return t, fmt.Errorf("names nobody: it has none of %s, and would find the same for everybody", places(names))
	}
	return t, nil
}

// checkPlaces goes through a filter as it goes over the wire (RFC 4511 4.5.1.7); isValue
// says that a packet is the value of an assertion.
func checkPlaces(p *ber.Packet, isValue bool) error {
	if len(p.Children) == 0 {
		if s, _ := p.Value.(string); !isValue && strings.Contains(s+string(p.ByteValue)+p.Data.String(), mark) {
			return errors.New("has a place where no value can be: it would let a client choose the attribute")
		}
		return nil
	}
	for i, child := range p.Children {
		if err := checkPlaces(child, isAssertion(p, i)); err != nil {
			return err
		}
	}
	return nil
}

// isAssertion reports whether a child of a part of a filter is the value of an
// assertion.
func isAssertion(p *ber.Packet, child int) bool {
	switch {
	case p.ClassType == ber.ClassUniversal: // the parts of a value with asterisks
		return true
	case p.Tag == ldap3.FilterExtensibleMatch:
		return p.Children[child].Tag == ldap3.MatchingRuleAssertionMatchValue
	case p.Tag == ldap3.FilterAnd, p.Tag == ldap3.FilterOr, p.Tag == ldap3.FilterNot:
		return false
	}
	return child == 1
}

// fill returns the filter with values, each escaped.
func (t template) fill(values map[string]string) string {
	return t.replace(func(name string) string { return ldap3.EscapeFilter(values[name]) })
}

// has reports whether the filter has a place of that name.
func (t template) has(name string) bool { return strings.Contains(t.text, "{"+name+"}") }

func (t template) replace(value func(string) string) string {
	var pairs []string
	for _, n := range t.names {
		pairs = append(pairs, "{"+n+"}", value(n))
	}
	return strings.NewReplacer(pairs...).Replace(t.text)
}

// places writes names of places for a person.
func places(names []string) string { return "{" + strings.Join(names, "}, {") + "}" }

// clip keeps a message readable.
func clip(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return "..." + string(r[len(r)-most:])
	}
	return s
}
