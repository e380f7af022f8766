// Package scale tests the real binary with many sites at once, some of them
// slow or dead, with mail that waits by the thousand, and across restarts. It
// is no library.
//
// What it asserts are counts and orders: who was connected to how often, what
// had come when, which attempt followed which. What takes long is bounded by
// limit alone. With LONG set its numbers are larger, and rates are measured.
package scale

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// limit bounds each test here, and longLimit those with larger numbers.
const limit, longLimit = 6 * time.Minute, 30 * time.Minute

// sessions is how many clients submit at once. One connection brings at most
// 10,000 messages.
const sessions = 40

// bounded returns the context of a test.
func bounded(t *testing.T) context.Context {
	most := limit
	if mailtest.Long() {
		most = longLimit
	}
	ctx, cancel := context.WithTimeout(t.Context(), most)
	t.Cleanup(cancel)
	return ctx
}

// binary is the program, built once for all tests here.
var binary string

func TestMain(m *testing.M) { os.Exit(harness.RunWithBinary(m, &binary)) }

// directory is one that stays behind when the test fails.
func directory(t *testing.T) string { return mailtest.KeptDir(t, "scale") }

// instance is a Postern with the test that it belongs to.
type instance struct {
	*harness.Postern
	t   *testing.T
	ctx context.Context
}

// newInstance makes one that can be started. Binary and Dir are chosen here.
func newInstance(ctx context.Context, t *testing.T, o harness.PosternOptions) *instance {
	t.Helper()
	o.Binary, o.Dir = binary, filepath.Join(directory(t), "instance")
	p, err := harness.NewPostern(o)
	mailtest.Must(t, err)
	t.Cleanup(func() {
		if p.Running() {
			p.Kill()
		}
	})
	return &instance{p, t, ctx}
}

func (in *instance) start() {
	in.t.Helper()
	mailtest.Must(in.t, in.Start(in.ctx))
}

// submit hands messages over, on several sessions, until next has no more.
func (in *instance) submit(next func() *harness.Message) {
	in.t.Helper()
	source := harness.Source{Addr: in.Addr(), Sessions: sessions, Keep: true, Next: next}
	mailtest.Must(in.t, source.Run(in.ctx))
}

// await waits for something, and fails the test when it does not come.
func (in *instance) await(what string, done func() bool) {
	in.t.Helper()
	mailtest.Must(in.t, harness.Until(in.ctx, what, func() (bool, error) { return done(), nil }))
}

// recipients counts those in the queue, by their state.
func (in *instance) recipients() map[mail.State]int {
	in.t.Helper()
	count, err := in.Recipients(in.ctx)
	mailtest.Must(in.t, err)
	return count
}

// stopped ends the instance in good order, and returns its journal.
func (in *instance) stopped() []mail.Fact {
	in.t.Helper()
	mailtest.Must(in.t, in.Stop())
	return in.facts()
}

func (in *instance) facts() []mail.Fact {
	in.t.Helper()
	facts, err := harness.ReadJournal(in.Journal())
	mailtest.Must(in.t, err)
	return facts
}
