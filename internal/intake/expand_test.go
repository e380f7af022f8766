package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"postern/internal/directory"
	"postern/internal/mail"
)

// people is a directory in which things lead to each other; more adds to it.
func people(t testing.TB, more ...any) *directory.Directory {
	t.Helper()
	d, err := directory.Open(t.Context(), directory.Options{Dir: t.TempDir(), Clock: mail.SystemClock{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	alias := func(address string, targets ...string) directory.Alias {
		return directory.Alias{Address: address, Targets: targets}
	}
	list := func(name, owner string, posters directory.Posters, entries ...string) directory.List {
		return directory.List{Name: name, Kind: directory.Distribution, Address: name + "@corp.example", Owner: owner, Posters: posters, Entries: entries}
	}
	records := []any{
		directory.Domain{Name: "corp.example"}, directory.Domain{Name: "gate.example"},
		directory.Domain{Name: "corp.org", AliasOf: "corp.example"}, directory.Domain{Name: "all.example"},
		directory.User{Login: "joe", Enabled: true, Addresses: []string{"joe@corp.example"}},
		directory.User{Login: "ann", Enabled: true, Addresses: []string{"ann@corp.example"}},
		alias("sales@corp.example", "joe@elsewhere.example"),
		alias("joe@corp.example", "joe@home.example"),
		alias("chain@corp.example", "sales@corp.org"),
		alias("two@corp.example", "sales@corp.example", "ann@far.example"),
		alias("twice@corp.example", "sales@corp.example", "chain@corp.example", "joe@elsewhere.example", "ann@far.example"),
		alias("some@corp.example", "nobody@corp.example", "ann@corp.example", "ann@far.example"),
		alias("none@corp.example", "nobody@corp.example"),
		alias("loop@corp.example", "loop2@corp.example"), alias("loop2@corp.example", "far@elsewhere.example", "loop@corp.example"),
		alias("self@corp.example", "self@corp.example", "x@elsewhere.example"),
		alias("@all.example", "all@elsewhere.example"), alias("one@all.example", "one@elsewhere.example"),
		alias("root@gate.example", "admin@elsewhere.example"),
		alias("postmaster@corp.example", "pm@elsewhere.example"),
		directory.Alias{Address: "mates@corp.example", Owner: "joe", Targets: []string{"pals@corp.example", "bob@far.example"}},
		directory.Alias{Address: "pals@corp.example", Owner: "joe", Targets: []string{"pal@far.example"}},
		directory.Alias{Address: "sales@corp.example", Owner: "ann", Targets: []string{"mine@far.example"}},
		list("staff", "boss@far.example", directory.Everybody, "joe@corp.example", "ann@far.example", "gone@corp.example"),
		list("club", "boss@far.example", directory.Members, "sales@corp.example", "ann@far.example"),
		list("inner", "boss@far.example", directory.Accounts, "ann@far.example"),
		list("plain", "", directory.Everybody, "ann@far.example", "bob@far.example"),
		list("big", "chief@far.example", directory.Everybody, "inner@corp.example", "bob@far.example", "ann@far.example"),
		list("empty", "boss@far.example", directory.Everybody),
		alias("tostaff@corp.example", "staff@corp.example"),
		alias("bothlists@corp.example", "plain@corp.example", "inner@corp.example"),
	}
	err = d.Change(t.Context(), "test", func(tx *directory.Tx) error {
		for _, r := range append(records, more...) {
			if err := put(tx, r); err != nil {
				return fmt.Errorf("%T: %w", r, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func put(tx *directory.Tx, record any) error {
	switch r := record.(type) {
	case directory.Domain:
		return tx.PutDomain(r)
	case directory.User:
		return tx.PutUser(r)
	case directory.Alias:
		return tx.PutAlias(r)
	case directory.List:
		return tx.PutList(r)
	}
	return errors.New("no record")
}

// hostOf is the host gate.example with a directory.
func hostOf(t testing.TB, d *directory.Directory) *Local {
	a, err := mail.ParseAddress("admin@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return &Local{Names: []string{"gate.example"}, Postmaster: a, Directory: d}
}

// expansionText writes an expansion, or the reply.
func expansionText(x *Expansion, err error) string {
	switch {
	case err != nil:
		r := mail.ReplyOf(err)
		return fmt.Sprintf("%d %s", r.Code, r.Enhanced)
	case x == nil:
		return "itself"
	}
	var parts []string
	for _, m := range x.Members {
		text := m.Address.String()
		if !m.Owner.IsNull() {
			text += " for " + m.Owner.String()
		}
		parts = append(parts, text)
	}
	for _, m := range x.Unknown {
		parts = append(parts, "not "+m.Address.String())
	}
	if x.List != "" {
		parts = append(parts, "list "+x.List)
	}
	if x.Single() {
		parts = append(parts, "single")
	}
	return strings.Join(parts, ", ")
}

// TestExpand: for whom addresses stand, and what comes of records that are wrong.
func TestExpand(t *testing.T) {
	local := hostOf(t, people(t))
	connected := netip.MustParseAddrPort("198.51.100.7:25")
	const boss = " for boss@far.example"
	for _, c := range []struct {
		to, from, account string
		want              string
	}{
		{to: "x@elsewhere.example", want: "itself"},
		{to: "joe@far.example", want: "itself"},
		{to: "sales@corp.example", want: "joe@elsewhere.example, single"},
		{to: "SALES@Corp.Example", want: "joe@elsewhere.example, single"},
		{to: `"sales"@corp.example`, want: "joe@elsewhere.example, single"},
		{to: "sales@corp.org", want: "joe@elsewhere.example, single"},
		{to: "chain@corp.example", want: "joe@elsewhere.example, single"},
		{to: "joe@corp.example", want: "joe@home.example, single"}, // a user with a forward
		{to: "ann@corp.example", want: "550 5.1.1"},                // without one there is no mailbox
		{to: "nobody@corp.example", want: "550 5.1.1"},
		{to: "sales@corp.example.org", want: "itself"},
		{to: "two@corp.example", want: "joe@elsewhere.example, ann@far.example"},
		{to: "twice@corp.example", want: "joe@elsewhere.example, ann@far.example"},
		{to: "some@corp.example", want: "ann@far.example, not nobody@corp.example, not ann@corp.example"},
		{to: "none@corp.example", want: "550 5.1.1"},
		{to: "loop@corp.example", want: "451 4.4.6"},
		{to: "self@corp.example", want: "451 4.4.6"},
		{to: "any@all.example", want: "all@elsewhere.example, single"},
		{to: "one@all.example", want: "one@elsewhere.example, single"},
		// The host itself, in whatever words.
		{to: "root@gate.example", want: "admin@elsewhere.example, single"},
		{to: "root@localhost", want: "admin@elsewhere.example, single"},
		{to: "root@[198.51.100.7]", want: "admin@elsewhere.example, single"},
		{to: "root@[127.0.0.1]", want: "admin@elsewhere.example, single"},
		// The postmaster is always somebody, and not whoever gets all else.
		{to: "postmaster", want: "admin@example.com, single"},
		{to: "postmaster@gate.example", want: "admin@example.com, single"},
		{to: "Postmaster@all.example", want: "admin@example.com, single"},
		{to: "postmaster@corp.example", want: "pm@elsewhere.example, single"},
		// Personal aliases.
		{to: "mates@corp.example", want: "550 5.1.1"},
		{to: "mates@corp.example", account: "joe", want: "pal@far.example, bob@far.example"},
		{to: "mates@corp.example", account: "ann", want: "550 5.1.1"},
		{to: "sales@corp.example", account: "ann", want: "mine@far.example, single"},
		{to: "two@corp.example", account: "ann", want: "joe@elsewhere.example, ann@far.example"}, // another's alias does not change
		// Lists.
		{to: "staff@corp.example", want: "ann@far.example" + boss + ", joe@home.example" + boss + ", not gone@corp.example, list staff"},
		{to: "tostaff@corp.example", want: "ann@far.example" + boss + ", joe@home.example" + boss + ", not gone@corp.example, list staff"},
		{to: "staff@corp.example", from: "<>", want: "ann@far.example, joe@home.example, not gone@corp.example"},
		{to: "plain@corp.example", want: "ann@far.example, bob@far.example"},
		{to: "empty@corp.example", want: "550 5.1.1"},
		// Each list has its own owner; who is on both gets it for each.
		{to: "big@corp.example", want: "ann@far.example for chief@far.example, bob@far.example for chief@far.example, ann@far.example" + boss + ", list big"},
		{to: "club@corp.example", want: "550 5.7.1"},
		{to: "club@corp.example", from: "Ann@FAR.example", want: "ann@far.example" + boss + ", joe@elsewhere.example" + boss + ", list club"},
		{to: "club@corp.example", from: "sales@corp.example", want: "ann@far.example" + boss + ", joe@elsewhere.example" + boss + ", list club"},
		{to: "club@corp.example", from: "joe@elsewhere.example", want: "ann@far.example" + boss + ", joe@elsewhere.example" + boss + ", list club"},
		{to: "club@corp.example", from: "<>", want: "550 5.7.1"},
		{to: "inner@corp.example", want: "550 5.7.1"},
		{to: "inner@corp.example", account: "joe", want: "ann@far.example" + boss + ", list inner"},
		{to: "bothlists@corp.example", want: "550 5.7.1"},
	} {
		by := Sending{Origin: &mail.Origin{Local: connected}, From: mail.Address{Local: "x", Domain: "sender.example"}}
		switch c.from {
		case "":
		case "<>":
			by.From = mail.Address{}
		default:
			by.From = address(t, c.from)
		}
		if c.account != "" {
			by.Origin.Account = &mail.Account{Name: c.account, Source: "directory", Mechanism: "PLAIN"}
		}
		x, err := local.Expand(t.Context(), address(t, c.to), by)
		if got := expansionText(x, err); got != c.want {
			t.Errorf("%s from %s (account %q): %s, want %s", c.to, c.from, c.account, got, c.want)
		}
	}
	// Who is known elsewhere by the same name is not the user of the directory.
	other := Sending{Origin: &mail.Origin{Account: &mail.Account{Name: "joe", Source: "ldap"}}}
	if x, err := local.Expand(t.Context(), address(t, "mates@corp.example"), other); err == nil {
		t.Errorf("another joe has the personal aliases of joe: %v", x)
	}
}

// TestExpandIsBounded: neither long ways, nor many members, nor ways that branch and
// meet again can keep it at work.
func TestExpandIsBounded(t *testing.T) {
	var more []any
	chain := func(name string, n int) {
		for i := range n {
			to := fmt.Sprintf("%s%d@corp.example", name, i+1)
			if i == n-1 {
				to = "end@far.example"
			}
			more = append(more, directory.Alias{Address: fmt.Sprintf("%s%d@corp.example", name, i), Targets: []string{to}})
		}
	}
	chain("ten", maxDepth)
	chain("eleven", maxDepth+1)
	// Each of ten levels has ten aliases, and each of these stands for all of the next.
	for level := range maxDepth {
		for i := range 10 {
			a := directory.Alias{Address: fmt.Sprintf("net%d-%d@corp.example", level, i)}
			for j := range 10 {
				to := fmt.Sprintf("net%d-%d@corp.example", level+1, j)
				if level == maxDepth-1 {
					to = fmt.Sprintf("end%d@far.example", j)
				}
				a.Targets = append(a.Targets, to)
			}
			more = append(more, a)
		}
	}
	entries := make([]string, maxMembers)
	for i := range entries {
		entries[i] = fmt.Sprintf("m%d@far.example", i)
	}
	more = append(more, directory.List{Name: "full", Kind: directory.Distribution, Address: "full@corp.example", Owner: "boss@far.example", Posters: directory.Everybody, Entries: entries},
		directory.Alias{Address: "over@corp.example", Targets: []string{"full@corp.example", "one@far.example"}})
	counting := &counted{Directory: people(t, more...)}
	local := hostOf(t, nil)
	local.Directory = counting
	for to, want := range map[string]string{
		"ten0": "1", "eleven0": "451 4.4.6", "net0-0": "10", "full": "10000", "over": "451 4.3.5",
	} {
		counting.asked = 0
		x, err := local.Expand(t.Context(), address(t, to+"@corp.example"), Sending{})
		got := expansionText(x, err)
		if err == nil {
			got = fmt.Sprint(len(x.Members))
		}
		if got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
		if counting.asked > 1200 { // 91 aliases of ten targets, of which each is looked up
			t.Errorf("%s: the directory is asked %d times", to, counting.asked)
		}
	}
}

// counted counts how often a directory is asked.
type counted struct {
	Directory
	asked int
}

func (c *counted) ResolveFor(login string, a mail.Address) (directory.Resolution, bool) {
	c.asked++
	return c.Directory.ResolveFor(login, a)
}

// source is another directory, which may be down.
type source struct {
	down error
	has  map[string]string
}

func (s *source) Resolve(_ context.Context, a mail.Address) (directory.Resolution, bool, error) {
	if s.down != nil {
		return directory.Resolution{}, false, s.down
	}
	to, found := s.has[a.String()]
	if !found {
		return directory.Resolution{}, false, nil
	}
	target, err := mail.ParseAddress(to)
	return directory.Resolution{Kind: directory.KindAlias, Address: a, Targets: []mail.Address{target}}, true, err
}

// TestSources: another source is asked about those whom the directory does not name.
// While it cannot tell, nobody is unknown.
func TestSources(t *testing.T) {
	local := hostOf(t, people(t))
	first, second := &source{has: map[string]string{"max@all.example": "max@far.example", "sales@corp.example": "wrong@far.example", "max@gate.example": "max@far.example"}},
		&source{has: map[string]string{"max@all.example": "wrong@far.example", "eva@all.example": "eva@far.example"}}
	local.Sources = []Source{first, second}
	ask := func(to string) string {
		x, err := local.Expand(t.Context(), address(t, to), Sending{})
		if err != nil && first.down != nil && !errors.Is(err, first.down) {
			t.Errorf("the cause is lost: %v", err)
		}
		return expansionText(x, err)
	}
	for _, c := range []struct{ to, up, down string }{
		{"max@all.example", "max@far.example, single", "451 4.4.3"},
		{"eva@all.example", "eva@far.example, single", "451 4.4.3"},
		{"any@all.example", "all@elsewhere.example, single", "451 4.4.3"},
		{"nobody@corp.example", "550 5.1.1", "451 4.4.3"},
		{"some@corp.example", "ann@far.example, not nobody@corp.example, not ann@corp.example", "451 4.4.3"},
		{"sales@corp.example", "joe@elsewhere.example, single", "joe@elsewhere.example, single"},
		{"max@localhost", "max@far.example, single", "451 4.4.3"},
		{"postmaster@all.example", "admin@example.com, single", "admin@example.com, single"},
		{"x@elsewhere.example", "itself", "itself"},
	} {
		first.down = nil
		if got := ask(c.to); got != c.up {
			t.Errorf("%s: %s, want %s", c.to, got, c.up)
		}
		first.down = errors.New("no answer")
		if got := ask(c.to); got != c.down {
			t.Errorf("%s with a source that is down: %s, want %s", c.to, got, c.down)
		}
	}
	// The server's own mail goes to the postmaster then.
	if to := local.Leads(address(t, "eva@all.example")); len(to) != 1 || to[0].String() != "admin@example.com" {
		t.Errorf("it leads to %v", to)
	}
}

// TestLeads: where the mail of the server itself goes. Nobody asks it whether it may
// post.
func TestLeads(t *testing.T) {
	local := hostOf(t, people(t))
	for to, want := range map[string]string{
		"x@elsewhere.example": "[x@elsewhere.example]", "sales@corp.example": "[joe@elsewhere.example]", "nobody@corp.example": "[]",
		"inner@corp.example": "[ann@far.example]", "two@corp.example": "[joe@elsewhere.example ann@far.example]", "loop@corp.example": "[admin@example.com]",
	} {
		if got := fmt.Sprint(local.Leads(address(t, to))); got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
	// A postmaster who is himself in the directory.
	local.Postmaster = address(t, "sales@corp.example")
	if got := fmt.Sprint(local.Leads(address(t, "postmaster"))); got != "[joe@elsewhere.example]" {
		t.Error(got)
	}
	local.Postmaster = address(t, "nobody@corp.example")
	if x, err := local.Expand(t.Context(), mail.Address{Local: "postmaster"}, Sending{}); mail.ReplyOf(err).Code != 451 {
		t.Errorf("a postmaster who is nobody: %v, %v", x, err)
	}
}

// TestPostmasters: a domain may have a postmaster of its own, also one that is not of this
// host otherwise. One that is its own is nobody's business here; where the domain is of this
// host, nobody is led in a circle.
func TestPostmasters(t *testing.T) {
	local := hostOf(t, people(t))
	local.Postmasters = func(domain string) mail.Address {
		return map[string]mail.Address{
			"acme.example": address(t, "boss@acme.example"), "own.example": address(t, "postmaster@own.example"),
			"corp.example": address(t, "boss@far.example"), "all.example": address(t, "postmaster@all.example"),
			"gate.example": address(t, "postmaster@acme.example"), "nowhere.example": address(t, "nobody@corp.example"),
		}[domain]
	}
	for to, want := range map[string]string{
		"postmaster@acme.example": "boss@acme.example, single", "boss@acme.example": "itself", "PostMaster@acme.example": "boss@acme.example, single",
		"postmaster@own.example": "itself", "joe@own.example": "itself", "postmaster@other.example": "itself",
		"postmaster@corp.example": "pm@elsewhere.example, single", // as the directory has it
		"postmaster@all.example":  "admin@example.com, single",
		"postmaster@gate.example": "boss@acme.example, single", "postmaster": "admin@example.com, single",
		"postmaster@nowhere.example": "451 4.3.5",
	} {
		x, err := local.Expand(t.Context(), address(t, to), Sending{})
		if got := expansionText(x, err); got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
}

// TestReports: a stranger who names a list as the sender of what cannot be delivered does
// not reach its members by the report, in which his message is.
func TestReports(t *testing.T) {
	closed := func(name, owner string) directory.List {
		return directory.List{Name: name, Kind: directory.Distribution, Address: name + "@corp.example", Owner: owner, Posters: directory.Accounts, Entries: []string{"ann@far.example"}}
	}
	local := hostOf(t, people(t, closed("orphan", ""), closed("circle", "circle@corp.example"),
		directory.Alias{Address: "toinner@corp.example", Targets: []string{"inner@corp.example", "ann@corp.example", "joe@corp.example"}}))
	for to, want := range map[string]string{
		"x@elsewhere.example": "[x@elsewhere.example]", "two@corp.example": "[joe@elsewhere.example ann@far.example]", "nobody@corp.example": "[]",
		"inner@corp.example": "[boss@far.example]", "staff@corp.example": "[boss@far.example]", "toinner@corp.example": "[boss@far.example joe@home.example]",
		"plain@corp.example":  "[ann@far.example bob@far.example]", // to which anybody may post
		"orphan@corp.example": "[admin@example.com]", "circle@corp.example": "[admin@example.com]",
	} {
		if got := fmt.Sprint(local.Reports(address(t, to))); got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
}

// graph is a directory of aliases alone.
type graph map[string][]string

func (graph) IsLocal(domain string) bool { return domain == "corp.example" }

func (g graph) ResolveFor(_ string, a mail.Address) (directory.Resolution, bool) {
	targets, found := g[a.String()]
	r := directory.Resolution{Kind: directory.KindAlias, Address: a}
	for _, t := range targets {
		to, err := mail.ParseAddress(t)
		if err != nil {
			return r, false
		}
		r.Targets = append(r.Targets, to)
	}
	return r, found
}

// ends collects where ways from an alias end; it reports whether one comes back.
func (g graph) ends(at string, way map[string]bool, ends map[string]bool) (circle bool) {
	targets, is := g[at]
	switch {
	case way[at]:
		return true
	case !is:
		ends[at] = true
		return false
	}
	way[at] = true
	defer delete(way, at)
	for _, t := range targets {
		if g.ends(t, way, ends) {
			return true
		}
	}
	return false
}

// TestExpandOfRandomAliases: whatever aliases there are, those who get the mail are those
// at the ends of all ways, each once; unless a way comes back.
func TestExpandOfRandomAliases(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		g := graph{}
		const nodes = maxDepth - 1 // so that no way is too long
		for i := range nodes {
			var to []string
			for range 1 + r.IntN(3) {
				switch n := r.IntN(12); {
				case n < 6 && i+1 < nodes:
					to = append(to, fmt.Sprintf("a%d@corp.example", i+1+r.IntN(nodes-i-1)))
				case n == 6 && seed%3 == 0:
					to = append(to, fmt.Sprintf("a%d@corp.example", r.IntN(nodes)))
				case n == 7:
					to = append(to, fmt.Sprintf("nobody%d@corp.example", r.IntN(3)))
				default:
					to = append(to, fmt.Sprintf("x%d@far.example", r.IntN(5)))
				}
			}
			g[fmt.Sprintf("a%d@corp.example", i)] = to
		}
		local := hostOf(t, nil)
		local.Directory = g
		x, err := local.Expand(t.Context(), address(t, "a0@corp.example"), Sending{})
		ends := map[string]bool{}
		want, got := "circle", "circle"
		if !g.ends("a0@corp.example", map[string]bool{}, ends) {
			want = fmt.Sprint(slices.Sorted(maps.Keys(ends)))
		}
		switch {
		case errors.Is(err, errLoop):
		case errors.Is(err, errUnknownUser):
			if got = want; strings.Contains(want, "far.example") {
				got = "nobody"
			}
		case err != nil:
			got = err.Error()
		default:
			var all []string
			for _, m := range slices.Concat(x.Members, x.Unknown) {
				all = append(all, m.Address.String())
			}
			slices.Sort(all)
			got = fmt.Sprint(all)
		}
		if got != want {
			t.Fatalf("seed %d: %s, want %s\n%v", seed, got, want, g)
		}
		seen[map[bool]string{true: "circle", false: "ends"}[want == "circle"]]++
	}
	if seen["circle"] < 50 || seen["ends"] < 50 {
		t.Errorf("%v: too few to show anything", seen)
	}
}

// TestTakenBySender: a route that takes local addresses in the mail of some senders sees the
// sender that the mail will have: the owner of the list on which the address is, or the one
// that policy gives it. At the attempt it sees no other.
func TestTakenBySender(t *testing.T) {
	local := hostOf(t, people(t))
	local.Elsewhere = func(r mail.Routing, known bool) bool {
		return r.To.Local == "joe" && r.From.String() == "boss@far.example"
	}
	boss, other := address(t, "boss@far.example"), address(t, "x@sender.example")
	for _, c := range []struct {
		to      string
		from    mail.Address
		instead *mail.Address
		want    string
	}{
		{"joe@corp.example", other, nil, "joe@home.example, single"},
		{"joe@corp.example", boss, nil, "joe@corp.example, single"},
		{"joe@corp.example", boss, &other, "joe@home.example, single"},
		{"joe@corp.example", other, &boss, "joe@corp.example, single"},
		{"staff@corp.example", other, nil, "ann@far.example for boss@far.example, joe@corp.example for boss@far.example, not gone@corp.example, list staff"},
	} {
		x, err := local.Expand(t.Context(), address(t, c.to), Sending{From: c.from, Instead: c.instead})
		if got := expansionText(x, err); got != c.want {
			t.Errorf("%s from %s instead %v: %s, want %s", c.to, c.from, c.instead, got, c.want)
		}
	}
}
