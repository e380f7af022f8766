package directory

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
)

// What is wrong in a record is told with its field. A language is a tag of RFC 5646, a
// SCRAM key has the values of RFC 5803.
func TestInvalidRecords(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(Domain{Name: "example.com"}))
	user := func(change func(u *User)) User {
		u := User{Login: "joe"}
		change(&u)
		return u
	}
	for _, test := range []struct {
		record      any
		field, part string
	}{
		{User{Login: "a b"}, "login", `"a b" is no login`},
		{user(func(u *User) { u.Password = "secret" }), "password", "$argon2id$"},
		{user(func(u *User) { u.Password = testHash + strings.Repeat("A", MaxCredential) }), "password", "the limit is 512"},
		{user(func(u *User) { u.SCRAM = "SCRAM-SHA-1$4096:c2FsdA==$a:b" }), "scram", "SCRAM-SHA-256"},
		{user(func(u *User) { u.Expires = time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC) }), "expires", "1969"},
		{user(func(u *User) { u.Addresses = []string{"joe@"} }), "addresses", `"joe@": domain malformed`},
		{user(func(u *User) { u.Addresses = []string{"j*@example.com"} }), "addresses", `write an address, or "*@example.com"`},
		{user(func(u *User) { u.Addresses = []string{"*@-a.example"} }), "addresses", "hyphen"},
		{user(func(u *User) { u.Addresses = make([]string, MaxAddresses+1) }), "addresses", "there are 1001"},
		{user(func(u *User) { u.Delegates = []string{"ann"} }), "delegates", `there is no user "ann"`},
		{user(func(u *User) { u.Delegates = []string{"JOE"} }), "delegates", "the user itself"},
		{user(func(u *User) { u.Groups = []string{""} }), "groups", "empty"},
		{user(func(u *User) { u.Groups = []string{"a\nb"} }), "groups", "control character"},
		{user(func(u *User) { u.Limits.MaxSize = -1 }), "max_size", "less than nothing"},
		{user(func(u *User) { u.Language = "not a language" }), "language", `"de" or "en-GB"`},
		{user(func(u *User) { u.Networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }), "networks", "everybody"},
		{user(func(u *User) { // which are everybody together
			u.Networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")}
		}), "networks", `"0.0.0.0/1" is a large part of the Internet`},
		{user(func(u *User) { u.Networks = []netip.Prefix{netip.MustParsePrefix("2000::/3")} }), "networks", "a large part"},
		{user(func(u *User) { u.Networks = []netip.Prefix{{}} }), "networks", "is none"},
		{user(func(u *User) { u.Certificates = []string{"sha256:ab"} }), "certificates", "64 hexadecimal digits"},
		{user(func(u *User) { u.Certificates = []string{"dns:a..b"} }), "certificates", "empty label"},
		{user(func(u *User) { u.Certificates = []string{"email:joe"} }), "certificates", "no @"},
		{user(func(u *User) { u.Certificates = []string{"joe"} }), "certificates", "says not what"},
		{user(func(u *User) { u.Route = "relay.example.com" }), "route", `"relay.example.com" is no such name; write a word`},
		{user(func(u *User) { u.Class = "not urgent" }), "class", `"not urgent" is not a priority class`},
		{user(func(u *User) { u.Note = "\xff" }), "note", "UTF-8"},
		{user(func(u *User) { u.Note = strings.Repeat("a", MaxNote+1) }), "note", "1001 octets"},

		{Domain{Name: "-a.example"}, "name", "hyphen"},
		{Domain{Name: "[192.0.2.1]"}, "name", "address literal"},
		{Domain{Name: "example.net", AliasOf: "Example.NET"}, "alias_of", "itself"},
		{Domain{Name: "example.net", AliasOf: "example.org"}, "alias_of", "not a local domain"},

		{Alias{Address: "a@example.com"}, "targets", "none"},
		{Alias{Address: "a@example.com", Targets: []string{"b"}}, "targets", `"b": not an address`},
		{Alias{Address: "a", Targets: []string{"b@example.com"}}, "address", `"a": not an address`},
		{Alias{Address: "@example.com", Owner: "joe", Targets: []string{"b@example.com"}}, "address", "personal"},
		{Alias{Address: "a@example.com", Owner: "joe", Targets: []string{"b@example.com"}}, "owner", `there is no user "joe"`},
		{Alias{Address: "a@example.org", Targets: []string{"b@example.com"}}, "address", `"example.org" is not a local domain`},

		{List{Name: "A b", Kind: Domains}, "name", "letters, digits"},
		{List{Name: "l", Kind: "people"}, "kind", "distribution, networks"},
		{List{Name: "l", Kind: Domains, Address: "l@example.com"}, "kind", "not sent to"},
		{List{Name: "l", Kind: Distribution}, "address", "is empty"},
		{List{Name: "l", Kind: Distribution, Address: "l@example.com", Posters: "nobody"}, "posters", "everybody, members"},
		{List{Name: "l", Kind: Distribution, Address: "l@example.com", Owner: "ann"}, "owner", "not an address"},
		{List{Name: "l", Kind: Distribution, Address: "l@example.org"}, "address", "not a local domain"},
		{List{Name: "l", Kind: Distribution, Address: "l@example.com", Entries: make([]string, MaxMembers+1)}, "entries", "there are 10001"},
		{List{Name: "l", Kind: Networks, Entries: []string{"192.0.2.300"}}, "entries", "192.0.2.300"},
		{List{Name: "l", Kind: Domains, Entries: []string{"a.example\nb.example"}}, "entries", "several lines"},
		{List{Name: "l", Kind: Domains, Entries: []string{"# a.example"}}, "entries", "is not an entry"},
		{List{Name: "l", Kind: Domains, Entries: []string{""}}, "entries", "is not an entry"},

		{Ban{Subject: "joe"}, "subject", "account:"},
		{Ban{Subject: "account:joe", Reason: "a\nb"}, "reason", "control character"},
		{Ban{Subject: "account:joe", Count: -1}, "count", "less than never"},
	} {
		o.refused(test.field, test.part, putAll(test.record))
	}
	if got, want := o.Counts(), (Counts{Domains: 1}); got != want {
		t.Errorf("after all that there are %+v, want %+v", got, want)
	}
}

// A value that was put where a hash belongs may be a password: no error tells it.
func TestErrorsTellNoSecret(t *testing.T) {
	o := newDirectory(t)
	err := o.Change(t.Context(), "ann", putAll(User{Login: "joe", Password: "hunter2", SCRAM: "hunter2"}))
	if p := ProblemsOf(err); len(p) != 2 || strings.Contains(p.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// What records say of each other must be right when all of a change is made, in whatever
// order.
func TestConsistency(t *testing.T) {
	joe := User{Login: "joe", Addresses: []string{"joe@example.com"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Certificates: []string{"dns:a.example"}}
	ann := User{Login: "ann", Delegates: []string{"joe"}}
	list := List{Name: "staff", Kind: Distribution, Address: "staff@example.com"}
	alias := Alias{Address: "sales@example.com", Targets: []string{"joe@example.com"}}
	o := newDirectory(t)
	o.change(putAll(alias, list, ann, joe, Domain{Name: "example.net", AliasOf: "example.com"}, Domain{Name: "example.com"}))

	for _, test := range []struct {
		what, field, part string
		change            func(tx *Tx) error
	}{
		{"own address", "addresses", `that of user "joe" too`, putAll(User{Login: "kim", Addresses: []string{"Joe@Example.com"}})},
		{"own address twice in one change", "addresses", `that of user "kim" too`, putAll(User{Login: "kim", Addresses: []string{"k@example.com"}}, User{Login: "lea", Addresses: []string{"k@example.com"}})},
		{"login that is an address", "addresses", `that of user "joe" too`, putAll(User{Login: "joe@example.com"})},
		{"network", "networks", `"192.0.2.0/24" is that of user "joe" too`, putAll(User{Login: "kim", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/24")}})},
		{"certificate", "certificates", `"dns:a.example" is that of user "joe" too`, putAll(User{Login: "kim", Certificates: []string{"dns:A.example"}})},
		{"a delegate goes", "", `is a delegate of user "ann"`, func(tx *Tx) error { return tx.DeleteUser("joe") }},
		{"a domain with another name goes", "", `"example.net" is another name`, func(tx *Tx) error { return tx.DeleteDomain("example.com") }},
		{"a domain with a list goes", "", `list "staff"`, func(tx *Tx) error { return tx.DeleteDomain("example.com") }},
		{"a domain with an alias goes", "", `"sales@example.com" is an alias`, func(tx *Tx) error { return tx.DeleteDomain("example.com") }},
		{"a domain in use becomes another name", "", `"sales@example.com" is an alias`, putAll(Domain{Name: "example.org"}, Domain{Name: "example.com", AliasOf: "example.org"})},
		{"another name of another name", "alias_of", `write "example.com"`, putAll(Domain{Name: "example.org", AliasOf: "example.net"})},
		{"an alias in another name", "address", `write it with "example.com"`, putAll(Alias{Address: "a@example.net", Targets: []string{"b@example.com"}})},
		{"an alias at a list", "address", `the address of list "staff"`, putAll(Alias{Address: "staff@example.com", Targets: []string{"b@example.com"}})},
		{"a list at an alias", "address", `"sales@example.com" is an alias`, putAll(List{Name: "l", Kind: Distribution, Address: "sales@example.com"})},
		{"two lists at an address", "address", `the address of list "staff"`, putAll(List{Name: "l", Kind: Distribution, Address: "staff@example.com"})},
		{"two new lists at an address", "address", `the address of list "a"`, putAll(List{Name: "a", Kind: Distribution, Address: "l@example.com"}, List{Name: "b", Kind: Distribution, Address: "l@example.com"})},
	} {
		t.Run(test.what, func(t *testing.T) {
			o.t = t
			o.refused(test.field, test.part, test.change)
		})
	}
	o.t = t
	t.Run("what was taken is free when its user leaves it", func(t *testing.T) {
		o.t = t
		kim := joe
		kim.Login = "kim"
		joe.Addresses, joe.Networks, joe.Certificates = nil, nil, nil
		o.change(putAll(kim, joe))
		for range 2 {
			if login, _ := o.UserAt(mustAddress(t, "joe@example.com")); login != "kim" {
				t.Errorf("the address is that of %q", login)
			}
			if u, _ := o.UserByCertificate(mail.Certificate{Names: []string{"A.example"}}, true); u.Login != "kim" || u.Usable(start) {
				t.Errorf("the certificate is that of %q, who may be used: %v", u.Login, u.Usable(start))
			}
			o.reopen()
		}
	})
	o.t = t
	o.change(func(tx *Tx) error { // all that hangs together can go together
		for _, err := range []error{tx.DeleteDomain("example.com"), tx.DeleteDomain("example.net"), tx.DeleteUser("joe"), tx.DeleteUser("ann"), tx.DeleteList("staff"), tx.DeleteAlias("", "sales@example.com")} {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func TestPolicyList(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(List{Name: "partners", Kind: Domains, Entries: []string{"b.example", ".a.example"}}))
	find := func(domain string) bool {
		_, found := o.PolicyList("Partners").Find(domain)
		return found
	}
	for range 2 {
		if !find("B.example") || !find("x.a.example") || find("a.example") {
			t.Error("the entries are not those of the list")
		}
		o.reopen()
	}
	before := o.PolicyList("partners")
	o.change(func(tx *Tx) error { return tx.RemoveEntries("partners", "b.example") })
	if _, still := before.Find("b.example"); !still || find("b.example") {
		t.Error("a list that was asked for before has changed, or one that is asked for now has not")
	}
	if o.PolicyList("nothing") != nil {
		t.Error("there is a list that is not there")
	}
	var many []string
	for i := range 1100 {
		many = append(many, strings.Repeat("a", i%40+1)+"*"+strings.Repeat("b", i/40+1))
	}
	o.refused("entries", "tried one after the other", putAll(List{Name: "p", Kind: Patterns, Entries: many}))
}
