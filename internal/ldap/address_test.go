package ldap

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	ldap3 "github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"

	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

var address = mailtest.Address

func addresses(t testing.TB, list ...string) []mail.Address {
	var all []mail.Address
	for _, s := range list {
		all = append(all, address(t, s))
	}
	return all
}

// sorted makes resolutions comparable: a directory has no order.
func sorted(r directory.Resolution) directory.Resolution {
	slices.SortFunc(r.Targets, func(a, b mail.Address) int { return strings.Compare(a.String(), b.String()) })
	return r
}

// TestResolve: whose an address is, with the members of groups, in each other or not.
func TestResolve(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	c := posix(t, r.Addr)
	c.ForwardAttributes, c.ListPosters = []string{"mailRoutingAddress"}, config.PostersMembers
	d := r.open(t, c)
	staff := directory.Resolution{
		Kind: directory.KindList, List: "staff", Posters: directory.Members, Address: address(t, "Staff@Example.com"),
		Targets: addresses(t, "ann@example.com", "bob@example.com", "joe@example.com"), // of senders, which has no address, too
	}
	round := directory.Resolution{
		Kind: directory.KindList, List: "round two", Posters: directory.Members, Address: address(t, "round@example.com"),
		Targets: addresses(t, "ann@example.com", "staff@example.com"), // of round one, which has round two in it
	}
	for _, want := range []directory.Resolution{
		{Kind: directory.KindUser, Address: address(t, "joe@example.com"), Login: "joe"},
		{Kind: directory.KindUser, Address: address(t, "JOE.doe@example.com"), Login: "joe"},
		{Kind: directory.KindAlias, Address: address(t, "moved@example.com"), Targets: addresses(t, "new@elsewhere.example")},
		staff, round,
	} {
		for range 2 { // asked, and remembered
			got, found, err := d.Resolve(t.Context(), want.Address)
			if diff := cmp.Diff(want, sorted(got)); err != nil || !found || diff != "" {
				t.Errorf("%s: %t, %v (-want +got):\n%s", want.Address, found, err, diff)
			}
		}
	}
	for _, nobody := range []string{"nobody@example.com", "joe@example.net", `"j*"@example.com`, `"*)(uid=*"@example.com`, `"joe\)\(mail=*"@example.com`, strings.Repeat("x", 64) + "@example.com"} {
		if got, found, err := d.Resolve(t.Context(), address(t, nobody)); found || err != nil {
			t.Errorf("%s: %+v, %v", nobody, got, err)
		}
	}
	apart := c
	apart.Base, apart.GroupBase = "ou=people,"+mailtest.SlapdSuffix, "ou=groups,"+mailtest.SlapdSuffix
	if got, _, err := r.open(t, apart).Resolve(t.Context(), staff.Address); err != nil || !cmp.Equal(staff, sorted(got)) {
		t.Errorf("groups below another base: %v\n%s", err, cmp.Diff(staff, sorted(got)))
	}
	if _, found, err := d.Resolve(t.Context(), address(t, "twin@example.com")); found || !errors.Is(err, errAmbiguous) {
		t.Errorf("two who have an address: %t, %v", found, err)
	}
	r.Stop()
	if _, found, err := d.Resolve(t.Context(), address(t, "ann@example.com")); found || err == nil {
		t.Errorf("down: %t, %v", found, err)
	}
	if _, found, err := d.Resolve(t.Context(), address(t, "joe@example.com")); !found || err != nil {
		t.Errorf("down, but remembered: %t, %v", found, err)
	}
}

// TestResolveActiveDirectory: by proxyAddresses, and members by their memberOf.
func TestResolveActiveDirectory(t *testing.T) {
	r := startDirectory(t, "active.ldif")
	c := posix(t, r.Addr)
	c.Schema, c.BindDN, c.ListPosters = config.LDAPActiveDirectory, "cn=postern,cn=Users,"+mailtest.SlapdSuffix, config.PostersAccounts
	d := r.open(t, c)
	for _, want := range []directory.Resolution{
		{Kind: directory.KindUser, Address: address(t, "joe@old.example.com"), Login: "joe"},
		{Kind: directory.KindUser, Address: address(t, "joe.doe@EXAMPLE.com"), Login: "joe"},
		{
			Kind: directory.KindList, List: "Mail Users", Posters: directory.Accounts, Address: address(t, "all@example.com"),
			Targets: addresses(t, "Joe.Doe@example.com", "later@example.com"),
		},
	} {
		got, found, err := d.Resolve(t.Context(), want.Address)
		if diff := cmp.Diff(want, sorted(got)); err != nil || !found || diff != "" {
			t.Errorf("%s: %t, %v (-want +got):\n%s", want.Address, found, err, diff)
		}
	}
	if _, found, err := d.Resolve(t.Context(), address(t, "joe@sip.example.com")); found || err != nil {
		t.Errorf("an address of another kind: %t, %v", found, err)
	}
}

// TestLargeGroup: members come page by page (RFC 2696), more than a server gives at
// once, and by either way: that of Active Directory, and by entryDN (RFC 5020).
func TestLargeGroup(t *testing.T) {
	const members = 1300
	entries, err := os.ReadFile("testdata/active.ldif")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.Write(entries)
	group := "\ndn: cn=many,cn=Users,dc=example,dc=com\nobjectClass: groupOfNames\nobjectClass: mailEnabled\ncn: many\nmail: many@example.com\nowner: cn=Later,cn=Users,dc=example,dc=com\n"
	for i := range members {
		dn := fmt.Sprintf("cn=m%d,cn=Users,dc=example,dc=com", i)
		fmt.Fprintf(&b, "\ndn: %s\nobjectClass: inetOrgPerson\nobjectClass: activeUser\ncn: m%d\nsn: m\nsAMAccountName: m%[2]d\nmail: m%[2]d@example.com\n", dn, i)
		group += "member: " + dn + "\n"
	}
	server, roots := mailtest.ServerTLS(t, "localhost")
	r := &running{Slapd: mailtest.StartSlapd(t, server, b.String()+group), roots: roots}
	c := posix(t, r.Addr)
	c.Schema, c.BindDN = config.LDAPActiveDirectory, "cn=postern,cn=Users,"+mailtest.SlapdSuffix
	byName := c
	byName.GroupFilter, byName.Schema, byName.AddressAttributes = "(member={dn})", config.LDAPRFC2307, []string{"mail"}
	for name, c := range map[string]config.LDAP{"memberOf": c, "entryDN": byName} {
		got, found, err := r.open(t, c).Resolve(t.Context(), address(t, "many@example.com"))
		if err != nil || !found || len(got.Targets) != members || got.Owner != address(t, "later@example.com") {
			t.Errorf("%s: %d members, owner %s, %t, %v", name, len(got.Targets), got.Owner, found, err)
		}
	}
}

// TestCertificate: asked for with the option of its attribute (RFC 4512 2.5.2), only the certificate that an entry has is its user's, whatever else
// names the user.
func TestCertificate(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	own, _ := mailtest.ServerTLS(t, "joe")
	other, _ := mailtest.ServerTLS(t, "joe")
	der := own.Certificates[0].Certificate[0]
	r.admin(t, func(l *ldap3.Conn) error {
		m := ldap3.NewModifyRequest("uid=joe"+people, nil)
		m.Add("userCertificate;binary", []string{string(der)})
		p := ldap3.NewModifyRequest("uid=past"+people, nil)
		p.Add("userCertificate;binary", []string{string(der)})
		return errors.Join(l.Modify(m), l.Modify(p))
	})
	c := posix(t, r.Addr)
	c.CertificateAttribute = "userCertificate;binary"
	d := r.open(t, c)
	print := func(der []byte) string { sum := sha256.Sum256(der); return hex.EncodeToString(sum[:]) }
	for _, s := range []struct {
		names []string
		print string
		want  error // nil: it is joe's
	}{
		{[]string{"nobody@example.com", "joe@example.com"}, print(der), nil},
		{[]string{"joe"}, strings.ToUpper(print(der)), nil},
		{[]string{"ann@example.com"}, print(der), auth.ErrUnknown},
		{[]string{"joe@example.com"}, print(other.Certificates[0].Certificate[0]), auth.ErrUnknown},
		{[]string{"joe@example.com"}, "", auth.ErrUnknown},
		{[]string{"staff@example.com", "@", "*", "j*@example.com"}, print(der), auth.ErrUnknown},
		{[]string{"a", "b", "c", "joe"}, print(der), nil},
		{[]string{"a", "b", "c", "d", "joe"}, print(der), auth.ErrUnknown},
		{nil, print(der), auth.ErrUnknown},
		{[]string{"past"}, print(der), auth.ErrInvalid},
	} {
		p, err := d.Certificate(t.Context(), mail.Certificate{Fingerprint: s.print, Names: s.names}, true)
		if !errors.Is(err, s.want) || s.want == auth.ErrInvalid && errors.Is(err, auth.ErrUnknown) || err == nil && p.Name != "joe" {
			t.Errorf("%q: %q, %v; want %v", s.names, p.Name, err, s.want)
		}
	}
	if _, err := d.Certificate(t.Context(), mail.Certificate{Fingerprint: print(der), Names: []string{"twin@example.com"}}, true); !isTemporary(err) {
		t.Errorf("two who have an address: %v", err)
	}
	if _, err := r.open(t, posix(t, r.Addr)).Certificate(t.Context(), mail.Certificate{Fingerprint: print(der), Names: []string{"joe"}}, true); !errors.Is(err, auth.ErrUnknown) {
		t.Errorf("without the setting: %v", err)
	}
}

// TestTry: what is told to whoever tries a directory.
func TestTry(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	down := posix(t, r.Addr, "127.0.0.1:1")
	d := r.open(t, down)
	got := d.Try(t.Context(), "joe@example.com", "")
	if !got.Failed() || got.Servers[0].Error != "" || got.Servers[0].TLS != "TLS 1.3" || got.Servers[1].Error == "" {
		t.Errorf("servers: %+v", got.Servers)
	}
	if got.User.Error == "" || got.Address.Login != "joe" || got.Address.Error != "" {
		t.Errorf("%+v, %+v", got.User, got.Address)
	}
	d = r.open(t, posix(t, r.Addr))
	for who, want := range map[string]string{"joe": "", "past": "expired", "twin": "several entries", "nobody": "no such entry"} {
		got := d.Try(t.Context(), who, "")
		if got.Failed() != (want != "") || !strings.Contains(got.User.Error, want) || got.Address != nil {
			t.Errorf("%s: %+v", who, got.User)
		}
	}
	if right, wrong := d.Try(t.Context(), "joe", "joes-pass"), d.Try(t.Context(), "joe", "other"); !right.User.Admitted || right.Failed() || wrong.User.Admitted || !wrong.Failed() {
		t.Errorf("with a password: %+v, %+v", right.User, wrong.User)
	}
	if got := d.Try(t.Context(), "", ""); got.Failed() || got.User != nil {
		t.Errorf("nobody: %+v", got)
	}
	wrong := posix(t, r.Addr)
	wrong.Base = "dc=example,dc=net"
	if got := r.open(t, wrong).Try(t.Context(), "", ""); !got.Failed() || !strings.Contains(got.Servers[0].Error, `base "dc=example,dc=net"`) {
		t.Errorf("a base that is not there: %+v", got.Servers)
	}
}
