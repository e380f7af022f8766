package embedded

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Overwrite sets a key behind the back of an open store.
func Overwrite(t *testing.T, s *Store, key, value string) {
	t.Helper()
	if err := s.db.Set([]byte(key), []byte(value), pebble.Sync); err != nil {
		t.Fatal(err)
	}
}

// BlocksRead is how often a block of the database's tables was looked at
// since the store was opened, in the cache or on the disk. What was written
// since then lies in memory, and is not counted.
func BlocksRead(s *Store) int {
	cache := s.db.Metrics().BlockCache
	return int(cache.Hits + cache.Misses)
}

// DataBlocks is how many blocks of rows the database's tables have.
func DataBlocks(t *testing.T, s *Store) (blocks int) {
	t.Helper()
	levels, err := s.db.SSTables(pebble.WithProperties())
	if err != nil {
		t.Fatal(err)
	}
	for _, tables := range levels {
		for _, table := range tables {
			blocks += int(table.Properties.NumDataBlocks)
		}
	}
	return blocks
}

// Rest has the database write down what lies in memory, and waits until
// nothing more is compacted.
func Rest(t testing.TB, s *Store) {
	t.Helper()
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	for s.db.Metrics().Compact.NumInProgress > 0 {
		time.Sleep(time.Millisecond)
	}
}
