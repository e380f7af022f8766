package pressure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

const mib = 1 << 20

// world is what a gauge looks at.
type world struct {
	free    map[string]usage // those that are not there cannot be measured
	live    liveness
	account int64
	journal error
	latency time.Duration

	clock *mail.ManualClock
	log   bytes.Buffer
	facts []string
}

// newWorld returns one in which there is enough of everything.
func newWorld() *world {
	return &world{
		free:  map[string]usage{"/queue": {1000 * mib, 50_000}, "/journal": {1000 * mib, 50_000}},
		clock: mail.NewManualClock(noon),
	}
}

func (w *world) gauge() *Gauge {
	logger := slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	return newGauge(Options{
		Directories: []Directory{{Path: "/queue", Contents: true}, {Path: "/journal"}},
		Limits:      Limits{MinFreeSpace: 80 * mib, MinFreeInodes: 8000, MaxMemory: 400 * mib, SlowCommit: time.Second},
		Memory:      func() int64 { return w.account },
		Journal:     func() error { return w.journal },
		Latency:     func() time.Duration { return w.latency },
		Record:      func(f mail.Fact) { w.facts = append(w.facts, fmt.Sprintf("%s %s", f.Reason, f.Text)) },
		Clock:       w.clock, Logger: logger,
	}, sources{
		usage: func(path string) (usage, error) {
			u, there := w.free[path]
			if !there {
				return u, errors.New("no such directory")
			}
			return u, nil
		},
		live:    func() liveness { return w.live },
		collect: func() {},
	})
}

// next lets a second pass, and looks.
func (w *world) next(g *Gauge) {
	w.clock.Advance(time.Second)
	g.look()
}

// kinds are those that are on.
func kinds(g *Gauge) string {
	var list []string
	for _, p := range g.Pressures() {
		list = append(list, string(p.Kind))
	}
	return strings.Join(list, " ")
}

func TestEnough(t *testing.T) {
	w := newWorld()
	g := w.gauge()
	if err := g.Refuse(920 * mib); err != nil || kinds(g) != "" || g.Connections(1000) != 1000 {
		t.Errorf("refused %v, under pressure by %q, %d connections", err, kinds(g), g.Connections(1000))
	}
	if len(w.facts) > 0 || w.log.Len() > 0 {
		t.Errorf("told of %q, %s", w.facts, w.log.String())
	}
}

// TestKinds takes each kind of pressure over its values, one look after the
// other, and asks each time whether mail is refused.
func TestKinds(t *testing.T) {
	type step struct {
		change  func(w *world)
		refused bool
	}
	queue := func(u usage) func(*world) { return func(w *world) { w.free["/queue"] = u } }
	journal := func(u usage) func(*world) { return func(w *world) { w.free["/journal"] = u } }
	inUse := func(n int64) func(*world) { return func(w *world) { w.live.octets = n } }
	for _, c := range []struct {
		kind  Kind
		steps []step
		texts []string
	}{
		{Disk, []step{
			{queue(usage{80 * mib, 50_000}), false},
			{queue(usage{80*mib - 1, 50_000}), true},
			{queue(usage{90*mib - 1, 50_000}), true}, // not yet an eighth more
			{queue(usage{90 * mib, 50_000}), false},
			{queue(usage{80 * mib, 50_000}), false}, // nor less than the least
			{journal(usage{0, 50_000}), true},
		}, []string{
			"pressed disk: 79 MiB are free on the file system of /queue; 80 MiB must be",
			"eased disk: 90 MiB are free on the file system of /queue; 80 MiB must be",
			"pressed disk: 0 octets are free on the file system of /journal; 80 MiB must be",
		}},
		{Inodes, []step{
			{queue(usage{1000 * mib, 7999}), true},
			{queue(usage{1000 * mib, 8999}), true},
			{queue(usage{1000 * mib, 9000}), false},
			{queue(usage{1000 * mib, 8000}), false},
		}, []string{
			"pressed inodes: 7999 inodes are free on the file system of /queue; 8000 must be",
			"eased inodes: 9000 inodes are free on the file system of /queue; 8000 must be",
		}},
		{Memory, []step{
			{inUse(300 * mib), false},
			{inUse(300*mib + 1), true},
			{inUse(288 * mib), true},
			{inUse(287 * mib), false},
		}, []string{
			"pressed memory: 300 MiB of memory are in use; the budget is 400 MiB, and a quarter of it must be free",
			"eased memory: 287 MiB of memory are in use; the budget is 400 MiB, and a quarter of it must be free",
		}},
		{Journal, []step{
			{func(w *world) { w.journal = errors.New("no space left") }, true},
			{func(w *world) { w.journal = errors.New("still none") }, true},
			{func(w *world) { w.journal = nil }, false},
		}, []string{"pressed journal: no space left", "eased journal: the journal can be written"}},
		{Slow, []step{
			{func(w *world) { w.latency = 2 * time.Second }, false},
		}, []string{"pressed slow: the disk takes 2s to make mail durable; more than 1s is slow"}},
	} {
		w := newWorld()
		g := w.gauge()
		for i, s := range c.steps {
			s.change(w)
			w.next(g)
			err := g.Refuse(0)
			if (err != nil) != s.refused {
				t.Errorf("%s, step %d: refused %v", c.kind, i+1, err)
			}
			if err != nil && (kinds(g) != string(c.kind) || !strings.HasPrefix(err.Error(), string(c.kind)+": ")) {
				t.Errorf("%s, step %d: under pressure by %q, %v", c.kind, i+1, kinds(g), err)
			}
		}
		if diff := cmp.Diff(c.texts, w.facts); diff != "" {
			t.Errorf("%s: facts (-want +got):\n%s", c.kind, diff)
		}
	}
}

// TestStartsUnderPressure: the first look is before the first client.
func TestStartsUnderPressure(t *testing.T) {
	w := newWorld()
	w.journal = errors.New("read-only file system")
	if g := w.gauge(); g.Refuse(0) == nil || kinds(g) != "journal" {
		t.Errorf("under pressure by %q", kinds(g))
	}
}

// TestToldOnce: of a beginning and of an end there is one line each, however
// long it lasts, and the figures that are shown are the last ones.
func TestToldOnce(t *testing.T) {
	w := newWorld()
	g := w.gauge()
	w.next(g)
	began := w.clock.Now().Add(time.Second)
	for n := range int64(60) {
		w.free["/queue"] = usage{(50 - n/2) * mib, 50_000}
		w.next(g)
	}
	want := []Pressure{{Disk, began, "21 MiB are free on the file system of /queue; 80 MiB must be"}}
	if diff := cmp.Diff(want, g.Pressures()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w.free["/queue"] = usage{100 * mib, 50_000}
	w.next(g)
	w.next(g)
	log := `level=WARN msg="pressure begins: no mail is taken" kind=disk cause="50 MiB are free on the file system of /queue; 80 MiB must be"
level=INFO msg="pressure ends" kind=disk lasted=1m0s now="100 MiB are free on the file system of /queue; 80 MiB must be"
`
	if diff := cmp.Diff(log, w.log.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if len(w.facts) != 2 {
		t.Errorf("facts %q", w.facts)
	}
}

// TestSeveralAtOnce: one ends, the other is still on.
func TestSeveralAtOnce(t *testing.T) {
	w := newWorld()
	g := w.gauge()
	w.free["/queue"], w.journal, w.latency = usage{0, 0}, errors.New("full"), time.Minute
	w.next(g)
	if got := kinds(g); got != "disk inodes journal slow" {
		t.Errorf("under pressure by %q", got)
	}
	w.free["/queue"] = usage{1000 * mib, 50_000}
	w.next(g)
	if err := g.Refuse(0); kinds(g) != "journal slow" || err == nil || err.Error() != "journal: full" {
		t.Errorf("under pressure by %q, refused %v", kinds(g), err)
	}
}

// TestDeclaredSize: a message may not take the room that must be left; the
// journal's disk does not take it.
func TestDeclaredSize(t *testing.T) {
	w := newWorld()
	w.free["/queue"], w.free["/journal"] = usage{100 * mib, 50_000}, usage{81 * mib, 50_000}
	g := w.gauge()
	if err := g.Refuse(20 * mib); err != nil {
		t.Errorf("as much as there is room for: %v", err)
	}
	const want = "disk: room for a message of at most 20 MiB, and this one has 21 MiB"
	if err := g.Refuse(21 * mib); err == nil || err.Error() != want {
		t.Errorf("more than there is room for: %v", err)
	}
	if kinds(g) != "" {
		t.Error("that is no pressure")
	}
}

// TestUnmeasured: what cannot be measured changes nothing.
func TestUnmeasured(t *testing.T) {
	w := newWorld()
	g := w.gauge()
	clear(w.free)
	w.next(g)
	if err := g.Refuse(1000 * mib); err != nil {
		t.Errorf("there was enough: %v", err)
	}
	w.free["/journal"] = usage{0, 0}
	w.next(g)
	clear(w.free)
	w.next(g)
	if kinds(g) != "disk inodes" {
		t.Errorf("there was not: under pressure by %q", kinds(g))
	}
}

// TestNothingWatched: a zero value watches nothing.
func TestNothingWatched(t *testing.T) {
	g := New(Options{Directories: []Directory{{Path: t.TempDir(), Contents: true}}})
	if err := g.Refuse(1 << 62); err != nil || kinds(g) != "" || g.Connections(3) != 3 {
		t.Errorf("refused %v, under pressure by %q", err, kinds(g))
	}
}

// TestChange: other limits hold at the next look, and what is not watched any
// more is not short.
func TestChange(t *testing.T) {
	w := newWorld()
	g := w.gauge()
	w.latency, w.live.octets = 2*time.Second, 390*mib
	w.free["/queue"] = usage{79 * mib, 7999}
	w.next(g)
	if kinds(g) != "disk inodes memory slow" || g.Connections(1000) != 500 {
		t.Fatalf("under pressure by %q, %d connections", kinds(g), g.Connections(1000))
	}
	g.Change(Limits{MinFreeSpace: 70 * mib, MinFreeInodes: 7000, MaxMemory: 800 * mib, SlowCommit: 10 * time.Second})
	w.next(g)
	if err := g.Refuse(9 * mib); kinds(g) != "slow" || err != nil {
		t.Errorf("with easier limits: under pressure by %q, refused %v", kinds(g), err)
	}
	if g.Refuse(10*mib) == nil {
		t.Error("a message may take what must be free")
	}
	g.Change(Limits{MinFreeSpace: 80 * mib})
	w.next(g)
	if kinds(g) != "disk" || g.Connections(1000) != 1000 {
		t.Errorf("with another limit: under pressure by %q, %d connections", kinds(g), g.Connections(1000))
	}
	g.Change(Limits{})
	w.next(g)
	if err := g.Refuse(1 << 62); kinds(g) != "" || err != nil {
		t.Errorf("without limits: under pressure by %q, refused %v", kinds(g), err)
	}
}

// TestConnections: halved at every slow look, doubled after five quick ones.
func TestConnections(t *testing.T) {
	const slow, middling, quick = 1001 * time.Millisecond, 501 * time.Millisecond, 500 * time.Millisecond
	w := newWorld()
	g := w.gauge()
	for i, c := range []struct {
		latency time.Duration
		looks   int
		want    int
	}{
		{time.Second, 3, 1000},
		{slow, 1, 500},
		{middling, 20, 500},
		{quick, 4, 500},
		{quick, 1, 1000},
		{slow, 3, 125},
		{quick, 4, 125},
		{middling, 1, 125}, // the five begin anew
		{quick, 4, 125},
		{slow, 1, 62},
		{slow, 100, 62}, // a sixteenth, and no less
		{quick, 5, 125},
		{quick, 14, 500},
		{quick, 1, 1000},
		{quick, 1, 1000},
	} {
		w.latency = c.latency
		for range c.looks {
			w.next(g)
		}
		if got := g.Connections(1000); got != c.want {
			t.Errorf("step %d, %d looks at %v: %d connections, want %d", i+1, c.looks, c.latency, got, c.want)
		}
	}
	if len(w.facts) != 4 { // it began twice and ended twice
		t.Errorf("facts %q", w.facts)
	}
	if err := g.Refuse(0); err != nil {
		t.Errorf("a slow disk refuses mail: %v", err)
	}
}

func TestAllowed(t *testing.T) {
	for _, c := range []struct{ most, halvings, want int }{
		{1000, 0, 1000}, {1000, 2, 250}, {100, 4, 10}, {15, 1, 10}, {10, 4, 10}, {3, 4, 3}, {3, 0, 3},
	} {
		if got := allowed(c.most, c.halvings); got != c.want {
			t.Errorf("%d, halved %d times: %d, want %d", c.most, c.halvings, got, c.want)
		}
	}
}

// TestRun: it looks until its context ends, and then returns.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		g := w.gauge()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		w.latency = time.Minute
		go func() { g.Run(ctx); close(ended) }()
		time.Sleep(2*every + every/2)
		if got := g.Connections(1000); got != 250 {
			t.Errorf("%d connections after two looks", got)
		}
		cancel()
		<-ended
	})
}
