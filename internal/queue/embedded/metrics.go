package embedded

import (
	"context"
	"time"

	"postern/internal/mail"
	"postern/internal/metrics"
)

// Metrics count the commits of a store. Make them with NewMetrics.
type Metrics struct {
	commits *metrics.Histogram
	changes *metrics.Counter
}

// NewMetrics declares what is counted; a nil Set is for nobody who reads it.
func NewMetrics(s *metrics.Set) *Metrics {
	const ms = time.Millisecond
	return &Metrics{
		commits: s.Histogram("postern_commit_duration_seconds",
			"Time of a synced commit to the queue's database. What waits meanwhile goes into the next one together. Clients wait for it before their 250.",
			ms/2, ms, 2*ms, 5*ms, 10*ms, 20*ms, 50*ms, 100*ms, 200*ms, 500*ms, time.Second, 2*time.Second, 5*time.Second, 20*time.Second, time.Minute),
		changes: s.Counter("postern_commit_changes_total", "Changes that were in those commits: messages accepted, attempts settled, edits. Divided by the number of commits: how many shared one."),
	}
}

// committed counts a commit that began then.
func (m *Metrics) committed(began time.Time, changes int) {
	m.commits.Observe(time.Since(began))
	m.changes.Add(int64(changes))
}

// Size is what the store takes on the disk, in octets.
type Size struct{ Database, Bodies int64 }

// Size returns what the store takes on the disk, without looking at it.
func (s *Store) Size(ctx context.Context) (Size, error) {
	if err := s.enter(ctx); err != nil {
		return Size{}, err
	}
	defer s.gate.leave()
	size := Size{Database: int64(s.db.Metrics().DiskSpaceUsage())}
	log := s.log.Stat()
	for _, segment := range log.Segments {
		size.Bodies += segment.Size
	}
	size.Bodies += log.FileSize
	return size, nil
}

// LastFact returns the number of the last fact that is durable.
func (s *Store) LastFact() uint64 { return s.facts.readable.Load() }

// maxHeld is how many entries that are only held are passed over to find the
// oldest that waits.
const maxHeld = 10_000

// Oldest returns when the oldest message was accepted that has a recipient which
// is queued or deferred; the zero time if there is none, or if more than 10,000
// that are held stand before it.
func (s *Store) Oldest(ctx context.Context) (time.Time, error) {
	if err := s.enter(ctx); err != nil {
		return time.Time{}, err
	}
	defer s.gate.leave()
	held := 0
	for p, err := range scanPrefix(s.db, headerPrefix) {
		if err != nil {
			return time.Time{}, err
		}
		if s.index.Waits(mail.ID(p.key[1:])) {
			e, err := decodeHeader(p.key, p.value)
			return e.Accepted, err
		}
		if held++; held > maxHeld {
			break
		}
	}
	return time.Time{}, nil
}

// Stalled returns for how long the committer, or the body log, has been at one
// and the same write; 0 while there is nothing to write. More than a few seconds
// means that the disk hangs.
func (s *Store) Stalled() time.Duration { return max(s.grouped.get(), s.Latency()) }
