package ldap

import (
	"errors"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	ldap3 "github.com/go-ldap/ldap/v3"

	"postern/internal/config"
	"postern/internal/mail"
)

// TestWrongSettings: what is wrong has the place of its setting, and all is told.
func TestWrongSettings(t *testing.T) {
	for filter, want := range map[string]string{
		"(uid={login}":                      "is not a filter",
		"uid={login}":                       "is not a filter",
		"(uid={login})x":                    "is not a filter",
		"(&(uid={login})(mail={adress}))":   `what stands in braces after "(&(uid=` + mark + `)(mail=" is not known`,
		"(uid=joe)":                         "names nobody",
		"({login}=x)":                       "no value can be",
		"(&(a=b)(|({login}=*)))":            "no value can be",
		"(!({login}>=x))":                   "no value can be",
		"(x{login}:=x)":                     "no value can be",
		"(uid:{login}:=x)":                  "no value can be",
		"({login}=a*b)":                     "no value can be",
		"(&(uid={login})({login}=a))":       "no value can be",
		strings.Repeat("(!", 3) + "{login}": "is not a filter",
	} {
		c := config.LDAP{
			Name: "corp", Schema: config.LDAPRFC2307, Base: "dc=example,dc=com", UserFilter: filter, GroupBase: "no name",
			Placed: config.Placed{Place: mail.Place{File: "f", Line: 1, Column: 3}, Places: config.Places{"ldap.user_filter": {File: "f", Line: 7, Column: 15}}},
		}
		_, err := New(Options{Settings: c})
		if err == nil {
			t.Errorf("%s is taken", filter)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "f:7:15: ldap.user_filter: ldap corp: ") || !strings.Contains(lines[0], want) || !strings.HasPrefix(lines[1], "f:1:3: ldap.group_base: ") {
			t.Errorf("%s: %v", filter, err)
		}
		if !errors.As(err, new(config.Problem)) {
			t.Errorf("%s: %T", filter, err)
		}
	}
}

// TestFilters: what is asked for whom, for each schema and as it is set.
func TestFilters(t *testing.T) {
	plan := func(change func(*config.LDAP)) plan {
		c := config.LDAP{Schema: config.LDAPRFC2307, Base: "dc=example"}
		change(&c)
		p, err := newPlan(&c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	posix, active := plan(func(*config.LDAP) {}), plan(func(c *config.LDAP) { c.Schema = config.LDAPActiveDirectory })
	of := map[string]string{"login": `j*)(\`, "address": "a(b)@x", "dn": "cn=a*,dc=example", "local": "a(b)", "domain": "x"}
	for got, want := range map[string]string{
		posix.users.fill(of):      `(&(|(objectClass=posixAccount)(objectClass=inetOrgPerson))(uid=j\2a\29\28\5c))`,
		posix.byAddress.fill(of):  `(mail=a\28b\29@x)`,
		active.users.fill(of):     `(&(sAMAccountType=805306368)(|(sAMAccountName=j\2a\29\28\5c)(userPrincipalName=j\2a\29\28\5c)))`,
		active.byAddress.fill(of): `(|(proxyAddresses=smtp:a\28b\29@x)(mail=a\28b\29@x))`,
		plan(func(c *config.LDAP) { c.AddressFilter = "(&(uid={local})(dc={domain}))" }).byAddress.fill(of):     `(&(uid=a\28b\29)(dc=x))`,
		plan(func(c *config.LDAP) { c.AddressAttributes = []string{"mail", "alt"} }).byAddress.fill(of):         `(|(mail=a\28b\29@x)(alt=a\28b\29@x))`,
		plan(func(c *config.LDAP) { c.GroupFilter = "(member:1.2.840.113556.1.4.1941:={dn})" }).groups.fill(of): `(member:1.2.840.113556.1.4.1941:=cn=a\2a,dc=example)`,
		plan(func(c *config.LDAP) { c.UserFilter = "(mail={login}@example.com)" }).users.fill(of):               `(mail=j\2a\29\28\5c@example.com)`,
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if active.GroupFilter != "" || active.GroupAttribute != "memberOf" || posix.GroupAttribute != "" {
		t.Errorf("groups of Active Directory by %q and %q, of others by %q", active.GroupFilter, active.GroupAttribute, posix.GroupAttribute)
	}
}

// TestState: when an account must not be used.
func TestState(t *testing.T) {
	at := func(s string) time.Time { v, _ := time.Parse(time.DateOnly, s); return v }
	for _, c := range []struct {
		schema      config.LDAPSchema
		name, value string
		barred      bool
		expires     time.Time
	}{
		{config.LDAPRFC2307, "shadowExpire", "1", false, at("1970-01-02")},
		{config.LDAPRFC2307, "shadowExpire", "-1", false, time.Time{}},
		{config.LDAPRFC2307, "shadowExpire", "x", false, time.Time{}},
		{config.LDAPRFC2307, "nsAccountLock", "true", true, time.Time{}},
		{config.LDAPRFC2307, "nsAccountLock", "FALSE", false, time.Time{}},
		{config.LDAPRFC2307, "pwdAccountLockedTime", "000001010000Z", true, time.Time{}},
		{config.LDAPActiveDirectory, "userAccountControl", "514", true, time.Time{}},
		{config.LDAPActiveDirectory, "userAccountControl", "512", false, time.Time{}},
		{config.LDAPActiveDirectory, "useraccountcontrol", "66050", true, time.Time{}},
		{config.LDAPActiveDirectory, "accountExpires", "0", false, time.Time{}},
		{config.LDAPActiveDirectory, "accountExpires", "9223372036854775807", false, time.Time{}},
		{config.LDAPActiveDirectory, "accountExpires", "132223104000000000", false, at("2020-01-01")},
		{config.LDAPActiveDirectory, "accountExpires", "99999999999999999999", false, time.Time{}},
	} {
		e := ldap3.NewEntry("cn=x", map[string][]string{c.name: {c.value}})
		barred, expires := schemas[c.schema].state(e)
		if (barred != "") != c.barred || !expires.Equal(c.expires) {
			t.Errorf("%s=%s: %q, %s", c.name, c.value, barred, expires)
		}
	}
}

// shape is the structure of a filter, with its values apart.
func shape(p *ber.Packet, values *[]string) string {
	s := string(rune('a' + p.Tag))
	if len(p.Children) == 0 {
		*values = append(*values, p.Data.String())
		return s
	}
	for _, c := range p.Children {
		s += shape(c, values)
	}
	return "(" + s + ")"
}

// FuzzFill: whatever a client says, a filter keeps its structure, and its values are what
// was said, octet by octet (RFC 4515 3).
func FuzzFill(f *testing.F) {
	for _, said := range []string{"joe", "*)(uid=*", `\2a\`, "\x00\x01", "ü", "\xff\xfe", "{login}{dn}", strings.Repeat("(", 500), "cn=a\\,b,dc=c"} {
		f.Add("(&(uid={login})(|(a={login}*)(b:=x{login})))", said)
		f.Add("(mail={login})", said)
	}
	f.Add("(!(uid>={login}))", "x")
	f.Add("({login}=1)", "x")
	f.Fuzz(func(t *testing.T, text, said string) {
		template, err := parseTemplate(text, "login")
		if err != nil {
			return
		}
		var before, after []string
		packet, err := ldap3.CompileFilter(strings.ReplaceAll(text, "{login}", mark))
		if err != nil {
			t.Fatalf("%q is taken, but: %v", text, err)
		}
		want := shape(packet, &before)
		filled, err := ldap3.CompileFilter(template.fill(map[string]string{"login": said}))
		if err != nil {
			t.Fatalf("%q with %q: %v", text, said, err)
		}
		if got := shape(filled, &after); got != want && said != "" {
			t.Fatalf("%q with %q is %s, want %s", text, said, got, want)
		}
		for i, v := range before {
			if said != "" && after[i] != strings.ReplaceAll(v, mark, said) {
				t.Fatalf("%q with %q: value %d is %q", text, said, i, after[i])
			}
		}
	})
}

// FuzzEntry: whatever a directory has in an entry, it is read without harm, and gives
// no pattern for an address.
func FuzzEntry(f *testing.F) {
	f.Add("cn=a,dc=b", "SMTP:a@b.example")
	f.Add("cn=a\\2c+x=1,,", "smtp:*@b.example")
	f.Add("\xff=\x00", "9223372036854775807")
	f.Add("", "-1")
	var directories []*Directory
	for schema := range schemas {
		c := config.LDAP{Name: "x", Schema: schema, Base: "dc=b", GroupBase: "dc=b", GroupAttribute: "memberOf", GroupDepth: 1, CertificateAttribute: "userCertificate;binary"}
		d, err := New(Options{Settings: c})
		if err != nil {
			f.Fatal(err)
		}
		directories = append(directories, d)
	}
	f.Fuzz(func(t *testing.T, dn, text string) {
		for _, d := range directories {
			attributes := map[string][]string{"memberOf": {dn, text}, "objectClass": {text}}
			for _, a := range d.plan.attributes() {
				attributes[a] = append(attributes[a], text)
			}
			u, err := d.read(t.Context(), ldap3.NewEntry(dn, attributes), text)
			if err != nil {
				continue
			}
			_ = u.usable(time.Now())
			for _, a := range u.principal.Addresses {
				if parsed, err := mail.ParseAddress(a); err != nil || strings.Contains(parsed.Local, "*") || parsed.Domain == "" {
					t.Errorf("%q gives the address %q (%v)", text, a, err)
				}
			}
		}
	})
}
