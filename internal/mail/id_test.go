package mail

import (
	"sync"
	"testing"
	"time"
)

func TestIDsGrow(t *testing.T) {
	now := time.Date(2024, 2, 5, 9, 0, 0, 0, time.UTC)
	var ids IDs
	last := ids.New(now)
	for _, step := range []time.Duration{0, 0, time.Millisecond, -time.Hour, 0, 2 * time.Hour, time.Microsecond} {
		now = now.Add(step)
		id := ids.New(now)
		if id <= last {
			t.Errorf("after a step of %v: %s is not larger than %s", step, id, last)
		}
		if _, err := ParseID(string(id)); err != nil {
			t.Error(err)
		}
		last = id
	}
}

// TestIDsCarry fills the low bits: the next ID borrows a millisecond.
func TestIDsCarry(t *testing.T) {
	now := time.UnixMilli(1000)
	ids := IDs{time: 1000, low: 1<<lowBits - 2}
	first, second, third := ids.New(now), ids.New(now), ids.New(now)
	if !(first < second && second < third) {
		t.Errorf("%s, %s, %s do not grow", first, second, third)
	}
	if ids.time != 1001 {
		t.Errorf("the last ID is of millisecond %d, want 1001", ids.time)
	}
}

func TestIDsSortByTime(t *testing.T) {
	now := time.Date(2024, 2, 5, 9, 0, 0, 0, time.UTC)
	var one, other IDs
	early, late := one.New(now), other.New(now.Add(time.Millisecond))
	if early >= late {
		t.Errorf("%s of an earlier millisecond is not less than %s", early, late)
	}
}

func TestIDsConcurrent(t *testing.T) {
	const goroutines, each = 8, 500
	var ids IDs
	made := make([][]ID, goroutines)
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			for range each {
				made[i] = append(made[i], ids.New(time.UnixMilli(1000)))
			}
		})
	}
	wg.Wait()
	seen := make(map[ID]bool)
	for _, list := range made {
		for _, id := range list {
			seen[id] = true
		}
	}
	if len(seen) != goroutines*each {
		t.Errorf("%d different ids of %d", len(seen), goroutines*each)
	}
}

func TestParseID(t *testing.T) {
	for _, s := range []string{"0123456789abcdef", "ghijklmnopqrstuv"} {
		if id, err := ParseID(s); err != nil || string(id) != s {
			t.Errorf("ParseID(%q) = %q, %v", s, id, err)
		}
	}
	for _, s := range []string{
		"", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "0123456789abcdew", "0123456789abcde\n",
		"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", "0123456789abcd==", "0123456789abcdé",
	} {
		if id, err := ParseID(s); err == nil || id != "" {
			t.Errorf("ParseID(%q) = %q, want an error", s, id)
		}
	}
}
