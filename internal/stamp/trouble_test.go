package stamp

import (
	"errors"
	"testing"
	"time"
)

// TestTrouble: trouble is news when it begins and when its reason is another; it lasts since it
// began, until its end, which is news once.
func TestTrouble(t *testing.T) {
	start := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	var trouble Trouble
	for i, step := range []struct {
		reason string
		news   bool
	}{{"a", true}, {"a", false}, {"b", true}, {"b", false}, {"a", true}} {
		if news := trouble.Note(errors.New(step.reason), start.Add(time.Duration(i)*time.Minute)); news != step.news {
			t.Errorf("step %d, %s: news: %t", i, step.reason, news)
		}
		if !trouble.Since.Equal(start) || trouble.Err.Error() != step.reason {
			t.Errorf("step %d: %v since %s", i, trouble.Err, trouble.Since)
		}
	}
	if !trouble.End() || trouble.End() || trouble != (Trouble{}) {
		t.Error("the end is no news, or is twice, or leaves something")
	}
	if later := start.Add(time.Hour); !trouble.Note(errors.New("a"), later) || !trouble.Since.Equal(later) {
		t.Error("what comes after the end is not new")
	}
}
