package scale

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// When a site is down, and for how long it is then left alone: these are
// constants of the program. What was in hand when it went down may be tried
// too.
const (
	downAfter  = 5
	inHand     = 10
	firstPause = time.Minute
)

// mostDials is how often a dead site may have been dialled in that time after
// the first: each pause is followed by one, and is twice as long as the one
// before.
func mostDials(elapsed time.Duration) int {
	return downAfter + inHand - 1 + int(math.Log2(1+elapsed.Seconds()/firstPause.Seconds()))
}

// dials are the times at which the journal says that a site was dialled, and
// with which message: each attempt that came so far as to an address.
func dials(facts []mail.Fact, s *site) []time.Time {
	var times []time.Time
	for i := range facts {
		if f := &facts[i]; f.Reason == mail.ReasonAttempted && f.Address.Addr() == s.address {
			times = append(times, f.Time)
		}
	}
	return times
}

// checkDials asserts that a dead site was left in peace.
func checkDials(t *testing.T, facts []mail.Fact, s *site) {
	t.Helper()
	times := dials(facts, s)
	if len(times) == 0 {
		t.Errorf("%s (%s) was never dialled", s.domain, s.kind)
		return
	}
	elapsed := slices.MaxFunc(times, time.Time.Compare).Sub(times[0])
	if most := mostDials(elapsed); len(times) > most {
		t.Errorf("%s (%s) was dialled %d times in %v, want at most %d", s.domain, s.kind, len(times), elapsed, most)
	}
}

// checkDown asserts that the journal tells of each dead site that it is down,
// once, with the cause, and of no other.
func checkDown(t *testing.T, w *world, facts []mail.Fact) {
	t.Helper()
	told := map[string]int{}
	for i := range facts {
		switch f := &facts[i]; f.Reason {
		case mail.ReasonUnreachable:
			name, cause, _ := strings.Cut(f.Text, ": ")
			told[name]++
			if cause == "" || !f.Next.After(f.Time) {
				t.Errorf("%s is down because of %q until %v", name, cause, f.Next)
			}
		case mail.ReasonReached:
			t.Errorf("%s was reached", f.Text)
		}
	}
	want := map[string]int{}
	for _, s := range w.of(refusing, silent) {
		want[fmt.Sprintf("mx:mx.%s:%d", s.domain, w.port)] = 1
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("sites that are down:\n%s", diff)
	}
}

// TestMuchForOneDeadSite: whatever waits for a site that is down, mail for the
// others gets through, at the first attempt, and the dead one is left in
// peace. Its mail is due again and again while the others' comes.
func TestMuchForOneDeadSite(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	due := 20_000
	if mailtest.Long() {
		due = mailtest.Number(t, "DUE", 200_000)
	}
	const others = 20
	w := newWorld(append([]kind{refusing}, slices.Repeat([]kind{healthy}, others)...)...)
	w.open(t)
	in := newInstance(ctx, t, harness.PosternOptions{Settings: w.settings(""), Retry: "2s, every 2s until 5d"})
	in.start()
	flood := &letters{prefix: "flood", sites: w.of(refusing), each: due}
	in.submit(flood.next)

	// One after the other: what keeps one of them waiting, keeps all.
	probes := &letters{prefix: "probe", sites: w.of(healthy), each: 10}
	for n := range probes.count() {
		in.submit(once(probes.next()))
		in.await(fmt.Sprintf("probe %d has come", n), func() bool { return w.arrived(healthy) > n })
	}
	in.await("all of the flood, and nothing else, is left", func() bool {
		waiting := in.recipients()
		return waiting[mail.Queued]+waiting[mail.Deferred] == due
	})
	facts := in.stopped()
	checkDials(t, facts, w.of(refusing)[0])
	checkDown(t, w, facts)
	checkOvertaking(t, facts, due)
	checkOnce(t, facts, "probe")
	if doubled := w.doubled(); len(doubled) > 0 {
		t.Errorf("came more than once: %v", doubled)
	}
}

// checkOvertaking asserts that no probe had to wait for the flood: of that, no
// more than a tenth was answered between a probe's acceptance and delivery.
func checkOvertaking(t *testing.T, facts []mail.Fact, due int) {
	t.Helper()
	answered := 0
	since := map[mail.ID]int{}
	var waits []int
	for i := range facts {
		f := &facts[i]
		switch {
		case f.Reason == mail.ReasonDeferred:
			answered += len(f.To)
		case f.Reason == mail.ReasonAccepted && isTo(f, "probe"):
			since[f.Message] = answered
		case f.Reason == mail.ReasonDelivered && isTo(f, "probe"):
			waits = append(waits, answered-since[f.Message])
		}
	}
	if len(waits) == 0 {
		t.Fatal("the journal tells of no probe")
	}
	slices.Sort(waits)
	t.Logf("%d of the flood were answered; between acceptance and delivery of a probe %d (median) to %d", answered, waits[len(waits)/2], waits[len(waits)-1])
	if most := waits[len(waits)-1]; most > due/10 {
		t.Errorf("a probe waited until %d of the flood were answered", most)
	}
}

// isTo reports whether a fact is about a message of letters with that prefix.
func isTo(f *mail.Fact, prefix string) bool {
	return len(f.To) == 1 && strings.HasPrefix(f.To[0], prefix+"-")
}

// checkOnce asserts that all messages whose recipients begin so were delivered
// at the first attempt, and attempted no more than that.
func checkOnce(t *testing.T, facts []mail.Fact, prefix string) {
	t.Helper()
	watched := map[mail.ID]bool{}
	attempts, delivered := 0, 0
	for i := range facts {
		f := &facts[i]
		switch {
		case f.Reason == mail.ReasonAccepted && isTo(f, prefix):
			watched[f.Message] = true
		case !watched[f.Message]:
		case f.Reason == mail.ReasonAttempted:
			attempts++
		case f.Reason == mail.ReasonDelivered && f.Attempt == 1:
			delivered++
		}
	}
	if len(watched) == 0 || attempts != len(watched) || delivered != len(watched) {
		t.Errorf("of %d messages of %q %d were delivered at the first attempt, with %d attempts in all", len(watched), prefix, delivered, attempts)
	}
}
