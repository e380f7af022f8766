package daemon

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"

	"postern/internal/config"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/queue/embedded"
)

// copied are a source of the journal.
type copied []mail.Fact

func (f copied) NextFacts(_ context.Context, after uint64, _ int) ([]mail.Fact, error) {
	return f[after:], nil
}
func (f copied) ForgetFacts(context.Context, uint64) error { return nil }
func (f copied) FactsWake() <-chan struct{}                { return nil }

// TestPast: what the journal knows goes to the salvage, with what the store
// says behind it; and a journal that has gone does not keep it from its work.
func TestPast(t *testing.T) {
	m := Maintenance{Config: &config.Config{DataDir: t.TempDir()}, Logger: slog.New(slog.DiscardHandler)}
	const ended, open, kept, endedSince = mail.ID("0000000000000001"), mail.ID("0000000000000002"), mail.ID("0000000000000003"), mail.ID("0000000000000004")
	both := []string{"<joe@one.example>", "ann@two.example"}
	delivered := func(n uint64, id mail.ID, to string) mail.Fact {
		return mail.Fact{Source: "queue", N: n, Reason: mail.ReasonFor(mail.Delivered), Message: id, To: []string{to}}
	}
	source := copied{
		{Source: "queue", N: 1, Reason: mail.ReasonAccepted, Message: ended, To: both[:1]},
		{Source: "queue", N: 2, Reason: mail.ReasonAccepted, Message: open, To: both},
		{Source: "queue", N: 3, Reason: mail.ReasonAccepted, Message: kept, To: both},
		{Source: "queue", N: 4, Reason: mail.ReasonAccepted, Message: endedSince, To: both},
		delivered(5, ended, "joe@one.example"),
		delivered(6, endedSince, "joe@one.example"),
	}
	q := embedded.Question{
		Kept:     map[mail.ID]bool{kept: true},
		Suspects: map[mail.ID]bool{ended: true, open: true, endedSince: true},
		Facts: []mail.Fact{source[3], source[5], {
			Source: "queue", N: 7, Reason: mail.ReasonReaddressed, Message: endedSince, To: []string{"<ann@two.example>"}, Text: "to <ann@three.example>",
		}, delivered(8, endedSince, "ann@three.example"), delivered(9, open, "ann@two.example")},
	}
	want := func(when string, last uint64, wantEnded []mail.ID, wantOpen []mail.ID) {
		t.Helper()
		k, err := m.past(t.Context())(q)
		var opened []mail.ID
		for _, f := range k.Open {
			opened = append(opened, f.Message)
		}
		if err != nil || k.Last != last || !slices.Equal(slices.Sorted(maps.Keys(k.Ended)), wantEnded) || !slices.Equal(opened, wantOpen) {
			t.Errorf("%s: %+v, %v; want ended %q and open %q", when, k, err, wantEnded, wantOpen)
		}
	}
	want("without a journal", 0, []mail.ID{endedSince}, nil)
	j, err := journal.Open(journalDir(m.Config), journal.Options{Logger: m.Logger})
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := errors.Join(j.Copy(over, source), j.Close()); err != nil {
		t.Fatal(err)
	}
	want("with a journal", 6, []mail.ID{ended, endedSince}, []mail.ID{open})
}
