package metrics

import "github.com/prometheus/client_golang/prometheus"

// family has a member for each combination of the values of its labels. All are
// made at once, and found without making a key.
type family[M prometheus.Collector] struct {
	places  []map[string]int // of each label's values
	members []M              // the last label's values are neighbours
}

func newFamily[M prometheus.Collector](labels []Label, member func(prometheus.Labels) M) family[M] {
	var f family[M]
	combinations := []prometheus.Labels{{}}
	for _, l := range labels {
		places := make(map[string]int, len(l.Values))
		for i, v := range l.Values {
			places[v] = i
		}
		f.places = append(f.places, places)
		combinations = divided(combinations, l)
	}
	for _, values := range combinations {
		f.members = append(f.members, member(values))
	}
	return f
}

// divided returns each of the combinations with each value of one more label.
func divided(combinations []prometheus.Labels, by Label) []prometheus.Labels {
	var all []prometheus.Labels
	for _, c := range combinations {
		for _, v := range by.Values {
			more := prometheus.Labels{by.Name: v}
			for name, value := range c {
				more[name] = value
			}
			all = append(all, more)
		}
	}
	return all
}

// member returns the member for the values.
func (f *family[M]) member(values []string) M {
	at := 0
	for i, places := range f.places {
		place, known := places[values[i]]
		if !known {
			place = len(places) - 1
		}
		at = at*len(places) + place
	}
	return f.members[at]
}

func (f *family[M]) collectors() []prometheus.Collector {
	list := make([]prometheus.Collector, len(f.members))
	for i, m := range f.members {
		list[i] = m
	}
	return list
}
