package deliver

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// random does to sites what the scheduler and transactions do, in any order.
type random struct {
	*testing.T
	*sites
	rand   *rand.Rand
	now    time.Time
	slots  int
	places []*place
	leads  map[mail.Destination]string // where destinations lead
}

func (r *random) destination() mail.Destination {
	return mail.Destination(fmt.Sprintf("d%d.example", r.rand.IntN(40)))
}

func (r *random) class() mail.Class { return mail.Classes[r.rand.IntN(len(mail.Classes))] }

// pick takes a transaction in hand.
func (r *random) pick() (i int, p *place) {
	if len(r.places) == 0 {
		return 0, nil
	}
	i = r.rand.IntN(len(r.places))
	return i, r.places[i]
}

// turn claims for the destination whose turn it is, as much as there happens
// to be.
func (r *random) turn() {
	w, n := r.next(r.slots, r.slots-len(r.places))
	if w == nil {
		return
	}
	if n < 1 || n > w.site.room() || n > r.slots-len(r.places) {
		r.Fatalf("%d for %s, of which the site has room for %d, and %d slots are free", n, w.destination, w.site.room(), r.slots-len(r.places))
	}
	got := r.rand.IntN(n + 1)
	for range got {
		p := r.enter(w.destination, r.class())
		p.entered = p.entered.Add(-time.Duration(r.rand.IntN(4000)) * time.Millisecond)
		r.places = append(r.places, p)
	}
	if got == n {
		r.yield(w, r.class())
	} else {
		r.dismiss(w)
	}
}

// progress lets a transaction do something.
func (r *random) progress() {
	i, p := r.pick()
	if p == nil {
		return
	}
	o := mail.Outcome{State: mail.Deferred, Remote: true, Command: "MAIL", Reply: mail.NewReply(421, "", "no")}
	does := r.rand.IntN(12)
	if p.site.name == "" && does != 7 { // it must be known where to connect
		does = 0
	}
	switch does {
	case 0:
		r.learn(p.destination, r.leads[p.destination])
		p.move(r.leads[p.destination])
	case 1:
		p.try(r.now)
	case 2:
		p.seek()
	case 3:
		p.failed(&noConnection, r.now)
	case 4:
		p.reached()
	case 5:
		o.Command = "RCPT"
		fallthrough
	case 6:
		p.answered(&o)
	case 8:
		p.block(r.now.Add(time.Duration(r.rand.IntN(60)) * time.Second))
	case 9:
		r.want(p.site, r.leases(), []netip.AddrPort{r.address()})
	case 10:
		p.passOver(r.leases())
		r.bringAll(p.site, r.now)
	case 11:
		r.roomAt(p.site, r.address())
		r.takePassed(p.site)
	default:
		p.leave()
		r.places = append(r.places[:i], r.places[i+1:]...)
	}
}

func (r *random) address() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(r.rand.IntN(3))}), 25)
}

// leases are those of one entry of a few.
func (r *random) leases() []queue.Lease {
	id := mail.ID(fmt.Sprint(r.rand.IntN(100)))
	return []queue.Lease{{Entry: queue.Entry{ID: id, Deliveries: []queue.Delivery{{Destination: "d"}}}}}
}

func (r *random) step() {
	switch r.rand.IntN(12) {
	case 0, 1:
		d := r.destination()
		r.admit(queue.Due{Destination: d, Class: r.class()})
	case 2, 3, 4:
		r.turn()
	case 5:
		r.now = r.now.Add(time.Duration(r.rand.IntN(120)) * time.Second)
		if next := r.elapse(r.now); !next.IsZero() && !next.After(r.now) {
			r.Fatalf("a site is blocked until %s, and it is %s", next, r.now)
		}
		if _, next := r.dueBack(r.now); !next.IsZero() && !next.After(r.now) {
			r.Fatalf("more comes back at %s, and it is %s", next, r.now)
		}
	case 6:
		by := time.Duration(r.rand.IntN(7200)-3600) * time.Second
		r.now = r.now.Add(by)
		r.shift(by)
	case 7:
		if r.rand.IntN(50) == 0 {
			r.sweep()
		}
		r.leads[r.destination()] = fmt.Sprint("site", r.rand.IntN(6))
	default:
		r.progress()
	}
}

// all are the sites and strangers that anything points to.
func (r *random) all() map[*site]bool {
	all := make(map[*site]bool)
	for _, x := range r.byName {
		all[x] = true
	}
	for _, x := range r.strangers {
		all[x] = true
	}
	for _, w := range r.waiters {
		all[w.site] = true
	}
	for _, p := range r.places {
		all[p.site] = true
	}
	return all
}

// check holds what is counted against what there is.
func (r *random) check() {
	r.Helper()
	inHand, waiting, probing, others := make(map[*site]int), make(map[*site]int), make(map[*site]bool), 0
	for _, p := range r.places {
		inHand[p.site]++
		probing[p.site] = probing[p.site] || p.probing
		if p.other {
			others++
		}
	}
	for d, w := range r.waiters {
		waiting[w.site]++
		if w.position < 0 || w.site.waiting[w.band].Items[w.position] != w {
			r.Fatalf("%s does not stand where it waits", d)
		}
	}
	if others != r.others {
		r.Fatalf("%d of others, counted %d", others, r.others)
	}
	for x := range r.all() {
		if inHand[x] != x.inHand || waiting[x] != x.waits() || probing[x] != x.probing {
			r.Fatalf("%q: in hand %d, counted %d; waiting %d, counted %d; probing %t, noted %t",
				x.name, inHand[x], x.inHand, waiting[x], x.waits(), probing[x], x.probing)
		}
		if x.window < 1 || x.window > x.most || x.calm < 1 || x.down() && x.retryAt.Sub(r.now) > lastPause {
			r.Fatalf("%q: window %v of %v, calm %v, left alone until %v", x.name, x.window, x.most, x.calm, x.retryAt)
		}
		if x.name == "" && inHand[x] == 0 && waiting[x] == 0 {
			r.Fatal("a stranger is left behind")
		}
		if x.isBlocked() && (r.blocked.Items[x.blockedAt] != x || x.until.Before(r.blocked.Top().until)) {
			r.Fatalf("%q is blocked until %s, and does not stand there", x.name, x.until)
		}
		r.checkPlace(x)
	}
	r.checkWaiting()
}

// checkWaiting holds what waits for room, and for its site to be back, against what is counted.
func (r *random) checkWaiting() {
	passed := 0
	for _, x := range r.byName {
		passed += len(x.passed)
		once := make(map[delivery]bool)
		for _, w := range x.wanting {
			if once[w.delivery] {
				r.Fatalf("%q: %v waits for room twice", x.name, w.delivery)
			}
			once[w.delivery] = true
		}
	}
	if passed != r.passed {
		r.Fatalf("%d were passed over, counted %d", passed, r.passed)
	}
	for x, at := range r.returning {
		if r.byName[x.name] != x || at.Sub(r.now) > returnPace {
			r.Fatalf("%q, known: %t: more comes back at %s, and it is %s", x.name, r.byName[x.name] == x, at, r.now)
		}
	}
}

// checkPlace holds the heap in which a site stands against the one in which
// it should.
func (r *random) checkPlace(x *site) {
	for b := range r.ready {
		for i := range r.ready[b] {
			want := x.waiting[b].Len() > 0 && x.room() > 0 && i == x.pace()
			if at := x.positions[b][i]; want != (at >= 0) || want && r.ready[b][i].Items[at] != x {
				r.Fatalf("%q: in heap %d of band %d at %d, want there: %t", x.name, i, b, at, want)
			}
		}
	}
}

// drain lets all transactions end and all that waits have its turn.
func (r *random) drain() {
	for _, p := range r.places {
		p.leave()
	}
	r.places = nil
	r.elapse(r.now.Add(time.Hour))
	for range len(r.waiters) {
		w, n := r.next(r.slots, r.slots)
		if w == nil || n < 1 {
			r.Fatalf("%d wait, and it is nobody's turn", len(r.waiters))
		}
		r.dismiss(w)
	}
	r.check()
	if len(r.strangers) != 0 || r.others != 0 {
		r.Fatalf("strangers: %v, others: %d", r.strangers, r.others)
	}
}

// TestSitesAtRandom: whatever happens in whatever order, the counts are right,
// each site stands where it should, and all that waits has its turn.
func TestSitesAtRandom(t *testing.T) {
	for seed := range uint64(60) {
		r := &random{
			T: t, sites: newSites(1+int(seed%4), patience), rand: rand.New(rand.NewPCG(seed, 1)),
			now: begin, slots: 1 + int(seed%20), leads: make(map[mail.Destination]string),
		}
		for i := range 40 {
			r.leads[mail.Destination(fmt.Sprintf("d%d.example", i))] = fmt.Sprint("site", i%6)
		}
		for range 600 {
			r.step()
			r.check()
		}
		r.drain()
	}
}
