package senders

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/directory"
	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/metrics"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// inventory is one of a test, with its directory and how to open it again.
type inventory struct {
	*Inventory
	t       *testing.T
	dir     string
	clock   *mail.ManualClock
	options Options
	set     *metrics.Set
}

func newInventory(t *testing.T, o Options) *inventory {
	v := &inventory{t: t, dir: filepath.Join(t.TempDir(), "directory"), clock: mail.NewManualClock(start), options: o}
	v.open()
	t.Cleanup(v.close)
	return v
}

func (v *inventory) open() {
	v.t.Helper()
	d, err := directory.Open(v.t.Context(), directory.Options{Dir: v.dir, Clock: v.clock})
	if err != nil {
		v.t.Fatal(err)
	}
	v.set = metrics.NewSet()
	o := v.options
	o.Directory, o.Clock, o.Metrics = d, v.clock, NewMetrics(v.set)
	if v.Inventory, err = Open(v.t.Context(), o); err != nil {
		v.t.Fatal(err)
	}
}

func (v *inventory) close() {
	if err := errors.Join(v.Inventory.Close(), v.Directory.Close()); err != nil {
		v.t.Error(err)
	}
}

func (v *inventory) reopen() {
	v.t.Helper()
	v.close()
	v.open()
}

func (v *inventory) flush() {
	v.t.Helper()
	if err := v.Flush(v.t.Context()); err != nil {
		v.t.Fatal(err)
	}
}

// counter is what a metric says, with its labels.
func (v *inventory) counter(name, label string) float64 {
	v.t.Helper()
	families, err := v.set.Gatherer().Gather()
	if err != nil {
		v.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name || label != "" && m.GetLabel()[0].GetValue() != label {
				continue
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return 0
}

func (v *inventory) names(f Filter) (names []string) {
	for _, s := range v.List(f) {
		names = append(names, s.Source)
	}
	return names
}

func (v *inventory) get(name string) Sender {
	v.t.Helper()
	s, err := v.Get(name)
	if err != nil {
		v.t.Fatal(err)
	}
	return s
}

func (v *inventory) user(u directory.User) {
	v.t.Helper()
	u.Enabled = true
	if err := v.Directory.Change(v.t.Context(), "ann", func(tx *directory.Tx) error { return tx.PutUser(u) }); err != nil {
		v.t.Fatal(err)
	}
}

func (v *inventory) assign(name string, o Ownership) Sender {
	v.t.Helper()
	s, err := v.Assign(v.t.Context(), "ann", name, o)
	if err != nil {
		v.t.Fatal(err)
	}
	return s
}

// sentBy is a message by a client at an address.
func sentBy(client string) intake.Sent {
	return intake.Sent{
		At: start, From: mail.Address{Local: "joe", Domain: "corp.example"}, HeaderFrom: "Joe <joe@corp.example>", Recipients: 2, Octets: 100,
		Origin: &mail.Origin{Listener: "smtp", Client: netip.AddrPortFrom(netip.MustParseAddr(client), 25), Hello: "host.example", Protocol: "ESMTP"},
	}
}

func TestSources(t *testing.T) {
	v := newInventory(t, Options{})
	certificate := &mail.Certificate{Fingerprint: "ab12", Subject: "CN=x", Names: []string{"x.example"}, Expires: start.AddDate(1, 0, 0)}
	for _, c := range []struct {
		name, want string
		change     func(o *mail.Origin)
	}{
		{"an address", "address:192.0.2.1", func(*mail.Origin) {}},
		{"an address of IPv4 in one of IPv6", "address:192.0.2.2", func(o *mail.Origin) { o.Client = netip.MustParseAddrPort("[::ffff:192.0.2.2]:25") }},
		{"an address with a zone", "address:fe80::1", func(o *mail.Origin) { o.Client = netip.MustParseAddrPort("[fe80::1%eth0]:25") }},
		{"a certificate", "certificate:ab12", func(o *mail.Origin) { o.TLS = &mail.TLS{Version: "TLS 1.3", Certificate: certificate} }},
		{"TLS without certificate", "address:192.0.2.1", func(o *mail.Origin) { o.TLS = &mail.TLS{Version: "TLS 1.3"} }},
		{"an account, whatever certificate", "account:joe", func(o *mail.Origin) {
			o.TLS, o.Account = &mail.TLS{Certificate: certificate}, &mail.Account{Name: "joe", Source: "directory", Mechanism: "PLAIN"}
		}},
		{"a user of this host", "local:root", func(o *mail.Origin) { o.Client, o.User = netip.AddrPort{}, &mail.User{Name: "root"} }},
		{"this server", "", func(o *mail.Origin) { *o = mail.Origin{Listener: "postern"} }},
	} {
		m := sentBy("192.0.2.1")
		c.change(m.Origin)
		before := map[string]int64{}
		for _, s := range v.List(Filter{}) {
			before[s.Source] = s.Messages
		}
		v.Sent(m)
		counted := ""
		for _, s := range v.List(Filter{}) {
			if s.Messages > before[s.Source] {
				counted += s.Source
			}
		}
		if counted != c.want {
			t.Errorf("%s: counted for %q, want %q", c.name, counted, c.want)
		}
	}
}

// All that is known of a source is there after a restart.
func TestRestart(t *testing.T) {
	v := newInventory(t, Options{})
	m := sentBy("192.0.2.1")
	v.Sent(m)
	m.At, m.From, m.HeaderFrom, m.Repaired = start.Add(time.Hour), mail.Address{}, "a@Header.example, b@second.example", true
	m.Origin = &mail.Origin{
		Listener: "other", Client: m.Origin.Client, ClientName: "host.corp.example", Hello: "me", Protocol: "ESMTPS",
		TLS: &mail.TLS{Version: "TLS 1.1", Cipher: "TLS_RSA_WITH_RC4_128_SHA"},
	}
	v.Sent(m)
	v.clock.Advance(2 * time.Hour)
	want := Sender{
		Source: "address:192.0.2.1", Kind: KindAddress, First: start, Last: start.Add(time.Hour), Messages: 2, Recipients: 4, Octets: 200,
		From: []string{"corp.example", "<>", "Header.example"}, Listener: "other", Client: "192.0.2.1", Name: "host.corp.example", Hello: "me",
		Protocol: "ESMTPS", TLS: "TLS 1.1", Cipher: "TLS_RSA_WITH_RC4_128_SHA", Owner: "the web team",
	}
	for _, h := range []Habit{HabitTLS11, HabitCipher, HabitBareNewline} {
		for _, x := range habits {
			if x.habit == h {
				want.Risks = append(want.Risks, Risk{h, x.text, 1, start.Add(time.Hour)})
			}
		}
	}
	owner := "the web team"
	v.assign(want.Source, Ownership{Owner: &owner})
	for _, when := range []string{"before", "after a restart"} {
		if diff := cmp.Diff(want, v.get("address:192.0.2.1")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		v.reopen()
	}
	v.Sent(sentBy("192.0.2.1"))
	if got := v.get("address:192.0.2.1"); got.Messages != 3 || len(got.From) != 3 {
		t.Errorf("it does not go on from there: %+v", got)
	}
}

// Whoever is killed has what was written, and no more.
func TestKilled(t *testing.T) {
	v := newInventory(t, Options{})
	v.Sent(sentBy("192.0.2.1"))
	v.flush()
	v.Sent(sentBy("192.0.2.1"))
	v.Sent(sentBy("192.0.2.2"))
	if err := v.Directory.Close(); err != nil {
		t.Fatal(err)
	}
	if err := v.Inventory.Close(); !errors.Is(err, directory.ErrClosed) {
		t.Fatalf("it could be written: %v", err)
	}
	v.open()
	if list := v.List(Filter{}); len(list) != 1 || list[0].Messages != 1 {
		t.Errorf("there is %+v", list)
	}
}

func TestFromIsBounded(t *testing.T) {
	v := newInventory(t, Options{})
	m := sentBy("192.0.2.1")
	m.HeaderFrom = ""
	for i := range MaxFrom + 5 {
		m.From.Domain = fmt.Sprintf("d%d.example", i)
		v.Sent(m)
		m.From.Domain = strings.ToUpper(m.From.Domain)
		v.Sent(m)
	}
	if s := v.get("address:192.0.2.1"); len(s.From) != MaxFrom || s.MoreFrom != 2*5 {
		t.Errorf("%d domains, and %d more", len(s.From), s.MoreFrom)
	}
	m = sentBy("192.0.2.2")
	m.Origin.Hello = strings.Repeat("é", 200)
	for i := range MaxFrom {
		m.HeaderFrom = fmt.Sprintf("a@%d%s.example", i, strings.Repeat("x", 200))
		v.Sent(m)
	}
	s := v.get("address:192.0.2.2")
	if n := len(strings.Join(s.From, "")); n > MaxFromOctets || n < MaxFromOctets/2 || s.MoreFrom == 0 {
		t.Errorf("domains of %d octets, and %d more", n, s.MoreFrom)
	}
	if len(s.Hello) > MaxText || !strings.HasSuffix(s.Hello, "é") {
		t.Errorf("EHLO is kept in %d octets", len(s.Hello))
	}
}

// The source that was not seen for the longest time makes room, unless something is said of
// it; and in the directory, too.
func TestSourcesAreBounded(t *testing.T) {
	v := newInventory(t, Options{MaxSources: 4, MaxAssigned: 2})
	for i := range 4 {
		v.Sent(sentBy(fmt.Sprintf("192.0.2.%d", i)))
	}
	note := "mine"
	v.assign("address:192.0.2.0", Ownership{Note: &note})
	v.flush()
	v.Sent(sentBy("192.0.2.1")) // so that .2 is the one
	v.Sent(sentBy("192.0.2.4"))
	want := []string{"address:192.0.2.0", "address:192.0.2.1", "address:192.0.2.3", "address:192.0.2.4"}
	for range 2 {
		if got := v.names(Filter{Order: BySource}); !slices.Equal(got, want) {
			t.Errorf("there are %v, want %v", got, want)
		}
		if n := v.counter("postern_senders", ""); n != 4 {
			t.Errorf("%v are counted", n)
		}
		v.reopen()
	}
	for i := range 100 {
		v.Sent(sentBy(fmt.Sprintf("198.51.100.%d", i)))
	}
	if n := v.counter("postern_senders_forgotten_total", forRoom); n != 100 {
		t.Errorf("%v were forgotten for others, want 100", n)
	}
	if got := v.names(Filter{}); len(got) != 4 || !slices.Contains(got, "address:192.0.2.0") {
		t.Errorf("there are %v", got)
	}

	v.assign("address:198.51.100.99", Ownership{Note: &note})
	_, err := v.Assign(t.Context(), "ann", "address:198.51.100.98", Ownership{Owner: &note})
	if p := directory.ProblemsOf(err); p == nil || !strings.Contains(err.Error(), "of 2 sources something is said already") {
		t.Errorf("assigned one too many: %v", err)
	}
	nothing := ""
	v.assign("address:192.0.2.0", Ownership{Note: &nothing})
	v.assign("address:198.51.100.98", Ownership{Owner: &note})
}

func TestOldSourcesAreForgotten(t *testing.T) {
	v := newInventory(t, Options{})
	v.Sent(sentBy("192.0.2.1"))
	v.Sent(sentBy("192.0.2.2"))
	owner := "ops"
	v.assign("address:192.0.2.2", Ownership{Owner: &owner})
	v.clock.Advance(Keep + time.Second)
	m := sentBy("192.0.2.3")
	m.At = v.clock.Now()
	v.Sent(m)
	v.flush()
	v.reopen()
	if got := v.names(Filter{Order: BySource}); !slices.Equal(got, []string{"address:192.0.2.2", "address:192.0.2.3"}) {
		t.Errorf("there are %v", got)
	}
}

// As much as there is, no transaction is larger than it may be, and none is lost.
func TestWritesAreBounded(t *testing.T) {
	v := newInventory(t, Options{})
	for i := range maxWrite + 1 {
		v.Sent(sentBy(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()))
	}
	for _, want := range []bool{true, false} {
		if more, err := v.write(t.Context()); more != want || err != nil {
			t.Errorf("a write leaves more: %v, %v; want %v", more, err, want)
		}
	}
	v.reopen()
	if n := len(v.List(Filter{})); n != maxWrite+1 {
		t.Errorf("%d were written", n)
	}
}

// What could not be written is written later.
func TestWriteFails(t *testing.T) {
	v := newInventory(t, Options{MaxSources: 2, MaxAssigned: 1})
	v.Sent(sentBy("192.0.2.1"))
	v.flush()
	v.Sent(sentBy("192.0.2.2"))
	v.Sent(sentBy("192.0.2.3")) // in the place of .1, which is to be removed
	busy, let := make(chan struct{}), make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		_ = v.Directory.Change(t.Context(), "ann", func(*directory.Tx) error {
			close(busy)
			<-let
			return nil
		})
	})
	<-busy
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Flush(ctx); err == nil {
		t.Error("it was written while another had the directory")
	}
	close(let)
	others.Wait()
	v.reopen()
	if got := v.names(Filter{Order: BySource}); !slices.Equal(got, []string{"address:192.0.2.2", "address:192.0.2.3"}) {
		t.Errorf("there are %v", got)
	}
}
