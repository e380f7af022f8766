package daemon

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"postern/internal/blocklist"
	"postern/internal/config"
	"postern/internal/container"
	"postern/internal/journal"
	"postern/internal/lists"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/policy"
	"postern/internal/smtp"
)

// The engine asks a Book of lists as it is.
var _ policy.Lists = (*lists.Book)(nil)

// listed is a configuration with a list, and its file.
func listed(t *testing.T, text string) (*config.Config, string) {
	t.Helper()
	c := settings(t, nowhere)
	file := filepath.Join(t.TempDir(), "partners")
	put(t, file, text)
	c.Lists = []config.List{{Name: "partners", Kind: config.ListDomains, File: file}}
	return c, file
}

// put replaces a file by another one.
func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// journalOf returns the journal of a server that has ended, a line a fact.
func journalOf(t *testing.T, c *config.Config) string {
	t.Helper()
	var lines strings.Builder
	err := journal.Read(t.Context(), filepath.Join(c.DataDir, "journal"), journal.Query{}, func(f mail.Fact) error {
		fmt.Fprintf(&lines, "%s: %s\n", f.Reason, f.Text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines.String()
}

// TestListChanges: the file of a list is watched; a wrong one keeps the list, and is
// told in log, journal, status and metrics, once.
func TestListChanges(t *testing.T) {
	c, file := listed(t, "a.example\n")
	r := start(t, c)
	r.inForce().lists.Look()
	put(t, file, "a.example\nb.example\n")
	r.inForce().lists.Look()
	put(t, file, "x y\n")
	for range 3 {
		r.inForce().lists.Look()
	}
	g := r.inForce()
	if !g.lists.Contains("partners", "b.example") || g.lists.Contains("partners", "x") {
		t.Error("the wrong file has changed the list")
	}
	if w := r.Daemon.status().Warnings; len(w) != 1 || !strings.HasPrefix(w[0], "list partners is as it was before ") || !strings.Contains(w[0], file+":1:3: goes on behind") {
		t.Errorf("the status warns of %q", w)
	}
	if n := len(g.lists.Stale()); n != 1 {
		t.Errorf("%d lists are stale", n)
	}
	r.end(t)
	if n := strings.Count(r.log.String(), "list is wrong, and stays as it was"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, r.log)
	}
	lines := journalOf(t, c)
	for _, want := range []string{"list-read: partners (" + file + "): 2 entries, were 1", "list-failed: partners (" + file + "), with its 2 entries of before: " + file + ":1:3: goes on behind"} {
		if strings.Count(lines, want) != 1 {
			t.Errorf("%q is not once in the journal:\n%s", want, lines)
		}
	}
}

// TestTrustedList: a list that a listener trusts is no way to an open relay, neither at
// the start nor when it changes; who is on it is trusted, and its size is warned of.
func TestTrustedList(t *testing.T) {
	c, file := listed(t, "192.0.2.0/24\n")
	c.Lists[0].Kind = config.ListNetworks
	l := &c.Listeners[0]
	l.Address, l.Trust, l.TrustLists = netip.MustParseAddrPort("0.0.0.0:0"), nil, []config.Text{{Text: "partners"}}
	r := start(t, c)
	trusted := func(client string) bool {
		is, _ := r.inForce().policy.Trusts(l.Name, netip.MustParseAddr(client))
		return is
	}
	put(t, file, "192.0.2.0/24\n198.51.0.0/16\n192.0.0.0/4\n0.0.0.0/0\n")
	r.inForce().lists.Look()
	if !trusted("192.0.2.7") || trusted("198.51.100.7") || trusted("203.0.113.7") {
		t.Error("the list that is too large is in force")
	}
	put(t, file, "198.0.0.0/8\n172.17.0.1\n")
	r.inForce().lists.Look()
	if !trusted("198.51.100.7") || trusted("192.0.2.7") {
		t.Error("the list that is right is not in force")
	}
	g := r.inForce()
	wantEach(t, g.adviseLists(), file+`:1:1: "198.0.0.0/8" has 2^24 addresses of the Internet: every one of them can send mail to anywhere`)
	wantEach(t, adviseTrust(c, g.lists, inContainer()), "listener.trust: listener smtp: 172.17.0.1 is the gateway of this container")
	r.end(t)
	if n := strings.Count(r.log.String(), file+":4:1: \\\"0.0.0.0/0\\\" is a large part of the Internet"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, r.log)
	}
	put(t, file, "0.0.0.0/0\n")
	if _, err := New(c, Options{}); err == nil || !strings.HasPrefix(err.Error(), file+`:1:1: "0.0.0.0/0" is a large part of the Internet`) {
		t.Errorf("starts: %v", err)
	}
	l.Address = netip.MustParseAddrPort("127.0.0.1:0") // none but this host reaches it
	if _, err := New(c, Options{}); err != nil {
		t.Error(err)
	}
}

// TestListIsWatched: the server looks by itself.
func TestListIsWatched(t *testing.T) {
	c, file := listed(t, "a.example\n")
	r := start(t, c)
	put(t, file, "b.example\n")
	for deadline := time.Now().Add(time.Minute); !r.inForce().lists.Contains("partners", "b.example"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file was not looked at")
		}
	}
	r.end(t)
}

// TestListAtReload: a reload reads the files again, whether or not the configuration
// has changed; one that is wrong refuses the reload.
func TestListAtReload(t *testing.T) {
	c, file := listed(t, "a.example\n")
	r, s := reloadable(t, c)
	before := r.inForce().lists
	put(t, file, "b.example\n")
	if _, err := r.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if !before.Contains("partners", "b.example") {
		t.Error("the reload has not read the file")
	}
	put(t, file, "c.example\n")
	s.set(c, func(c *config.Config) { c.Message.MaxHops = 7 })
	if _, err := r.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if after := r.inForce().lists; after == before || !after.Contains("partners", "c.example") || !before.Contains("partners", "c.example") {
		t.Error("sessions of before the reload do not see the list of now")
	}
	put(t, file, "d.example d\n")
	if _, err := r.Reload("test"); err == nil || !strings.Contains(err.Error(), file+":1:11: goes on behind") {
		t.Errorf("the reload with a wrong file: %v", err)
	}
	r.end(t)
	if lines := journalOf(t, c); strings.Count(lines, "list-read") != 2 {
		t.Errorf("two changes were to be told:\n%s", lines)
	}
}

func TestListsAreChecked(t *testing.T) {
	c, file := listed(t, "a b\n")
	c.Lists = append(c.Lists, config.List{Name: "gone", Kind: config.ListNetworks, File: file + ".gone", Placed: config.Placed{Place: mail.Place{File: "x.toml", Line: 7}}})
	if err := os.Mkdir(c.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	wantEach(t, Check(c, Options{}).Problems, file+":1:3: goes on behind", "x.toml:7: list.file: list gone: open "+file+".gone: no such file")
	if _, err := New(c, Options{}); err == nil {
		t.Error("a server starts with wrong lists")
	}
}

const blockZone = `
gate.example. A 127.0.0.1
bl.test. SOA ns.test. root.test. 1 2 3 4 60
2.0.0.127.bl.test. A 127.0.0.2
7.100.51.198.bl.test. A 127.0.0.2
world.test. SOA ns.test. root.test. 1 2 3 4 60
*.world.test. A 127.0.0.2
`

func blockListed(t *testing.T) (*config.Config, *mailtest.DNS) {
	t.Helper()
	answer, err := config.ParseBlockAnswer("127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	server := mailtest.NewDNS(t, blockZone)
	c := settings(t, nowhere)
	c.DNS.Servers = []netip.AddrPort{server.Addr()}
	for _, zone := range []string{"bl.test", "world.test"} {
		c.BlockLists = append(c.BlockLists, config.BlockList{Zone: zone, Kind: config.BlockAddresses, Weight: 1, Answers: []config.BlockAnswer{answer}})
	}
	return c, server
}

// TestBlockListIsLeftOut: it is told in log, journal and status, and a reload neither
// asks it again nor forgets what others have said.
func TestBlockListIsLeftOut(t *testing.T) {
	c, server := blockListed(t)
	r, s := reloadable(t, c)
	client := netip.MustParseAddr("198.51.100.7")
	check := func(g *graph) blocklist.Result { return g.blockLists.CheckClient(t.Context(), client) }
	check(r.inForce())
	s.set(c, func(c *config.Config) { c.Message.MaxHops = 7 })
	if _, err := r.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if got := check(r.inForce()); got.Score != 1 || len(got.Hits) != 1 || got.Hits[0].Name != "bl.test" {
		t.Errorf("listed: %+v", got)
	}
	for _, zone := range []string{"bl.test", "world.test"} {
		if n := server.Asked("7.100.51.198." + zone + ". A"); n != 1 {
			t.Errorf("%s was asked %d times", zone, n)
		}
	}
	if w := r.Daemon.status().Warnings; len(w) != 1 || !strings.HasPrefix(w[0], "block list world.test is left out until ") {
		t.Errorf("the status warns of %q", w)
	}
	r.end(t)
	if !strings.Contains(r.log.String(), "block list is left out for a while") {
		t.Error("not logged")
	}
	if lines := journalOf(t, c); strings.Count(lines, "left-out") != 1 || !strings.Contains(lines, "world.test: it lists what no list has") {
		t.Errorf("the journal:\n%s", lines)
	}
}

func TestBlockListsAreChecked(t *testing.T) {
	c, _ := blockListed(t)
	var told []string
	for _, p := range CheckDNS(t.Context(), c, Options{}) {
		if p.Key == "block_list.zone" {
			told = append(told, p.Message)
		}
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], "block list world.test: it lists what no list has") {
		t.Errorf("told %q", told)
	}
}

// inContainer is a container whose gateway is 172.17.0.1.
func inContainer() container.Surroundings {
	gateway := netip.MustParseAddr("172.17.0.1").As4()
	route := fmt.Sprintf("eth0 00000000 %08X 0003 0 0 0 00000000 0 0 0\n", binary.NativeEndian.Uint32(gateway[:]))
	return container.Look(fstest.MapFS{".dockerenv": {}, "proc/net/route": {Data: []byte(route)}}, func(string) string { return "" }, nil)
}

// TestGatewayIsNotTrusted: behind its address everybody may be. The reply and the log
// say so; a setting lets those decide who know better.
func TestGatewayIsNotTrusted(t *testing.T) {
	c := settings(t, nowhere)
	l := &c.Listeners[0]
	l.Trust = []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("127.0.0.0/8")}
	known := *l
	known.Name, known.TrustGateway = "known", true
	c.Listeners = append(c.Listeners, known)
	r := start(t, c)
	around := inContainer()
	r.around.Store(&around)
	g := r.inForce()
	rcpt := func(listener, client string) mail.Reply {
		t.Helper()
		o := mail.Origin{Listener: listener, Client: netip.AddrPortFrom(netip.MustParseAddr(client), 1)}
		s, refusal := r.handler(g, r.door(g), listener).Begin(t.Context(), o)
		if !refusal.IsZero() {
			t.Fatal(refusal)
		}
		s.Mail(t.Context(), smtp.Mail{})
		reply := s.Rcpt(t.Context(), smtp.Rcpt{Recipient: mail.Recipient{Address: mail.Address{Local: "a", Domain: "elsewhere.example"}}})
		repaired := newlines(g, &c.Listeners[g.listener(listener)])(o) == smtp.NewlinesRepair
		if repaired != reply.IsZero() {
			t.Errorf("%s: its lines are repaired: %v; %v", client, repaired, reply)
		}
		return reply
	}
	const denied = "550 5.7.1 Relaying denied: 172.17.0.1 is the gateway of this container, and everybody may appear with its address; it is not trusted for its address"
	for range 3 {
		if got := rcpt(l.Name, "172.17.0.1"); got.String() != denied {
			t.Errorf("the gateway gets %q", got)
		}
	}
	if got := rcpt(l.Name, "172.17.0.9"); !got.IsZero() {
		t.Errorf("another client of the network gets %q", got)
	}
	if got := rcpt(l.Name, "127.0.0.1"); !got.IsZero() {
		t.Errorf("the host itself gets %q", got)
	}
	if got := rcpt(l.Name, "192.0.2.1"); !strings.Contains(got.String(), "192.0.2.1 may not send to this domain") {
		t.Errorf("a stranger gets %q", got)
	}
	if n := strings.Count(r.log.String(), "client is not trusted although trust has its address"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if got := rcpt("known", "172.17.0.1"); !got.IsZero() {
		t.Errorf("with trust_gateway the gateway gets %q", got)
	}
	r.end(t)
}

func TestAdviceAboutGateways(t *testing.T) {
	c := config.Default()
	l := config.DefaultListener()
	l.Address, l.Trust = netip.MustParseAddrPort("[::]:25"), []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("172.17.0.0/24")}
	near := l
	near.Name, near.Address = "near", netip.MustParseAddrPort("127.0.0.1:25")
	other := l
	other.Name, other.Trust = "other", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	known := l
	known.Name, known.TrustGateway = "known", true
	c.Listeners = []config.Listener{l, near, other, known}
	const why = "172.17.0.1 is the gateway of this container, and everybody may appear with its address"
	wantEach(t, adviseTrust(c, nil, inContainer()),
		"listener.trust: listener smtp: "+why+": it is not trusted (let clients",
		"listener.trust_gateway: listener known: "+why+": whoever comes through there can send mail to anywhere (leave it out")
	if found := adviseTrust(c, nil, container.Surroundings{}); len(found) > 0 {
		t.Errorf("elsewhere: %v", found)
	}
}

// TestBlockListsAtRcpt: a client that is listed is refused at RCPT, and told by whom and
// how to be taken off; lists that are slow, dead or lying refuse nobody.
func TestBlockListsAtRcpt(t *testing.T) {
	answer, err := config.ParseBlockAnswer("127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	server := mailtest.NewDNS(t, blockZone+`
7.100.51.198.bl.test. TXT "spam was seen"
9.100.51.198.bl.test. A 127.0.0.3
_fault.*.slow.test. TXT drop
_fault.*.dead.test. TXT servfail
*.away.test. A 192.0.2.1
`)
	c := settings(t, nowhere)
	c.DNS.Servers = []netip.AddrPort{server.Addr()}
	for _, zone := range []string{"slow.test", "dead.test", "world.test", "away.test", "bl.test"} {
		c.BlockLists = append(c.BlockLists, config.BlockList{Zone: zone, Kind: config.BlockAddresses, Weight: 1, Answers: []config.BlockAnswer{answer}, Removal: "https://" + zone + "/remove"})
	}
	c.Listeners[0].BlockListScore, c.Listeners[0].Relay = 1, config.RelayEverybody
	c.Listeners[0].Trust = []netip.Prefix{netip.MustParsePrefix("198.51.100.128/25")}
	r := start(t, c)
	g := r.inForce()
	ann, postmaster := mail.Address{Local: "ann", Domain: "elsewhere.example"}, mail.Address{Local: "postmaster", Domain: "elsewhere.example"}
	for _, asked := range []struct {
		client string
		to     mail.Address
		want   string
	}{
		{"198.51.100.7", ann, "554 5.7.1 No mail is taken from you: 198.51.100.7 is listed by bl.test (spam was seen); to be taken off the list: https://bl.test/remove"},
		{"198.51.100.7", postmaster, "no reply"},
		{"198.51.100.9", ann, "no reply"}, // by an answer that does not count
		{"198.51.100.200", ann, "no reply"},
		{"127.0.0.1", ann, "no reply"},
	} {
		o := mail.Origin{Listener: c.Listeners[0].Name, Client: netip.AddrPortFrom(netip.MustParseAddr(asked.client), 1)}
		s, refusal := r.handler(g, r.door(g), o.Listener).Begin(t.Context(), o)
		if !refusal.IsZero() {
			t.Fatal(refusal)
		}
		s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: mail.Address{Local: "joe", Domain: "x.example"}}})
		if reply := s.Rcpt(t.Context(), smtp.Rcpt{Recipient: mail.Recipient{Address: asked.to}}); reply.String() != asked.want {
			t.Errorf("%s to %s gets %q, want %q", asked.client, asked.to, reply, asked.want)
		}
	}
	if n := server.Asked("200.100.51.198.bl.test. A"); n != 0 {
		t.Errorf("of a trusted client the list was asked %d times", n)
	}
	r.end(t)
	lines := journalOf(t, c)
	for _, want := range []string{"world.test: it lists what no list has", "away.test: the answer says that something is wrong"} {
		if !strings.Contains(lines, want) {
			t.Errorf("%q is not in the journal:\n%s", want, lines)
		}
	}
}
