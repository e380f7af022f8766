package directory

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern/internal/mail"
)

func TestResolve(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(
		Domain{Name: "example.com"}, Domain{Name: "xn--bcher-kva.example", AliasOf: "example.com"}, Domain{Name: "all.example"},
		User{Login: "joe", Addresses: []string{"joe@example.com", "sales@example.com"}},
		User{Login: "kim@example.com"},
		User{Login: "lea", Addresses: []string{"*@all.example", "lea@example.com"}},
		Alias{Address: "sales@example.com", Targets: []string{"joe@example.com", "Ann@other.example"}},
		Alias{Address: "joe@all.example", Targets: []string{"joe@example.com"}},
		Alias{Address: "@all.example", Targets: []string{"kim@example.com"}},
		Alias{Address: "mates@example.com", Owner: "joe", Targets: []string{"lea@other.example"}},
		Alias{Address: "sales@example.com", Owner: "joe", Targets: []string{"me@other.example"}},
		List{Name: "staff", Kind: Distribution, Address: "staff@example.com", Owner: "boss@example.com", Posters: Accounts, Entries: []string{"joe@example.com"}},
	))
	addresses := func(list ...string) (all []mail.Address) {
		for _, s := range list {
			all = append(all, mustAddress(t, s))
		}
		return all
	}
	at := func(s string) mail.Address { return mustAddress(t, s) }
	for _, test := range []struct {
		login, address string
		want           *Resolution
	}{
		{"", "joe@example.com", &Resolution{Kind: KindUser, Address: at("joe@example.com"), Login: "joe"}},
		{"", "JOE@EXAMPLE.com", &Resolution{Kind: KindUser, Address: at("joe@example.com"), Login: "joe"}},
		{"", "joe@Bücher.example", &Resolution{Kind: KindUser, Address: at("joe@example.com"), Login: "joe"}},
		{"", "kim@example.com", &Resolution{Kind: KindUser, Address: at("kim@example.com"), Login: "kim@example.com"}},
		{"", "sales@example.com", &Resolution{Kind: KindAlias, Address: at("sales@example.com"), Targets: addresses("joe@example.com", "Ann@other.example")}},
		{"Joe", "sales@xn--bcher-kva.example", &Resolution{Kind: KindAlias, Address: at("sales@example.com"), Targets: addresses("me@other.example"), Personal: true}},
		{"joe", "mates@example.com", &Resolution{Kind: KindAlias, Address: at("mates@example.com"), Targets: addresses("lea@other.example"), Personal: true}},
		{"joe", "staff@example.com", &Resolution{Kind: KindList, Address: at("staff@example.com"), List: "staff", Owner: at("boss@example.com"), Posters: Accounts, Targets: addresses("joe@example.com")}},
		{"", "joe@all.example", &Resolution{Kind: KindAlias, Address: at("joe@all.example"), Targets: addresses("joe@example.com")}},
		{"", "anybody@all.example", &Resolution{Kind: KindAlias, Address: at("anybody@all.example"), Targets: addresses("kim@example.com"), CatchAll: true}},
		{"", "mates@example.com", nil},
		{"kim@example.com", "mates@example.com", nil},
		{"", "lea@example.com", nil},
		{"", "joe@example.org", nil},
		{"", "postmaster", nil},
	} {
		got, found := o.ResolveFor(test.login, at(test.address))
		if test.want == nil {
			if found {
				t.Errorf("%q, %s: got %+v, want nothing", test.login, test.address, got)
			}
			continue
		}
		if diff := cmp.Diff(*test.want, got, cmpopts.EquateEmpty()); !found || diff != "" {
			t.Errorf("%q, %s: found %v; -want +got:\n%s", test.login, test.address, found, diff)
		}
	}
	if login, found := o.UserAt(at("joe@BÜCHER.example")); !found || login != "joe" {
		t.Errorf("UserAt: got %q, %v", login, found)
	}
}

// A client is known by the smallest network, or by what its certificate says; by the names
// in it only if it was verified; and only as a user that may be used.
func TestKnownWithoutPassword(t *testing.T) {
	o := newDirectory(t)
	networks := func(s ...string) (list []netip.Prefix) {
		for _, s := range s {
			list = append(list, netip.MustParsePrefix(s))
		}
		return list
	}
	print := strings.Repeat("ab", 32)
	o.change(putAll(
		User{Login: "wide", Enabled: true, Networks: networks("192.0.0.0/16", "2001:db8::/32")},
		User{Login: "narrow", Enabled: true, Networks: networks("192.0.2.0/24"), Certificates: []string{"sha256:" + strings.ToUpper(print), "email:App@example.com"}},
		User{Login: "off", Networks: networks("192.0.2.1/32"), Certificates: []string{"dns:off.example"}},
		User{Login: "late", Enabled: true, Expires: start.Add(time.Hour), Networks: networks("198.51.100.0/24")},
	))
	address := func(ip string) string {
		u, _ := o.UserByAddress(netip.MustParseAddr(ip))
		return u.Login
	}
	certificate := func(verified bool, fingerprint string, names ...string) string {
		u, _ := o.UserByCertificate(mail.Certificate{Fingerprint: fingerprint, Names: names}, verified)
		return u.Login
	}
	for _, test := range [][3]string{
		{"192.0.2.7", address("192.0.2.7"), "narrow"},
		{"IPv4 in IPv6", address("::ffff:192.0.2.7"), "narrow"},
		{"192.0.3.7", address("192.0.3.7"), "wide"},
		{"one that is off is not passed over", address("192.0.2.1"), ""},
		{"2001:db8::1", address("2001:db8:1::1"), "wide"},
		{"nobody's", address("203.0.113.1"), ""},
		{"before it expires", address("198.51.100.1"), "late"},
		{"fingerprint", certificate(false, print), "narrow"},
		{"another fingerprint", certificate(true, strings.Repeat("cd", 32)), ""},
		{"name, not verified", certificate(false, "", "app@example.com"), ""},
		{"name", certificate(true, "", "other.example", "app@EXAMPLE.com"), "narrow"},
		{"name of one that is off", certificate(true, "", "off.example"), "off"},
		{"another name is of one that is not", certificate(true, "", "off.example", "app@example.com"), "narrow"},
	} {
		if test[1] != test[2] {
			t.Errorf("%s: got %q, want %q", test[0], test[1], test[2])
		}
	}
	o.clock.Advance(time.Hour)
	if got := address("198.51.100.1"); got != "" {
		t.Errorf("after it has expired: got %q", got)
	}
}

func TestPrincipal(t *testing.T) {
	o := newDirectory(t)
	joe := fullUser()
	o.change(putAll(joe, User{Login: "ann", Addresses: []string{"ann@example.com", "sales@example.com"}}, User{Login: "kim@example.com", Delegates: []string{"ann"}}, User{Login: "lea"}))
	got := o.Principal(joe)
	want := mail.Principal{
		Account: mail.Account{Name: "joe", Source: "directory"}, Services: joe.Services, Groups: joe.Groups, Limits: joe.Limits, Language: "de", Route: "partners", Class: "bulk",
		Addresses: []string{"*@sales.example.com", "ann@example.com", "joe@example.com", "sales@example.com"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for login, want := range map[string][]string{"kim@example.com": {"ann@example.com", "kim@example.com", "sales@example.com"}, "lea": nil} {
		u, _ := o.User(login)
		if diff := cmp.Diff(want, o.Principal(u).Addresses); diff != "" {
			t.Errorf("%s: -want +got:\n%s", login, diff)
		}
	}
}
