package scale

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// kind is how the server of a site behaves.
type kind string

const (
	healthy  kind = "healthy"
	slow     kind = "slow"     // takes its time for each reply
	refusing kind = "refusing" // nobody listens there
	silent   kind = "silent"   // takes connections, and never says a word
)

// site is a domain with a mail server of its own, at an address of its own.
type site struct {
	kind    kind
	domain  string
	address netip.Addr

	// mu of the world guards what follows.
	connections  int
	transactions int            // begun, by MAIL
	taken        map[string]int // messages by their id
}

// world is many sites, and the name server that knows them. Its hooks are set
// before it starts to listen.
type world struct {
	// hold is called where a message for the site waits for its last reply.
	hold func(*site)
	// rcpt answers a recipient, as Sink.Rcpt does.
	rcpt func(from, to string) string
	// delay is how long a slow site takes for each reply.
	delay time.Duration

	sink harness.Sink
	dns  *mailtest.DNS
	port int

	sites     []*site
	byAddress map[netip.Addr]*site

	mu    sync.Mutex
	came  map[kind]int // messages, each counted once
	again []string     // ids of those that came more often
}

// senders is the domain of all senders: a healthy site, which takes the
// reports.
const senders = "source.test"

// newWorld makes sites, and one more for the senders.
func newWorld(kinds ...kind) *world {
	w := &world{byAddress: map[netip.Addr]*site{}, came: map[kind]int{}}
	for i, k := range kinds {
		w.add(k, fmt.Sprintf("s%d.test", i))
	}
	w.add(healthy, senders)
	return w
}

func (w *world) add(k kind, domain string) {
	n := len(w.sites)
	s := &site{kind: k, domain: domain, taken: map[string]int{},
		address: netip.AddrFrom4([4]byte{127, 1, byte(n / 250), byte(n%250 + 1)})}
	w.sites = append(w.sites, s)
	w.byAddress[s.address] = s
}

// of returns the sites that behave so, less that of the senders.
func (w *world) of(kinds ...kind) []*site {
	var list []*site
	for _, s := range w.sites {
		if slices.Contains(kinds, s.kind) && s.domain != senders {
			list = append(list, s)
		}
	}
	return list
}

// zone is what DNS says of the sites.
func (w *world) zone() string {
	var b strings.Builder
	b.WriteString("test. SOA ns.test. root.test. 1 2 3 4 60\n")
	for _, s := range w.sites {
		fmt.Fprintf(&b, "%s. MX 10 mx.%s.\nmx.%s. A %s\n", s.domain, s.domain, s.domain, s.address)
	}
	return b.String()
}

// open sets the sites and their name server to work, for the length of the
// test.
func (w *world) open(t *testing.T) {
	t.Helper()
	w.dns = mailtest.NewDNS(t, w.zone())
	w.sink = harness.Sink{Rcpt: w.rcpt, Take: w.take, Connect: w.connect, Reply: w.reply}
	var addresses []netip.Addr
	for _, s := range w.sites {
		if s.kind != refusing {
			addresses = append(addresses, s.address)
		}
	}
	w.port = listen(t, &w.sink, addresses)
}

// listen sets a sink to work at a port of some addresses, for the length of
// the test.
func listen(t *testing.T, sink *harness.Sink, addresses []netip.Addr) (port int) {
	t.Helper()
	port, err := harness.FreePort()
	mailtest.Must(t, err)
	var list []string
	for _, a := range addresses {
		list = append(list, netip.AddrPortFrom(a, uint16(port)).String())
	}
	mailtest.Must(t, sink.ListenAt(list...))
	t.Cleanup(func() { sink.Close() })
	return port
}

// settings are those with which a Postern sends to these sites.
func (w *world) settings(more string) string {
	return fmt.Sprintf("port = %d\ngreeting_timeout = \"3s\"\nidle_timeout = \"1s\"\n%s\n[dns]\nservers = [%q]\n", w.port, more, w.dns.Addr())
}

func (w *world) connect(at netip.Addr) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.byAddress[at]
	s.connections++
	return s.kind != silent
}

func (w *world) reply(at netip.Addr, verb string) {
	s := w.byAddress[at]
	if verb == "MAIL" {
		w.mu.Lock()
		s.transactions++
		w.mu.Unlock()
	}
	if s.kind == slow && w.delay > 0 {
		time.Sleep(w.delay) // that is what makes it slow
	}
}

func (w *world) take(a *harness.Arrival) string {
	s := w.byAddress[a.At]
	if w.hold != nil {
		w.hold(s)
	}
	id := harness.IDOf(a.Content)
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.taken[id]++; s.taken[id] > 1 {
		w.again = append(w.again, id)
	} else {
		w.came[s.kind]++
	}
	return ""
}

// arrived counts the messages that came to sites which behave so, each once.
func (w *world) arrived(k kind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.came[k]
}

// doubled returns the ids of what came more than once.
func (w *world) doubled() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.again)
}

// census is what a site has seen.
type census struct {
	connections, transactions int
	messages                  []string // ids, sorted
}

func (w *world) census(s *site) census {
	w.mu.Lock()
	defer w.mu.Unlock()
	return census{s.connections, s.transactions, slices.Sorted(maps.Keys(s.taken))}
}

// letters makes messages to sites by turns, n to each.
type letters struct {
	prefix string // of their ids
	sites  []*site
	each   int

	mu   sync.Mutex
	made int
}

func (l *letters) count() int { return l.each * len(l.sites) }

func (l *letters) next() *harness.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == l.count() {
		return nil
	}
	l.made++
	return letter(fmt.Sprintf("%s-%d", l.prefix, l.made-1), l.sites[(l.made-1)%len(l.sites)])
}

// letter is a small message to somebody at a site. Its recipient's name is
// its id.
func letter(id string, to *site) *harness.Message {
	from, rcpt := "sender@"+senders, id+"@"+to.domain
	return &harness.Message{ID: id, From: from, To: []string{rcpt}, Content: append(harness.Header(id, from, rcpt), "Read this.\r\n"...)}
}
