package metrics

import "github.com/prometheus/client_golang/prometheus"

// This file has the metrics that nobody counts: their values are asked for when
// they are read. What is asked must answer quickly, and from any goroutine.

// ReadCounter declares a counter that somebody else keeps.
func (s *Set) ReadCounter(name, help string, read func() float64) {
	s.add(Description{Name: name, Kind: CounterKind, Help: help},
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}

// ReadGauge declares a gauge.
func (s *Set) ReadGauge(name, help string, read func() float64) {
	s.add(Description{Name: name, Kind: GaugeKind, Help: help},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// ReadGauges declares a gauge for each value of a label.
func (s *Set) ReadGauges(name, help string, label Label, read func(value string) float64) {
	f := newFamily([]Label{label}, func(values prometheus.Labels) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: values},
			func() float64 { return read(values[label.Name]) })
	})
	s.add(Description{Name: name, Kind: GaugeKind, Help: help, Labels: []Label{label}}, f.collectors()...)
}

// ReadNamed declares a gauge with a label whose values are known only when it is read;
// whoever answers keeps them few.
func (s *Set) ReadNamed(name, help, label string, read func() map[string]float64) {
	s.add(Description{Name: name, Kind: GaugeKind, Help: help, Labels: []Label{{Name: label}}},
		&named{prometheus.NewDesc(name, help, []string{label}, nil), read})
}

// named collects what its function has.
type named struct {
	desc *prometheus.Desc
	read func() map[string]float64
}

// Describe sends what is collected.
func (n *named) Describe(to chan<- *prometheus.Desc) { to <- n.desc }

// Collect sends a value for each name.
func (n *named) Collect(to chan<- prometheus.Metric) {
	for name, value := range n.read() {
		to <- prometheus.MustNewConstMetric(n.desc, prometheus.GaugeValue, value, name)
	}
}

// Info declares a gauge that is always 1, and says something by its label.
func (s *Set) Info(name, help, label, value string) {
	s.ReadGauges(name, help, Label{Name: label, Values: []string{value}}, func(string) float64 { return 1 })
}
