package directory

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	testHash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g"
	// The values of RFC 5803, separated as Postgres does.
	testSCRAM = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVkc3RvcmVkc3RvcmVkc3RvcmVkc3RvcmU=:c2VydmVyc2VydmVyc2VydmVyc2VydmVyc2VydmU="
)

// opened is a Directory of a test, with its clock and how to open it again.
type opened struct {
	*Directory
	t     *testing.T
	clock *mail.ManualClock
	dir   string
	url   string // of PostgreSQL, if that has it
}

func newDirectory(t *testing.T) *opened {
	o := &opened{t: t, clock: mail.NewManualClock(start), dir: filepath.Join(t.TempDir(), "directory")}
	if url := os.Getenv(postgresURL); url != "" {
		o.url = inSchema(t, url)
	}
	o.open()
	t.Cleanup(func() { o.Close() })
	return o
}

func (o *opened) open() {
	o.t.Helper()
	options := Options{Dir: o.dir, Clock: o.clock}
	var err error
	if o.url != "" {
		o.Directory, err = open(o.t.Context(), options, postgres(o.url))
	} else {
		o.Directory, err = Open(o.t.Context(), options)
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// reopen closes and opens it, so that all is read from the disk.
func (o *opened) reopen() {
	o.t.Helper()
	if err := o.Close(); err != nil {
		o.t.Fatal(err)
	}
	o.open()
}

func (o *opened) change(fn func(tx *Tx) error) {
	o.t.Helper()
	if err := o.Change(o.t.Context(), "ann", fn); err != nil {
		o.t.Fatal(err)
	}
}

// refused wants a change to fail with a problem of a field whose text has a part.
func (o *opened) refused(field, part string, fn func(tx *Tx) error) {
	o.t.Helper()
	err := o.Change(o.t.Context(), "ann", fn)
	for _, p := range ProblemsOf(err) {
		if p.Field == field && strings.Contains(p.Error(), part) {
			return
		}
	}
	o.t.Errorf("got %v, want a problem of field %q with %q", err, field, part)
}

func (o *opened) texts() []string {
	o.t.Helper()
	facts, err := o.NextFacts(o.t.Context(), 0, 1000)
	if err != nil {
		o.t.Fatal(err)
	}
	var texts []string
	for _, f := range facts {
		texts = append(texts, f.Text)
	}
	return texts
}

// putAll returns a change that creates records.
func putAll(records ...any) func(tx *Tx) error {
	return func(tx *Tx) error {
		for _, r := range records {
			if err := putOne(tx, r); err != nil {
				return err
			}
		}
		return nil
	}
}

func putOne(tx *Tx, record any) error {
	switch r := record.(type) {
	case User:
		return tx.PutUser(r)
	case Domain:
		return tx.PutDomain(r)
	case Alias:
		return tx.PutAlias(r)
	case List:
		return tx.PutList(r)
	case Ban:
		return tx.PutBan(r)
	case Credential:
		return tx.PutCredential(r)
	}
	return errors.New("not a record")
}

var mustAddress = mailtest.Address

// fullUser has a value in each field, the language as a tag of RFC 5646.
func fullUser() User {
	return User{
		Login: "joe", Password: testHash, SCRAM: testSCRAM, Enabled: true, Expires: start.Add(24 * time.Hour),
		Services:  mail.Services{Submit: true, Relay: true},
		Addresses: []string{"joe@example.com", "*@sales.example.com"}, Delegates: []string{"ann"},
		Limits:   mail.AccountLimits{MessagesPerHour: 10, RecipientsPerDay: 20, MaxSize: 30},
		Language: "de", Route: "partners", Class: "bulk", Groups: []string{"Staff", "Sales, all"},
		Networks:     []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")},
		Certificates: []string{"sha256:" + strings.Repeat("ab", 32), "dns:app.example.com", "email:joe@example.com"},
		Note:         "on loan",
	}
}

// What was recorded is found at once, and after the directory was opened again.
func TestRecordsStay(t *testing.T) {
	o := newDirectory(t)
	joe, ann := fullUser(), User{Login: "ann", Enabled: true, Addresses: []string{"ann@example.com"}}
	list := List{Name: "staff", Kind: Distribution, Address: "staff@example.com", Owner: "Boss@Other.example", Posters: Members, Entries: []string{"ann@example.com", "joe@example.com"}}
	networks := List{Name: "printers", Kind: Networks, Entries: []string{"192.0.2.7", "198.51.100.0/24"}}
	ban := Ban{Subject: "address:192.0.2.0/24", Since: start, Until: start.Add(time.Hour), Reason: "guesses", Count: 2}
	alias := Alias{Address: "sales@example.com", Targets: []string{"joe@example.com", "Ann@other.example"}}
	personal := Alias{Address: "mates@example.com", Owner: "joe", Targets: []string{"kim@other.example"}}
	o.change(putAll(Domain{Name: "example.com"}, Domain{Name: "example.net", AliasOf: "example.com"}, joe, ann, alias, personal, list, networks, ban))

	joe.Created, joe.Changed, ann.Created, ann.Changed = start, start, start, start
	list.Owner = "Boss@other.example"
	for _, when := range []string{"at once", "after it was opened again"} {
		want := func(what string, got, want any) {
			t.Helper()
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("%s, %s: -want +got:\n%s", what, when, diff)
			}
		}
		for _, u := range []User{joe, ann} {
			got, _ := o.User(strings.ToUpper(u.Login))
			want("user", got, u)
		}
		want("domains", o.Domains(), []Domain{{Name: "example.com"}, {Name: "example.net", AliasOf: "example.com"}})
		got, _ := o.Alias("", "Sales@Example.COM")
		want("alias", got, alias)
		got, _ = o.Alias("Joe", "mates@example.com")
		want("personal alias", got, personal)
		want("lists", o.Lists(), []List{networks, list})
		want("bans", o.Bans(), []Ban{ban})
		want("routes", o.Routes(), map[string]int{"partners": 1})
		want("counts", o.Counts(), Counts{Users: 2, Domains: 2, Aliases: 2, Lists: 2, Bans: 1})
		o.reopen()
	}
}

// A record that is removed is found no more, and nothing that led to it.
func TestRemove(t *testing.T) {
	o := newDirectory(t)
	joe := fullUser()
	joe.Delegates = nil
	o.change(putAll(Domain{Name: "example.com"}, joe,
		Alias{Address: "sales@example.com", Targets: []string{"joe@example.com"}},
		Alias{Address: "mates@example.com", Owner: "joe", Targets: []string{"kim@other.example"}},
		List{Name: "staff", Kind: Distribution, Address: "staff@example.com", Entries: []string{"joe@example.com"}},
		Ban{Subject: "account:joe", Since: start}))
	o.change(func(tx *Tx) error {
		return errors.Join(tx.DeleteUser("JOE"), tx.DeleteAlias("", "sales@example.com"), tx.DeleteList("Staff"), tx.DeleteBan("account:Joe"), tx.DeleteDomain("EXAMPLE.com"))
	})
	for range 2 {
		if got := o.Counts(); got != (Counts{}) {
			t.Errorf("left over: %+v", got)
		}
		if got := o.Routes(); len(got) > 0 {
			t.Errorf("left over are the routes %v", got)
		}
		if u, found := o.UserByAddress(netip.MustParseAddr("192.0.2.1")); found {
			t.Errorf("found %v by address", u)
		}
		if u, found := o.UserByCertificate(mail.Certificate{Fingerprint: strings.Repeat("ab", 32)}, false); found {
			t.Errorf("found %v by certificate", u)
		}
		if login, found := o.UserAt(mustAddress(t, "joe@example.com")); found {
			t.Errorf("found %v by its own address", login)
		}
		if o.IsLocal("example.com") {
			t.Error("the domain is still local")
		}
		o.reopen()
	}
	for what, remove := range map[string]func(tx *Tx) error{
		"user":   func(tx *Tx) error { return tx.DeleteUser("joe") },
		"domain": func(tx *Tx) error { return tx.DeleteDomain("example.com") },
		"alias":  func(tx *Tx) error { return tx.DeleteAlias("joe", "mates@example.com") },
		"list":   func(tx *Tx) error { return tx.DeleteList("staff") },
		"ban":    func(tx *Tx) error { return tx.DeleteBan("account:joe") },
	} {
		if err := o.Change(t.Context(), "ann", remove); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: removed again: %v, want ErrNotFound", what, err)
		}
	}
}

// Nothing of a change that fails is found, and no fact tells of it.
func TestChangeIsWhole(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(Domain{Name: "example.com"}))
	told := o.texts()
	broken := errors.New("broken")
	err := o.Change(t.Context(), "ann", func(tx *Tx) error {
		if err := putAll(User{Login: "joe"}, Domain{Name: "example.org"})(tx); err != nil {
			return err
		}
		if _, found := tx.User("joe"); !found {
			t.Error("the change does not see what it has changed")
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	o.refused("targets", "none", putAll(User{Login: "kim"}, Alias{Address: "a@example.com"}))
	o.refused("address", "not a local domain", putAll(User{Login: "kim"}, Alias{Address: "a@example.org", Targets: []string{"b@example.com"}}))
	for range 2 {
		if got, want := o.Counts(), (Counts{Domains: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if diff := cmp.Diff(told, o.texts()); diff != "" {
			t.Errorf("facts: -want +got:\n%s", diff)
		}
		o.reopen()
	}
}

// Each record that is changed has a fact with who, before and after, and no secret in it.
func TestFacts(t *testing.T) {
	o := newDirectory(t)
	joe := fullUser()
	joe.Delegates = nil
	o.change(putAll(Domain{Name: "example.com"}, joe))
	joe.Enabled, joe.Password, joe.SCRAM, joe.Note = false, strings.Replace(testHash, "c2FsdA", "dGVzdA", 1)+"x", "", "left"
	o.change(putAll(joe, List{Name: "l", Kind: Domains, Entries: []string{"a.example", "b.example"}}))
	o.change(putAll(joe)) // changes nothing
	o.change(func(tx *Tx) error {
		return errors.Join(tx.AddEntries("l", "c.example"), tx.RemoveEntries("l", "a.example"), tx.DeleteUser("joe"))
	})
	facts, err := o.NextFacts(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for i, f := range facts {
		texts = append(texts, f.Text)
		if f.N != uint64(i+1) || f.Source != Source || f.Actor != "ann" || f.Reason != mail.ReasonDirectory || !f.Time.Equal(start) {
			t.Errorf("fact %d: %+v", i, f)
		}
		if strings.Contains(f.Text, "argon2") || strings.Contains(f.Text, "SCRAM-") {
			t.Errorf("fact %d tells a secret: %s", i, f.Text)
		}
	}
	want := []string{
		"domain example.com: created",
		"user joe: created; password set; scram set; enabled true; expires 2026-03-02T12:00:00Z; services submit relay; addresses joe@example.com *@sales.example.com; messages_per_hour 10; recipients_per_day 20; max_size 30; language de; groups Staff, \"Sales, all\"; networks 192.0.2.0/24 2001:db8::/64; certificates sha256:" + strings.Repeat("ab", 32) + " dns:app.example.com email:joe@example.com; route partners; class bulk; note on loan",
		"user joe: password changed; scram removed; enabled true -> false; note on loan -> left",
		"list l: created; kind domains; 2 entries added: a.example b.example",
		"list l: 1 entries added: c.example",
		"list l: 1 entries removed: a.example",
	}
	if diff := cmp.Diff(want, texts[:len(want)]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if last := texts[len(texts)-1]; len(texts) != len(want)+1 || !strings.HasPrefix(last, "user joe: removed; password set; enabled false;") {
		t.Errorf("last of %d: %s", len(texts), last)
	}
}

// Facts are numbered in their order, and no number is used again.
func TestFactNumbers(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(Domain{Name: "a.example"}, Domain{Name: "b.example"}))
	select {
	case <-o.FactsWake():
	default:
		t.Error("nobody was woken")
	}
	if err := o.ForgetFacts(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	o.reopen()
	o.change(putAll(Domain{Name: "c.example"}))
	if err := o.ForgetFacts(t.Context(), 100); err != nil { // the journal knows more than the database
		t.Fatal(err)
	}
	o.change(putAll(Domain{Name: "d.example"}))
	facts, err := o.NextFacts(t.Context(), 0, 10)
	if err != nil || len(facts) != 1 || facts[0].N != 101 || facts[0].Text != "domain d.example: created" {
		t.Errorf("got %+v, %v", facts, err)
	}
}

func TestOnlyOneProcess(t *testing.T) {
	o := newDirectory(t)
	if d, err := Open(context.Background(), Options{Dir: o.dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, %v, want ErrLocked", d, err)
	}
}

func TestClosed(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(Domain{Name: "a.example"}))
	if err := errors.Join(o.Close(), o.Close()); err != nil {
		t.Fatal(err)
	}
	if err := o.Change(t.Context(), "ann", putAll(Domain{Name: "b.example"})); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if !o.IsLocal("a.example") {
		t.Error("a look-up finds nothing")
	}
}

// What is read at one time is what there was at that time, whatever is changed meanwhile.
func TestReadIsOneTime(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(User{Login: "a"}, User{Login: "b"}, User{Login: "c"}))
	logins := func(r *Reader, after string) (list []string) {
		users, err := r.Users(after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range users {
			list = append(list, u.Login)
		}
		return list
	}
	read := func(during func()) (list []string) {
		if err := o.Read(t.Context(), func(r *Reader) error {
			list = logins(r, "")
			during()
			list = append(list, logins(r, "b")...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return list
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, read(func() {
		o.change(func(tx *Tx) error { return errors.Join(tx.DeleteUser("c"), tx.PutUser(User{Login: "d"})) })
	})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "d"}, read(func() {})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Whoever watches is told of each change, when look-ups find it.
func TestWatch(t *testing.T) {
	o := newDirectory(t)
	var told []Key
	stop := o.Watch(func(changed []Key) {
		told = append(told, changed...)
		if _, found := o.User("joe"); !found {
			t.Error("what is told of is not found")
		}
	})
	o.change(putAll(User{Login: "Joe"}, Domain{Name: "example.com"}))
	o.change(putAll(User{Login: "joe"})) // changes nothing
	stop()
	o.change(putAll(User{Login: "ann"}))
	if diff := cmp.Diff([]Key{{Kind: KindUser, Name: "joe"}, {Kind: KindDomain, Name: "example.com"}}, told); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestRoutingChanges: what routes ask counts, wherever it is changed, and nothing else does.
func TestRoutingChanges(t *testing.T) {
	o := newDirectory(t)
	many := make([]any, largeChange)
	for i := range many {
		many[i] = User{Login: fmt.Sprint("u", i)}
	}
	for _, c := range []struct {
		name   string
		change func(*Tx) error
		counts bool
	}{
		{"a user without a route", putAll(User{Login: "joe"}), false},
		{"a route", putAll(User{Login: "joe", Route: "us"}), true},
		{"something else of the user", putAll(User{Login: "joe", Route: "us", Note: "x"}), false},
		{"another user with a route", putAll(User{Login: "ann", Route: "us"}), true},
		{"another route", putAll(User{Login: "joe", Route: "partners"}), true},
		{"no route", putAll(User{Login: "joe"}), true},
		{"the user goes", func(tx *Tx) error { return tx.DeleteUser("joe") }, false},
		{"one with a route goes", func(tx *Tx) error { return tx.DeleteUser("ann") }, true},
		{"a domain", putAll(Domain{Name: "example.com"}), true},
		{"an alias", putAll(Alias{Address: "a@example.com", Targets: []string{"b@example.org"}}), false},
		{"many without a route", putAll(many...), false},
		{"many, one of them with", putAll(append(many[1:], User{Login: "u0", Note: "y", Route: "us"})...), true},
	} {
		before := o.RoutingChanges()
		o.change(c.change)
		if counts := o.RoutingChanges() != before; counts != c.counts {
			t.Errorf("%s: counts: %v", c.name, counts)
		}
	}
}

// A change that reads like none is one.
func TestGroupsWithComma(t *testing.T) {
	o := newDirectory(t)
	for _, groups := range [][]string{{"staff, admins"}, {"staff", "admins"}, {`"staff, admins"`}, {"staff, admins"}} {
		o.change(putAll(User{Login: "joe", Groups: groups}))
		if u, _ := o.User("joe"); !slices.Equal(u.Groups, groups) {
			t.Errorf("it has %q, not %q", u.Groups, groups)
		}
	}
}
