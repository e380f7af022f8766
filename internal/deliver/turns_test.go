package deliver

import (
	"fmt"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// wait lets a destination wait at its site.
func (s *sites) wait(d mail.Destination, class mail.Class) {
	s.admit(queue.Due{Destination: d, Class: class, Count: 1})
}

// TestRoom: a destination whose site is not known has one transaction in hand,
// which tells; a site has as many as its window, whatever destinations they are
// of.
func TestRoom(t *testing.T) {
	const unknown, known mail.Destination = "unknown.example", "known.example"
	s := newSites(2, patience)
	s.learn(known, "site")
	s.byName["site"].window = 4
	s.wait(unknown, 0)
	s.wait(known, 0)
	want := func(unknownRoom, knownRoom int) {
		t.Helper()
		if a, b := s.waiters[unknown].site.room(), s.waiters[known].site.room(); a != unknownRoom || b != knownRoom {
			t.Errorf("room for %d and %d, want %d and %d", a, b, unknownRoom, knownRoom)
		}
	}
	want(1, 4)
	first := s.enter(unknown)
	want(0, 4)
	if !first.move("site") {
		t.Error("no room at the site")
	}
	want(1, 3)
	var more []*place
	for range 3 {
		more = append(more, s.enter(known))
	}
	want(1, 0)
	over := s.enter(unknown)
	if over.move("site") {
		t.Error("a site has room for more than it takes")
	}
	want(0, 0)
	s.learn(unknown, "site")
	for _, p := range append(more, first, over) {
		p.leave()
	}
	want(4, 4)
	if len(s.strangers) != 0 {
		t.Errorf("strangers are left: %v", s.strangers)
	}
	for _, w := range s.waiters {
		s.dismiss(w)
	}
	if w, _ := s.next(100, 100); w != nil || s.waits() {
		t.Errorf("it is the turn of %v, which was dismissed", w)
	}
}

// TestStrangersAreForgotten: a destination that is claimed with another, while
// it waits, leaves nothing behind when it turns out where it leads.
func TestStrangersAreForgotten(t *testing.T) {
	s := newSites(2, patience)
	s.wait("one.example", 0)
	s.learn("one.example", "site")
	if len(s.strangers) != 0 {
		t.Errorf("strangers are left: %v", s.strangers)
	}
}

// TestSweep: sites that are in use or went down not long ago are remembered,
// however many they are, and where destinations lead for which mail waits; a
// site that nobody has tried for long is forgotten although it was down.
func TestSweep(t *testing.T) {
	s := newSites(2, patience)
	name := func(i int) string { return fmt.Sprint("site", i) }
	for i := range maxKnown {
		x := s.get(name(i))
		x.pause, x.failedAt = firstPause, time.Now()
	}
	s.learn("waits.example", "live")
	s.wait("waits.example", 0)
	for i := range 100 {
		s.learn(mail.Destination(fmt.Sprintf("d%d.example", i)), "live")
	}
	if n := len(s.siteOf); n != 101 {
		t.Errorf("of 101 destinations %d are known", n)
	}
	if p := s.enter("waits.example"); p.site.name != "live" {
		t.Error("it is not known where mail leads that waits")
	} else {
		p.leave()
	}
	for i := range maxKnown {
		s.byName[name(i)].failedAt = time.Now().Add(-2 * lastPause)
	}
	for i := range maxKnown {
		s.learn(mail.Destination(fmt.Sprintf("e%d.example", i)), name(maxKnown+i))
	}
	if len(s.siteOf) > maxKnown+1 || len(s.byName) > maxKnown+1 || s.siteOf["waits.example"] == nil {
		t.Errorf("%d destinations and %d sites are known", len(s.siteOf), len(s.byName))
	}
}

// simulation lets sites have their turns for a while: each has mail without
// end, and its transactions take a time.
type simulation struct {
	*sites
	limit   int
	took    map[*site]time.Duration
	now     time.Duration
	running []running
	done    map[*site]int
}

type running struct {
	place *place
	until time.Duration
}

func newSimulation(limit int) *simulation {
	return &simulation{sites: newSites(20, patience), limit: limit, took: make(map[*site]time.Duration), done: make(map[*site]int)}
}

// add lets a site with a destination of its own take part.
func (m *simulation) add(name string, took time.Duration) *site {
	d := mail.Destination(name + ".example")
	m.learn(d, name)
	m.wait(d, 0)
	x := m.byName[name]
	m.took[x] = took
	return x
}

// run lets time pass.
func (m *simulation) run(until time.Duration) {
	for m.now < until {
		for {
			w, n := m.next(m.limit, m.limit-len(m.running))
			if w == nil {
				break
			}
			for range n {
				p := m.enter(w.destination)
				m.running = append(m.running, running{p, m.now + m.took[w.site]})
			}
			m.yield(w)
		}
		m.end()
	}
}

// end ends the transaction that ends first.
func (m *simulation) end() {
	first := 0
	for i := range m.running {
		if m.running[i].until < m.running[first].until {
			first = i
		}
	}
	r := m.running[first]
	m.running = append(m.running[:first], m.running[first+1:]...)
	m.now = r.until
	r.place.entered = time.Now().Add(-m.took[r.place.site])
	m.done[r.place.site]++
	r.place.site.grow()
	r.place.leave()
}

// TestQuickSitesAreNotHeldUp: many sites that take long leave to those that are
// quick nearly what they have alone, and have their turns all the same.
func TestQuickSitesAreNotHeldUp(t *testing.T) {
	rate := func(slowOnes int) (quick, slow int) {
		m := newSimulation(100)
		for i := range 80 {
			m.add(fmt.Sprint("quick", i), 10*time.Millisecond)
		}
		for i := range slowOnes {
			m.add(fmt.Sprint("slow", i), 30*time.Second)
		}
		m.run(time.Second) // all have shown how they are
		clear(m.done)
		m.run(2 * time.Minute)
		for x, n := range m.done {
			if m.took[x] < time.Second {
				quick += n
			} else {
				slow += n
			}
		}
		return quick, slow
	}
	alone, _ := rate(0)
	quick, slow := rate(20)
	t.Logf("quick transactions: %d alone, %d beside those of slow sites; slow ones: %d", alone, quick, slow)
	if 10*quick < 7*alone || slow < 20 {
		t.Errorf("quick transactions: %d alone, %d beside those of slow sites, of which there were %d", alone, quick, slow)
	}
}

// TestQuarter: one site has no more than a quarter of the slots while others
// wait, and all that it takes when nobody does.
func TestQuarter(t *testing.T) {
	m := newSimulation(40)
	for i := range 2 {
		m.add(fmt.Sprint("site", i), 10*time.Millisecond)
	}
	m.run(time.Second)
	for _, x := range m.byName {
		for x.inHand < 10 {
			m.enter(mail.Destination(x.name + ".example"))
		}
	}
	if w, n := m.next(40, 20); w == nil || n != 10 {
		t.Errorf("with a quarter each and nobody else: %v, %d", w, n)
	}
	third := m.add("third", time.Second)
	if w, n := m.next(40, 20); w.site != third || n != 1 {
		t.Errorf("it is the turn of %s for %d, want the third for 1", w.site.name, n)
	}
}

// TestClassGoesFirst: a class is before a lower one, whatever its site has had.
func TestClassGoesFirst(t *testing.T) {
	s := newSites(1, patience)
	for i, class := range []mail.Class{0, 2, -1, 2} {
		d := mail.Destination(fmt.Sprint("d", i))
		if i < 3 {
			s.learn(d, fmt.Sprint("site", i/2))
		}
		s.wait(d, class)
	}
	var got []mail.Destination
	for {
		w, _ := s.next(100, 100)
		if w == nil {
			break
		}
		got = append(got, w.destination)
		s.charge(w.site)
		s.dismiss(w)
	}
	if fmt.Sprint(got) != "[d1 d3 d0 d2]" {
		t.Errorf("the order is %v", got)
	}
}
