package scale

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// keptRate is what healthy sites must keep of the rate that they have alone.
const keptRate = 0.9

// slowReply is how long the slow sites here take for each reply, shortReply if
// nothing is to be measured.
const slowReply, shortReply = time.Second, 100 * time.Millisecond

// warmUp is how long after a start there may be fewer transactions than the
// default max_connections (see paced). Runs with and without bad sites would
// differ by that too.
const warmUp = 7 * time.Second

// run is what was measured once.
type run struct {
	rate    float64 // messages a second to the healthy sites
	memory  int64   // PSS in octets, when they had come
	load    string  // average, before
	byKind  map[kind]census
	journal map[kind]int // attempts at addresses of sites of that kind
}

// TestHealthySitesKeepTheirRate: of many sites a tenth is slow and a tenth is
// dead, and mail for these is in the queue before any other. What the healthy
// ones then get in a second is compared with what they get alone, in pairs of
// runs that follow each other. With few messages a run is over before it says
// anything; so then only the counts are asserted.
func TestHealthySitesKeepTheirRate(t *testing.T) {
	sites, messages, pairs := 100, 2000, 1
	if mailtest.Long() {
		sites, messages, pairs = mailtest.Number(t, "SITES", 2000), mailtest.Number(t, "MESSAGES", 100_000), mailtest.Number(t, "PAIRS", 5)
	}
	var alone, beside []run
	for pair := range pairs {
		measure := []func(*testing.T){
			func(t *testing.T) { alone = append(alone, measureRate(t, sites, messages/sites, false)) },
			func(t *testing.T) { beside = append(beside, measureRate(t, sites, messages/sites, true)) },
		}
		if pair%2 == 1 {
			slices.Reverse(measure)
		}
		for _, m := range measure {
			if !t.Run("run", m) {
				return
			}
		}
		t.Logf("pair %d: %.0f and %.0f messages a second", pair+1, alone[pair].rate, beside[pair].rate)
	}
	t.Log(rateTable(alone, beside))
	list := ratios(alone, beside)
	if len(list) < 3 || harness.Spread(list) > harness.MaxSpread {
		t.Log("the rate is unmeasured")
	} else if kept := harness.Median(list); kept < keptRate {
		t.Errorf("the healthy sites keep %.0f %% of their rate, want %.0f %%", 100*kept, 100*keptRate)
	}
}

// measureRate measures a fresh server once.
func measureRate(t *testing.T, sites, each int, withBad bool) run {
	t.Helper()
	ctx := bounded(t)
	w := newWorld(shares(sites)...)
	w.delay = shortReply
	if mailtest.Long() {
		w.delay = slowReply
	}
	w.open(t)
	in := newInstance(ctx, t, harness.PosternOptions{Settings: w.settings("[log]\nlevel = \"warn\""), Retry: "1h, every 1h until 5d"})
	in.start()
	warm := time.Now().Add(warmUp)
	if withBad {
		bad := &letters{prefix: "bad", sites: w.of(slow, refusing, silent), each: each}
		in.submit(bad.next)
		dead := each * len(w.of(refusing, silent))
		in.await("the dead sites are known", func() bool { return in.recipients()[mail.Deferred] == dead })
	}
	if mailtest.Long() {
		in.await("the slow pace of the start is over", func() bool { return time.Now().After(warm) })
	}
	good := &letters{prefix: "good", sites: w.of(healthy), each: each}
	r := run{load: harness.LoadAverage()}
	began := time.Now()
	in.submit(good.next)
	in.await("the healthy sites have all of their mail", func() bool { return w.arrived(healthy) == good.count() })
	r.rate = float64(good.count()) / time.Since(began).Seconds()
	var err error
	r.memory, err = harness.TreePSS(in.PID())
	mailtest.Must(t, err)
	if withBad && mailtest.Long() && w.arrived(slow) == each*len(w.of(slow)) {
		t.Error("the slow sites had all of their mail, so that nothing was measured beside them")
	}
	facts := in.stopped()
	r.count(w, facts)
	checkRun(t, w, facts, each)
	return r
}

// checkRun asserts the attempts of a run.
func checkRun(t *testing.T, w *world, facts []mail.Fact, each int) {
	t.Helper()
	if doubled := w.doubled(); len(doubled) > 0 {
		t.Errorf("came more than once: %v", doubled)
	}
	for _, s := range w.of(healthy) {
		if c := w.census(s); c.transactions != each || len(c.messages) != each {
			t.Errorf("%s: %d messages in %d transactions, want %d", s.domain, len(c.messages), c.transactions, each)
		}
	}
	for _, s := range w.of(refusing, silent) {
		if times := dials(facts, s); len(times) > 0 {
			checkDials(t, facts, s)
		}
	}
}

// count counts what the sites saw, and what the journal says.
func (r *run) count(w *world, facts []mail.Fact) {
	r.byKind, r.journal = map[kind]census{}, map[kind]int{}
	for _, s := range w.sites {
		c, sum := w.census(s), r.byKind[s.kind]
		sum.connections += c.connections
		sum.transactions += c.transactions
		sum.messages = append(sum.messages, c.messages...)
		r.byKind[s.kind] = sum
	}
	for i := range facts {
		if s := w.byAddress[facts[i].Address.Addr()]; s != nil && facts[i].Reason == mail.ReasonAttempted {
			r.journal[s.kind]++
		}
	}
}

// ratios are those of the pairs.
func ratios(alone, beside []run) []float64 {
	var list []float64
	for i := range alone {
		list = append(list, beside[i].rate/alone[i].rate)
	}
	return list
}

// rateTable shows the medians, and the attempts of the last runs.
func rateTable(alone, beside []run) string {
	figure := func(runs []run, of func(run) float64) float64 {
		var values []float64
		for _, r := range runs {
			values = append(values, of(r))
		}
		return harness.Median(values)
	}
	rate := func(r run) float64 { return r.rate }
	memory := func(r run) float64 { return float64(r.memory) / 1e6 }
	list := ratios(alone, beside)
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d pairs\n\n| | alone | beside slow and dead ones | ratio | spread |\n|---|---|---|---|---|\n", harness.Machine(), len(list))
	fmt.Fprintf(&b, "| messages a second to healthy sites | %.0f | %.0f | %.2f (%.2f – %.2f) | %.0f %% |\n", figure(alone, rate), figure(beside, rate),
		harness.Median(list), slices.Min(list), slices.Max(list), 100*harness.Spread(list))
	fmt.Fprintf(&b, "| memory (PSS), MB | %.0f | %.0f | | |\n", figure(alone, memory), figure(beside, memory))
	first, last := alone[0], beside[len(beside)-1]
	fmt.Fprintf(&b, "| load average before the first and the last run | %s | %s | | |\n", first.load, last.load)
	b.WriteString("\n| the last run | connections | transactions | messages | attempts with an address in the journal |\n|---|---|---|---|---|\n")
	for _, k := range []kind{healthy, slow, silent, refusing} {
		c := last.byKind[k]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", k, c.connections, c.transactions, len(c.messages), last.journal[k])
	}
	return "\n" + b.String()
}
