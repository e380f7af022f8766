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
	first := s.enter(unknown, mail.Normal)
	want(0, 4)
	if !first.move("site") {
		t.Error("no room at the site")
	}
	want(1, 3)
	var more []*place
	for range 3 {
		more = append(more, s.enter(known, mail.Normal))
	}
	want(1, 0)
	over := s.enter(unknown, mail.Normal)
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
	if p := s.enter("waits.example", mail.Normal); p.site.name != "live" {
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
	class   map[*site]mail.Class
	now     time.Duration
	running []running
	done    map[*site]int
}

type running struct {
	place *place
	until time.Duration
}

func newSimulation(limit int) *simulation {
	return &simulation{sites: newSites(20, patience), limit: limit, took: make(map[*site]time.Duration), class: make(map[*site]mail.Class), done: make(map[*site]int)}
}

// add lets a site with a destination of its own take part.
func (m *simulation) add(name string, took time.Duration) *site {
	return m.addOf(name, took, mail.Normal)
}

// addOf is add with mail of a class.
func (m *simulation) addOf(name string, took time.Duration, class mail.Class) *site {
	d := mail.Destination(name + ".example")
	m.learn(d, name)
	m.wait(d, class)
	x := m.byName[name]
	m.took[x], m.class[x] = took, class
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
				p := m.enter(w.destination, m.class[w.site])
				m.running = append(m.running, running{p, m.now + m.took[w.site]})
			}
			m.yield(w, m.class[w.site])
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
			m.enter(mail.Destination(x.name+".example"), mail.Normal)
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

// TestClassesShare: with more than enough of each, of 21 parts of the time a higher class
// has four times what the next has, whatever sites it is for; and a class that is alone has
// all of it.
func TestClassesShare(t *testing.T) {
	const each = 30
	done := func(of ...mail.Class) map[mail.Class]int {
		m := newSimulation(20)
		for _, class := range of {
			for i := range each {
				m.addOf(fmt.Sprint(class, i), 10*time.Millisecond, class)
			}
		}
		m.run(5 * time.Second)
		clear(m.done)
		m.run(26 * time.Second)
		counts := make(map[mail.Class]int)
		for x, n := range m.done {
			counts[m.class[x]] += n
		}
		return counts
	}
	all, alone := done(mail.Classes...), done(mail.Bulk)
	if u, n, b := all[mail.Urgent], all[mail.Normal], all[mail.Bulk]; 10*u < 36*n || 10*u > 44*n || 10*n < 36*b || 10*n > 44*b || b == 0 {
		t.Errorf("transactions: %v, want 16 to 4 to 1", all)
	}
	if sum := all[mail.Urgent] + all[mail.Normal] + all[mail.Bulk]; 10*alone[mail.Bulk] < 9*sum {
		t.Errorf("alone, bulk has %d transactions, and all together %d", alone[mail.Bulk], sum)
	}
}

// TestUrgentGoesFirst: what is urgent has the next turn, however much of the lower classes
// waits; also for a destination that waits with something lower already, which is behind
// the others again when only that is left.
func TestUrgentGoesFirst(t *testing.T) {
	m := newSimulation(10)
	for i := range 100 {
		m.addOf(fmt.Sprint("bulk", i), 10*time.Millisecond, mail.Bulk)
		m.addOf(fmt.Sprint("normal", i), 10*time.Millisecond, mail.Normal)
	}
	m.run(10 * time.Second)
	next := func(want mail.Destination) *waiter {
		t.Helper()
		w, _ := m.next(m.limit, m.limit)
		if w == nil || w.destination != want {
			t.Fatalf("it is the turn of %v, want %s", w, want)
		}
		return w
	}
	m.wait("new.example", mail.Urgent)
	m.dismiss(next("new.example"))
	m.wait("bulk7.example", mail.Urgent)
	m.wait("bulk7.example", mail.Normal) // which is no news
	w := next("bulk7.example")
	m.yield(w, mail.Bulk)
	if after, _ := m.next(m.limit, m.limit); after == w {
		t.Error("its bulk mail goes first as well")
	}
}
