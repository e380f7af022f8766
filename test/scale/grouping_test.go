package scale

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// The message of the tests below, and the sets of servers that its domains
// share.
const (
	manyRecipients = 500
	manyDomains    = 200
	sets           = 20
)

// circular is a message to recipients in many domains, by turns.
func circular(id string) *harness.Message {
	m := &harness.Message{ID: id, From: "sender@" + senders, Content: append(harness.Header(id, "sender@"+senders, "all"), "To all.\r\n"...)}
	for n := range manyRecipients {
		m.To = append(m.To, fmt.Sprintf("r%d@d%d.test", n, n%manyDomains))
	}
	return m
}

// once returns a function that gives m, and then nothing.
func once(m *harness.Message) func() *harness.Message {
	var mu sync.Mutex
	return func() *harness.Message {
		mu.Lock()
		defer mu.Unlock()
		next := m
		m = nil
		return next
	}
}

// bodies keeps the recipients of each content that came.
type bodies struct {
	sink harness.Sink

	mu          sync.Mutex
	connections int
	begun       int // transactions
	came        []body
}

type body struct {
	at netip.Addr
	to []string
}

// newBodies makes a sink at addresses of one port.
func newBodies(t *testing.T, addresses ...netip.Addr) (*bodies, int) {
	t.Helper()
	b := &bodies{}
	b.sink = harness.Sink{
		Connect: func(netip.Addr) bool { b.count(&b.connections); return true },
		Reply: func(_ netip.Addr, verb string) {
			if verb == "MAIL" {
				b.count(&b.begun)
			}
		},
		Take: func(a *harness.Arrival) string {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.came = append(b.came, body{a.At, slices.Clone(a.To)})
			return ""
		},
	}
	return b, listen(t, &b.sink, addresses)
}

func (b *bodies) count(n *int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*n++
}

// TestOneBodyToOneSmarthost: whatever domains the recipients of a message are
// in, one smarthost gets it once.
func TestOneBodyToOneSmarthost(t *testing.T) {
	ctx := bounded(t)
	b, port := newBodies(t, netip.MustParseAddr("127.0.0.1"))
	in := newInstance(ctx, t, harness.PosternOptions{
		NextHop: harness.Loopback(port), Settings: fmt.Sprintf("max_recipients = %d\n", manyRecipients),
	})
	in.start()
	m := circular("circular")
	in.submit(once(m))
	mailtest.Must(t, harness.UntilEmpty(ctx, in))
	in.stopped()
	if b.connections != 1 || b.begun != 1 || len(b.came) != 1 {
		t.Fatalf("%d connections, %d transactions, %d contents, want one of each", b.connections, b.begun, len(b.came))
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(m.To)), slices.Sorted(slices.Values(b.came[0].to))); diff != "" {
		t.Errorf("recipients:\n%s", diff)
	}
}

// TestOneBodyToEachSetOfServers: domains that share their servers share the
// transaction, however each of them writes its records.
func TestOneBodyToEachSetOfServers(t *testing.T) {
	ctx := bounded(t)
	var zone strings.Builder
	zone.WriteString("test. SOA ns.test. root.test. 1 2 3 4 60\n")
	var addresses []netip.Addr
	for n := range sets {
		for _, role := range []byte{1, 2} {
			address := netip.AddrFrom4([4]byte{127, 1, role, byte(n + 1)})
			addresses = append(addresses, address)
			fmt.Fprintf(&zone, "mx%d.set%d.test. A %s\n", role, n, address)
		}
	}
	for n := range manyDomains {
		records := []string{
			fmt.Sprintf("d%d.test. MX 10 mx1.set%d.test.\n", n, n%sets),
			fmt.Sprintf("d%d.test. MX %d mx2.SET%d.test.\n", n, 10*(1+n%sets%2), n%sets), // a second one in every other set
		}
		if n/sets%2 == 1 {
			slices.Reverse(records)
		}
		zone.WriteString(strings.Join(records, ""))
	}
	servers := mailtest.NewDNS(t, zone.String())
	b, port := newBodies(t, addresses...)
	in := newInstance(ctx, t, harness.PosternOptions{Settings: fmt.Sprintf("port = %d\n[dns]\nservers = [%q]\n", port, servers.Addr())})
	in.start()
	m := circular("circular")
	in.submit(once(m))
	mailtest.Must(t, harness.UntilEmpty(ctx, in))
	in.stopped()
	if b.begun != sets || len(b.came) != sets {
		t.Errorf("%d transactions, %d contents, want %d", b.begun, len(b.came), sets)
	}
	want := map[int][]string{}
	for n, to := range m.To {
		set := n % manyDomains % sets
		want[set] = append(want[set], to)
	}
	got := map[int][]string{}
	for _, body := range b.came {
		set := int(body.at.As4()[3]) - 1
		got[set] = append(got[set], body.to...)
	}
	for _, set := range slices.Sorted(maps.Keys(want)) {
		if diff := cmp.Diff(slices.Sorted(slices.Values(want[set])), slices.Sorted(slices.Values(got[set]))); diff != "" {
			t.Errorf("set %d:\n%s", set, diff)
		}
	}
}

// TestChangedCredentials: what waits because a smarthost does not take name
// and password goes, after a restart, with those that are set by then, over a
// connection on which no others were shown.
func TestChangedCredentials(t *testing.T) {
	ctx := bounded(t)
	config, _ := mailtest.ServerTLS(t, "smarthost.example")
	smarthost := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Passwords: map[string]string{"first": "hunter1", "second": "hunter2"}})
	in := newInstance(ctx, t, harness.PosternOptions{NextHop: smarthost.Addr().String(), TLS: "verify", Retry: "1s, every 1s until 1d"})
	roots := in.path("roots.pem")
	mailtest.Must(t, os.WriteFile(roots, mailtest.CertificatePEM(config), 0o600))
	startAs := func(user, secret string) {
		mailtest.Must(t, in.Change(func(o *harness.PosternOptions) { o.Settings = "smarthost_credential = \"relay\"\n" }))
		mailtest.Must(t, in.SetCredential(ctx, "relay", user, secret))
		mailtest.Must(t, in.StartAs(ctx, in.Binary(), "SSL_CERT_FILE="+roots))
	}
	const each = 3
	elsewhere := []*site{{domain: "elsewhere.test"}}

	startAs("first", "hunter1")
	in.submit((&letters{prefix: "early", sites: elsewhere, each: each}).next)
	_, err := smarthost.Wait(ctx, each)
	mailtest.Must(t, err)
	in.stopped()

	startAs("first", "changed")
	in.submit((&letters{prefix: "waits", sites: elsewhere, each: each}).next)
	in.await("the mail is deferred", func() bool { return in.recipients()[mail.Deferred] == each })
	in.stopped()

	startAs("second", "hunter2")
	in.submit((&letters{prefix: "late", sites: elsewhere, each: each}).next)
	received, err := smarthost.Wait(ctx, 3*each)
	mailtest.Must(t, err)
	in.stopped()
	users := map[int]string{}
	for _, r := range received {
		id, want := harness.IDOf(r.Content), "second"
		if strings.HasPrefix(id, "early") {
			want = "first"
		}
		if r.User != want {
			t.Errorf("message %s was sent by %q, want %q", id, r.User, want)
		}
		if before, used := users[r.Connection]; used && before != r.User {
			t.Errorf("connection %d was used by %q and by %q", r.Connection, before, r.User)
		}
		users[r.Connection] = r.User
	}
}

// path is a file beside the instance.
func (in *instance) path(name string) string { return filepath.Join(filepath.Dir(in.Log()), name) }
