package embedded

import (
	"testing"
	"time"
)

// TestPatientGroup: few settlements wait for a change that somebody waits for,
// no longer than they should, and nothing else waits.
func TestPatientGroup(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const (
		urgent = iota
		lazy
		patient
	)
	changed := func(kind int) *change {
		c := s.newChange()
		c.lazy, c.patient = kind == lazy, kind == patient
		return c
	}
	for _, c := range []struct {
		name  string
		has   []int
		comes []int
		close bool // behind those
		over  bool // the time, when nothing more comes
		waits bool
		want  int // changes, when it waits
	}{
		{name: "urgent", has: []int{urgent}, comes: []int{urgent}},
		{name: "lazy", has: []int{lazy, lazy}, comes: []int{urgent}},
		{name: "urgent beside patient", has: []int{patient, urgent}, comes: []int{urgent}},
		{name: "many", has: []int{patient, patient, patient}},
		{name: "company", has: []int{patient}, comes: []int{urgent, patient, urgent}, waits: true, want: 4},
		{name: "patient company", has: []int{patient}, comes: []int{lazy}, over: true, waits: true, want: 2},
		{name: "until many", has: []int{patient}, comes: []int{patient, patient}, waits: true, want: 3},
		{name: "no company", has: []int{patient}, over: true, waits: true, want: 1},
		{name: "the end", has: []int{patient}, comes: []int{patient}, close: true, waits: true, want: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var g group
			for _, kind := range c.has {
				g.add(changed(kind), true)
			}
			from, over := make(chan *change, len(c.comes)), make(chan time.Time, 1)
			for _, kind := range c.comes {
				from <- changed(kind)
			}
			if c.close {
				close(from)
			}
			if g.patient() != c.waits {
				t.Fatalf("waits: %v, want %v", !c.waits, c.waits)
			}
			if !c.waits {
				return
			}
			if c.over {
				g.gather(from) // what comes first
				over <- time.Time{}
			}
			g.wait(from, over)
			if len(g.changes) != c.want || g.closed != c.close {
				t.Errorf("%d changes, closed: %v; want %d, %v", len(g.changes), g.closed, c.want, c.close)
			}
		})
	}
}
