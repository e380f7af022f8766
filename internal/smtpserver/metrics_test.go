package smtpserver

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/mail"
	"postern/internal/metrics"
)

// refusals are the refusals of a set that were counted, by command and class.
func refusals(t *testing.T, s *metrics.Set) map[string]float64 {
	t.Helper()
	families, err := s.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "postern_smtp_refused_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if v := m.GetCounter().GetValue(); v > 0 {
				counted[labels["command"]+" "+labels["class"]] = v
			}
		}
	}
	return counted
}

// What a client may invent makes no series of its own.
func TestMetricsOfRefusals(t *testing.T) {
	s := metrics.NewSet()
	m := NewMetrics(s)
	m.refused("RCPT", mail.NewReply(550, "5.7.1", "no"))
	m.refused("RCPT", mail.NewReply(450, "4.7.1", "no"))
	m.refused("RCPT", mail.NewReply(451, "4.7.1", "no"))
	m.refused("end of data", mail.NewReply(554, "5.6.0", "no"))
	m.refused("XYZZY", mail.NewReply(500, "5.5.1", "no"))
	m.refused("", mail.NewReply(500, "5.5.1", "no"))
	want := map[string]float64{"RCPT 5xx": 1, "RCPT 4xx": 2, "end of data 5xx": 1, "other 5xx": 2}
	if diff := cmp.Diff(want, refusals(t, s)); diff != "" {
		t.Errorf("(- want, + got):\n%s", diff)
	}
	if n, err := testutil.GatherAndCount(s.Gatherer(), "postern_smtp_refused_total"); n != 2*len(commandLabel.Values) || err != nil {
		t.Errorf("there are %d series, want %d, error %v", n, 2*len(commandLabel.Values), err)
	}
}

func TestMetricsOfASessionCostNothing(t *testing.T) {
	m := NewMetrics(metrics.NewSet())
	r := mail.NewReply(550, "5.7.1", "no")
	if n := testing.AllocsPerRun(100, func() { m.refused("RCPT", r); m.secured.Add(1) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
