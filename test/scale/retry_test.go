package scale

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// The schedule of the test below: three waits of their own, one that repeats,
// and an end that cuts the last one short. All
// the restarts are to be over by then.
var tiers = mail.Schedule{
	Waits: []time.Duration{time.Second, 2 * time.Second, 3 * time.Second},
	Every: 5 * time.Second,
	Until: 22 * time.Second,
}

// jitter is by how much of itself a wait may be longer.
const jitter = 0.1

// stubborn takes nobody for now. It counts the attempts for each recipient.
type stubborn struct {
	mu   sync.Mutex
	seen map[string]int
	// held are the attempts that wait until released is closed; nil: none are.
	released chan struct{}
	held     int
}

func (s *stubborn) rcpt(from, to string) string {
	if from == "" {
		return "" // a report
	}
	s.mu.Lock()
	s.seen[to]++
	released := s.released
	if released != nil {
		s.held++
	}
	s.mu.Unlock()
	if released != nil {
		<-released
	}
	return "451 4.2.0 not now"
}

// hold holds the attempts that come from now on.
func (s *stubborn) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released, s.held = make(chan struct{}), 0
}

// holds returns how many it holds.
func (s *stubborn) holds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// release lets them go, and holds no more.
func (s *stubborn) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.released)
	s.released = nil
}

// TestEveryTierOverRestarts: in the wait behind each attempt the server is
// stopped and started, and killed and started; two attempts are killed in
// their midst. The schedule goes on as if nothing had been.
func TestEveryTierOverRestarts(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	w := newWorld(healthy, healthy, healthy, healthy)
	s := &stubborn{seen: map[string]int{}}
	w.rcpt = s.rcpt
	w.open(t)
	in := newInstance(ctx, t, harness.PosternOptions{Settings: w.settings(""), Retry: tiers.String()})
	in.start()
	mails := &letters{prefix: "waits", sites: w.of(healthy), each: 2}
	n := mails.count()
	in.submit(mails.next)
	var k kills
	for attempt := 1; attempt <= len(tiers.Waits)+1; attempt++ {
		in.awaitFacts(n, func(f *mail.Fact) bool { return f.Reason == mail.ReasonDeferred && f.Attempt >= attempt })
		in.stopped()
		in.start()
		in.Kill()
		k.all++
		if attempt%2 == 1 {
			s.hold()
			in.start()
			mailtest.Must(t, in.midst(s, n))
			in.Kill()
			s.release()
			k.all++
			k.midst++
		}
		in.start()
	}
	in.awaitFacts(n, func(f *mail.Fact) bool { return f.Reason == mail.ReasonExpired })
	mailtest.Must(t, harness.UntilEmpty(ctx, in))
	facts := in.stopped()
	if got := w.census(w.sites[len(w.sites)-1]).transactions; got != n {
		t.Errorf("%d transactions with reports, want %d", got, n)
	}
	all := histories(facts)
	if len(all) != n {
		t.Errorf("%d messages, want %d", len(all), n)
	}
	for _, h := range all {
		for _, fault := range h.faults(s.seen[h.to], k) {
			t.Errorf("%s: %s", h.to, fault)
		}
	}
}

// kills are how often the server was killed, and how often of these while all
// messages were being attempted.
type kills struct{ all, midst int }

// midst waits until all n messages are being attempted.
func (in *instance) midst(s *stubborn, n int) error {
	err := harness.Until(in.ctx, "all messages are being attempted", func() (bool, error) { return s.holds() == n, nil })
	if err != nil {
		s.release() // nobody else would, and the sink waits for them
	}
	return err
}

// awaitFacts waits until the journal has so many facts of that kind.
func (in *instance) awaitFacts(n int, is func(*mail.Fact) bool) {
	in.t.Helper()
	in.await(fmt.Sprintf("the journal has %d facts of the kind", n), func() bool {
		found := map[mail.ID]bool{}
		facts := in.facts()
		for i := range facts {
			if is(&facts[i]) {
				found[facts[i].Message] = true
			}
		}
		return len(found) == n
	})
}

// history is what the journal tells of one message with one recipient.
type history struct {
	to       string
	accepted time.Time
	routed   []mail.Fact // one for each attempt, with the time of its begin
	settled  []mail.Fact // likewise, with that of its end
	reports  int
}

// histories are those of all messages less the reports.
func histories(facts []mail.Fact) []*history {
	byID := map[mail.ID]*history{}
	var list []*history
	for i := range facts {
		f := &facts[i]
		if f.About != "" {
			if h := byID[f.About]; h != nil && f.Reason == mail.ReasonAccepted {
				h.reports++
			}
			continue
		}
		if f.Reason == mail.ReasonAccepted {
			h := &history{to: f.To[0], accepted: f.Time}
			byID[f.Message] = h
			list = append(list, h)
		}
		h := byID[f.Message]
		if h == nil {
			continue // of a report, or of none
		}
		switch f.Reason {
		case mail.ReasonRouted:
			h.routed = append(h.routed, *f)
		case mail.ReasonDeferred, mail.ReasonExpired:
			h.settled = append(h.settled, *f)
		}
	}
	return list
}

// faults are where a history departs from the schedule. seen is how many
// attempts the site saw: more than were settled, by those that a kill caught.
func (h *history) faults(seen int, k kills) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	last := len(h.settled) - 1
	if last < len(tiers.Waits)+1 || len(h.routed) != len(h.settled) {
		return []string{fmt.Sprintf("%d attempts begun, %d settled", len(h.routed), len(h.settled))}
	}
	if caught := seen - len(h.settled); caught < k.midst || caught > k.all {
		fault("%d attempts were seen and %d settled, with %d kills, %d of them in the midst", seen, len(h.settled), k.all, k.midst)
	}
	for i, f := range h.settled {
		if f.Attempt != i+1 || h.routed[i].Attempt != i+1 {
			fault("attempt %d is called %d, and %d at its begin", i+1, f.Attempt, h.routed[i].Attempt)
		}
		if i > 0 && h.routed[i].Time.Before(h.settled[i-1].Next) {
			fault("attempt %d began at %v, before %v", i+1, h.routed[i].Time, h.settled[i-1].Next)
		}
		if i < last && !h.onSchedule(&f) {
			fault("attempt %d of %s ended at %v with %q, and the next is due at %v", i+1, h.accepted, f.Time, f.Reason, f.Next)
		}
	}
	end := h.accepted.Add(tiers.Until)
	if f := h.settled[last]; f.Reason != mail.ReasonExpired || f.Time.Before(end) || h.reports != 1 {
		fault("ended %q at %v with %d reports, want it to expire at %v with one", f.Reason, f.Time, h.reports, end)
	}
	return faults
}

// onSchedule reports whether a fact defers to the time that the schedule has
// for it.
func (h *history) onSchedule(f *mail.Fact) bool {
	wait := tiers.Every
	if f.Attempt <= len(tiers.Waits) {
		wait = tiers.Waits[f.Attempt-1]
	}
	end := h.accepted.Add(tiers.Until)
	first, latest := f.Time.Add(wait), f.Time.Add(wait+time.Duration(jitter*float64(wait)))
	if first.After(end) {
		first = end
	}
	if latest.After(end) {
		latest = end
	}
	return f.Reason == mail.ReasonDeferred && !f.Next.Before(first) && !f.Next.After(latest)
}
