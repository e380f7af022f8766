package embedded_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/metrics"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// TestOldest: what is only held is not what waits.
func TestOldest(t *testing.T) {
	s := open(t, t.TempDir(), embedded.Options{})
	defer closeStore(t, s)
	wantOldest := func(want time.Time, when string) {
		t.Helper()
		if got, err := s.Oldest(t.Context()); err != nil || !got.Equal(want) {
			t.Errorf("%s the oldest is of %s, %v; want %s", when, got, err, want)
		}
	}
	wantOldest(time.Time{}, "without mail")
	first, second := entryTo(smallID, "one.example"), entryTo(otherID, "two.example")
	if first.ID > second.ID {
		first, second = second, first
	}
	second.Accepted = first.Accepted.Add(time.Hour)
	mailtest.Must(t, submit(t.Context(), s, first))
	mailtest.Must(t, submit(t.Context(), s, second))
	wantOldest(first.Accepted, "of two")
	hold := func(id mail.ID) {
		t.Helper()
		_, err := s.Edit(t.Context(), queue.Filter{IDs: []mail.ID{id}}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator}, "test")
		mailtest.Must(t, err)
	}
	hold(first.ID)
	wantOldest(second.Accepted, "when the first is held")
	hold(second.ID)
	wantOldest(time.Time{}, "when both are held")
}

func TestMetricsOfCommits(t *testing.T) {
	set := metrics.NewSet()
	s := open(t, t.TempDir(), embedded.Options{InlineSize: -1, Metrics: embedded.NewMetrics(set)})
	defer closeStore(t, s)
	before := counted(t, set)
	mailtest.Must(t, submit(t.Context(), s, entryTo(smallID, "one.example")))
	if after := counted(t, set); after != before+1 {
		t.Errorf("one change more makes %v of %v", after, before)
	}
	if size, err := s.Size(t.Context()); err != nil || size.Database == 0 || size.Bodies == 0 {
		t.Errorf("the size is %+v, %v", size, err)
	}
	if s.LastFact() == 0 {
		t.Error("there is no fact of what was accepted")
	}
	if n, err := testutil.GatherAndCount(set.Gatherer(), "postern_commit_duration_seconds"); n != 1 || err != nil {
		t.Errorf("%d histograms, %v", n, err)
	}
}

// counted is the number of changes that were committed.
func counted(t *testing.T, set *metrics.Set) float64 {
	t.Helper()
	families, err := set.Gatherer().Gather()
	mailtest.Must(t, err)
	for _, f := range families {
		if strings.HasSuffix(f.GetName(), "_changes_total") {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("nothing is counted")
	return 0
}
