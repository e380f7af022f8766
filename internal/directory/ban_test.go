package directory

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBans(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(
		Ban{Subject: "address:192.0.2.0/24", Until: start.Add(2 * time.Hour), Reason: "wide"},
		Ban{Subject: "address:192.0.2.7", Until: start.Add(time.Hour), Reason: "narrow"},
		Ban{Subject: "account:Joe", Reason: "for good"},
	))
	address := func(ip string) string {
		b, _ := o.AddressBan(netip.MustParseAddr(ip))
		return b.Reason
	}
	account := func(login string) string {
		b, _ := o.AccountBan(login)
		return b.Reason
	}
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	want("in both", address("192.0.2.7"), "narrow")
	want("in the network", address("::ffff:192.0.2.8"), "wide")
	want("elsewhere", address("198.51.100.1"), "")
	want("account", account("JOE"), "for good")
	want("another account", account("ann"), "")
	o.clock.Advance(time.Hour)
	want("when one has ended", address("192.0.2.7"), "wide")
	o.clock.Advance(time.Hour)
	want("when both have ended", address("192.0.2.7"), "")
	if list := o.Bans(); len(list) != 1 || list[0].Subject != "account:joe" {
		t.Errorf("there are %v", list)
	}
	o.reopen()
	if c := o.Counts(); c.Bans != 1 {
		t.Errorf("%d bans were read", c.Bans)
	}
	want("after it was opened again", account("joe"), "for good")
}

// A ban that is imposed holds at once, and is written soon; one subject is written once a
// second at most, however often it is banned.
func TestImpose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newDirectory(t)
		b := Ban{Subject: "address:192.0.2.7", Since: start, Until: start.Add(time.Hour), Reason: "guesses"}
		writes := func() int64 { return o.keeper.writes.Load() }
		for i := range 1000 {
			b.Count = i + 1
			if err := o.Impose(b); err != nil {
				t.Fatal(err)
			}
			if got, found := o.AddressBan(netip.MustParseAddr("192.0.2.7")); !found || got != b {
				t.Fatalf("imposed: got %v, %v", got, found)
			}
		}
		synctest.Wait()
		first := writes()
		time.Sleep(writeEvery * 5)
		synctest.Wait()
		if first < 1 || writes() > first+1 {
			t.Errorf("written %d times at first, then %d", first, writes())
		}
		stored := func() (bans []Ban) {
			if err := o.Read(t.Context(), func(r *Reader) (err error) { bans, err = r.Bans("", 10); return err }); err != nil {
				t.Fatal(err)
			}
			return bans
		}
		if diff := cmp.Diff([]Ban{b}, stored()); diff != "" {
			t.Errorf("stored: -want +got:\n%s", diff)
		}
		for range 20 { // a second of 10 bans each
			b.Count++
			for range 10 {
				if err := o.Impose(b); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(writeEvery / 2)
		}
		synctest.Wait()
		if n := writes() - first; n > 13 {
			t.Errorf("%d writes in ten seconds", n)
		}
		if told := o.texts(); told != nil {
			t.Errorf("what is imposed is told: %q", told)
		}
		o.change(func(tx *Tx) error { return tx.DeleteBan(b.Subject) })
		time.Sleep(writeEvery * 2)
		if list := stored(); list != nil {
			t.Errorf("after it was lifted: %v", list)
		}
	})
}

func TestImposeIsBounded(t *testing.T) {
	o := newDirectory(t)
	fill := func(until time.Time) {
		o.mu.Lock()
		defer o.mu.Unlock()
		for i := range MaxBans {
			o.image.putBan(Ban{Subject: fmt.Sprintf("account:u%d", i), Until: until})
		}
	}
	fill(start.Add(time.Hour))
	b := Ban{Subject: "account:joe", Until: start.Add(3 * time.Hour)}
	if err := o.Impose(b); !errors.Is(err, ErrTooManyBans) {
		t.Errorf("got %v", err)
	}
	if err := o.Impose(Ban{Subject: "account:u7", Until: start.Add(2 * time.Hour)}); err != nil {
		t.Errorf("one that is there already: %v", err)
	}
	o.clock.Advance(time.Hour - writeEvery/2)
	if err := o.Impose(b); !errors.Is(err, ErrTooManyBans) {
		t.Errorf("shortly before others end: %v", err)
	}
	o.clock.Advance(writeEvery / 2)
	if err := o.Impose(b); !errors.Is(err, ErrTooManyBans) {
		t.Errorf("all were looked at again at once: %v", err)
	}
	o.clock.Advance(writeEvery / 2)
	if err := o.Impose(b); err != nil {
		t.Errorf("when others have ended: %v", err)
	}
	if err := o.Impose(Ban{Subject: "nobody"}); ProblemsOf(err) == nil {
		t.Errorf("got %v", err)
	}
	o.mu.Lock() // so that no million is written
	defer o.mu.Unlock()
	if n := len(o.image.bans); n != 2 {
		t.Errorf("%d bans are left", n)
	}
}

// How users are used is known at once, written with others soon, and no fact.
func TestUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newDirectory(t)
		o.change(putAll(User{Login: "joe"}, User{Login: "ann"}))
		told := len(o.texts())
		before := o.keeper.writes.Load()
		for range 1000 {
			o.LoginFailed("Joe")
			o.LoginFailed("nobody")
		}
		o.clock.Advance(time.Minute)
		o.Used("ann")
		want := map[string]User{
			"joe": {Login: "joe", FailedLogins: 1000, Created: start, Changed: start},
			"ann": {Login: "ann", LastUsed: start.Add(time.Minute), Created: start, Changed: start},
		}
		check := func(when string) {
			t.Helper()
			for login, want := range want {
				if got, _ := o.User(login); cmp.Diff(want, got) != "" {
					t.Errorf("%s: got %+v, want %+v", when, got, want)
				}
			}
		}
		check("at once")
		time.Sleep(2 * writeEvery)
		if n := o.keeper.writes.Load() - before; n > 2 {
			t.Errorf("%d writes", n)
		}
		o.reopen()
		check("when it was opened again")
		o.change(putAll(User{Login: "joe", Note: "x"}))
		if u, _ := o.User("joe"); u.FailedLogins != 1000 {
			t.Errorf("a change has made %d of 1000 failed logins", u.FailedLogins)
		}
		o.LoginFailed("ann")
		o.Used("joe")
		o.reopen() // Close writes what is left
		ann, _ := o.User("ann")
		if joe, _ := o.User("joe"); joe.FailedLogins != 0 || !joe.LastUsed.Equal(start.Add(time.Minute)) || ann.FailedLogins != 1 {
			t.Errorf("got %+v and %+v", joe, ann)
		}
		if n := len(o.texts()); n != told+1 {
			t.Errorf("%d facts, want %d", n, told+1)
		}
	})
}

// What cannot be written now is tried again each second, told once, and not lost.
func TestWriteBehindTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newDirectory(t)
		o.change(putAll(User{Login: "joe"}))
		var log bytes.Buffer
		o.log = slog.New(slog.NewTextHandler(&log, nil))
		if _, err := o.writer.Exec(`PRAGMA query_only = 1`); err != nil {
			t.Fatal(err)
		}
		o.LoginFailed("joe")
		time.Sleep(5 * writeEvery)
		synctest.Wait()
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("told %d times: %s", n, log.String())
		}
		if _, err := o.writer.Exec(`PRAGMA query_only = 0`); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * writeEvery)
		synctest.Wait()
		var failed int
		if err := o.reader.QueryRow(`SELECT failed_logins FROM users`).Scan(&failed); err != nil || failed != 1 {
			t.Errorf("%d failed logins were written, %v", failed, err)
		}
	})
}
