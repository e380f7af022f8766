package blocklist

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mailtest"
	"postern/internal/metrics"
)

const zone = `
bl.test. SOA ns.test. root.test. 1 2 3 4 60
2.0.0.127.bl.test. A 127.0.0.2
7.100.51.198.bl.test. A 127.0.0.2
7.100.51.198.bl.test. A 127.0.0.10
7.100.51.198.bl.test. TXT "Spam was seen," " see https://bl.test/198.51.100.7"
8.100.51.198.bl.test. A 127.0.0.99
2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.b.c.6.7.1.0.a.2.bl.test. A 127.0.0.4
bits.test. SOA ns.test. root.test. 1 2 3 4 60
2.0.0.127.bits.test. A 127.0.0.2
7.100.51.198.bits.test. A 127.0.0.12
world.test. SOA ns.test. root.test. 1 2 3 4 60
*.world.test. A 127.0.0.2
refusing.test. SOA ns.test. root.test. 1 2 3 4 60
*.refusing.test. A 127.255.255.254
parked.test. SOA ns.test. root.test. 1 2 3 4 60
*.parked.test. A 198.51.100.1
gone.test. SOA ns.test. root.test. 1 2 3 4 60
failing.test. SOA ns.test. root.test. 1 2 3 4 60
_fault.*.failing.test. TXT servfail
uri.test. SOA ns.test. root.test. 1 2 3 4 60
test.uri.test. A 127.0.0.2
spam.example.uri.test. A 127.0.0.2
xn--bcher-kva.example.uri.test. A 127.0.0.2
`

// answers reads the answers of a list as they are written in a configuration.
func answers(t testing.TB, written ...string) []config.BlockAnswer {
	t.Helper()
	var list []config.BlockAnswer
	for _, s := range written {
		a, err := config.ParseBlockAnswer(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

func listAt(t testing.TB, zone string, written ...string) config.BlockList {
	if written == nil {
		written = []string{"127.0.0.2-255"}
	}
	return config.BlockList{Zone: zone, Kind: config.BlockAddresses, Weight: 1, Answers: answers(t, written...)}
}

// observed is a Set on a real name server, and what it told.
type observed struct {
	*Set
	server *mailtest.DNS
	mu     sync.Mutex
	told   []Event
}

func newObserved(t *testing.T, lists ...config.BlockList) *observed {
	t.Helper()
	o := &observed{server: mailtest.NewDNS(t, zone)}
	client := dns.NewClient(dns.Options{Servers: []netip.AddrPort{o.server.Addr()}, Timeout: 20 * time.Second})
	o.Set = New(lists, Options{Resolver: client, Timeout: 20 * time.Second, Tell: o.tell})
	return o
}

func (o *observed) tell(e Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, e)
}

func client(s string) netip.Addr { return netip.MustParseAddr(s) }

var ignoreName = cmp.Options{cmpopts.IgnoreUnexported(Hit{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}

// TestCheckClient: octets and nibbles in reverse (RFC 5782 2.1, 2.4), and answers by
// their values.
func TestCheckClient(t *testing.T) {
	named := listAt(t, "bits.test", "&0.0.0.4=7", "&0.0.0.8", "&0.0.0.2=100")
	named.Name, named.Weight = "by bits", 3
	exempt := listAt(t, "bl.test")
	exempt.Name, exempt.Exempt = "exempt", []netip.Prefix{netip.MustParsePrefix("198.51.100.0/25")}
	o := newObserved(t, listAt(t, "bl.test", "127.0.0.2-11", "127.0.0.10=5"), named, exempt, listAt(t, "gone.test"))
	got := o.CheckClient(t.Context(), client("::ffff:198.51.100.7"))
	want := Result{Score: 12, Hits: []Hit{
		{Name: "bl.test", Whom: "198.51.100.7", Answers: []netip.Addr{client("127.0.0.2"), client("127.0.0.10")}, Weight: 5},
		{Name: "by bits", Whom: "198.51.100.7", Answers: []netip.Addr{client("127.0.0.12")}, Weight: 7},
	}}
	for i := range got.Hits {
		slices.SortFunc(got.Hits[i].Answers, netip.Addr.Compare)
	}
	if diff := cmp.Diff(want, got, ignoreName); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if names := strings.Join(got.Lists(), ", "); names != "bl.test, by bits" {
		t.Errorf("listed by %s", names)
	}
	for ip, want := range map[string]int{
		"198.51.100.8": 0, // an answer that does not count
		"198.51.100.9": 0, "2a01:76cb:1::2": 2, "2a01:76cb:1::3": 0,
	} {
		if got := o.CheckClient(t.Context(), client(ip)); got.Score != want {
			t.Errorf("%s: %+v, want a score of %d", ip, got, want)
		}
	}
	// What was asked is remembered, also that there is nothing.
	for range 3 {
		o.CheckClient(t.Context(), client("198.51.100.7"))
		o.CheckClient(t.Context(), client("198.51.100.9"))
	}
	for _, name := range []string{"7.100.51.198.bl.test. A", "9.100.51.198.bl.test. A", "1.0.0.127.bl.test. A"} {
		if n := o.server.Asked(name); n != 1 {
			t.Errorf("%s was asked %d times", name, n)
		}
	}
	if len(o.told) != 0 {
		t.Errorf("told %v", o.told)
	}
}

// TestNobodyIsAskedOfPrivateAddresses: they are nobody's, and say how our network is.
func TestNobodyIsAskedOfPrivateAddresses(t *testing.T) {
	o := newObserved(t, listAt(t, "world.test"))
	for _, ip := range []string{"127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "fe80::1%eth0", "fc00::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:10.0.0.1"} {
		o.CheckClient(t.Context(), client(ip))
	}
	if got := o.CheckClient(t.Context(), netip.Addr{}); got.Score != 0 {
		t.Errorf("no address: %+v", got)
	}
	if len(o.told) > 0 {
		t.Errorf("asked, for it told %v", o.told)
	}
}

// TestCheckDomain: lists of domains are asked about domains alone (RFC 5782 3).
func TestCheckDomain(t *testing.T) {
	uri, other := listAt(t, "uri.test"), listAt(t, "bl.test")
	uri.Kind = config.BlockDomains
	o := newObserved(t, other, uri)
	for domain, want := range map[string]int{
		"spam.example": 1, "SPAM.example.": 1, "ham.example": 0, "bücher.example": 1, "": 0, "test": 0, "[192.0.2.1]": 0,
		strings.Repeat("a.", 120) + "example": 0,
	} {
		if got := o.CheckDomain(t.Context(), domain); got.Score != want {
			t.Errorf("%q: %+v, want %d", domain, got, want)
		}
	}
	if got := o.CheckClient(t.Context(), client("198.51.100.7")); len(got.Hits) != 1 || got.Hits[0].Name != "bl.test" {
		t.Errorf("a list of domains was asked about an address: %+v", got)
	}
}

// TestLists that fail never list, are told of once, and are not asked any more.
func TestListsThatFail(t *testing.T) {
	for zone, want := range map[string]struct {
		err   error
		after int // questions until it is left out
	}{
		"world.test":    {errLies, 1},
		"refusing.test": {errRefuses, 1},
		"parked.test":   {errRefuses, 1},
		"failing.test":  {dns.ErrTemporary, maxFailures},
	} {
		o := newObserved(t, listAt(t, zone), listAt(t, "bl.test"))
		for i := range 2 * maxFailures {
			ip := client(fmt.Sprintf("198.51.100.%d", 7+i))
			got := o.CheckClient(t.Context(), ip)
			if slices.Contains(got.Lists(), zone) || (i < 2) != (got.Score == 1) {
				t.Errorf("%s: %+v", zone, got)
			}
			if told := i+1 >= want.after; told != (len(o.told) == 1) {
				t.Errorf("%s, %d questions: told %v", zone, i+1, o.told)
			}
		}
		if e := o.told[0]; !e.LeftOut || e.Name != zone || !errors.Is(e.Err, want.err) {
			t.Errorf("%s: told %v, want %v", zone, e, want.err)
		}
		if out := o.Out(); len(out) != 1 || out[0].Name != zone || !errors.Is(out[0].Err, want.err) {
			t.Errorf("%s: out are %v", zone, out)
		}
		left := fmt.Sprintf("%d.100.51.198.%s. A", 7+2*maxFailures-1, zone)
		if n := o.server.Asked(left); n != 0 {
			t.Errorf("%s is left out, and asked for %s", zone, left)
		}
	}
}

func TestText(t *testing.T) {
	l := listAt(t, "bl.test")
	l.Removal = "https://bl.test/remove"
	o := newObserved(t, l)
	hit := o.CheckClient(t.Context(), client("198.51.100.7")).Hits[0]
	const asked = "7.100.51.198.bl.test. TXT"
	if o.server.Asked(asked) != 0 {
		t.Error("the text was asked for before anybody wants it")
	}
	want := "198.51.100.7 is listed by bl.test (Spam was seen, see https://bl.test/198.51.100.7); to be taken off the list: https://bl.test/remove"
	if got := o.Text(t.Context(), hit); got != want || o.server.Asked(asked) != 1 {
		t.Errorf("%q, want %q", got, want)
	}
	hit = o.CheckClient(t.Context(), client("2a01:76cb:1::2")).Hits[0]
	hit.Removal = ""
	if got := o.Text(t.Context(), hit); got != "2a01:76cb:1::2 is listed by bl.test" {
		t.Errorf("without a text: %q", got)
	}
}

func TestPrintable(t *testing.T) {
	for said, want := range map[string]string{
		"ok": "ok", "": "", " \r\n250 ok\x00 ü ": "250 ok",
		strings.Repeat("x", maxText):   strings.Repeat("x", maxText),
		strings.Repeat("x", maxText+1): strings.Repeat("x", maxText-3) + "...",
	} {
		if got := printable(said); got != want {
			t.Errorf("%q is %q, want %q", said, got, want)
		}
	}
}

// TestVerify asks for the entries by which a list shows that it works (RFC 5782 5).
func TestVerify(t *testing.T) {
	uri := listAt(t, "uri.test")
	uri.Kind = config.BlockDomains
	o := newObserved(t, listAt(t, "bl.test"), uri, listAt(t, "world.test"), listAt(t, "refusing.test"), listAt(t, "gone.test"), listAt(t, "failing.test"))
	want := []string{
		"block list world.test: it lists what no list has, so that it would list everybody (1.0.0.127.world.test)",
		"block list refusing.test: the answer says that something is wrong, such as that the list does not answer this name server (127.255.255.254)",
		"block list gone.test: 2.0.0.127.gone.test is not listed, which every list has (RFC 5782 5)",
		"block list failing.test: DNS gave no answer: 2.0.0.127.failing.test A",
	}
	problems := o.Verify(t.Context())
	if len(problems) != len(want) {
		t.Fatalf("%v", problems)
	}
	for i, p := range problems {
		if !strings.HasPrefix(p.Message, want[i]) || p.Hint == "" || p.Key != "block_list.zone" {
			t.Errorf("%s\nwant %s", p, want[i])
		}
	}
}

// scripted is a Resolver in fake time: it answers as list says, after a delay.
type scripted struct {
	mu    sync.Mutex
	delay map[string]time.Duration // by the end of a name
	list  bool                     // all clients are listed
	asked int
}

func (r *scripted) set(zone string, delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay[zone] = delay
}

func (r *scripted) LookupIPv4(ctx context.Context, name string) ([]netip.Addr, error) {
	r.mu.Lock()
	r.asked++
	var delay time.Duration
	for zone, d := range r.delay {
		if strings.HasSuffix(name, "."+zone) {
			delay = d
		}
	}
	r.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", dns.ErrTemporary, ctx.Err())
	}
	if !r.list || strings.HasPrefix(name, "1.0.0.127.") {
		return nil, dns.ErrNoName
	}
	return []netip.Addr{client("127.0.0.2")}, nil
}

func (r *scripted) LookupText(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestSlowList: a list that does not answer costs a client the time limit at most, and
// after a few nothing; the others count all the while. It is tried again in time.
func TestSlowList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{delay: map[string]time.Duration{"slow.test": time.Hour, "late.test": 2 * time.Second}, list: true}
		o := &observed{}
		s := New([]config.BlockList{listAt(t, "slow.test"), listAt(t, "late.test"), listAt(t, "quick.test")},
			Options{Resolver: r, Tell: o.tell})
		check := func(most time.Duration, lists string) {
			t.Helper()
			start := time.Now()
			got := s.CheckClient(t.Context(), client("198.51.100.7"))
			if took := time.Since(start); took > most || strings.Join(got.Lists(), " ") != lists {
				t.Errorf("after %s: listed by %v", took, got.Lists())
			}
		}
		for range maxFailures {
			check(defaultTimeout, "quick.test") // late.test needs 2 s twice
		}
		if len(o.told) != 2 || o.told[0].Err == nil || !errors.Is(o.told[0].Err, errSilent) {
			t.Fatalf("told %v", o.told)
		}
		o.told = nil
		check(0, "quick.test")
		time.Sleep(firstPause - time.Second)
		check(0, "quick.test")

		r.set("late.test", time.Second)
		time.Sleep(time.Second)
		check(defaultTimeout, "late.test quick.test") // both are tried, one answers
		if len(o.told) != 1 || o.told[0].LeftOut || o.told[0].Name != "late.test" || o.told[0].String() != "late.test answers again" {
			t.Errorf("told %v", o.told)
		}
		// The other one has a longer pause now, of which nothing new is told.
		time.Sleep(firstPause)
		check(2*time.Second, "late.test quick.test")
		time.Sleep(firstPause)
		check(defaultTimeout, "late.test quick.test")
		r.set("slow.test", 0)
		check(2*time.Second, "late.test quick.test")
		time.Sleep(longPause)
		check(2*time.Second, "slow.test late.test quick.test")
		if len(o.told) != 2 || o.told[1].Name != "slow.test" || o.told[1].LeftOut {
			t.Errorf("told %v", o.told)
		}
	})
}

// TestOneTries: while a list that was left out is tried, only one client waits for it.
func TestOneTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{delay: map[string]time.Duration{"slow.test": time.Hour}}
		s := New([]config.BlockList{listAt(t, "slow.test")}, Options{Resolver: r})
		for range maxFailures {
			s.CheckClient(t.Context(), client("198.51.100.7"))
		}
		time.Sleep(firstPause)
		var clients sync.WaitGroup
		before := r.asked
		for range 10 {
			clients.Go(func() { s.CheckClient(t.Context(), client("198.51.100.7")) })
		}
		clients.Wait()
		if n := r.asked - before; n != 1 {
			t.Errorf("%d clients waited for a list that may be dead", n)
		}
	})
}

// TestClientLeaves: a client that goes says nothing of the list that it waited for.
func TestClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{delay: map[string]time.Duration{"slow.test": time.Hour}}
		s := New([]config.BlockList{listAt(t, "slow.test")}, Options{Resolver: r, Tell: func(e Event) { t.Errorf("told %v", e) }})
		for range 2 * maxFailures {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			s.CheckClient(ctx, client("198.51.100.7"))
			cancel()
		}
		if len(s.Out()) != 0 {
			t.Error("the list is left out")
		}
	})
}

// TestFollow: a reload does not ask a dead list again.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{delay: map[string]time.Duration{"slow.test": time.Hour}}
		lists := []config.BlockList{listAt(t, "slow.test")}
		s := New(lists, Options{Resolver: r})
		for range maxFailures {
			s.CheckClient(t.Context(), client("198.51.100.7"))
		}
		next := New(append(lists, listAt(t, "other.test")), Options{Resolver: r})
		next.Follow(s)
		if out := next.Out(); len(out) != 1 || out[0].Name != "slow.test" {
			t.Errorf("out: %v", out)
		}
	})
}

func TestTextIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New([]config.BlockList{listAt(t, "a.test")}, Options{Resolver: &scripted{list: true}})
		hit := s.CheckClient(t.Context(), client("198.51.100.7")).Hits[0]
		start := time.Now()
		if got := s.Text(t.Context(), hit); got != "198.51.100.7 is listed by a.test" || time.Since(start) > textTimeout {
			t.Errorf("%q after %s", got, time.Since(start))
		}
	})
}

func TestMetrics(t *testing.T) {
	set := metrics.NewSet()
	m := NewMetrics(set)
	for _, err := range []error{nil, errLies, fmt.Errorf("x: %w", errRefuses), errSilent, dns.ErrTemporary} {
		m.asked(err)
	}
	families, err := set.Gatherer().Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%v, %v", families, err)
	}
	got := map[string]float64{}
	for _, m := range families[0].GetMetric() {
		got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	if diff := cmp.Diff(map[string]float64{"answered": 1, "lying": 1, "refused": 1, "failed": 2}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
