package cli

import (
	"testing"
	"time"
)

func TestParseSince(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	now := time.Date(2026, 3, 2, 1, 30, 0, 5, zone)
	for text, want := range map[string]time.Time{
		"": {}, "today": time.Date(2026, 3, 2, 0, 0, 0, 0, zone), "90m": now.Add(-90 * time.Minute), "1d12h": now.Add(-36 * time.Hour),
		"2026-02-28": time.Date(2026, 2, 28, 0, 0, 0, 0, zone), "2026-02-28 15:04": time.Date(2026, 2, 28, 15, 4, 0, 0, zone),
		"2026-02-28 15:04:05": time.Date(2026, 2, 28, 15, 4, 5, 0, zone), "2026-02-28T15:04:05Z": time.Date(2026, 2, 28, 15, 4, 5, 0, time.UTC),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"noon", "2h ago", "2026-02-30", "15:04"} {
		if got, err := parseSince(text, now); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
