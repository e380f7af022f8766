package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/directory"
	"postern/internal/limit"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

var (
	home = netip.MustParseAddr("192.0.2.1")
	away = netip.MustParseAddr("198.51.100.7")
)

// bansInMemory are Bans.
type bansInMemory struct {
	mu   sync.Mutex
	bans map[string]directory.Ban
	fail error
}

func (s *bansInMemory) ban(subject string) (directory.Ban, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, is := s.bans[subject]
	return b, is && b.Active(time.Now())
}

func (s *bansInMemory) AddressBan(client netip.Addr) (directory.Ban, bool) {
	return s.ban(networkSubject(limit.Network(client)))
}

func (s *bansInMemory) AccountBan(login string) (directory.Ban, bool) {
	return s.ban("account:" + login)
}

func (s *bansInMemory) Impose(b directory.Ban) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		s.bans[b.Subject] = b
	}
	return s.fail
}

func (s *bansInMemory) Bans() []directory.Ban { return slices.Collect(maps.Values(s.bans)) }

var someSettings = GuardSettings{
	BanAfter: 5, BanWithin: time.Hour, BanTime: time.Hour, MaxBanTime: 5 * time.Hour,
	AccountBanAfter: 12, AccountBanTime: 15 * time.Minute,
	Never: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	Delay: time.Second,
}

// guarded is a world with a guard; it runs in a bubble of synctest.
type guarded struct {
	*world
	guard *Guard
	bans  *bansInMemory
	facts mailtest.Facts
	stop  context.CancelFunc
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	w := &guarded{world: newWorld(t), bans: &bansInMemory{bans: map[string]directory.Ban{}}}
	w.guard = NewGuard(GuardOptions{
		Bans: w.bans, Clock: mail.SystemClock{}, Logger: logTo(w.log),
		Record: w.facts.Record,
	}, someSettings)
	w.auth.Guard = w.guard
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	guard := w.guard // which a test may replace
	go func() { defer close(done); guard.Run(ctx) }()
	w.stop = func() { stop(); <-done }
	t.Cleanup(w.stop)
	return w
}

// try says a password from an address, and returns the code of the reply.
func (w *guarded) try(from netip.Addr, user, password string) string {
	w.t.Helper()
	w.at.Origin.Client = netip.AddrPortFrom(from, 1234)
	reply := w.ended(Plain, "\x00"+user+"\x00"+password)
	return reply[:3]
}

// guess says so many wrong passwords, all different.
func (w *guarded) guess(from netip.Addr, user string, n int) (last string) {
	w.t.Helper()
	for i := range n {
		last = w.try(from, user, fmt.Sprintf("guess %s %d", from, i))
	}
	synctest.Wait()
	return last
}

func TestNetworkIsBanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		if code := w.guess(away, "ann", 4); code != "535" || w.guard.Refuse(away).Code != 0 {
			t.Errorf("4 guesses: %s, and at connect %v", code, w.guard.Refuse(away))
		}
		if code := w.guess(away, joe, 5); code != "454" { // others than those before
			t.Errorf("after 5 guesses: %s", code)
		}
		before := w.auth.Hasher.Computed()
		if code := w.try(away, joe, password); code != "454" || w.auth.Hasher.Computed() != before {
			t.Errorf("the right password of somebody who is banned: %s, %d hashes", code, w.auth.Hasher.Computed()-before)
		}
		if reply := w.guard.Refuse(away); reply.Code != 421 || reply.Enhanced != "4.7.0" {
			t.Errorf("at connect: %v", reply)
		}
		if b, is := w.bans.ban("address:198.51.100.7"); !is || b.Until.Sub(b.Since) != time.Hour || b.Count != 1 {
			t.Errorf("the ban is not stored: %+v", b)
		}
		if code := w.try(home, joe, password); code != "235" {
			t.Errorf("from elsewhere: %s", code)
		}
	})
}

// A ban ends, and the next one is longer, up to the longest.
func TestBansGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		for i, want := range []time.Duration{1, 2, 4, 5, 5} {
			w.guess(away, fmt.Sprintf("user%d", i), 5)
			b, _ := w.bans.ban("address:198.51.100.7")
			if got := time.Until(b.Until); got.Round(time.Minute) != want*time.Hour {
				t.Errorf("ban %d lasts %v, not %dh", i+1, got, want)
			}
			time.Sleep(time.Until(b.Until))
			if reply := w.guard.Refuse(away); !reply.IsZero() {
				t.Errorf("after ban %d: %v", i+1, reply)
			}
		}
	})
}

// All of a /64 is one client.
func TestNetworkOfIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		for i := range 5 {
			w.try(netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1)), "ann", fmt.Sprint("guess ", i))
		}
		synctest.Wait()
		if _, is := w.bans.ban("address:2001:db8::/64"); !is {
			t.Error("the /64 is not banned")
		}
		if w.guard.Refuse(netip.MustParseAddr("2001:db8::9999")).IsZero() || !w.guard.Refuse(netip.MustParseAddr("2001:db8:0:1::1")).IsZero() {
			t.Error("not the /64 is refused")
		}
	})
}

// A device with an old password tries it for ever; it is slowed, and not banned.
func TestSamePasswordCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		for range 50 {
			if code := w.try(away, joe, "old password"); code != "535" {
				t.Fatalf("the old password: %s", code)
			}
		}
		if len(w.bans.bans) > 0 {
			t.Errorf("there is a ban: %v", w.bans.bans)
		}
	})
}

func TestNeverBanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		proxy := netip.MustParseAddr("10.1.2.3")
		if code := w.guess(proxy, "ann", 11); code != "535" || !w.guard.Refuse(proxy).IsZero() {
			t.Errorf("after 11 guesses: %s, at connect %v", code, w.guard.Refuse(proxy))
		}
		// An operator's ban of it is not in force either.
		w.bans.Impose(directory.Ban{Subject: "address:10.1.2.3"})
		if !w.guard.Refuse(proxy).IsZero() {
			t.Error("it is refused")
		}
	})
}

// An account under attack is closed to strangers; a client that is known uses the fast
// lane: nothing is computed, and nothing delayed.
func TestAccountUnderAttack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		if code := w.try(home, joe, password); code != "235" {
			t.Fatal(code)
		}
		for i := range 12 {
			w.guess(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), joe, 1)
		}
		if _, is := w.bans.ban("account:joe"); !is {
			t.Fatal("joe is not under attack")
		}
		if code := w.try(away, joe, password); code != "454" {
			t.Errorf("a stranger: %s", code)
		}
		hashes, began := w.auth.Hasher.Computed(), time.Now()
		for range 100 {
			if code := w.try(home, "JOE", password); code != "235" {
				t.Fatalf("who is known: %s", code)
			}
		}
		if n := w.auth.Hasher.Computed() - hashes; n != 0 || time.Since(began) != 0 {
			t.Errorf("100 logins of who is known: %d hashes, %v", n, time.Since(began))
		}
		if code := w.try(home, "ann", "x"); code != "535" {
			t.Errorf("another account: %s", code)
		}
		time.Sleep(15 * time.Minute)
		if code := w.try(away, joe, password); code != "235" {
			t.Errorf("a stranger, when it is over: %s", code)
		}
	})
}

// One machine of an office guesses: who is known there goes on, others wait.
func TestKnownInBannedNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		w.try(home, joe, password)
		w.guess(home, "ann", 5)
		if _, is := w.bans.ban("address:192.0.2.1"); !is {
			t.Fatal("the network is not banned")
		}
		if reply := w.guard.Refuse(home); !reply.IsZero() {
			t.Errorf("at connect: %v", reply)
		}
		if code := w.try(home, joe, password); code != "235" {
			t.Errorf("who is known: %s", code)
		}
		if code := w.try(home, "ann", password); code != "454" {
			t.Errorf("somebody else: %s", code)
		}
		time.Sleep(knownFor)
		w.bans.Impose(directory.Ban{Subject: "address:192.0.2.1"}) // by an operator, for ever
		if w.guard.Refuse(home).IsZero() {
			t.Error("after a week nobody is known there, and it is not refused")
		}
	})
}

// Who sits beside a user cannot guess without end.
func TestKnownBecomesStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		w.try(home, joe, password)
		w.guess(home, joe, wrongOfKnown)
		if code := w.try(home, joe, password); code != "454" {
			t.Errorf("after %d guesses from there: %s", wrongOfKnown, code)
		}
	})
}

// SCRAM is guessed by its proofs, and bound by the same rules.
func TestScramIsGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		w.at.Origin.Client = netip.AddrPortFrom(away, 1)
		for range 5 {
			if got := w.scramClient(Scram, joe, "wrong", noBinding); got != bad {
				t.Fatal(got)
			}
		}
		if got := w.scramClient(Scram, joe, password, noBinding); !strings.HasPrefix(got, "454") {
			t.Errorf("after 5 guesses: %s", got)
		}
		w.at.Origin.Client = netip.AddrPortFrom(home, 1)
		if got := w.scramClient(Scram, joe, password, noBinding); got != good+Scram {
			t.Errorf("from elsewhere: %s", got)
		}
		if _, known := w.guard.known.get(pairOf(joe, home)); !known {
			t.Error("it is not known")
		}
	})
}

// Refusals take longer and longer; who there is takes as long as who there is not.
func TestRefusalsAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second} {
			for j, user := range []string{joe, "nobody"} {
				began := time.Now()
				w.try(netip.AddrFrom4([4]byte{203, 0, 113, byte(j)}), user, fmt.Sprint("guess ", i))
				if took := time.Since(began); took != want {
					t.Errorf("refusal %d of %s took %v, not %v", i+1, user, took, want)
				}
			}
		}
	})
}

// Only so many wait; others are refused at once.
func TestDelayedAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		for range mostDelayed {
			go w.guard.slow(t.Context(), away, time.Now())
		}
		synctest.Wait()
		began := time.Now()
		w.guard.slow(t.Context(), home, time.Now())
		if took := time.Since(began); took != 0 {
			t.Errorf("one more waits %v", took)
		}
		time.Sleep(mostDelay)
		w.guard.slow(t.Context(), home, time.Now())
		if took := time.Since(began); took <= mostDelay {
			t.Error("nobody is delayed any more")
		}
	})
}

// Failures are told together, and no name that may be a password.
func TestFailuresAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		w.guess(away, joe, 2)
		w.guess(away, "Sup3rSecret", 2)
		for i := range 30 {
			w.guess(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), fmt.Sprint("bob", i), 1)
		}
		time.Sleep(2 * tellEvery)
		w.stop()
		var total uint64
		facts := w.facts.All()
		for _, f := range facts {
			if f.Reason == mail.ReasonBanned {
				continue
			}
			total += f.Count
			if f.Reason != mail.ReasonLoginFailed || strings.Contains(f.Text, "ecret") {
				t.Errorf("a fact %s: %s", f.Reason, f.Text)
			}
		}
		if total != 34 || len(facts) > 2*(toldNetworks+1) {
			t.Errorf("%d facts tell of %d failures, not of 34", len(facts), total)
		}
		if !strings.Contains(fmt.Sprint(facts), "from 198.51.100.7, for joe") {
			t.Errorf("nobody tells of joe: %v", facts)
		}
	})
}

// Who cannot be banned because that fails is banned when it works again.
func TestBanThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		w.bans.fail = errors.New("full")
		w.guess(away, "ann", 5)
		w.bans.fail = nil
		if code := w.try(away, "ann", "one more"); code != "535" || w.guard.Refuse(away).IsZero() {
			t.Errorf("one more guess: %s, at connect %v", code, w.guard.Refuse(away))
		}
	})
}

// How often somebody was banned is known after a restart, while the ban holds.
func TestGuardBeginsWithBans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		now := time.Now()
		w.bans.Impose(directory.Ban{Subject: "address:198.51.100.7", Since: now, Until: now.Add(time.Minute), Count: 2})
		w.guard = NewGuard(w.guard.o, someSettings)
		w.auth.Guard = w.guard
		if w.guard.Refuse(away).IsZero() {
			t.Error("the ban is not in force")
		}
		time.Sleep(time.Minute)
		w.guess(away, "ann", 5)
		if b, is := w.bans.ban("address:198.51.100.7"); !is || b.Count != 3 {
			t.Errorf("the next ban is %+v", b)
		}
	})
}

func TestLift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		w.guess(away, "ann", 5)
		delete(w.bans.bans, "address:198.51.100.7")
		w.guard.Lifted("address:198.51.100.7")
		if code := w.try(away, joe, "one more guess"); code != "535" || !w.guard.Refuse(away).IsZero() {
			t.Errorf("after it was lifted: %s, at connect %v", code, w.guard.Refuse(away))
		}
		w.guess(away, "ann", 4) // as those before it, which do not count again
		w.guess(away, "bob", 4)
		if b, is := w.bans.ban("address:198.51.100.7"); !is || b.Count != 1 {
			t.Errorf("after as many guesses again: %+v", b)
		}
	})
}

// Settings can change while it runs; what was counted counts on where it can.
func TestSettingsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGuarded(t)
		w.guess(away, "ann", 4)
		s := someSettings
		s.BanTime, s.Delay = 3*time.Hour, 0
		w.guard.Set(s)
		began := time.Now()
		w.try(away, "ann", "the fifth")
		synctest.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("without a delay it takes %v", took)
		}
		if b, is := w.bans.ban("address:198.51.100.7"); !is || b.Until.Sub(b.Since) != 3*time.Hour {
			t.Errorf("the ban is %+v", b)
		}
	})
}
