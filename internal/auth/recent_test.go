package auth

import (
	"testing"
	"time"

	"postern/internal/mail"
)

func TestRecent(t *testing.T) {
	clock := mail.NewManualClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	r := newRecent[string, int](2, time.Minute, clock)
	r.put("a", 1)
	clock.Advance(30 * time.Second)
	r.put("b", 2)
	r.get("a") // used last
	r.put("c", 3)
	if _, known := r.get("b"); known || r.size() != 2 {
		t.Errorf("with room for two: b is known (%v), or not two (%d)", known, r.size())
	}
	if v, known := r.get("a"); !known || v != 1 {
		t.Errorf("a: %d, %v", v, known)
	}
	clock.Advance(30 * time.Second) // a was put a minute ago; that it was used does not count
	if _, known := r.get("a"); known || r.size() != 1 {
		t.Errorf("a is known after its time")
	}
	r.put("c", 4)
	clock.Advance(59 * time.Second)
	if v, known := r.get("c"); !known || v != 4 {
		t.Errorf("c: %d, %v", v, known)
	}
	r.forget("c")
	if _, known := r.get("c"); known {
		t.Error("c is known although it was forgotten")
	}
}

// size is how many are remembered, those included whose time is over.
func (r *recent[K, V]) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.at)
}
