package embedded_test

import (
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// TestListingReadsWhatItMust: the rows that are read are those that may be
// selected, as far as ids, states and destinations say so.
func TestListingReadsWhatItMust(t *testing.T) {
	const n = 3_000
	s := deferredStore(t, newCounting(), n, 0)
	defer s.Close()
	chosen := []mail.ID{"0000000000000007", "0000000000000700", "0000000000002007"}
	_, err := s.Edit(t.Context(), queue.Filter{IDs: chosen}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator}, "operator")
	mailtest.Must(t, err)
	const each = 2 // rows of an entry: its header and its delivery
	for where, test := range map[string]struct{ entries, rows int }{
		"state = held": {3, 3 * each},
		"state = held and destination = d7.example":     {1, each},
		"destination = d7.example":                      {n / 300, n / 300 * each},
		"not state = deferred and state in (held)":      {3, 3 * each},
		"id in (0000000000000007, 0000000000000008)":    {2, 2 * each},
		"id = 0000000000000007 and state = queued":      {0, each},
		"state = held and size > 1M":                    {0, 3}, // the header rules it out
		"size > 1M":                                     {0, n},
		"not state = deferred":                          {3, n * each}, // nobody can tell beforehand
		"state = deferred and id = 0000000000000007":    {0, each},
		"state = queued":                                {0, 0},
		"state = queued or destination = other.example": {0, n * each},
	} {
		before := stat(t, s).RowsRead
		entries, err := s.List(t.Context(), queue.Filter{Where: where}, queue.Page{})
		mailtest.Must(t, err)
		if read := stat(t, s).RowsRead - before; len(entries) != min(test.entries, 1000) || read != uint64(test.rows) {
			t.Errorf("%s: %d entries by %d rows, want %+v", where, len(entries), read, test)
		}
	}
}

func stat(t *testing.T, s *embedded.Store) queue.Stat {
	t.Helper()
	st, err := s.Stat(t.Context())
	mailtest.Must(t, err)
	return st
}
