package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

// brief is the time a question has that is never answered. A question that is
// has patience.
const (
	brief    = 200 * time.Millisecond
	patience = 30 * time.Second
)

const zone = `
test. SOA ns.test. root.test. 1 2 3 4 60
both.test. A 192.0.2.1
both.test. AAAA 2001:db8::1
four.test. A 192.0.2.4
six.test. AAAA 2001:db8::6
mapped.test. AAAA ::ffff:192.0.2.7
mail.test. MX 10 MX1.test.
mail.test. MX 20 mx2.test.
null.test. MX 0 .
alias.test. CNAME second.test.
second.test. CNAME both.test.
nowhere.test. CNAME nothing.test.
dangling.test. CNAME both.test.
_fault.dangling.test. TXT dangling
circle.test. CNAME round.test.
round.test. CNAME circle.test.
endless1.test. CNAME endless2.test.
_fault.endless1.test. TXT dangling
endless2.test. CNAME endless1.test.
_fault.endless2.test. TXT dangling
deep.below.test. A 192.0.2.9
servfail.test. A 192.0.2.1
_fault.servfail.test. TXT servfail
refused.test. A 192.0.2.1
_fault.refused.test. TXT refused
half.test. A 192.0.2.1
_fault.aaaa.half.test. TXT servfail
otherhalf.test. AAAA 2001:db8::6
_fault.a.otherhalf.test. TXT servfail
nohalf.test. MX 10 x.test.
_fault.aaaa.nohalf.test. TXT servfail
late.test. A 192.0.2.1
_fault.late.test. TXT late
truncated.test. A 192.0.2.1
_fault.truncated.test. TXT truncate
cut.test. A 192.0.2.1
_fault.cut.test. TXT cut
id.test. A 192.0.2.1
_fault.id.test. TXT id
noedns.test. A 192.0.2.1
_fault.noedns.test. TXT noedns
odd.test. MX 10 mx1.test.
odd.test. A 192.0.2.1
_fault.odd.test. TXT stranger
strange4.test. AAAA 2001:db8::6
_fault.strange4.test. TXT stranger
question.test. A 192.0.2.1
_fault.question.test. TXT question
garbage.test. A 192.0.2.1
_fault.garbage.test. TXT garbage
lame.test. A 192.0.2.1
_fault.lame.test. TXT lame
dropped.test. A 192.0.2.1
_fault.dropped.test. TXT drop
forged.test. A 192.0.2.1
_fault.forged.test. TXT forged
`

// none is a path at which there is no file.
const none = "testdata/none"

func client(t *testing.T, timeout time.Duration, servers ...netip.AddrPort) *Client {
	t.Helper()
	return NewClient(Options{Servers: servers, Timeout: timeout, Hosts: none, ResolvConf: none})
}

// TestLookupAddr: addresses of both families (RFC 1035 3.4.1, RFC 3596),
// behind aliases (RFC 1034 3.6.2), by TCP where an answer does not fit (RFC 7766 5),
// and without EDNS at a server that has none (RFC 6891 7). A forged answer, with
// another identifier, is not believed (RFC 5452 9.1).
func TestLookupAddr(t *testing.T) {
	server := mailtest.NewDNS(t, zone)
	for host, want := range map[string]string{
		"both.test":          "192.0.2.1 2001:db8::1",
		"BOTH.test.":         "192.0.2.1 2001:db8::1",
		"four.test":          "192.0.2.4",
		"six.test":           "2001:db8::6",
		"mapped.test":        "192.0.2.7",
		"alias.test":         "192.0.2.1 2001:db8::1",
		"dangling.test":      "192.0.2.1 2001:db8::1",
		"half.test":          "192.0.2.1",
		"otherhalf.test":     "2001:db8::6",
		"truncated.test":     "192.0.2.1",
		"id.test":            "192.0.2.1",
		"noedns.test":        "192.0.2.1",
		"odd.test":           "192.0.2.1",
		"strange4.test":      "2001:db8::6",
		"mail.test":          "not in DNS: mail.test AAAA",
		"below.test":         "not in DNS: below.test AAAA",
		"unknown.test":       "not in DNS: no such name: unknown.test AAAA",
		"nowhere.test":       "not in DNS: no such name: nowhere.test AAAA",
		"a..test":            "not in DNS: no such name: a..test AAAA: not a name that DNS could hold",
		"circle.test":        "DNS gave no answer: circle.test A: 127.0.0.1: the aliases go round in a circle, or are too many",
		"endless1.test":      "DNS gave no answer: endless1.test A: the aliases go round in a circle, or are too many",
		"servfail.test":      "DNS gave no answer: servfail.test A: 127.0.0.1: the server says SERVFAIL",
		"refused.test":       "DNS gave no answer: refused.test A: 127.0.0.1: the server says REFUSED",
		"nohalf.test":        "DNS gave no answer: nohalf.test AAAA: 127.0.0.1: the server says SERVFAIL",
		"question.test":      "DNS gave no answer: question.test A: 127.0.0.1: the answer is to another question",
		"lame.test":          "DNS gave no answer: lame.test A: 127.0.0.1: the server knows nothing of the name and asks nobody",
		"cut.test":           "DNS gave no answer: cut.test A: 127.0.0.1: the answer is cut off, also by TCP",
		"garbage.test":       "DNS gave no answer: garbage.test A: 127.0.0.1: bad question name",
		"dropped.test brief": "DNS gave no answer: dropped.test A: 127.0.0.1: it did not answer in time",
		"forged.test brief":  "DNS gave no answer: forged.test A: 127.0.0.1: it did not answer in time",
	} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			name, _, unanswered := strings.Cut(host, " ")
			timeout := patience
			if unanswered {
				timeout = brief
			}
			got := show(client(t, timeout, server.Addr()).LookupAddr(t.Context(), name))
			got = strings.ReplaceAll(got, server.Addr().String(), "127.0.0.1")
			if got != want && (!strings.HasPrefix(want, "DNS") || !strings.HasPrefix(got, want)) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// show is an answer in a line, or its error.
func show(addresses []netip.Addr, err error) string {
	if err != nil {
		return err.Error()
	}
	var s []string
	for _, a := range addresses {
		s = append(s, a.String())
	}
	return strings.Join(s, " ")
}

// TestLate: a server that did not hear the first time is asked again. The time
// of the first try is all that it costs.
func TestLate(t *testing.T) {
	server := mailtest.NewDNS(t, zone)
	// Either type takes the first try of its own.
	if got := show(client(t, 4*time.Second, server.Addr()).LookupAddr(t.Context(), "late.test")); got != "192.0.2.1" {
		t.Error(got)
	}
}

// TestLookupMX: RFC 1035 3.3.9.
func TestLookupMX(t *testing.T) {
	server := mailtest.NewDNS(t, zone)
	for domain, want := range map[string][]MX{
		"Mail.test": {{"mx1.test", 10}, {"mx2.test", 20}},
		"null.test": {{"", 0}},
		"odd.test":  {{"mx1.test", 10}},
	} {
		got, err := client(t, patience, server.Addr()).LookupMX(t.Context(), domain)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", domain, err, diff)
		}
	}
	for domain, want := range map[string]error{"four.test": ErrNotFound, "unknown.test": ErrNoName, "servfail.test": ErrTemporary} {
		_, err := client(t, patience, server.Addr()).LookupMX(t.Context(), domain)
		if !errors.Is(err, want) || want == ErrNotFound && errors.Is(err, ErrNoName) {
			t.Errorf("%s: %v, want %v", domain, err, want)
		}
	}
}

func TestRecordsAreBounded(t *testing.T) {
	var zone strings.Builder
	for i := range maxRecords + 10 {
		fmt.Fprintf(&zone, "many.test. A 198.51.100.%d\n", i)
	}
	server := mailtest.NewDNS(t, zone.String())
	addresses, err := client(t, patience, server.Addr()).LookupAddr(t.Context(), "many.test")
	if err != nil || len(addresses) != maxRecords {
		t.Errorf("%d addresses, %v", len(addresses), err)
	}
}

// TestLookupName: the names of the reverse trees (RFC 1035 3.5, RFC 3596 2.5).
func TestLookupName(t *testing.T) {
	server := mailtest.NewDNS(t, "1.2.0.192.in-addr.arpa. PTR Mail.test.\n1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR six.test.")
	c := client(t, patience, server.Addr())
	for ip, want := range map[netip.Addr]string{four: "mail.test", six: "six.test", netip.MustParseAddr("::ffff:192.0.2.1"): "mail.test"} {
		if got, err := c.LookupName(t.Context(), ip); err != nil || !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, %v", ip, got, err)
		}
	}
	if _, err := c.LookupName(t.Context(), netip.Addr{}); !errors.Is(err, ErrTemporary) && !errors.Is(err, ErrNotFound) {
		t.Errorf("no address: %v", err)
	}
}

// TestNextServer: a server that fails gives way to the next, and one that has
// an answer ends the search, whatever it is.
func TestNextServer(t *testing.T) {
	bad := mailtest.NewDNS(t, "both.test. A 192.0.2.66\n_fault.both.test. TXT servfail\nx.test. A 192.0.2.66")
	good := mailtest.NewDNS(t, zone)
	c := client(t, patience, netip.MustParseAddrPort("127.0.0.1:1"), bad.Addr(), good.Addr())
	if got := show(c.LookupAddr(t.Context(), "both.test")); got != "192.0.2.1 2001:db8::1" {
		t.Error(got)
	}
	if _, err := c.LookupAddr(t.Context(), "four.test"); !errors.Is(err, ErrNoName) {
		t.Errorf("error %v, want that of the first server with an answer", err)
	}
	if n := bad.Asked("both.test. A"); n != 1 {
		t.Errorf("the server that fails was asked %d times", n)
	}
}

func TestNoServers(t *testing.T) {
	if _, err := client(t, patience).LookupAddr(t.Context(), "both.test"); !errors.Is(err, ErrTemporary) {
		t.Errorf("error %v, want ErrTemporary", err)
	}
}

func TestContextEnded(t *testing.T) {
	server := mailtest.NewDNS(t, zone)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := client(t, patience, server.Addr())
	if _, err := c.LookupAddr(ctx, "both.test"); !errors.Is(err, ErrTemporary) {
		t.Errorf("error %v, want ErrTemporary", err)
	}
	if got := show(c.LookupAddr(t.Context(), "both.test")); got != "192.0.2.1 2001:db8::1" {
		t.Errorf("the failure of who had no time was remembered: %s", got)
	}
}

// TestStopWhileWaiting: who stops does not wait for a server that is silent.
func TestStopWhileWaiting(t *testing.T) {
	server := mailtest.NewDNS(t, zone)
	ctx, cancel := context.WithCancel(t.Context())
	c := client(t, time.Hour, server.Addr())
	done := make(chan error)
	go func() {
		_, err := c.LookupMX(ctx, "dropped.test")
		done <- err
	}()
	for server.Asked("dropped.test. MX") == 0 {
		runtime.Gosched()
	}
	cancel()
	if err := <-done; !errors.Is(err, ErrTemporary) {
		t.Errorf("error %v, want ErrTemporary", err)
	}
}

func TestSearchDomains(t *testing.T) {
	server := mailtest.NewDNS(t, zone+"relay.corp.test. A 192.0.2.8\nrelay. A 192.0.2.66")
	c := client(t, patience)
	c.machine.value = resolvConf{servers: []netip.AddrPort{server.Addr()}, search: []string{"none.test", "corp.test"}}
	for host, want := range map[string]string{
		"relay":  "192.0.2.8",
		"relay.": "192.0.2.66",
	} {
		if got := show(c.LookupAddr(t.Context(), host)); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	c.options.Servers = []netip.AddrPort{server.Addr()}
	if got := show(c.LookupAddr(t.Context(), "relay")); got != "192.0.2.66" {
		t.Errorf("servers of the configuration go with search domains of the machine: %s", got)
	}
}

// TestCacheKeepsWhatTheAnswerSays: and what fails is remembered as well (RFC 9520 3.2).
func TestCacheKeepsWhatTheAnswerSays(t *testing.T) {
	server := mailtest.NewDNS(t, "test. 3600 SOA ns.test. root.test. 1 2 3 4 600\n"+
		"minute.test. 60 A 192.0.2.1\nzero.test. 0 A 192.0.2.1\nforever.test. 2000000 A 192.0.2.1\n"+
		"chain.test. 30 CNAME minute.test.\n"+
		"fails.test. A 192.0.2.1\n_fault.fails.test. TXT servfail")
	clock := mail.NewManualClock(time.Unix(1e9, 0))
	c := NewClient(Options{Servers: []netip.AddrPort{server.Addr()}, Timeout: patience, Hosts: none, Clock: clock})
	for _, step := range []struct {
		name   string
		within time.Duration // asked again until here
		asks   int           // for the first question and the second
	}{
		{"minute.test", 59 * time.Second, 1},
		{"minute.test", time.Minute, 2},
		{"chain.test", 29 * time.Second, 1},
		{"chain.test", 30 * time.Second, 2},
		{"zero.test", minTTL - 1, 1},
		{"zero.test", minTTL, 2},
		{"forever.test", maxTTL - 1, 1},
		{"forever.test", maxTTL, 2},
		{"none.test", 10*time.Minute - 1, 1}, // the minimum of the SOA, RFC 2308 5
		{"none.test", 10 * time.Minute, 2},
		{"fails.test", failureTTL - 1, 2}, // it has two tries
		{"fails.test", failureTTL, 4},
		{"other.unknown", time.Second, 2}, // no SOA: not remembered
	} {
		clock.Advance(48 * time.Hour)
		before := server.Asked(step.name + ". A")
		_, _ = c.LookupAddr(t.Context(), step.name)
		clock.Advance(step.within)
		_, _ = c.LookupAddr(t.Context(), step.name)
		if n := server.Asked(step.name+". A") - before; n != step.asks {
			t.Errorf("%s after %s: asked %d times, want %d", step.name, step.within, n, step.asks)
		}
	}
}

// TestAfresh: who asks for it gets no answer from memory, and all get that which is found.
func TestAfresh(t *testing.T) {
	c := newCache(16, mail.SystemClock{})
	asked := 0
	ask := func(context.Context, question) answer {
		asked++
		return answer{alias: strconv.Itoa(asked), ttl: time.Hour}
	}
	get := func(ctx context.Context) string { return c.get(ctx, question{name: "a"}, ask).alias }
	if got := get(t.Context()) + get(t.Context()) + get(Afresh(t.Context())) + get(t.Context()); got != "1122" {
		t.Error(got)
	}
}

func TestCacheIsBounded(t *testing.T) {
	clock := mail.NewManualClock(time.Unix(1e9, 0))
	c := newCache(16, clock)
	ask := func(_ context.Context, q question) answer { return answer{ttl: time.Minute} }
	for i := range 100 {
		c.get(t.Context(), question{name: string(rune('a' + i))}, ask)
		if len(c.entries) > 16 {
			t.Fatalf("%d entries", len(c.entries))
		}
	}
	clock.Advance(time.Hour)
	c.get(t.Context(), question{name: "x"}, ask)
	for len(c.entries) > 1 && len(c.entries) < 16 {
		c.get(t.Context(), question{name: strings.Repeat("y", len(c.entries))}, ask)
	}
	c.get(t.Context(), question{name: "z"}, ask)
	if _, kept := c.entries[question{name: "x"}]; !kept {
		t.Error("an entry was dropped while others had expired")
	}
}

// TestQuestionsAreShared: who asks what is being asked waits for that answer.
func TestQuestionsAreShared(t *testing.T) {
	c := newCache(16, mail.SystemClock{})
	asking, release := make(chan struct{}), make(chan struct{})
	asked := 0
	ask := func(context.Context, question) answer {
		asked++
		close(asking)
		<-release
		return answer{alias: "this one", ttl: time.Minute}
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var got []string
	get := func() {
		a := c.get(t.Context(), question{name: "x."}, ask)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, a.alias)
	}
	group.Go(get)
	<-asking
	for range 5 {
		group.Go(get)
	}
	close(release)
	group.Wait()
	if want := slices.Repeat([]string{"this one"}, 6); asked != 1 || !slices.Equal(got, want) {
		t.Errorf("asked %d times: %q", asked, got)
	}
}

// TestAbandonedQuestion: that the one who asks has no more time is no answer
// for those who wait with him.
func TestAbandonedQuestion(t *testing.T) {
	c := newCache(16, mail.SystemClock{})
	ctx, cancel := context.WithCancel(t.Context())
	asking := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		c.get(ctx, question{name: "x."}, func(ctx context.Context, _ question) answer {
			close(asking)
			<-ctx.Done()
			return answer{err: ErrTemporary}
		})
	})
	<-asking
	group.Go(func() {
		a := c.get(t.Context(), question{name: "x."}, func(context.Context, question) answer { return answer{alias: "good"} })
		if a.alias != "good" {
			t.Errorf("got %v", a.err)
		}
	})
	cancel()
	group.Wait()
}

// TestRecordsOfAName: A and TXT records as they are, without a file of the machine; the
// strings of a text are one (RFC 1035 3.3.14).
func TestRecordsOfAName(t *testing.T) {
	server := mailtest.NewDNS(t, "test. SOA ns.test. root.test. 1 2 3 4 60\n"+
		"a.test. A 127.0.0.2\na.test. A 127.0.0.3\na.test. TXT \"one, \" \"two\"\na.test. TXT three\nsix.test. AAAA 2001:db8::6\n")
	c := NewClient(Options{Servers: []netip.AddrPort{server.Addr()}, Timeout: patience})
	addresses, err := c.LookupIPv4(t.Context(), "A.test")
	slices.SortFunc(addresses, netip.Addr.Compare)
	if fmt.Sprint(addresses) != "[127.0.0.2 127.0.0.3]" || err != nil {
		t.Errorf("%v, %v", addresses, err)
	}
	texts, err := c.LookupText(t.Context(), "a.test")
	slices.Sort(texts)
	if strings.Join(texts, "; ") != "one, two; three" || err != nil {
		t.Errorf("%q, %v", texts, err)
	}
	for _, name := range []string{"six.test", "no.test"} {
		if _, err := c.LookupIPv4(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.LookupText(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("text of %s: %v", name, err)
		}
	}
}

// TestLookupAlias asks for the alias itself, and not for what it leads to (RFC 1035 3.3.1).
func TestLookupAlias(t *testing.T) {
	server := mailtest.NewDNS(t, "a.test. 60 IN CNAME B.test.\nb.test. 60 IN CNAME c.test.\nc.test. 60 IN TXT \"x\"\n")
	c := NewClient(Options{Servers: []netip.AddrPort{server.Addr()}, Hosts: os.DevNull})
	if target, err := c.LookupAlias(t.Context(), "A.test"); target != "b.test" || err != nil {
		t.Errorf("%q, %v", target, err)
	}
	for _, name := range []string{"c.test", "no.test"} {
		if target, err := c.LookupAlias(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %q, %v", name, target, err)
		}
	}
}
