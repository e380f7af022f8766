package route

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/config"
	"postern/internal/lists"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

func texts(list ...string) []config.Text {
	var texts []config.Text
	for _, s := range list {
		texts = append(texts, config.Text{Text: s})
	}
	return texts
}

// book opens lists that have these texts in files, by "name kind".
func book(t *testing.T, files map[string]string) *lists.Book {
	t.Helper()
	dir := t.TempDir()
	var configs []config.List
	for name, text := range files {
		name, kind, _ := strings.Cut(name, " ")
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		configs = append(configs, config.List{Name: name, Kind: lists.Kind(kind), File: file})
	}
	b, err := lists.Open(configs, lists.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var address = mailtest.Address

func routeNamed(c config.Route, name string) config.Route {
	c.Name, c.Place = name, mail.Place{File: "postern.toml", Line: len(name)}
	return c
}

// rulesOfTest have a route of each kind, in an order that matters.
func rulesOfTest(t *testing.T) *Rules {
	t.Helper()
	rules, err := NewRules(RulesOptions{
		Lists: book(t, map[string]string{"partners domains": "partner.test\n.partner.test\n", "staff addresses": "boss@here.test\n"}),
		Maps:  book(t, map[string]string{"mapped ways": "joe@map.test way1\nmap.test relay.test:587\n.map.test smtp:[r.test]\n"}),
		Routes: []config.Route{
			routeNamed(config.Route{Recipients: texts("*@bank.test"), Transport: config.Text{Text: "bank"}, NeverBypass: true}, "bank"),
			routeNamed(config.Route{Senders: texts("*@us.test"), Recipients: texts("*@bulk.test"), Transport: config.Text{Text: "us-bulk"}}, "both"),
			routeNamed(config.Route{Senders: texts("*@us.test", "<>"), Transport: config.Text{Text: "us"}, Otherwise: texts("backup", "mx")}, "from-us"),
			routeNamed(config.Route{Recipients: texts("list:partners", "list:staff"), Transport: config.Text{Text: "partners"}}, "lists"),
			routeNamed(config.Route{Accounts: texts("app-*"), Transport: config.Text{Text: "apps"}}, "accounts"),
			routeNamed(config.Route{Listeners: texts("batch"), Tags: texts("bulk", "slow"), Transport: config.Text{Text: "slow"}}, "tagged"),
			routeNamed(config.Route{Map: "mapped", Otherwise: texts("backup")}, "mapped"),
			routeNamed(config.Route{Recipients: texts("*@here.test"), OnlyUnknown: true, Transport: config.Text{Text: "split"}}, "split"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func here(a mail.Address) bool { return mail.SameDomain(a.Domain, "here.test") }

func TestChoose(t *testing.T) {
	table := NewTable(TableOptions{Rules: rulesOfTest(t), IsLocal: here, OfUser: func(login string) mail.RouteKey {
		return map[string]mail.RouteKey{"ann": "ann"}[login]
	}})
	account := func(source, name string) *mail.Account { return &mail.Account{Source: source, Name: name} }
	for _, c := range []struct {
		from, to string
		r        mail.Routing
		want     mail.Destination
	}{
		{"a@x.test", "b@other.test", mail.Routing{}, "other.test"},
		{"a@x.test", "B@BANK.test", mail.Routing{}, "bank.test/~bank"},
		{"a@us.test", "b@bank.test", mail.Routing{}, "bank.test/~bank"},
		{"a@us.test", "b@bulk.test", mail.Routing{}, "bulk.test/~us-bulk"},
		{"a@x.test", "b@bulk.test", mail.Routing{}, "bulk.test"},
		{"a@US.test", "b@other.test", mail.Routing{}, "other.test/~us+backup+mx"},
		{"", "b@other.test", mail.Routing{}, "other.test/~us+backup+mx"},
		{"a@us.test", "b@partner.test", mail.Routing{}, "partner.test/~us+backup+mx"},
		{"a@x.test", "b@partner.test", mail.Routing{}, "partner.test/~partners"},
		{"a@x.test", "b@sub.partner.test", mail.Routing{}, "sub.partner.test/~partners"},
		{"a@x.test", "boss@here.test", mail.Routing{}, "here.test/~partners"},
		{"a@x.test", "b@other.test", mail.Routing{Account: account("directory", "App-1")}, "other.test/~apps"},
		{"a@x.test", "b@other.test", mail.Routing{Account: account("oidc", "app-1")}, "other.test/~apps"},
		{"a@x.test", "b@other.test", mail.Routing{Account: account("directory", "ann")}, "other.test/~ann"},
		{"a@x.test", "b@other.test", mail.Routing{Account: account("oidc", "ann")}, "other.test"},
		{"a@x.test", "b@partner.test", mail.Routing{Account: account("directory", "ann")}, "partner.test/~partners"},
		{"a@x.test", "b@other.test", mail.Routing{Listener: "batch", Tags: []string{"x", "slow"}}, "other.test/~slow"},
		{"a@x.test", "b@other.test", mail.Routing{Listener: "batch", Tags: []string{"x"}}, "other.test"},
		{"a@x.test", "b@other.test", mail.Routing{Listener: "in", Tags: []string{"slow"}}, "other.test"},
		{"a@x.test", "JOE@map.test", mail.Routing{}, "map.test/~way1+backup"},
		{"a@x.test", "jim@map.test", mail.Routing{}, "map.test/~relay.test:587+backup"},
		{"a@x.test", "jim@a.b.map.test", mail.Routing{}, "a.b.map.test/~r.test:25+backup"},
		{"a@x.test", "any@here.test", mail.Routing{}, "here.test/~split"},
		// What names no recipients is no reason to take mail for here elsewhere.
		{"a@us.test", "any@here.test", mail.Routing{}, "here.test/~split"},
		{"a@x.test", "b@bank.test", mail.Routing{Account: account("directory", "ann")}, "bank.test/~bank"},
	} {
		c.r.From, c.r.To = address(t, c.from), address(t, c.to)
		if got := table.Choose(c.r, c.r.To.Destination()); got != c.want {
			t.Errorf("%s to %s, %+v: %q, want %q", c.from, c.to, c.r, got, c.want)
		}
	}
	// What routes chose before goes where they choose now; what somebody chose stays, but where
	// a route must never be gone round.
	for _, c := range []struct {
		from, to string
		at, want mail.Destination
	}{
		{"a@x.test", "b@other.test", "other.test/~us", "other.test"},
		{"a@us.test", "b@other.test", "other.test", "other.test/~us+backup+mx"},
		{"a@x.test", "b@other.test", "other.test/mine", "other.test/mine"},
		{"a@us.test", "b@other.test", "other.test/a.test:25", "other.test/a.test:25"},
		{"a@us.test", "b@other.test", "another.test", "another.test"},
		{"a@x.test", "b@bank.test", "bank.test/a.test:25", "bank.test/~bank"},
		{"a@x.test", "b@bank.test", "another.test", "bank.test/~bank"},
		{"a@x.test", "b@bank.test", "another.test/bank", "bank.test/~bank"},
		{"a@x.test", "b@bank.test", "bank.test/bank", "bank.test/bank"},
	} {
		r := mail.Routing{From: address(t, c.from), To: address(t, c.to)}
		if got := table.Choose(r, c.at); got != c.want {
			t.Errorf("%s to %s at %s: %q, want %q", c.from, c.to, c.at, got, c.want)
		}
	}
}

// TestTableChanges: what a choice asks, and nothing else, counts.
func TestTableChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "map")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.test mx\n")
	clock := mail.NewManualClock(time.Now().Add(time.Hour)) // no file is fresh
	maps, err := lists.Open([]config.List{{Name: "m", Kind: lists.Ways, File: file}}, lists.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	named := book(t, map[string]string{"partners domains": "partner.test\n", "others domains": "other.test\n"})
	rules, err := NewRules(RulesOptions{Maps: maps, Lists: named, Routes: []config.Route{
		{Name: "m", Map: file}, {Name: "n", Recipients: texts("list:partners"), Senders: texts("list:partners"), Transport: config.Text{Text: "mx"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	records := uint64(7)
	table := NewTable(TableOptions{Rules: rules, Changes: func() uint64 { return records }})
	if len(rules.asked) != 2 || table.Changes() != 7 {
		t.Errorf("%d lists, %d changes", len(rules.asked), table.Changes())
	}
	write("a.test n\n")
	maps.Look()
	if n := table.Changes(); n != 8 {
		t.Errorf("%d after the map has changed", n)
	}
	if records++; table.Changes() != 9 {
		t.Errorf("%d after the directory has changed", table.Changes())
	}
}

// TestTake: which mail for addresses of this host goes elsewhere.
func TestTake(t *testing.T) {
	rules := rulesOfTest(t)
	for _, c := range []struct {
		from, to       string
		known, unknown bool
	}{
		{"a@x.test", "any@here.test", false, true},
		{"a@x.test", "boss@here.test", true, true},
		{"a@x.test", "any@map.test", true, true}, // if that were local
		{"a@us.test", "any@other.test", false, false},
	} {
		r := mail.Routing{From: address(t, c.from), To: address(t, c.to)}
		if known, unknown := rules.Take(r, true), rules.Take(r, false); known != c.known || unknown != c.unknown {
			t.Errorf("%s to %s: known %v, unknown %v; want %v, %v", c.from, c.to, known, unknown, c.known, c.unknown)
		}
	}
}

// TestEverybodyOfAMap: the line of a map that is for everybody does not mean those of this host.
func TestEverybodyOfAMap(t *testing.T) {
	rules, err := NewRules(RulesOptions{Maps: book(t, map[string]string{"all ways": "* all\nkept@here.test kept\n"}), Routes: []config.Route{{Name: "all", Map: "all"}}})
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]bool{"kept@here.test": true, "other@here.test": false} {
		if got := rules.Take(mail.Routing{To: address(t, to)}, true); got != want {
			t.Errorf("%s is taken away: %v", to, got)
		}
	}
	table := NewTable(TableOptions{Rules: rules, IsLocal: here})
	if got := table.Choose(mail.Routing{To: address(t, "a@x.test")}, "x.test"); got != "x.test/~all" {
		t.Errorf("everybody else goes to %s", got)
	}
}

// TestPassed: of each route that is not taken it is told why.
func TestPassed(t *testing.T) {
	rules := rulesOfTest(t)
	var got []string
	r := mail.Routing{From: address(t, "a@x.test"), To: address(t, "joe@map.test"), Listener: "in"}
	rule, way, at := rules.first(&asked{Routing: &r}, func(p Passed) { got = append(got, fmt.Sprintf("%s at %d: %s", p.Route, p.At.Line, p.Why)) })
	want := []string{
		"bank at 4: " + missRecipient, "both at 4: " + missSender, "from-us at 7: " + missSender, "lists at 5: " + missRecipient,
		"accounts at 8: " + missNobody, "tagged at 6: " + missListener,
	}
	if diff := cmp.Diff(want, got); diff != "" || rule.name != "mapped" || way != "way1+backup" || at.Line != 1 || filepath.Base(at.File) != "mapped" {
		t.Errorf("%s by %s at %s (-want +got):\n%s", rule.name, way, at, diff)
	}
	got = nil
	r = mail.Routing{To: address(t, "x@other.test"), From: address(t, "a@x.test"), Listener: "batch", Account: &mail.Account{Name: "x"}}
	if rule, _, _ := rules.first(&asked{Routing: &r}, func(p Passed) { got = append(got, p.Why) }); rule != nil {
		t.Errorf("%s is taken", rule.name)
	}
	want = []string{missRecipient, missSender, missSender, missRecipient, missAccount, missTag, missMap, missKnown}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got = nil
	r = mail.Routing{To: address(t, "x@here.test"), From: address(t, "a@us.test")}
	rules.first(&asked{Routing: &r, local: true, known: true}, func(p Passed) { got = append(got, p.Why) })
	want = []string{missRecipient, missRecipient, missHere, missRecipient, missHere, missHere, missMap, missKnown}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("of somebody here (-want +got):\n%s", diff)
	}
}

func TestWrongRules(t *testing.T) {
	at := mail.Place{File: "postern.toml", Line: 3, Column: 5}
	text := func(s string) []config.Text { return []config.Text{{Text: s, Place: at}} }
	b := book(t, map[string]string{"nets networks": "192.0.2.0/24\n", "partners domains": "a.test\n"})
	for _, c := range []struct {
		route config.Route
		want  string
	}{
		{config.Route{Recipients: text("partner.test")}, `postern.toml:3:5: route.recipients: matches no address: it has neither @ nor * (write "*@partner.test" for all at a domain)`},
		{config.Route{Senders: text("list:partnes")}, `postern.toml:3:5: route.senders: there is no list "partnes" (did you mean partners?)`},
		{config.Route{Senders: text("list:nets")}, `postern.toml:3:5: route.senders: the list "nets" is one of networks (name one of addresses or domains or patterns)`},
		{config.Route{Recipients: text("*@bü*.test")}, `postern.toml:3:5: route.recipients: "*@bü*.test" has a * in a label that is not ASCII: in DNS it has another form (write the whole label, or a "*" in its place)`},
	} {
		_, err := NewRules(RulesOptions{Routes: []config.Route{c.route}, Lists: b, Maps: b})
		if err == nil || err.Error() != c.want {
			t.Errorf("\n got %v\nwant %s", err, c.want)
		}
	}
	if _, err := NearDomains("routing.near", text("*@a.test"), b); err == nil || !strings.HasPrefix(err.Error(), "postern.toml:3:5: routing.near:") {
		t.Error("near:", err)
	}
	near, err := NearDomains("routing.near", texts("a.test", ".b.test", "list:partners"), b)
	if err != nil {
		t.Fatal(err)
	}
	for domain, want := range map[string]bool{"A.test": true, "x.a.test": false, "x.y.b.test": true, "b.test": false, "c.test": false} {
		if _, is := near(domain); is != want {
			t.Errorf("%s is near: %v", domain, is)
		}
	}
}

// words of which random rules and mail are made: few, so that they often meet.
var (
	someAddresses = []string{"a@one.test", "b@one.test", "a@two.test", "c@sub.two.test", "boss@here.test", "any@here.test"}
	somePatterns  = []string{"*@one.test", "a@*", "*@*.two.test", "c@sub.two.test", "*", "*@here.test"}
	someWords     = []string{"x", "y"}
)

func some(r *rand.Rand, of []string) []config.Text {
	var list []string
	for _, s := range of {
		if r.IntN(4) == 0 {
			list = append(list, s)
		}
	}
	return texts(list...)
}

func one(r *rand.Rand, of []string) string { return of[r.IntN(len(of))] }

// fitsPlainly is what a rule means, said as plainly as can be.
func fitsPlainly(c *config.Route, q *mail.Routing, local bool) bool {
	like := func(list []config.Text, text string) bool {
		for _, t := range list {
			if mail.Like(t.Text, text) {
				return true
			}
		}
		return len(list) == 0
	}
	is := func(list []config.Text, words ...string) bool {
		for _, t := range list {
			for _, w := range words {
				if t.Text == w {
					return true
				}
			}
		}
		return len(list) == 0
	}
	account := ""
	if q.Account != nil {
		account = q.Account.Name
	}
	return like(c.Recipients, q.To.String()) && like(c.Senders, q.From.String()) && is(c.Listeners, q.Listener) && is(c.Tags, q.Tags...) &&
		(len(c.Accounts) == 0 || account != "" && like(c.Accounts, account)) &&
		(!c.OnlyUnknown || local) && (!local || c.OnlyUnknown || len(c.Recipients) > 0)
}

// asAsked is the order of the routes: those of nobody's addresses come last.
func asAsked(routes []config.Route) []int {
	var first, last []int
	for i := range routes {
		if routes[i].OnlyUnknown {
			last = append(last, i)
		} else {
			first = append(first, i)
		}
	}
	return append(first, last...)
}

// wantTaken wants an address of this host that RCPT lets a route take, from somebody or
// from nobody, to go by a route: an attempt, which does not know who is here, must not find
// none, and for somebody who is here not one of nobody's addresses.
func wantTaken(t *testing.T, table *Table, rules *Rules, q mail.Routing) {
	t.Helper()
	q.Tags = nil
	if !here(q.To) {
		return
	}
	for _, known := range []bool{false, true} {
		if !rules.Take(q, known) {
			continue
		}
		own := q.To.Destination()
		_, by := table.choose(&q, own, nil)
		if by.rule == nil || known && by.rule.onlyUnknown {
			t.Fatalf("%+v, known %v, is taken, and goes by %+v", q, known, by.rule)
		}
	}
}

// TestRandomRules compares what is chosen with what the rules mean, for rules and mail
// that are made at random.
func TestRandomRules(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ways := make(map[mail.RouteKey]int)
	for range 300 {
		var routes []config.Route
		for i := range 1 + r.IntN(5) {
			routes = append(routes, config.Route{
				Name: fmt.Sprint("r", i), Transport: config.Text{Text: fmt.Sprint("t", i)}, Recipients: some(r, somePatterns), Senders: some(r, somePatterns),
				Accounts: some(r, someWords), Listeners: some(r, someWords), Tags: some(r, someWords), OnlyUnknown: r.IntN(4) == 0, NeverBypass: r.IntN(3) == 0,
			})
		}
		rules, err := NewRules(RulesOptions{Routes: routes})
		if err != nil {
			t.Fatal(err)
		}
		table := NewTable(TableOptions{Rules: rules, IsLocal: here})
		for range 20 {
			q := mail.Routing{From: address(t, one(r, someAddresses)), To: address(t, one(r, someAddresses)), Listener: one(r, someWords)}
			at := q.To.Destination().Via(mail.RouteKey(one(r, []string{"", "p", "t0", "~t1"})))
			if r.IntN(2) == 0 {
				q.Account = &mail.Account{Name: one(r, someWords)}
			}
			if r.IntN(2) == 0 {
				q.Tags = []string{one(r, someWords)}
			}
			want := at
			if !at.Route().Pinned() {
				want = q.To.Destination()
			}
			for _, i := range asAsked(routes) {
				if !fitsPlainly(&routes[i], &q, here(q.To)) {
					continue
				}
				if key := mail.RouteKey(fmt.Sprint("t", i)); !at.Route().Pinned() || routes[i].NeverBypass && key != at.Route() {
					want = q.To.Destination().Via(key.ByRoutes())
				}
				break
			}
			if got := table.Choose(q, at); got != want {
				t.Fatalf("%+v at %s\nby %+v: %q, want %q", q, at, routes, got, want)
			}
			if e := table.Explain(q, at); e.Destination != want || e.Why == "" {
				t.Fatalf("%+v at %s: explained by %+v, want %s", q, at, e, want)
			}
			ways[want.Route()]++
			wantTaken(t, table, rules, q)
		}
	}
	if len(ways) < 7 {
		t.Errorf("only these came up: %v", ways)
	}
}

// TestChooseAllocates: without routes a choice costs nothing.
func TestChooseAllocates(t *testing.T) {
	table := NewTable(TableOptions{IsLocal: here})
	r := mail.Routing{From: address(t, "a@x.test"), To: address(t, "b@y.test"), Account: &mail.Account{Source: "oidc", Name: "x"}}
	if n := testing.AllocsPerRun(100, func() { table.Choose(r, "y.test") }); n > 0 {
		t.Errorf("%g allocations", n)
	}
}

func TestUnknownWays(t *testing.T) {
	table := NewTable(TableOptions{Transports: map[string]Transport{"a": fixed{Name: "a"}}})
	for _, key := range []mail.RouteKey{"~a+gone", "~gone+a", "~a+"} {
		_, err := table.Route(t.Context(), Question{Destination: mail.Destination("x.test").Via(key)})
		if e, ok := errors.AsType[*mail.Error](err); !ok || e.Reply != errBadKey.Reply {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestExplain: what is told is who chose, where that is written, and what is passed over.
func TestExplain(t *testing.T) {
	table := NewTable(TableOptions{
		Rules: rulesOfTest(t), IsLocal: here, OfUser: func(string) mail.RouteKey { return "ann" },
		Otherwise: &General{Direct: fixed{}, Mailhub: fixed{}, IsLocal: func(domain string) bool { return domain == "gone.test" }},
	})
	ann := &mail.Account{Source: "directory", Name: "ann"}
	for _, c := range []struct {
		r      mail.Routing
		at     mail.Destination
		want   string
		passed int
	}{
		{mail.Routing{To: address(t, "b@bank.test")}, "bank.test", "bank.test/~bank by bank at postern.toml:4 never: the route bank, which is never gone round", 0},
		{mail.Routing{To: address(t, "b@partner.test"), From: address(t, "a@x.test")}, "partner.test", "partner.test/~partners by lists at postern.toml:5: the route lists", 3},
		{mail.Routing{To: address(t, "b@y.test"), From: address(t, "a@x.test"), Account: ann}, "y.test", "y.test/~ann: the own route of the user ann", 8},
		{mail.Routing{To: address(t, "b@y.test"), From: address(t, "a@x.test"), Account: ann}, "y.test/mine", "y.test/mine: chosen by policy or a person", 8},
		{mail.Routing{To: address(t, "b@y.test"), From: address(t, "a@x.test")}, "y.test", "y.test: the mailhub gets all other mail", 8},
		{mail.Routing{To: address(t, "b@gone.test"), From: address(t, "a@x.test")}, "gone.test", "gone.test: nowhere: the domain is one of this server, and no route is for the address", 8},
	} {
		e := table.Explain(c.r, c.at)
		got := string(e.Destination)
		if e.Route != "" {
			got += " by " + e.Route + " at " + e.At.String()
		}
		if e.NeverBypass {
			got += " never"
		}
		if got += ": " + e.Why; got != c.want || len(e.Passed) != c.passed {
			t.Errorf("%s, %d passed over; want %s, %d", got, len(e.Passed), c.want, c.passed)
		}
	}
}

func TestBound(t *testing.T) {
	table := NewTable(TableOptions{Rules: rulesOfTest(t), IsLocal: here})
	const why = "the route bank (postern.toml:4) has never_bypass, and leads to bank"
	for to, want := range map[mail.Destination]string{
		"bank.test": "", "bank.test/bank": "", "bank.test/other": why, "other.test": why, "bank.test/a.test:25": why, "other.test/bank": why,
	} {
		if got := table.Bound(mail.Routing{To: address(t, "b@bank.test")}, to); got != want {
			t.Errorf("to %s: %q, want %q", to, got, want)
		}
	}
	if why := table.Bound(mail.Routing{To: address(t, "b@partner.test"), From: address(t, "a@x.test")}, "other.test"); why != "" {
		t.Error("what is not never_bypass:", why)
	}
}
