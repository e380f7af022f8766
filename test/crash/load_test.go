package crash

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/test/harness"
)

// Kinds of recipient: what the sink answers. The kind is the first part of
// the local part, the message's id the rest.
const (
	good   = "good"
	slow   = "slow"   // 451 to the first RCPT
	reject = "reject" // 550 to RCPT, always
)

// archive gets a copy of each message that is for somebody at c.example, with
// the field that policy adds to it.
const (
	archive = "archive@d.example"
	variant = "X-Variant: c\r\n"
)

// copies are those who get a message: its recipients, and the archive if policy
// says so.
func copies(m *harness.Message) []string {
	if len(m.To) < 3 {
		return m.To
	}
	return append(slices.Clone(m.To), archive)
}

// maxBacklog is how many acknowledged copies may be on their way before the
// source waits for Postern.
const maxBacklog = 1000

// lineLength is that of each line in a body, with its end.
const lineLength = 80

// load makes the messages, and keeps what became of each: on the way in as
// the source saw it, on the way out as the sink did.
type load struct {
	text []byte // from which bodies are cut
	// ruled says that the server has the handlers.
	ruled bool

	mu       sync.Mutex
	stopped  bool
	made     int
	acked    int
	life     int // how often Postern was killed so far
	outcomes map[string]harness.Outcome
	messages map[string]*harness.Message // less their content
	// arrived has for each message and recipient the lives in which a copy
	// came, reports the same for the reports on a message.
	arrived map[string][]int
	reports map[string][]int
	// ends has for each recipient the life in which Postern logged that its
	// delivery is settled.
	ends    map[string]int
	seen    map[string]bool // what has failed once already
	backlog int             // acknowledged copies less those that came
	lost    int             // acknowledged, and not delivered to somebody
	faults  []string
}

func newLoad() *load {
	text := harness.Text(50_000 * lineLength)
	for i := 0; i < len(text); i += lineLength { // a mark on every line, and dots on some
		copy(text[i:], fmt.Sprintf("%08x", i))
		if i%(20*lineLength) == 0 {
			text[i] = '.'
		}
	}
	return &load{
		text:     text,
		outcomes: map[string]harness.Outcome{}, messages: map[string]*harness.Message{},
		arrived: map[string][]int{}, reports: map[string][]int{},
		ends: map[string]int{}, seen: map[string]bool{},
	}
}

// message makes the message of a number; the same number makes the same.
// Every 16th has a recipient that is refused, every 8th one that is deferred,
// and every 10th is cut off before its end is sent, some by one octet. Every 7th has
// a third recipient, for whom policy makes a variant that is held, where it is ruled.
func (l *load) message(n int) *harness.Message {
	id := fmt.Sprintf("m%d", n)
	second := good
	switch {
	case n%16 == 0:
		second = reject
	case n%8 == 3:
		second = slow
	}
	lines := 1 + n%100
	switch {
	case n%97 == 0:
		lines = 25_000 // 2 MB, which a store may keep in another way
	case n%31 == 0:
		lines = 2500
	}
	size := lines * lineLength
	short := 0
	if n%10 == 7 {
		short = 1 + n%size*(n/10%2)
	}
	offset := n * lineLength % (len(l.text) - size)
	from := "sender-" + id + "@source.example"
	to := []string{good + "-" + id + "@a.example", second + "-" + id + "@b.example"}
	if l.ruled && n%7 == 2 {
		to = append(to, good+"-"+id+"@c.example")
	}
	return &harness.Message{
		ID: id, From: from, To: to, Short: short,
		Content: append(harness.Header(id, from, "all"), l.text[offset:offset+size]...),
	}
}

// next makes the next message for the source, nil when the load has ended.
func (l *load) next(ctx context.Context) *harness.Message {
	var m *harness.Message
	err := harness.Until(ctx, "Postern has few messages", func() (bool, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.stopped {
			return true, nil
		}
		if l.backlog > maxBacklog {
			return false, nil
		}
		m = l.message(l.made)
		l.made++
		known := *m
		known.Content = nil
		l.messages[m.ID] = &known
		return true, nil
	})
	if err != nil {
		return nil
	}
	return m
}

func (l *load) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
}

// done notes what the source saw.
func (l *load) done(m *harness.Message, outcome harness.Outcome, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes[m.ID] = outcome
	if outcome == harness.Accepted {
		l.acked++
		l.backlog += len(copies(m))
	}
}

func (l *load) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// settled notes that the delivery to a recipient was settled in this life. The
// archive is one of many messages.
func (l *load) settled(to string) {
	if to == archive {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if life, again := l.ends[to]; again {
		l.faults = append(l.faults, fmt.Sprintf("the delivery to %s was settled in life %d and again in life %d", to, life, l.life))
	}
	l.ends[to] = l.life
}

// nextLife notes that Postern was killed.
func (l *load) nextLife() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.life++
}

// firstTime reports whether key was not seen before. l.mu is held.
func (l *load) firstTime(key string) bool {
	first := !l.seen[key]
	l.seen[key] = true
	return first
}

// rcpt answers a recipient for the sink.
func (l *load) rcpt(_, to string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	kind, _, _ := strings.Cut(to, "-")
	switch {
	case kind == slow && l.firstTime(to):
		return "451 4.2.0 try again"
	case kind == reject:
		return "550 5.1.1 no such user"
	}
	return ""
}

// take answers a message for the sink, and notes it. Every 20th message is
// deferred as a whole the first time.
func (l *load) take(a *harness.Arrival) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.From == "" && !slices.Equal(a.To, []string{archive}) {
		for _, to := range a.To {
			_, id, _ := strings.Cut(strings.TrimSuffix(to, "@source.example"), "-")
			l.reports[id] = append(l.reports[id], l.life)
			if len(l.reports[id]) == 1 {
				l.backlog--
			}
		}
		return ""
	}
	id := harness.IDOf(a.Content)
	if !l.asSent(id, a) {
		return ""
	}
	if strings.HasSuffix(id, "9") && l.firstTime(id) {
		return "451 4.3.0 try again"
	}
	for _, to := range a.To {
		key := id + " " + to
		l.arrived[key] = append(l.arrived[key], l.life)
		if len(l.arrived[key]) == 1 {
			l.backlog--
		}
	}
	return ""
}

// asSent checks that a message was sent, and like this.
func (l *load) asSent(id string, a *harness.Arrival) bool {
	var n int
	if _, err := fmt.Sscanf(id, "m%d", &n); err != nil || l.messages[id] == nil {
		l.faults = append(l.faults, fmt.Sprintf("never sent: from <%s> to %v: %.500q", a.From, a.To, a.Content))
		return false
	}
	m := l.message(n)
	want, from := m.Content, m.From
	if slices.ContainsFunc(a.To, func(to string) bool { return to == archive || strings.HasSuffix(to, "@c.example") }) {
		want = append([]byte(variant), want...)
	}
	if slices.Contains(a.To, archive) {
		from = ""
	}
	if _, rest := harness.CutReceived(a.Content); !bytes.Equal(rest, want) {
		l.faults = append(l.faults, fmt.Sprintf("%s to %v was changed: %s", id, a.To, harness.Difference(rest, want)))
	}
	if a.From != from {
		l.faults = append(l.faults, fmt.Sprintf("%s came from <%s>", id, a.From))
	}
	return true
}

// report prints what was done, so that a run that did little is seen.
func (l *load) report(t *testing.T) {
	t.Helper()
	count := map[harness.Outcome]int{}
	for _, outcome := range l.outcomes {
		count[outcome]++
	}
	t.Logf("%d kills; of %d messages %d acknowledged, %d refused, %d unknown, %d torn; %d lost; %d copies delivered, %d came again of %d that a kill had caught in flight",
		l.life, l.made, count[harness.Accepted], count[harness.Refused], count[harness.Unknown], count[harness.Torn],
		l.lost, len(l.arrived), l.duplicates(), l.inFlight())
}

// inFlight counts the copies that were taken in a life in which their
// delivery was not settled: those that may come again.
func (l *load) inFlight() int {
	n := 0
	for key, lives := range l.arrived {
		_, to, _ := strings.Cut(key, " ")
		if to == archive {
			continue
		}
		for _, life := range lives {
			if settled, ok := l.ends[to]; !ok || settled != life {
				n++
			}
		}
	}
	return n
}
