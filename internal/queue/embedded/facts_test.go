package embedded

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern/internal/mail"
	"postern/internal/queue"
)

// TestFreshFacts: facts come from memory as they come from the disk, also when
// there were more than are kept, some are forgotten, and a number was skipped.
func TestFreshFacts(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	record := func(n int) {
		var facts []mail.Fact
		for i := range n {
			facts = append(facts, mail.Fact{
				Time: s.options.Clock.Now(), Reason: mail.ReasonMarked, To: []string{fmt.Sprint(i)},
				Reply: &mail.Reply{Code: 250, Text: "ü\n<x>"}, Origin: &mail.Origin{Listener: "x"},
			})
		}
		if err := s.Accept(t.Context(), queue.Group{Facts: facts}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(behind uint64, limit int, wantFresh bool) {
		t.Helper()
		got, err := s.NextFacts(t.Context(), behind, limit)
		want, readErr := s.readFacts(behind, s.facts.readable.Load(), limit)
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); err != nil || readErr != nil || diff != "" {
			t.Errorf("behind %d: %v, %v, -disk +handed out\n%s", behind, err, readErr, diff)
		}
		if _, fresh := s.facts.next(behind, limit); fresh != wantFresh {
			t.Errorf("behind %d: from memory: %v, want %v", behind, fresh, wantFresh)
		}
	}
	record(10)
	check(0, 3, true)
	check(0, 100, true)
	check(9, 100, true)
	if err := s.ForgetFacts(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	check(4, 100, true)
	check(2, 100, false)
	if err := s.ForgetFacts(t.Context(), 20); err != nil { // 11 to 20 were never given out
		t.Fatal(err)
	}
	record(5)
	check(20, 2, true)
	check(15, 2, false)
	record(maxFreshFacts)
	if n := len(s.facts.fresh); n > maxFreshFacts {
		t.Errorf("%d facts are in memory", n)
	}
	check(20, 10, false)
	check(20+5+maxFreshFacts-1, 10, true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
