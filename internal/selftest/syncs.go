package selftest

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Syncs is how long it took to write 4 KiB and have them synced.
type Syncs struct {
	Count  int           `json:"count"`
	Min    time.Duration `json:"min_ns"`
	Median time.Duration `json:"median_ns"`
	P99    time.Duration `json:"p99_ns"` // 99 of 100 took no longer
	Max    time.Duration `json:"max_ns"`
}

// piece is how many octets are written at once.
const piece = 4 << 10

// On a slow disk fewer syncs are measured: those of so long a time, but so
// many at least.
const (
	syncTime = 5 * time.Second
	minSyncs = 20
)

// measureSyncs writes and syncs n pieces of a file, which has been written
// before if filled is set.
func measureSyncs(ctx context.Context, path string, n int, filled bool) (Syncs, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return Syncs{}, err
	}
	took, err := timeSyncs(ctx, f, n, filled)
	return summary(took), errors.Join(err, f.Close())
}

func timeSyncs(ctx context.Context, f *os.File, n int, filled bool) ([]time.Duration, error) {
	if filled {
		if _, err := f.WriteAt(make([]byte, n*piece), 0); err != nil {
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	data := make([]byte, piece)
	var took []time.Duration
	for start := time.Now(); len(took) < n && (len(took) < minSyncs || time.Since(start) < syncTime); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data[0]++
		before := time.Now()
		if _, err := f.WriteAt(data, int64(len(took))*piece); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, os.NewSyscallError("fdatasync", err)
		}
		took = append(took, time.Since(before))
	}
	return took, nil
}

// summary sums up measurements, which it sorts.
func summary(took []time.Duration) Syncs {
	if len(took) == 0 {
		return Syncs{}
	}
	slices.Sort(took)
	last := len(took) - 1
	return Syncs{Count: len(took), Min: took[0], Median: took[last/2], P99: took[last*99/100], Max: took[last]}
}
