// Package crash tests Postern's first promise with the real binary: it is
// killed again and again under load, and must neither lose nor invent, nor
// alter a message, and repeat none but those that a kill caught between the
// next server's answer and the settlement. It is killed by turns at a random
// moment, and at a step of package crashpoint: between any two operations on
// its files, and wherever else two things may come apart. An operator holds,
// releases and suspends meanwhile. It is no library.
package crash

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// startTimeout bounds a start, and a wait for load; perKill the whole test.
const (
	startTimeout = 2 * time.Minute
	perKill      = 10 * time.Second
)

// handlers hold what is for c.example, in another form than others get, and send
// a copy of it to the archive: one acceptance makes three entries and two contents.
const handlers = `
[[handler]]
name = "hold"
at = "rcpt"
recipient = ["*@c.example"]
steps = [{ hold = "to be looked at" }]
[[handler]]
name = "variant"
at = "data"
recipient = ["*@c.example"]
steps = [{ add_header = "X-Variant: c" }, { copy_to = "` + archive + `" }]
`

// reports is the schedule of what has no sender: the copies, some of which are
// deferred. By default it begins with a minute, for which the test would wait.
const reports = "1s 1s 1s 1s, every 2s until 10m"

func TestKilledUnderLoad(t *testing.T) {
	kills := mailtest.Number(t, "COUNT", 50)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(kills)*perKill)
	defer cancel()

	load := newLoad()
	sink := &harness.Sink{Rcpt: load.rcpt, Take: load.take}
	mailtest.Must(t, sink.Listen())
	t.Cleanup(func() { sink.Close() })
	load.ruled = true
	postern, tagged := newPostern(ctx, t, sink.Addr(), handlers)
	killer := newKiller(rand.New(rand.NewPCG(uint64(kills), 1)), postern, tagged, load)

	source := harness.Source{Addr: postern.Addr(), Sessions: 6, Keep: true, Redial: true,
		Next: func() *harness.Message { return load.next(ctx) }, Done: load.done}
	sourceEnd := make(chan error, 1)
	go func() { sourceEnd <- source.Run(ctx) }()
	operator := &operator{postern: postern, done: map[string]int{}}
	operating, endOperating := context.WithCancel(ctx)
	operatorEnd := make(chan struct{})
	go func() {
		defer close(operatorEnd)
		operator.run(operating)
	}()
	for range kills {
		mailtest.Must(t, killer.kill(ctx))
		mailtest.Must(t, sink.Settle(ctx))
		load.nextLife()
	}
	endOperating()
	<-operatorEnd
	load.stop()
	mailtest.Must(t, postern.Start(ctx))
	operator.letGo(ctx, t)
	drain(ctx, t, postern, sourceEnd)
	mailtest.Must(t, killer.readLog())
	killer.report(t)
	facts, err := harness.ReadJournal(postern.Journal())
	mailtest.Must(t, err)
	check(t, load, facts)
	load.report(t)
}

// newPostern makes the instance, and the binary that ends itself at crash
// points. Its files stay behind when the test fails.
func newPostern(ctx context.Context, t *testing.T, next, settings string) (p *harness.Postern, tagged string) {
	t.Helper()
	dir := mailtest.KeptDir(t, "crash")
	binary, err := harness.BuildPostern(ctx, dir)
	mailtest.Must(t, err)
	tagged, err = harness.BuildPostern(ctx, dir, "crashpoints")
	mailtest.Must(t, err)
	p, err = harness.NewPostern(harness.PosternOptions{
		Binary: binary, Dir: filepath.Join(dir, "instance"), NextHop: next, Settings: "[journal]\nmax_file = \"1MiB\"\n" + settings,
		RetryReports: reports,
	})
	mailtest.Must(t, err)
	return p, tagged
}

// drain lets Postern deliver what it has, and stops it.
func drain(ctx context.Context, t *testing.T, postern *harness.Postern, sourceEnd <-chan error) {
	t.Helper()
	if err := <-sourceEnd; err != nil {
		t.Error(err)
	}
	if err := harness.UntilEmpty(ctx, postern); err != nil {
		t.Error(err)
	}
	if err := postern.Stop(); err != nil {
		t.Error(err)
	}
}
