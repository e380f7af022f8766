package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBetter(t *testing.T) {
	small, large := []float64{1, 2, 3}, []float64{2, 3, 4}
	if got := better(small, large, false); got[0] != 2 {
		t.Error("more is better, and the smaller series was chosen")
	}
	if got := better(small, large, true); got[0] != 1 {
		t.Error("less is better, and the larger series was chosen")
	}
}

// rates makes figures with these messages per second.
func rates(perSecond ...int) []figures {
	var all []figures
	for _, n := range perSecond {
		all = append(all, figures{Messages: n, Elapsed: time.Second})
	}
	return all
}

// under is the key of a contender's results under the kept workload.
func under(contender string) resultKey { return resultKey{contender: contender, workload: kept.name} }

func TestReport(t *testing.T) {
	for _, c := range []struct {
		postern []figures
		want    string
	}{
		{rates(580, 590, 600, 610, 620), "| 9000 | 80 | 100 | 600 | 6.00 × (5.80 – 6.20) | 3 % | – / 1.50 / 0.25 | 6 ×: met | 10 ×: not met |"},
		{rates(400, 400, 420, 900, 900), "| 9000 | 80 | 100 | 420 | 4.20 × (4.00 – 9.00) | 119 %, unmeasured | – / 1.50 / 0.25 | 6 ×: unmeasured | 10 ×: unmeasured |"},
		{nil, "| 9000 | 80 | 100 | – | – | – | – / 1.50 / 0.25 | 6 ×: unmeasured | 10 ×: unmeasured |"},
	} {
		r := results{
			under(noRelay):                           rates(9000, 9000, 9000, 9000, 9000),
			under(postfixShipped):                    rates(80, 80, 80, 80, 80),
			under(postfixTuned):                      rates(100, 100, 100, 100, 100),
			resultKey{postfixTuned, kept.name, true}: {{Messages: 4, Fsyncs: 6}},
			resultKey{posternName, kept.name, true}:  {{Messages: 4, Fsyncs: 1}},
		}
		if c.postern != nil {
			r[under(posternName)] = c.postern
		}
		var out strings.Builder
		relays := relayTable()
		relays.print(&out, r)
		if want := "| " + kept.name + ", msg/s " + c.want + "\n"; !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks the row\n%sbut is\n%s", want, out.String())
		}
		if strings.Contains(out.String(), perMessage.name) {
			t.Errorf("the table has a row that was not measured:\n%s", out.String())
		}
	}
}

func TestBar(t *testing.T) {
	for _, c := range []struct {
		bar    bar
		values []float64
		want   []string
	}{
		{times(4, 5.5), []float64{5.4, 5.4, 5.5, 5.6, 5.6}, []string{"4 ×: met", "5.5 ×: met"}},
		{times(4, 5.5), []float64{3.9, 3.9, 3.95, 4, 4}, []string{"4 ×: not met", "5.5 ×: not met"}},
		{atMost(0.5, 0.25), []float64{0.25, 0.26, 0.27}, []string{"≤ 0.5: met", "≤ 0.25: not met"}},
		{atMost(0.5, 0.25), []float64{0.1, 0.2, 0.4}, []string{"≤ 0.5: met", "≤ 0.25: unmeasured"}},
		{atMost(0.5, 0.25), []float64{1, 2, 4}, []string{"≤ 0.5: not met", "≤ 0.25: not met"}},
		{times(1, 10), []float64{2, 2, 3, 3}, []string{"1 ×: unmeasured", "10 ×: unmeasured"}},
		{times(1, 10), []float64{2, 3, 4, 5, 6}, []string{"1 ×: unmeasured", "10 ×: unmeasured"}},
		{atMost(0.5, 0.25), nil, []string{"≤ 0.5: unmeasured", "≤ 0.25: unmeasured"}},
	} {
		got := []string{c.bar.verdict(c.bar.floor, c.values), c.bar.verdict(c.bar.goal, c.values)}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v of %v: %q, want %q", c.bar, c.values, got, c.want)
		}
	}
}

// TestWorkloadNames: results are told apart by the names of workloads.
func TestWorkloadNames(t *testing.T) {
	for _, all := range [][]workload{relayWorkloads(), storageWorkloads(), backlogWorkloads()} {
		names := map[string]bool{}
		for _, w := range all {
			if names[w.name] {
				t.Errorf("two workloads are called %q", w.name)
			}
			names[w.name] = true
		}
	}
}

func TestChoose(t *testing.T) {
	s := settings{rows: regexp.MustCompile("STARTTLS"), shrink: 4}
	chosen := s.choose(relayWorkloads())
	if len(chosen) != 6 {
		t.Errorf("%d workloads have STARTTLS: %v", len(chosen), chosen)
	}
	for _, w := range chosen {
		if !w.encrypted {
			t.Errorf("%s is not encrypted", w.name)
		}
	}
	s.only = strings.Join(partNames(), ",")
	if parts, err := s.chosen(); err != nil || len(parts) != 1 || parts[0].name != "relay" {
		t.Errorf("the parts with STARTTLS are %v, %v", parts, err)
	}
	for _, wrong := range []settings{{only: "none", rows: s.rows}, {only: "storage", rows: s.rows}} {
		if parts, err := wrong.chosen(); err == nil {
			t.Errorf("-only %s has the parts %v", wrong.only, parts)
		}
	}
	if chosen[0].messages != 1000 {
		t.Errorf("a quarter of 4,000 messages is %d", chosen[0].messages)
	}
}
