package daemon

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
)

// relayOptions are those of a listener, as docs/relay.md shows them.
var relayOptions = []config.Relay{"nobody", "near", "clients", "both", "everybody"}

// door is a listener of the matrix.
type doorway struct {
	option            config.Relay
	override, percent bool
}

func (d doorway) name() string {
	return fmt.Sprintf("%s-%t-%t", d.option, d.override, d.percent)
}

// settings are the table of the listener.
func (d doorway) settings(port int) string {
	return fmt.Sprintf(`[[listener]]
name = %q
address = "127.0.0.1:%d"
relay = %q
override_reject = %t
percent_routing = %t
max_errors = 1000
`, d.name(), port, string(d.option), d.override, d.percent)
}

func doors() []doorway {
	var list []doorway
	for _, option := range relayOptions {
		for _, override := range []bool{false, true} {
			for _, percent := range []bool{false, true} {
				list = append(list, doorway{option, override, percent})
			}
		}
	}
	return list
}

const relayHead = `version = 1
hostname = "gate.example"
postmaster = "admin@corp.example"
data_dir = %q
[delivery]
smarthosts = [%q]
[[handler]]
at = "rcpt"
recipient = ["sales@gate.example"]
steps = [{ redirect = "desk@inside.example" }]
`

// relayLists are who is trusted, refused and near, in the settings of each listener.
const relayLists = `trust = ["127.0.0.11", "127.0.0.13"]
reject_clients = ["127.0.0.12", "127.0.0.13"]
near = ["near.example", "nähe.example"]
`

// inFiles returns the same as lists in files, with the settings that name them.
func inFiles(t *testing.T) (tables, settings string) {
	t.Helper()
	dir := t.TempDir()
	for i, line := range strings.Split(strings.TrimSpace(relayLists), "\n") {
		name, values, _ := strings.Cut(line, " = ")
		file := filepath.Join(dir, name)
		put(t, file, strings.NewReplacer("[", "", "]", "", `"`, "", ", ", "\n").Replace(values)+"\n")
		tables += fmt.Sprintf("[[list]]\nname = \"l%d\"\nkind = %q\nfile = %q\n", i, map[bool]string{true: "domains", false: "networks"}[name == "near"], file)
		settings += fmt.Sprintf("%s = [\"list:l%d\"]\n", name, i)
	}
	return tables, settings
}

// relaying starts a server with the listeners of doors, which have settings in common,
// and with other tables.
func relaying(t *testing.T, doors []doorway, settings, tables string) *run {
	t.Helper()
	text := fmt.Sprintf(relayHead, filepath.Join(t.TempDir(), "data"), nowhere) + tables
	for i, d := range doors {
		text += d.settings(10_000+i) + settings
	}
	c, err := config.Load(os.DirFS(withConfig(t, text)), "postern.toml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Listeners {
		c.Listeners[i].Address = netip.MustParseAddrPort("127.0.0.1:0")
	}
	haveDomains(t, c, "grün.example")
	return start(t, c)
}

// haveDomains records local domains in the directory of a server that does not run.
func haveDomains(t *testing.T, c *config.Config, names ...string) {
	t.Helper()
	d, err := directory.Open(t.Context(), directory.Options{Dir: directoryDir(c)})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Change(t.Context(), "test", func(tx *directory.Tx) error {
		for _, name := range names {
			if err := tx.PutDomain(directory.Domain{Name: name}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
}

// withConfig returns a directory with a configuration.
func withConfig(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "postern.toml"), text)
	return dir
}

// at is the address of a listener.
func (r *run) at(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	i := slices.IndexFunc(r.status.Listeners, func(l admin.Listener) bool { return l.Name == name })
	if i < 0 {
		t.Fatalf("there is no listener %s", name)
	}
	return netip.MustParseAddrPort(r.status.Listeners[i].Address)
}

// dialogue is what a client heard.
type dialogue struct {
	greeting mail.Reply
	replies  []mail.Reply // to each RCPT
	id       mail.ID      // of the message; empty for none
}

// offer connects as a client, and sends a message to recipients, as they stand behind
// RCPT TO, as far as they are taken.
func (r *run) offer(t *testing.T, listener, from string, paths []string) dialogue {
	t.Helper()
	c, greeting := mailtest.NewClientFrom(t, netip.MustParseAddr(from), r.at(t, listener))
	d := dialogue{greeting: greeting}
	if greeting.Code != 220 {
		return d
	}
	for _, line := range []string{"EHLO client.example", "MAIL FROM:<sender@client.example> SMTPUTF8"} {
		if reply := c.Command(line); reply.Code != 250 {
			t.Fatalf("%s: %s", line, reply)
		}
	}
	taken := 0
	for _, path := range paths {
		reply := c.Command("RCPT TO:" + path)
		if reply.Success() {
			taken++
		}
		d.replies = append(d.replies, reply)
	}
	if taken == 0 {
		c.Command("QUIT")
		return d
	}
	if reply := c.Command("DATA"); reply.Code != 354 {
		t.Fatalf("DATA: %s", reply)
	}
	reply := c.Command("Subject: x\r\n\r\nx\r\n.")
	id, accepted := strings.CutPrefix(reply.Text, "Ok: accepted as ")
	if !accepted {
		t.Fatalf("the message of %s to %s: %s", from, listener, reply)
	}
	d.id = mail.ID(id)
	c.Command("QUIT")
	return d
}

// stored are the recipients of a message in the queue with their destinations, each
// once, in order.
func (r *run) stored(t *testing.T, id mail.ID) []string {
	t.Helper()
	if id == "" {
		return nil
	}
	entries, err := r.store.List(t.Context(), queue.Filter{}, queue.Page{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, e := range entries {
		if e.Message != id {
			continue
		}
		for i := range e.Deliveries {
			for _, to := range e.Deliveries[i].Recipients {
				found[to.Address.String()+" by "+string(e.Deliveries[i].Destination)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// seen is what was observed: replies by what they answer, in words.
type seen map[string]map[string]bool

func (s seen) note(cell string, r mail.Reply) {
	if s[cell] == nil {
		s[cell] = map[string]bool{}
	}
	s[cell][fmt.Sprintf("%d %s", r.Code, r.Enhanced)] = true
}

// TestRelayMatrix sends to every address, as every client, through a listener with
// every option; each reply and all that is in the queue then is what the rules say.
// Out of what was observed it makes docs/relay.md.
func TestRelayMatrix(t *testing.T) {
	r := relaying(t, doors(), relayLists, "")
	observed := r.matrix(t)
	r.end(t)
	r = relayingAccounts(t)
	r.accountMatrix(t, observed)
	r.end(t)
	wantRelayPage(t, observed)
}

// TestRelayMatrixOfLists is the same with the lists in files.
func TestRelayMatrixOfLists(t *testing.T) {
	tables, settings := inFiles(t)
	r := relaying(t, doors(), settings, tables)
	r.matrix(t)
	r.end(t)
}

// matrix compares all that is answered and stored with the rules, and returns it.
func (r *run) matrix(t *testing.T) seen {
	t.Helper()
	var all []*relayCase
	var paths []string
	for i := range relayCases {
		for j := range relayCases[i].cases {
			all = append(all, &relayCases[i].cases[j])
			paths = append(paths, all[len(all)-1].path)
		}
	}
	observed, cells := seen{}, 0
	for _, d := range doors() {
		for _, c := range relayClients {
			got := r.offer(t, d.name(), c.address, paths)
			observed.note(fmt.Sprintf("connect %t %t %t", d.override, c.trusted, c.rejected), got.greeting)
			if want := map[bool]int{true: 220, false: 554}[c.greeted(d.override)]; got.greeting.Code != want {
				t.Errorf("%+v, %+v: %s, want %d", d, c, got.greeting, want)
			}
			if got.greeting.Code != 220 {
				continue
			}
			want := map[string]bool{}
			for i, x := range all {
				is, goes := x.at(d.percent)
				cells++
				if reply := got.replies[i]; !expected(is, d.option, c.trusted, reply) {
					t.Errorf("%+v, %+v: %s is %s, and gets %s", d, c, x.path, is, reply)
				}
				observed.note(fmt.Sprintf("%s %t %s", d.option, c.trusted, is), got.replies[i])
				observed.note(fmt.Sprintf("%s %s %t %t", x.path, d.option, c.trusted, d.percent), got.replies[i])
				if is.taken(d.option, c.trusted) {
					want[goes+" by "+strings.ToLower(goes[strings.LastIndexByte(goes, '@')+1:])] = true
				}
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), r.stored(t, got.id)); diff != "" {
				t.Errorf("%+v, %+v: the queue (-want +got)\n%s", d, c, diff)
			}
		}
	}
	t.Logf("%d cells", cells)
	return observed
}

// expected reports whether a reply to RCPT is right.
func expected(is class, option config.Relay, trusted bool, reply mail.Reply) bool {
	switch {
	case is == wrong:
		return reply.Code == 501 || reply.Code == 553
	case is == unknown:
		return reply.Code == 550 && reply.Enhanced == "5.1.1"
	case is.taken(option, trusted):
		return reply.Code == 250
	}
	return reply.Code == 550 && reply.Enhanced == "5.7.1"
}
