package deliver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// scattered returns 500 recipients in 200 domains, two or three in each, and a
// zone in which ten domains at a time have the same pair of servers, all of
// them at loopback.
func scattered() (recipients []string, zone string) {
	var b strings.Builder
	for i := range 500 {
		recipients = append(recipients, fmt.Sprintf("r%d@d%d.test", i, i%200))
	}
	for i := range 200 {
		// The same servers, written in another way every second time.
		one, two, preference := fmt.Sprintf("a%d.test.", i%20), fmt.Sprintf("b%d.test.", i%20), 10
		if i/20%2 == 1 {
			one, two, preference = strings.ToUpper(two), strings.ToUpper(one), 5
		}
		fmt.Fprintf(&b, "d%d.test. MX %d %s\nd%d.test. MX %d %s\n", i, preference, one, i, preference, two)
	}
	for i := range 20 {
		fmt.Fprintf(&b, "a%d.test. A 127.0.0.1\nb%d.test. A 127.0.0.1\n", i, i)
	}
	return recipients, b.String()
}

// sent are the recipients of each transaction that came, sorted.
func sent(h *harness, sink *mailtest.Sink) (transactions [][]string) {
	h.Helper()
	for _, r := range sink.Received() {
		if string(r.Content) != content {
			h.Errorf("content %q", r.Content)
		}
		transactions = append(transactions, slices.Sorted(slices.Values(r.To())))
	}
	return transactions
}

// TestOneTransactionForEachSetOfServers: domains that have the same servers
// share a transaction, however their MX records are written.
func TestOneTransactionForEachSetOfServers(t *testing.T) {
	recipients, zone := scattered()
	server, sink := mailtest.NewDNS(t, zone), mailtest.NewSink(t)
	router := route.NewMX(route.MXOptions{
		Port: sink.Addr().Port(),
		Lane: route.Lane{TLS: tlspolicy.Policy{Level: tlspolicy.None}},
		Lookup: route.Lookup{
			Resolver: dns.NewClient(dns.Options{Servers: []netip.AddrPort{server.Addr()}, Timeout: patience}),
			Shuffle: func(n int, swap func(i, j int)) {
				for i := range n / 2 {
					swap(i, n-1-i)
				}
			},
		},
	})
	h := start(t, router, Options{})
	id := h.submit("joe@sender.example", recipients...)
	h.awaitFacts(id, mail.ReasonDelivered, 200) // one for each domain
	h.finish()

	transactions := sent(h, sink)
	if len(transactions) != 20 {
		t.Fatalf("%d transactions, want one for each of 20 sets of servers", len(transactions))
	}
	for _, to := range transactions {
		if len(to) != 25 {
			t.Errorf("%d recipients in one transaction: %q", len(to), to)
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(recipients)), slices.Sorted(slices.Values(slices.Concat(transactions...)))); diff != "" {
		t.Error(diff)
	}
	for i := range 200 {
		if n := server.Asked(fmt.Sprintf("d%d.test. MX", i)); n != 1 {
			t.Errorf("the MX records of one domain were asked for %d times", n)
		}
	}
}

// TestOneTransactionBySmarthost: behind one smarthost all domains are one
// transaction, with as many recipients as the setting allows.
func TestOneTransactionBySmarthost(t *testing.T) {
	recipients, _ := scattered()
	for limit, want := range map[int][]int{500: {500}, 0: {100, 100, 100, 100, 100}} {
		sink := mailtest.NewSink(t)
		smarthost := mail.HostPort{Host: "127.0.0.1", Port: sink.Addr().Port()}
		router := route.NewSmarthosts(route.Options{Hosts: []mail.HostPort{smarthost}, Lane: route.Lane{TLS: tlspolicy.Policy{Level: tlspolicy.None}}})
		h := start(t, router, Options{Settings: Settings{MaxRecipients: limit}})
		h.awaitFacts(h.submit("joe@sender.example", recipients...), mail.ReasonDelivered, 200)
		h.finish()
		var sizes []int
		for _, to := range sent(h, sink) {
			sizes = append(sizes, len(to))
		}
		if diff := cmp.Diff(want, sizes); diff != "" {
			t.Errorf("recipients of each transaction, at most %d:\n%s", limit, diff)
		}
	}
}

// TestOneReportOfAllThatHasNoWay: domains that have no way for different
// reasons are settled together, and the sender is told once.
func TestOneReportOfAllThatHasNoWay(t *testing.T) {
	h := start(t, routes{
		"one.example":   mail.Refuse(550, "5.1.2", "no such domain"),
		"two.example":   mail.Refuse(556, "5.1.10", "no mail").Because(errors.New("null MX")),
		"three.example": mail.Refuse(451, "4.4.3", "no answer"),
		"":              to("site", refused),
	}, Options{})
	id := h.submit("joe@sender.example", "a@one.example", "b@one.example", "c@two.example", "d@three.example")
	h.awaitFacts(id, mail.ReasonBounced, 2)
	h.finish()
	reports := 0
	for _, f := range h.facts(id) {
		switch {
		case f.About == id && f.Reason == mail.ReasonAccepted:
			reports++
		case f.Reason == mail.ReasonBounced && f.Reply.Code == 556 && f.Text != "null MX":
			t.Errorf("the cause is %q", f.Text)
		}
	}
	if reports != 1 {
		t.Errorf("%d reports", reports)
	}
	h.wantStates(id, "d@three.example deferred 1")
}
