package daemon

import (
	"math"
	"testing"
)

func TestClientDescriptors(t *testing.T) {
	for _, c := range []struct{ all, attempts, want int }{
		{256, 500, 128},
		{1024, 500, 512},
		{20_000, 500, 17_500},
		{20_000, 9000, 10_000},
		{math.MaxInt32, 500, math.MaxInt32 - 2500},
	} {
		if got := clientDescriptors(c.all, c.attempts); got != c.want {
			t.Errorf("of %d with %d attempts: %d, want %d", c.all, c.attempts, got, c.want)
		}
	}
}
