package queue

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
)

var noon = time.Date(2024, 5, 17, 12, 0, 0, 0, time.UTC)

// filled is an index of n entries to each of some destinations, all due.
func filled(destinations, n int) *Index {
	x := NewIndex()
	var ids mail.IDs
	for i := range destinations * n {
		id := ids.New(noon)
		x.Add(&Entry{ID: id, Body: id, Deliveries: []Delivery{{
			Destination: mail.Destination(fmt.Sprintf("d%d.example", i%destinations)),
			Next:        noon,
			Recipients:  []Recipient{{State: mail.Queued}},
		}}})
	}
	return x
}

// TestDueDoesNotScan: what Due costs depends on what it returns, not on what
// is queued.
func TestDueDoesNotScan(t *testing.T) {
	cost := func(x *Index) (compared int) {
		x.Due(noon, 10) // makes due what is
		before := x.due.Before
		x.due.Before = func(a, b *line) bool { compared++; return before(a, b) }
		x.upcoming.Before = func(a, b *line) bool { compared++; return upcomingBefore(a, b) }
		if got := len(x.Due(noon, 10).Destinations); got != 10 {
			t.Fatalf("%d destinations, want 10", got)
		}
		return compared
	}
	if got := cost(filled(1000, 20)); got > 10*2*2*10 { // 10 out and in again, 2 a level, 10 levels
		t.Errorf("%d comparisons for 10 destinations of 1000", got)
	}
}

func TestForAttempt(t *testing.T) {
	d := Delivery{Recipients: []Recipient{{State: mail.Held}, {State: mail.Queued, Hold: "1"}, {State: mail.Deferred, Hold: "2"}, {State: mail.Queued, Hold: "3"}}}
	d.ForAttempt(2)
	if len(d.Recipients) != 2 || d.Recipients[0].Hold != "1" || d.Recipients[1].Hold != "2" {
		t.Errorf("recipients are %v, want the first two that wait", d.Recipients)
	}
}

func TestRecentTokensAreBounded(t *testing.T) {
	var r recentTokens
	const n = 3*rememberedTokens + 5
	for token := range uint64(n) {
		r.add(token)
	}
	if len(r.known) != rememberedTokens || r.has(n-rememberedTokens-1) || !r.has(n-rememberedTokens) || !r.has(n-1) {
		t.Errorf("%d tokens are known, want the last %d", len(r.known), rememberedTokens)
	}
}

// TestLock: whoever locks waits for who has locked, and finds gone what went.
func TestLock(t *testing.T) {
	x := filled(1, 2)
	ids := x.Lock([]mail.ID{"no such entry"})
	if len(ids) != 0 {
		t.Fatalf("locked %v, which is not there", ids)
	}
	leased := x.Claim("d0.example", 2, noon, noon.Add(time.Hour))
	all := []mail.ID{leased[1].ID, leased[0].ID, leased[0].ID}
	locked := x.Lock(all)
	if len(locked) != 2 || !slices.IsSorted(locked) {
		t.Fatalf("locked %v, want two in order", locked)
	}
	var others sync.WaitGroup
	var got [][]mail.ID
	others.Go(func() { got = append(got, x.Lock(all)) })
	x.Apply(Revised{ID: leased[0].ID, Gone: []mail.Destination{"d0.example"}}, leased[:1], true)
	x.Unlock(locked)
	others.Wait()
	if len(got[0]) != 1 || got[0][0] != leased[1].ID {
		t.Errorf("locked %v, want the entry that is left", got)
	}
}

// TestWithdrawn: an entry that is being changed by hand is not claimed, and
// leases on it that run out meanwhile make it due only afterwards.
func TestWithdrawn(t *testing.T) {
	x := filled(1, 1)
	id := x.Claim("d0.example", 1, noon, noon.Add(time.Minute))[0].ID
	locked := x.Lock([]mail.ID{id})
	x.Withdraw(id)
	x.MarkPending(id, "d0.example")
	later := noon.Add(time.Hour)
	if got := x.Due(later, 1); len(got.Destinations) != 0 || x.Leased(later) != 0 || len(x.Lost(later)) != 0 {
		t.Errorf("while it is withdrawn: due %v, lost %v", got, x.Lost(later))
	}
	x.Unlock(locked)
	if got := x.Lost(later); len(got) != 1 {
		t.Errorf("lost are %v, want the entry whose edit waits", got)
	}
	if got := x.Claim("d0.example", 1, later, later.Add(time.Minute)); len(got) != 0 {
		t.Error("claimed before the edit that waits was applied")
	}
}
