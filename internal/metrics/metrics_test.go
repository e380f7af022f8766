package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var (
	colours = Label{Name: "colour", Values: []string{"red", "blue", "other"}}
	sizes   = Label{Name: "size", Values: []string{"small", "large"}}
)

func TestValues(t *testing.T) {
	s := NewSet()
	s.Counter("a_total", "Help of a.").Add(3)
	b := s.Counters("b_total", "Help of b.", colours, sizes)
	b.Add(1, "blue", "small")
	b.Add(2, "blue", "large")
	b.Add(4, "green", "large")
	g := s.Gauge("g", "Help of g.")
	g.Add(5)
	g.Add(-2)
	h := s.Histogram("h_seconds", "Help of h.", time.Second, time.Minute)
	h.Observe(time.Second)
	h.Observe(2 * time.Second)
	s.ReadCounter("r_total", "Help of r.", func() float64 { return 7 })
	s.ReadGauge("rg", "Help of rg.", func() float64 { return 8 })
	s.ReadGauges("rgs", "Help of rgs.", sizes, func(v string) float64 { return float64(len(v)) })
	s.ReadNamed("rn", "Help of rn.", "name", func() map[string]float64 { return map[string]float64{"a": 1, "b": 2} })
	n := s.NamedCounters("n_total", "Help of n.", "name", sizes)
	n.Add(9, "early", "small") // there are no names yet
	n.Keep([]string{"a", "b"})
	n.Add(1, "a", "small")
	n.Add(1, "gone", "small")
	n.Add(1, "a", "huge")
	n.Add(2, "b", "large")
	n.Keep([]string{"b", "c"})
	n.Add(3, "b", "large")
	s.Info("i", "Help of i.", "version", "1.2")
	const want = `
# HELP a_total Help of a.
# TYPE a_total counter
a_total 3
# HELP b_total Help of b.
# TYPE b_total counter
b_total{colour="blue",size="large"} 2
b_total{colour="blue",size="small"} 1
b_total{colour="other",size="large"} 4
b_total{colour="other",size="small"} 0
b_total{colour="red",size="large"} 0
b_total{colour="red",size="small"} 0
# HELP g Help of g.
# TYPE g gauge
g 3
# HELP h_seconds Help of h.
# TYPE h_seconds histogram
h_seconds_bucket{le="1"} 1
h_seconds_bucket{le="60"} 2
h_seconds_bucket{le="+Inf"} 2
h_seconds_sum 3
h_seconds_count 2
# HELP i Help of i.
# TYPE i gauge
i{version="1.2"} 1
# HELP n_total Help of n.
# TYPE n_total counter
n_total{name="b",size="large"} 5
n_total{name="b",size="small"} 0
n_total{name="c",size="large"} 0
n_total{name="c",size="small"} 0
# HELP r_total Help of r.
# TYPE r_total counter
r_total 7
# HELP rg Help of rg.
# TYPE rg gauge
rg 8
# HELP rgs Help of rgs.
# TYPE rgs gauge
rgs{size="large"} 5
rgs{size="small"} 5
# HELP rn Help of rn.
# TYPE rn gauge
rn{name="a"} 1
rn{name="b"} 2
`
	if err := testutil.GatherAndCompare(s.Gatherer(), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	var names []string
	for _, d := range s.Descriptions() {
		names = append(names, d.Name+" "+string(d.Kind))
	}
	if diff := cmp.Diff([]string{"a_total counter", "b_total counter", "g gauge", "h_seconds histogram", "r_total counter", "rg gauge", "rgs gauge", "rn gauge", "n_total counter", "i gauge"}, names); diff != "" {
		t.Errorf("Descriptions (- want, + got):\n%s", diff)
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	s := NewSet()
	c, cs, g := s.Counter("c_total", "."), s.Counters("cs_total", ".", colours, sizes), s.Gauge("g", ".")
	h := s.Histogram("h_seconds", ".", time.Second, time.Minute)
	named := s.NamedCounters("n_total", ".", "name", sizes)
	named.Keep([]string{"a"})
	unknown := strings.Repeat("x", 3)
	n := testing.AllocsPerRun(100, func() {
		c.Add(1)
		cs.Add(1, "blue", "large")
		cs.Add(1, unknown, unknown)
		named.Add(1, "a", "large")
		named.Add(1, unknown, "large")
		g.Add(1)
		h.Observe(time.Millisecond)
	})
	if n != 0 {
		t.Errorf("counting makes %v allocations, want none", n)
	}
}

// Without a Set everything can be counted, and nobody reads it.
func TestWithoutSet(t *testing.T) {
	var s *Set
	s.Counter("c_total", ".").Add(1)
	s.Counters("cs_total", ".", colours).Add(1, "red")
	s.Gauge("g", ".").Add(1)
	s.Histogram("h_seconds", ".", time.Second).Observe(1)
	s.ReadGauge("r", ".", func() float64 { t.Error("somebody read"); return 0 })
}

func TestProcess(t *testing.T) {
	s := NewSet()
	s.Process()
	n, err := testutil.GatherAndCount(s.Gatherer(), "process_resident_memory_bytes", "go_goroutines")
	if n != 2 || err != nil {
		t.Errorf("the process has %d of the 2 metrics looked for, error %v", n, err)
	}
}

func TestTwiceDeclared(t *testing.T) {
	s := NewSet()
	s.Counter("c_total", ".")
	defer func() {
		if recover() == nil {
			t.Error("a metric that was declared twice did not panic")
		}
	}()
	s.Counter("c_total", ".")
}
