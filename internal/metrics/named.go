package metrics

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// NamedCounters has a counter for each name of a list, and each value of a label. The names are
// those that an operator has given to something, and the list is replaced when the configuration
// is.
type NamedCounters struct {
	desc   *prometheus.Desc
	values []string

	mu    sync.RWMutex
	named map[string][]atomic.Uint64 // in the order of values
}

// NamedCounters declares counters with a label for the names, of which there are none at first,
// and another one.
func (s *Set) NamedCounters(name, help, label string, by Label) *NamedCounters {
	c := &NamedCounters{desc: prometheus.NewDesc(name, help, []string{label, by.Name}, nil), values: by.Values}
	s.add(Description{Name: name, Kind: CounterKind, Help: help, Labels: []Label{{Name: label}, by}}, c)
	return c
}

// Keep makes these all the names. Those that were there before go on counting, others begin at 0,
// and what was counted of those that go is forgotten.
func (c *NamedCounters) Keep(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := make(map[string][]atomic.Uint64, len(names))
	for _, name := range names {
		if next[name] = c.named[name]; next[name] == nil {
			next[name] = make([]atomic.Uint64, len(c.values))
		}
	}
	c.named = next
}

// Add counts n more under a name and a value; nothing where either is not known.
func (c *NamedCounters) Add(n uint64, name, value string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if at := slices.Index(c.values, value); at >= 0 && c.named[name] != nil {
		c.named[name][at].Add(n)
	}
}

// Describe sends what is collected.
func (c *NamedCounters) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect sends a value for each name and each value of the label.
func (c *NamedCounters) Collect(to chan<- prometheus.Metric) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for name, counted := range c.named {
		for i := range counted {
			to <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(counted[i].Load()), name, c.values[i])
		}
	}
}
