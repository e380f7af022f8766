package dkim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/privatedir"
)

// bench is a Keeper with all around it.
type bench struct {
	*Keeper
	dns   dns.Memory
	clock *mail.ManualClock
	told  []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{clock: mail.NewManualClock(now)}
	store, err := OpenStore(filepath.Join(t.TempDir(), "dkim"), b.clock)
	if err != nil {
		t.Fatal(err)
	}
	b.Keeper = &Keeper{
		Store: store, Resolver: &b.dns, Clock: b.clock,
		Overlap: func() time.Duration { return 7 * 24 * time.Hour },
		Changed: func(actor, text string) { b.told = append(b.told, actor+": "+text) },
	}
	return b
}

// states are the states of the keys, by selector.
func (b *bench) states() map[string]State {
	all := make(map[string]State)
	for _, i := range b.List() {
		all[i.Selector] = i.State
	}
	return all
}

func (b *bench) want(t *testing.T, when string, want map[string]State) {
	t.Helper()
	if got := b.states(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, not %v", when, got, want)
	}
	again, err := OpenStore(string(b.Store.files.Dir()), b.clock)
	if err != nil || len(again.Entries()) != len(want) {
		t.Errorf("%s: opened again: %v, %v", when, again, err)
	}
}

// selectors are those that sign for a domain, in their order.
func (b *bench) selectors(t *testing.T, domain string) []string {
	t.Helper()
	keys, err := b.Store.active(domain)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, k := range keys {
		list = append(list, k.Selector)
	}
	return list
}

// TestLife is the life of keys from the first to the second.
func TestLife(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	made, err := b.Add("eve", KeyOrder{Domain: "Example.ORG"})
	if err != nil || len(made) != 2 {
		t.Fatalf("%+v, %v", made, err)
	}
	b.want(t, "made", map[string]State{"20270115-rsa": Waiting, "20270115-ed25519": Waiting})
	if got := b.selectors(t, "example.org"); got != nil {
		t.Errorf("keys that wait sign: %v", got)
	}
	if err := b.Tend(ctx); err != nil {
		t.Fatal(err)
	}
	b.want(t, "without records", map[string]State{"20270115-rsa": Waiting, "20270115-ed25519": Waiting})

	b.dns.SetText(made[0].Name, made[0].Record)
	b.dns.SetText(made[1].Name, made[0].Record) // the wrong one
	if err := b.Tend(ctx); err != nil {
		t.Fatal(err)
	}
	b.want(t, "with one record", map[string]State{"20270115-rsa": Active, "20270115-ed25519": Waiting})
	b.dns.SetText(made[1].Name, made[1].Record)
	if err := b.Tend(ctx); err != nil {
		t.Fatal(err)
	}
	if got := b.selectors(t, "example.org"); !slices.Equal(got, []string{"20270115-rsa", "20270115-ed25519"}) {
		t.Errorf("active: %v", got)
	}
	if _, err := b.Add("eve", KeyOrder{Domain: "example.org"}); !errors.Is(err, ErrHasKey) {
		t.Errorf("a second first key: %v", err)
	}

	b.clock.Advance(24 * time.Hour)
	next, err := b.Rotate("eve", KeyOrder{Domain: "example.org", Algorithm: RSA})
	if err != nil || len(next) != 1 || next[0].State != Waiting {
		t.Fatalf("%+v, %v", next, err)
	}
	again, err := b.Rotate("eve", KeyOrder{Domain: "example.org", Algorithm: RSA})
	if err != nil || len(again) != 1 || again[0].Selector != next[0].Selector {
		t.Errorf("rotated again while the next one waits: %+v, %v", again, err)
	}
	if got := b.selectors(t, "example.org"); !slices.Equal(got, []string{"20270115-rsa", "20270115-ed25519"}) {
		t.Errorf("while the next one waits: %v", got)
	}
	b.dns.SetText(next[0].Name, next[0].Record)
	if err := b.Tend(ctx); err != nil {
		t.Fatal(err)
	}
	b.want(t, "rotated", map[string]State{"20270115-rsa": Retiring, "20270116-rsa": Active, "20270115-ed25519": Active})
	b.clock.Advance(7*24*time.Hour - time.Second)
	if err := b.Tend(ctx); err != nil {
		t.Fatal(err)
	}
	b.want(t, "a second too early", map[string]State{"20270115-rsa": Retiring, "20270116-rsa": Active, "20270115-ed25519": Active})
	b.clock.Advance(time.Second)
	if err := b.Tend(ctx); err != nil {
		t.Fatal(err)
	}
	b.want(t, "over", map[string]State{"20270116-rsa": Active, "20270115-ed25519": Active})
	if _, err := os.Stat(filepath.Join(string(b.Store.files.Dir()), made[0].Name+".pem")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key that is over is still there: %v", err)
	}
	for _, text := range b.told {
		if strings.Contains(text, "PRIVATE") {
			t.Errorf("a secret is told: %s", text)
		}
	}
	if len(b.told) != 7 {
		t.Errorf("told: %d\n%s", len(b.told), strings.Join(b.told, "\n"))
	}
}

// TestNow: keys are active at once, and the ones before retire.
func TestNow(t *testing.T) {
	b := newBench(t)
	for _, o := range []KeyOrder{{Domain: "example.org", Selector: "a", Now: true}, {Domain: "example.org", Selector: "b", Algorithm: Ed25519, Now: true}} {
		if _, err := b.Add("eve", o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Rotate("eve", KeyOrder{Domain: "example.org", Selector: "c", Now: true}); err != nil {
		t.Fatal(err)
	}
	b.want(t, "rotated", map[string]State{"a": Retiring, "b": Active, "c": Active})
	if _, err := b.Rotate("eve", KeyOrder{Domain: "example.org"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Rotate("eve", KeyOrder{Domain: "example.org", Now: true}); err != nil {
		t.Fatal(err)
	}
	b.want(t, "those that waited", map[string]State{"a": Retiring, "b": Retiring, "c": Retiring, "20270115-rsa": Active, "20270115-ed25519": Active})
}

// TestRefusedOrders: what cannot be made is not, and nothing is left of it.
func TestRefusedOrders(t *testing.T) {
	b := newBench(t)
	key, err := encodeKey(testKeys()[1].Private)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add("eve", KeyOrder{Domain: "example.org", Selector: "taken", Key: string(key)}); err != nil {
		t.Fatal(err)
	}
	if got := b.List(); len(got) != 1 || got[0].Algorithm != Ed25519 {
		t.Errorf("a key that was brought: %+v", got)
	}
	for _, c := range []struct {
		order KeyOrder
		want  error
	}{
		{KeyOrder{Domain: "[192.0.2.1]"}, ErrDomain},
		{KeyOrder{Domain: "example.org", Selector: "a/b"}, ErrSelector},
		{KeyOrder{Domain: "example.org", Selector: "small", Bits: 512}, ErrBits},
		{KeyOrder{Domain: "example.org", Selector: "taken", Algorithm: RSA}, ErrExists},
		{KeyOrder{Domain: "example.org", Selector: "x", Key: "nothing"}, ErrKey},
		{KeyOrder{Domain: "example.org", Algorithm: Ed25519}, ErrHasKey},
	} {
		if _, err := b.Add("eve", c.order); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.order, err)
		}
	}
	if _, err := b.Rotate("eve", KeyOrder{Domain: "example.com"}); !errors.Is(err, ErrNoDomain) {
		t.Errorf("rotated without a key: %v", err)
	}
	long := strings.Repeat("a23456789.", 19) + "example.org"
	if _, err := b.Add("eve", KeyOrder{Domain: long, Selector: strings.Repeat("s", 60)}); err == nil {
		t.Error("a name that no file can have is taken")
	}
	b.want(t, "in the end", map[string]State{"taken": Waiting})
}

func TestRemove(t *testing.T) {
	b := newBench(t)
	if _, err := b.Add("eve", KeyOrder{Domain: "example.org", Selector: "a", Algorithm: Ed25519, Now: true}); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove("eve", "example.org", "b", true); !errors.Is(err, ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	if err := b.Remove("eve", "example.org", "a", false); !errors.Is(err, ErrActive) {
		t.Errorf("one that signs: %v", err)
	}
	if err := b.Remove("eve", "example.org", "a", true); err != nil {
		t.Error(err)
	}
	b.want(t, "removed", map[string]State{})
}

// TestWeak: a key of few bits is taken, and warned of.
func TestWeak(t *testing.T) {
	b := newBench(t)
	made, err := b.Add("eve", KeyOrder{Domain: "example.org", Selector: "a", Bits: 1024})
	if err != nil || !strings.Contains(made[0].Problem, "1024 bits are few") {
		t.Errorf("%+v, %v", made, err)
	}
}

// TestDamagedStore: a domain whose key cannot be used is one whose mail cannot be signed,
// and not one that has no key.
func TestDamagedStore(t *testing.T) {
	b := newBench(t)
	for _, domain := range []string{"example.org", "example.com"} {
		if _, err := b.Add("eve", KeyOrder{Domain: domain, Selector: "a", Algorithm: Ed25519, Now: true}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(string(b.Store.files.Dir()), "a._domainkey.example.org.pem")
	for name, spoil := range map[string]func() error{
		"damaged": func() error { return os.WriteFile(path, []byte("x"), 0o600) },
		"gone":    func() error { return os.Remove(path) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		s, err := OpenStore(string(b.Store.files.Dir()), b.clock)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.active("example.org"); !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: %v", name, err)
		}
		if keys, err := s.active("example.com"); err != nil || len(keys) != 1 {
			t.Errorf("%s: the other: %v, %v", name, keys, err)
		}
	}
	if err := b.Remove("eve", "example.org", "a", true); err != nil {
		t.Errorf("one that is gone cannot be removed: %v", err)
	}
	records := filepath.Join(string(b.Store.files.Dir()), privatedir.RecordsFile)
	if err := b.Store.files.Dir().Write(privatedir.RecordsFile, []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(string(b.Store.files.Dir()), b.clock); err == nil || !strings.Contains(err.Error(), records) {
		t.Errorf("damaged records: %v", err)
	}
	if err := b.Store.Look(); err == nil {
		t.Error("damaged records were read")
	}
	if keys, err := b.Store.active("example.com"); err != nil || len(keys) != 1 {
		t.Errorf("what was read before is not in use: %v, %v", keys, err)
	}
	if err := os.Remove(records); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(string(b.Store.files.Dir()), b.clock); err == nil {
		t.Error("keys without records are none")
	}
}

// TestLook: what another process changes is seen.
func TestLook(t *testing.T) {
	b := newBench(t)
	other, err := OpenStore(string(b.Store.files.Dir()), mail.SystemClock{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add("eve", KeyOrder{Domain: "example.org", Selector: "a", Algorithm: Ed25519, Now: true}); err != nil {
		t.Fatal(err)
	}
	if err := other.Look(); err != nil || len(other.Entries()) != 1 {
		t.Errorf("%v, %v", other.Entries(), err)
	}
}
