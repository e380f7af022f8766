package deliver

import (
	"testing"
	"time"
)

func TestPaced(t *testing.T) {
	start := time.Date(2024, 5, 17, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		after time.Duration
		most  int
		limit int
		more  time.Duration // after the start; 0 is never
	}{
		{0, 100, 5, time.Second},
		{999 * time.Millisecond, 100, 5, time.Second},
		{time.Second, 100, 10, 2 * time.Second},
		{4500 * time.Millisecond, 100, 80, 5 * time.Second},
		{5 * time.Second, 100, 100, 0},
		{1000 * time.Hour, 100, 100, 0},
		{0, 3, 3, 0},
		{0, 5, 5, 0},
		{-time.Hour, 100, 5, time.Second}, // the clock stepped back
	} {
		limit, more := paced(c.most, start, start.Add(c.after))
		var want time.Time
		if c.more > 0 {
			want = start.Add(c.more)
		}
		if limit != c.limit || !more.Equal(want) {
			t.Errorf("after %v of %d: %d until %v, want %d until %v", c.after, c.most, limit, more, c.limit, want)
		}
	}
}
