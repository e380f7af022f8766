package directory

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"postern/internal/mail"
)

// While changes are made, small and large ones, each look-up finds what there was before
// one or after it, and nothing between; bans and failed logins of that time are not lost.
func TestLookupsDuringChanges(t *testing.T) {
	o := newDirectory(t)
	const address = "sales@example.com"
	o.change(putAll(Domain{Name: "example.com"}, User{Login: "joe"}, Alias{Address: address, Targets: []string{"a@b.example"}}))
	done := make(chan struct{})
	var running sync.WaitGroup
	for reader := range 2 {
		running.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				if _, found := o.Resolve(mail.Address{Local: "sales", Domain: "example.com"}); !found {
					t.Error("an address was nobody's for a moment")
					return
				}
				if reader == 0 && n%100 == 0 {
					o.LoginFailed("joe")
				}
			}
		})
	}
	banned := 0
	for n := range 12 {
		ip := netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
		o.change(func(tx *Tx) error {
			if n%3 == 2 {
				if err := putMany(tx, 10, largeChange+n); err != nil {
					return err
				}
			}
			if err := o.Impose(Ban{Subject: AddressSubject(netip.PrefixFrom(ip, 32))}); err != nil {
				return err
			}
			banned++
			if n%2 == 0 {
				return errors.Join(tx.DeleteAlias("", address), tx.PutList(List{Name: "sales", Kind: Distribution, Address: address}))
			}
			return errors.Join(tx.DeleteList("sales"), tx.PutAlias(Alias{Address: address, Targets: []string{fmt.Sprintf("a%d@b.example", n)}}))
		})
	}
	close(done)
	running.Wait()
	if err := o.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	failed, _ := o.User("joe")
	for range 2 {
		if list := o.Bans(); len(list) != banned {
			t.Errorf("%d of %d bans are there", len(list), banned)
		}
		if joe, _ := o.User("joe"); joe.FailedLogins == 0 || joe.FailedLogins != failed.FailedLogins {
			t.Errorf("%d failed logins, want %d", joe.FailedLogins, failed.FailedLogins)
		}
		o.reopen()
	}
}

// A large change shows its own bans, keeps those of others, and what was known of the use
// of a user goes with the user.
func TestLargeChangeKeepsWhatOthersChange(t *testing.T) {
	o := newDirectory(t)
	o.change(putAll(User{Login: "joe"}, User{Login: "ann"}))
	o.LoginFailed("joe")
	o.LoginFailed("ann")
	if err := o.Impose(Ban{Subject: "account:ann", Reason: "before"}); err != nil {
		t.Fatal(err)
	}
	o.change(func(tx *Tx) error {
		return errors.Join(putMany(tx, 0, largeChange), tx.PutBan(Ban{Subject: "account:kim"}), tx.DeleteUser("joe"))
	})
	o.change(putAll(User{Login: "joe"}))
	for range 2 {
		joe, _ := o.User("joe")
		ann, _ := o.User("ann")
		if joe.FailedLogins != 0 || ann.FailedLogins != 1 || len(o.Bans()) != 2 {
			t.Errorf("joe %d, ann %d failed logins; bans %v", joe.FailedLogins, ann.FailedLogins, o.Bans())
		}
		o.reopen()
	}
}
