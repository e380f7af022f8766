package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChanged(t *testing.T) {
	const rule = "\n[[handler]]\nat = \"rcpt\"\nsteps = [\"accept\"]\n"
	const second = "\n[[listener]]\nname = \"second\"\naddress = \"127.0.0.1:2526\"\n"
	for _, c := range []struct {
		name, before, after string
		want                []string
	}{
		{"nothing", minimal, "# a comment\n" + minimal, nil},
		{"a default, written", minimal, minimal + "max_errors = 20\n", nil},
		{"a setting of a table", minimal, minimal + "[log]\nlevel = \"debug\"\n", []string{`log.level: "info" is now "debug"`}},
		{"a list", minimal, strings.Replace(minimal, "\n\n", "\nown_addresses = [\"192.0.2.1\"]\n\n", 1), []string{`own_addresses: [] is now ["192.0.2.1"]`}},
		{"of a listener", minimal + second, minimal + second + "max_errors = 3\n", []string{"listener.max_errors of second: 20 is now 3"}},
		{"a listener more", minimal, minimal + second, []string{`listener of second: new, "127.0.0.1:2526"`}},
		{"a listener less", minimal + second, minimal, []string{`listener of second: gone, was "127.0.0.1:2526"`}},
		{"a handler more", minimal, minimal + rule, []string{`handler of handler at postern.toml:9: new, "rcpt"`}},
		{"of a handler", minimal + rule, minimal + strings.Replace(rule, `["accept"]`, `["accept", { log = "x" }]`, 1),
			[]string{`handler.steps of handler at postern.toml:9: ["accept"] is now ["accept", { log = "x" }]`}},
		{"another name", minimal, minimal + "name = \"in\"\n", []string{`listener of in: new, "127.0.0.1:2525"`, `listener of smtp: gone, was "127.0.0.1:2525"`}},
	} {
		var got []string
		for _, change := range Changed(load(t, c.before), load(t, c.after)) {
			got = append(got, change.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestEveryChangeIsSeen(t *testing.T) {
	before := Default()
	before.Listeners = []Listener{DefaultListener()}
	before.Listeners[0].Name = "in"
	before.Handlers = []Handler{*defaultFields().handler}
	before.Handlers[0].Name = "rule"
	before.Lists = []List{{Name: "partners"}}
	before.BlockLists = []BlockList{*defaultFields().blockList}
	before.BlockLists[0].Name = "BL"
	before.Filters = []Filter{*defaultFields().filter}
	before.Filters[0].Name = "scripts"
	before.Rates = []Rate{*defaultFields().rate}
	before.Rates[0].Name = "per-client"
	before.Certificates = []Certificate{{Name: "files"}, {Name: "authority"}}
	before.OIDC = []OIDC{*defaultFields().oidc}
	before.OIDC[0].Name = "company"
	before.HTTPAuth = []HTTPAuth{*defaultFields().httpAuth}
	before.HTTPAuth[0].Name = "intranet"
	before.LDAP = []LDAP{*defaultFields().ldap}
	before.LDAP[0].Name = "corp"
	before.Transports = []Transport{*defaultFields().transport, *defaultFields().transport}
	before.Transports[0].Name, before.Transports[1].Name = "partners", "relays"
	before.TLSDomains = []TLSDomains{*defaultFields().tls, *defaultFields().tls}
	before.TLSDomains[0].Domains, before.TLSDomains[1].Domains = []string{"partner.example"}, []string{"other.example"}
	before.Transports = append(before.Transports, *defaultFields().transport)
	before.Transports[2].Name = "hubs"
	before.Transports = append(before.Transports, *defaultFields().transport)
	before.Transports[3].Name = "slow"
	before.Targets = []Target{*defaultFields().target}
	before.Targets[0].Pool, before.Targets[0].Address, before.Targets[0].Port = "hubs", netip.MustParseAddr("192.0.2.25"), 2525
	identity := []string{"target.pool", "target.address", "target.mx", "target.port"} // another is another target
	before.Routes = []Route{*defaultFields().route, *defaultFields().route}
	before.Routes[0].Name, before.Routes[1].Name = "split", "mapped"
	before.Companies = []Company{*defaultFields().company}
	before.Companies[0].Name = "acme"
	after := load(t, everything)
	after.Routing.Mailhub = Text{Text: "relays"} // which cannot be set beside smarthosts
	seen := make(map[string]Effect)
	for _, change := range Changed(before, after) {
		seen[change.Key] = change.Effect
	}
	for i := range settings {
		s := &settings[i]
		if s.key != "version" && !strings.HasSuffix(s.key, ".name") && !slices.Contains(identity, s.key) && seen[s.key] != s.effect {
			t.Errorf("%s: seen with effect %q, want %q", s.key, seen[s.key], s.effect)
		}
	}
}

func TestKeepUntilRestart(t *testing.T) {
	running, next := load(t, minimal), load(t, everything)
	KeepUntilRestart(running, next)
	if next.DataDir != running.DataDir || next.Socket() != running.Socket() || next.Log.Format != running.Log.Format {
		t.Errorf("data_dir %s, socket %s, log format %s", next.DataDir, next.Socket(), next.Log.Format)
	}
	for _, change := range Changed(running, next) {
		if change.Effect == AtRestart {
			t.Errorf("still changed: %s", change)
		}
	}
	if next.Hostname != "relay.example.net" || len(next.Listeners) != 2 || next.Journal == running.Journal {
		t.Error("what a reload can change was kept too")
	}
}
