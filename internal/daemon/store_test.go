package daemon

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"postern/internal/config"
	"postern/internal/journal"
	"postern/internal/mail"
)

// copied are a source of the journal.
type copied []mail.Fact

func (f copied) NextFacts(_ context.Context, after uint64, _ int) ([]mail.Fact, error) {
	return f[after:], nil
}
func (f copied) ForgetFacts(context.Context, uint64) error { return nil }
func (f copied) FactsWake() <-chan struct{}                { return nil }

// TestPast: what the journal knows goes to the salvage, and one that has gone
// does not keep it from its work.
func TestPast(t *testing.T) {
	m := Maintenance{Config: &config.Config{DataDir: t.TempDir()}, Logger: slog.New(slog.DiscardHandler)}
	const ended, open, kept = mail.ID("0000000000000001"), mail.ID("0000000000000002"), mail.ID("0000000000000003")
	past := func() (n uint64, hasEnded bool, opened int) {
		k, err := m.past(t.Context())(func(id mail.ID) bool { return id == kept }, map[mail.ID]bool{ended: true, open: true})
		if err != nil {
			t.Fatal(err)
		}
		return k.Last, k.Ended[ended] && len(k.Ended) == 1, len(k.Open)
	}
	if n, hasEnded, opened := past(); n != 0 || hasEnded || opened != 0 {
		t.Errorf("without a journal: last fact %d, ended %t, open %d", n, hasEnded, opened)
	}
	if err := os.Mkdir(journalDir(m.Config), 0o700); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journalDir(m.Config), journal.Options{Logger: m.Logger})
	if err != nil {
		t.Fatal(err)
	}
	to := []string{"<joe@one.example>"}
	source := copied{
		{Source: "queue", N: 1, Reason: mail.ReasonAccepted, Message: ended, To: to},
		{Source: "queue", N: 2, Reason: mail.ReasonAccepted, Message: open, To: to},
		{Source: "queue", N: 3, Reason: mail.ReasonAccepted, Message: kept, To: to},
		{Source: "queue", N: 4, Reason: mail.ReasonFor(mail.Delivered), Message: ended, To: to},
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Copy(over, source); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if n, hasEnded, opened := past(); n != 4 || !hasEnded || opened != 1 {
		t.Errorf("with a journal: last fact %d, ended %t, open %d", n, hasEnded, opened)
	}
}
