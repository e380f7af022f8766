package mail

import (
	"slices"
	"testing"
	"time"
)

func TestStates(t *testing.T) {
	for _, s := range States {
		if s.Stored() == s.Final() {
			t.Errorf("%s is stored: %v, and final: %v", s, s.Stored(), s.Final())
		}
	}
	if unknown := State("active"); unknown.Stored() || unknown.Final() {
		t.Error("an unknown state is stored or final")
	}
}

func TestReasonFor(t *testing.T) {
	for _, s := range States {
		reason := ReasonFor(s)
		if s == Queued {
			if reason != "" {
				t.Errorf("queued has the reason %q, want none", reason)
			}
		} else if !slices.Contains(Reasons, reason) {
			t.Errorf("the reason of %s is %q, which is not in the list", s, reason)
		}
	}
}

func TestReasonsDiffer(t *testing.T) {
	sorted := slices.Sorted(slices.Values(Reasons))
	if compact := slices.Compact(slices.Clone(sorted)); len(compact) != len(Reasons) {
		t.Errorf("a reason stands twice in %q", sorted)
	}
}

func TestPlaceString(t *testing.T) {
	for want, p := range map[string]Place{
		"postern.toml":     {File: "postern.toml"},
		"postern.toml:3":   {File: "postern.toml", Line: 3},
		"postern.toml:3:7": {File: "postern.toml", Line: 3, Column: 7},
	} {
		if got := p.String(); got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
}

func TestManualClock(t *testing.T) {
	start := time.Date(2024, 2, 5, 9, 0, 0, 0, time.UTC)
	clock := NewManualClock(start)
	if got := clock.Now(); !got.Equal(start) {
		t.Errorf("stands at %v, want %v", got, start)
	}
	clock.Advance(time.Hour)
	if got := clock.Now(); !got.Equal(start.Add(time.Hour)) {
		t.Errorf("after an hour it stands at %v", got)
	}
}
