package admin

import (
	"fmt"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

func TestAgeColumn(t *testing.T) {
	for age, want := range map[time.Duration]int{-time.Minute: 0, 0: 0, 5 * time.Minute: 0, 5*time.Minute + 1: 1, 24 * time.Hour: 5, 73 * time.Hour: 7} {
		if got := ageColumn(age); got != want {
			t.Errorf("%v: column %d, want %d", age, got, want)
		}
	}
}

// TestShaperIsBounded: of more destinations than are told apart the largest
// stay, and nobody is lost.
func TestShaperIsBounded(t *testing.T) {
	now := time.Now()
	f := newShaper(now)
	selector, err := queue.Filter{}.Selector(now)
	if err != nil {
		t.Fatal(err)
	}
	add := func(d mail.Destination) {
		f.add(&queue.Entry{Accepted: now, Deliveries: []queue.Delivery{{Destination: d, Recipients: []queue.Recipient{{State: mail.Queued}}}}}, selector)
	}
	const many = 3 * maxShapeRows
	for range 50 {
		add("large.example")
	}
	for i := range many {
		add(mail.Destination(fmt.Sprintf("d%05d.example", i)))
		if len(f.rows) > maxShapeRows {
			t.Fatalf("%d rows", len(f.rows))
		}
	}
	s := f.result(2)
	if s.Rows[0].Destination != "large.example" || s.Rows[0].Recipients != 50 || len(s.Rows) != 2 || !s.Estimated ||
		s.Total.Recipients != many+50 || s.Others.Recipients != many-1 || s.Others.Ages[0] != many-1 || s.Others.States[mail.Queued] != many-1 {
		t.Errorf("rows %+v, others %+v, total %+v", s.Rows, s.Others, s.Total)
	}
}
