package main

import (
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

func TestReport(t *testing.T) {
	for _, c := range []struct {
		postern []figures
		want    string
	}{
		{rates(400, 410, 420, 430, 440), "| 9000 | 80 | 100 | 420 | 4.20 × (4.00 – 4.40) | 5 % |"},
		{rates(400, 400, 420, 900, 900), "| 9000 | 80 | 100 | 420 | 4.20 × (4.00 – 9.00) | 119 %, unmeasured |"},
		{nil, "| 9000 | 80 | 100 | – | – | – |"},
	} {
		r := results{
			{noRelay, kept.name}:        rates(9000, 9000, 9000, 9000, 9000),
			{postfixShipped, kept.name}: rates(80, 80, 80, 80, 80),
			{postfixTuned, kept.name}:   rates(100, 100, 100, 100, 100),
		}
		if c.postern != nil {
			r[resultKey{posternName, kept.name}] = c.postern
		}
		var out strings.Builder
		relays := relayTable()
		relays.print(&out, r)
		if want := "| " + kept.name + ", msg/s " + c.want + "\n"; !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks the row\n%sbut is\n%s", want, out.String())
		}
	}
}
