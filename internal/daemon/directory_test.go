package daemon

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

const trapZone = `
x.example. SOA ns.test. root.test. 1 2 3 4 60
trap.example. SOA ns.test. root.test. 1 2 3 4 60
trap.example. MX 10 mx.other.test.
own.example. SOA ns.test. root.test. 1 2 3 4 60
own.example. MX 10 gate.example.
mx.other.test. A 192.0.2.99
gate.example. A 127.0.0.1
test. SOA ns.test. root.test. 1 2 3 4 60
`

// recorded is a configuration with a name server, for records.
func recorded(t *testing.T) *config.Config {
	t.Helper()
	c := settings(t, nowhere)
	c.DNS.Servers = []netip.AddrPort{mailtest.NewDNS(t, trapZone).Addr()}
	return c
}

// TestTrappedDomains: a local domain that the world sends elsewhere is told when it is
// added, by check --dns, and in status, metrics and log, once.
func TestTrappedDomains(t *testing.T) {
	c := recorded(t)
	haveDomains(t, c, "x.example", "own.example")
	if found := trapsOf(CheckDNS(t.Context(), c, Options{})); len(found) > 0 {
		t.Errorf("check says %q", found)
	}
	r := start(t, c)
	client := admin.NewClient(c.Socket())
	stored, err := client.Domains().Add(t.Context(), map[string]any{"name": "trap.example"})
	const trapped = "the domain trap.example is local here, but the world sends its mail to mx.other.test: what this host is given for it is TRAPPED here"
	if err != nil || len(stored.Warnings) != 1 || !strings.HasPrefix(stored.Warnings[0], trapped) {
		t.Errorf("told was %q, %v", stored.Warnings, err)
	}
	if found := trapsOf(CheckDNS(t.Context(), c, Options{})); len(found) != 1 || !strings.HasPrefix(found[0], trapped) {
		t.Errorf("check says %q beside the server", found)
	}
	for range 2 {
		r.lookForTrapped(t.Context())
	}
	if w := r.Daemon.status().Warnings; len(w) != 1 || !strings.HasPrefix(w[0], trapped) || !strings.HasSuffix(w[0], "; if it is not meant so: postern domain delete trap.example") {
		t.Errorf("the status warns of %q", w)
	}
	if err := client.Domains().Delete(t.Context(), admin.RecordName{Name: "trap.example"}); err != nil {
		t.Fatal(err)
	}
	r.lookForTrapped(t.Context())
	if w := r.Daemon.status().Warnings; len(w) > 0 {
		t.Errorf("the status still warns of %q", w)
	}
	r.end(t)
	if n := strings.Count(r.log.String(), "TRAPPED"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, r.log)
	}
}

func trapsOf(problems []config.Problem) (found []string) {
	for _, p := range problems {
		if strings.Contains(p.Message, "TRAPPED") {
			found = append(found, p.Message)
		}
	}
	return found
}

// TestRecordedList: a list in the directory is in force when the change is done, for
// sessions of before a reload too; a listener's trust has no large part of the Internet
// by it.
func TestRecordedList(t *testing.T) {
	c := recorded(t)
	c.Lists = []config.List{{Name: "lan", Kind: config.ListNetworks, Source: config.ListInDirectory}}
	l := &c.Listeners[0]
	l.Address, l.Trust, l.TrustLists = netip.MustParseAddrPort("0.0.0.0:0"), nil, []config.Text{{Text: "lan"}}
	r, s := reloadable(t, c)
	before := r.inForce()
	trusted := func(g *graph) bool {
		is, _ := g.policy.Trusts(l.Name, netip.MustParseAddr("192.0.2.7"))
		return is
	}
	if w := r.Daemon.status().Warnings; len(w) != 1 || !strings.Contains(w[0], "the directory has no such list") || trusted(before) {
		t.Errorf("without the list the status warns of %q", w)
	}
	client := admin.NewClient(c.Socket())
	_, err := client.Lists().Add(t.Context(), map[string]any{"name": "lan", "kind": "networks", "entries": []string{"192.0.2.0/24"}})
	if err != nil || !trusted(before) {
		t.Errorf("the list is not in force: %v", err)
	}
	s.set(c, func(c *config.Config) { c.Message.MaxHops = 7 })
	if _, err := r.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if g := r.inForce(); g == before || !trusted(g) {
		t.Error("the list is not in force after a reload")
	}
	_, err = client.ChangeEntries(t.Context(), "lan", admin.EntryChange{Add: []string{"0.0.0.0/0"}})
	if err == nil || !strings.Contains(err.Error(), `list lan: entries: list:lan:1:1: "0.0.0.0/0" is a large part of the Internet`) {
		t.Errorf("everybody is trusted: %v", err)
	}
	if _, err := client.ChangeEntries(t.Context(), "lan", admin.EntryChange{Add: []string{"198.51.100.1"}, Remove: []string{"192.0.2.0/24"}}); err != nil || trusted(before) || trusted(r.inForce()) {
		t.Errorf("what was removed is in force still: %v", err)
	}
	if w := r.Daemon.status().Warnings; len(w) > 0 {
		t.Errorf("the status warns of %q", w)
	}
	r.end(t)
	if lines := journalOf(t, c); strings.Count(lines, "directory-changed: list lan: ") != 3 {
		t.Errorf("the journal:\n%s", lines)
	}
}

// TestRecordsWithoutServer: what root makes is the data directory's owner's, and a server
// that runs keeps others out.
func TestRecordsWithoutServer(t *testing.T) {
	c := recorded(t)
	if err := os.Mkdir(c.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	owner := os.Geteuid()
	if owner == 0 {
		owner = 12345
		if err := os.Chown(c.DataDir, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	inside, err := Maintenance{Config: c}.Records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Maintenance{Config: c}).Records(t.Context()); err == nil || !strings.Contains(err.Error(), "another process has the directory open") {
		t.Errorf("a second one: %v", err)
	}
	if _, err := inside.Users().Add(t.Context(), map[string]any{"login": "joe", "password": "open sesame"}); err != nil {
		t.Error(err)
	}
	if err := inside.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", directory.File} {
		info, err := os.Stat(filepath.Join(directoryDir(c), name))
		if err != nil {
			t.Fatal(err)
		}
		if is := info.Sys().(*syscall.Stat_t); int(is.Uid) != owner {
			t.Errorf("%q is of user %d, want %d", name, is.Uid, owner)
		}
	}
	v, err := directory.View(t.Context(), directoryDir(c))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if u, found := v.User("joe"); !found || !strings.HasPrefix(u.Password, "$argon2id$") || !strings.HasPrefix(u.SCRAM, "SCRAM-SHA-256$") {
		t.Errorf("stored is %v, and no password", found)
	}
}

// TestLocalDomainsOfTheDoor: the door knows a domain when it was added, and check and
// explain see it without a server.
func TestLocalDomainsOfTheDoor(t *testing.T) {
	c := recorded(t)
	r := start(t, c)
	joe := mail.Address{Local: "joe", Domain: "x.example"}
	if r.inForce().local.Is(joe, netip.Addr{}) {
		t.Error("a domain is local that nobody has added")
	}
	if _, err := admin.NewClient(c.Socket()).Domains().Add(t.Context(), map[string]any{"name": "X.example"}); err != nil {
		t.Fatal(err)
	}
	if !r.inForce().local.Is(joe, netip.Addr{}) {
		t.Error("a domain that was added is not local")
	}
	r.end(t)
	g := newGraph(c, mail.SystemClock{})
	if err := g.readDirectory(); err != nil {
		t.Fatal(err)
	}
	if err := g.loadLocal(); err != nil || !g.local.Is(joe, netip.Addr{}) {
		t.Errorf("without a server it is not local: %v", err)
	}
}

// TestPostmasterInLocalDomain: it is warned of where somebody looks.
func TestPostmasterInLocalDomain(t *testing.T) {
	c := recorded(t)
	c.Postmaster = mail.Address{Local: "admin", Domain: "X.example"}
	haveDomains(t, c, "x.example")
	g := newGraph(c, mail.SystemClock{})
	if err := g.readDirectory(); err != nil {
		t.Fatal(err)
	}
	if err := g.loadLists(); err != nil {
		t.Fatal(err)
	}
	wantEach(t, g.adviseRecords(), "postmaster: admin@X.example is in a local domain")
}

// TestUserRouteWarnings: routes of users that lead to no transport are warned of.
func TestUserRouteWarnings(t *testing.T) {
	c := recorded(t)
	c.Transports = []config.Transport{{Name: "partners", Kind: config.TransportMX}}
	d, err := directory.Open(t.Context(), directory.Options{Dir: directoryDir(c)})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Change(t.Context(), "test", func(tx *directory.Tx) error {
		return errors.Join(tx.PutUser(directory.User{Login: "joe", Route: "partners"}), tx.PutUser(directory.User{Login: "ann", Route: "gone"}),
			tx.PutUser(directory.User{Login: "bob", Route: "gone"}), tx.PutUser(directory.User{Login: "eve"}))
	}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	g := newGraph(c, mail.SystemClock{})
	if err := errors.Join(g.readDirectory(), g.loadLists()); err != nil {
		t.Fatal(err)
	}
	wantEach(t, g.adviseRecords(), `transport.name: there is no transport "gone", which is the own route of users (2): what they send waits; postern user list gone names them`)
}
