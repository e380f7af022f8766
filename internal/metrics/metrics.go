// Package metrics counts and measures what a server does, in the form in which
// Prometheus reads it. It is a thin layer over Prometheus' own library, which
// only package monitor knows beside it.
//
// A Set has the metrics of one process. Each package makes its own from the Set
// that it is given, once, and counts in them; nothing is global. A nil Set makes
// metrics that count and that nobody reads, so that no package asks whether it
// is watched.
//
// Every metric has a help text. Every label has a closed list of values: a value
// that is not in the list counts as the last one. So the number of time series
// does not depend on what clients, hosts and recipients are called, all of them
// exist from the start, and to count allocates nothing. What an operator names, such as
// a certificate or a transport, is the label of a gauge that is read (ReadNamed), or of counters whose names
// are given (NamedCounters).
//
// What is declared twice, or with a name that Prometheus does not take, is a
// mistake in the program, and panics at the start.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Kind is how the values of a metric are to be read.
type Kind string

// The kinds of metrics.
const (
	CounterKind   Kind = "counter"   // only grows, from the start of the process
	GaugeKind     Kind = "gauge"     // is what it is at the moment
	HistogramKind Kind = "histogram" // how many were how long
)

// Label divides a metric. What is none of the values counts as the last.
type Label struct {
	Name   string
	Values []string
}

// Description is what there is to know of a metric but its value.
type Description struct {
	Name   string
	Kind   Kind
	Help   string
	Labels []Label
}

// Set is all metrics of a process. Make it with NewSet.
type Set struct {
	registry     *prometheus.Registry
	descriptions []Description
}

// NewSet returns a Set without metrics.
func NewSet() *Set { return &Set{registry: prometheus.NewRegistry()} }

// Gatherer is from where the values are read.
func (s *Set) Gatherer() prometheus.Gatherer { return s.registry }

// Descriptions are those of all metrics, in the order in which they were
// declared; less those of Process.
func (s *Set) Descriptions() []Description { return s.descriptions }

// Process adds what the operating system and the runtime say of this process,
// under the names that all programs in Go have: process_* and go_*.
func (s *Set) Process() {
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// add declares a metric, and has it read if anybody reads.
func (s *Set) add(d Description, c ...prometheus.Collector) {
	if s == nil {
		return
	}
	s.descriptions = append(s.descriptions, d)
	s.registry.MustRegister(c...)
}

// Counter counts what happens. It is safe for use by several goroutines, as all
// metrics are.
type Counter struct{ counter prometheus.Counter }

// Counter declares a counter. Its name ends in _total.
func (s *Set) Counter(name, help string) *Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	s.add(Description{Name: name, Kind: CounterKind, Help: help}, c)
	return &Counter{c}
}

// Add counts n more, which is not negative.
func (c *Counter) Add(n int64) { c.counter.Add(float64(n)) }

// Counters is a counter for each value of its labels.
type Counters struct{ family[prometheus.Counter] }

// Counters declares a counter with labels.
func (s *Set) Counters(name, help string, labels ...Label) *Counters {
	f := newFamily(labels, func(values prometheus.Labels) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: values})
	})
	s.add(Description{Name: name, Kind: CounterKind, Help: help, Labels: labels}, f.collectors()...)
	return &Counters{f}
}

// Add counts n more, which is not negative, under the values of the labels, in
// their order.
func (c *Counters) Add(n int64, values ...string) { c.member(values).Add(float64(n)) }

// Gauge is a number that comes and goes.
type Gauge struct{ gauge prometheus.Gauge }

// Gauge declares a gauge.
func (s *Set) Gauge(name, help string) *Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	s.add(Description{Name: name, Kind: GaugeKind, Help: help}, g)
	return &Gauge{g}
}

// Add adds n, which may be negative.
func (g *Gauge) Add(n int64) { g.gauge.Add(float64(n)) }

// Histogram counts durations by how long they are.
type Histogram struct{ histogram prometheus.Histogram }

// Histogram declares a histogram of durations, which are in seconds; its name
// ends in _seconds. A duration counts in the first bucket that it does not
// exceed.
func (s *Set) Histogram(name, help string, buckets ...time.Duration) *Histogram {
	bounds := make([]float64, len(buckets))
	for i, b := range buckets {
		bounds[i] = b.Seconds()
	}
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds})
	s.add(Description{Name: name, Kind: HistogramKind, Help: help}, h)
	return &Histogram{h}
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) { h.histogram.Observe(d.Seconds()) }
