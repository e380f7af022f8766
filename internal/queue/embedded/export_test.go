package embedded

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// Overwrite sets a key behind the back of an open store.
func Overwrite(t *testing.T, s *Store, key, value string) {
	t.Helper()
	if err := s.db.Set([]byte(key), []byte(value), pebble.Sync); err != nil {
		t.Fatal(err)
	}
}
