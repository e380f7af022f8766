package deliver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/route"
)

// TestNoRoomForOne: a message that can go to a target alone that is full waits for that one; others
// go on to the rest of the pool meanwhile, and it goes when there is a place.
func TestNoRoomForOne(t *testing.T) {
	arrived, answer := make(chan struct{}, 2), make(chan struct{})
	able := answering(t, func(line string) string {
		if line == "DATA" {
			arrived <- struct{}{}
			<-answer
		}
		return ""
	})
	other := mailtest.NewSink(t)
	first, second := &pooled{room: 1}, &pooled{room: 5}
	only := pool([]*pooled{first}, able.Addr())
	h := start(t, routes{"able.example": only, "": pool([]*pooled{second}, other.Addr())}, Options{})
	h.advance(time.Hour)
	one := h.submit("joe@sender.example", "a@able.example")
	receive(t, "the one target is in use", arrived)
	waits := h.submit("joe@sender.example", "b@able.example")
	await(t, "another waits for it", func() bool {
		h.sites.mu.Lock()
		defer h.sites.mu.Unlock()
		return len(h.sites.byName["pool"].wanting) == 1
	})
	if _, sites := h.Sites(); len(sites) != 1 || sites[0].ForRoom != 1 || sites[0].Later != 1 {
		t.Errorf("an operator sees %+v", sites)
	}
	if got := h.ForRoom(); len(got) != 1 || got[able.Addr()] != 1 {
		t.Errorf("there wait %v", got)
	}
	for i := range 20 {
		h.awaitFacts(h.submit("joe@sender.example", fmt.Sprintf("a@d%d.example", i)), mail.ReasonDelivered, 1)
	}
	h.wantStates(waits, "b@able.example queued 0")
	close(answer)
	for _, id := range []mail.ID{one, waits} {
		if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; f.Attempt != 1 {
			t.Errorf("%s: waiting counted as an attempt", brief(f))
		}
	}
}

// TestRoomWhileNoting: a place that is made between the look for it and the note of who waits is not
// missed.
func TestRoomWhileNoting(t *testing.T) {
	sink := mailtest.NewSink(t)
	target := &lateRoom{pooled: pooled{}}
	r := to("pool", sink.Addr())
	r.Hops[0].Target = target
	h := start(t, routes{"": r}, Options{})
	if f := h.awaitFacts(h.submit("joe@sender.example", "a@x.example"), mail.ReasonDelivered, 1)[0]; f.Attempt != 1 {
		t.Errorf("%s", brief(f))
	}
}

// lateRoom is a target that has room from the second time on that it is asked.
type lateRoom struct{ pooled }

func (l *lateRoom) Enter() bool {
	if l.pooled.Enter() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room = 1
	return false
}

var _ route.Target = (*lateRoom)(nil)

// TestWanting: a place goes to who waits for it for longest, and to the next when that one has gone;
// with many who wait, each is looked at less often.
func TestWanting(t *testing.T) {
	s := newSites(20, patience)
	x := s.get("pool")
	var due []mail.ID
	gone := map[mail.ID]bool{"1": true}
	s.hasten = func(d delivery) bool {
		if !gone[d.entry] {
			due = append(due, d.entry)
		}
		return !gone[d.entry]
	}
	want := func(id string, at ...string) {
		var places []netip.AddrPort
		for _, a := range at {
			places = append(places, netip.AddrPortFrom(netip.MustParseAddr(a), 25))
		}
		s.want(x, []queue.Lease{{Entry: queue.Entry{ID: mail.ID(id), Deliveries: []queue.Delivery{{Destination: "d"}}}}}, places)
	}
	at := func(a string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(a), 25) }
	want("1", "192.0.2.1")
	want("2", "192.0.2.2")
	want("3", "192.0.2.1", "192.0.2.2")
	want("4", "192.0.2.1")
	want("3", "192.0.2.1")
	if s.roomAt(x, at("192.0.2.9")) || len(due) != 0 {
		t.Errorf("nobody waits for that one: %v", due)
	}
	for range 3 {
		s.roomAt(x, at("192.0.2.1"))
	}
	if fmt.Sprint(due) != "[3 4]" {
		t.Errorf("due are %v", due)
	}
	if !s.roomAt(x, netip.AddrPort{}) || fmt.Sprint(due) != "[3 4 2]" || s.roomAt(x, netip.AddrPort{}) {
		t.Errorf("due are %v", due)
	}
	if w := s.roomWait(x); w != roomWait {
		t.Errorf("the first waits for %v", w)
	}
	for i := range 2 * maxWanting {
		want(fmt.Sprint("m", i), "192.0.2.1")
	}
	if w := s.roomWait(x); len(x.wanting) != maxWanting || w != roomWait*(1+maxWanting/roomLooks) {
		t.Errorf("%d are noted; the next waits for %v", len(x.wanting), w)
	}
}

// TestRecoveredMakesRoom: what waits for room at one target looks again when another is back.
func TestRecoveredMakesRoom(t *testing.T) {
	sink := mailtest.NewSink(t)
	target := &pooled{}
	h := start(t, routes{"": pool([]*pooled{target}, sink.Addr())}, Options{})
	id := h.submit("joe@sender.example", "a@x.example")
	await(t, "it waits for room", func() bool {
		h.sites.mu.Lock()
		defer h.sites.mu.Unlock()
		x := h.sites.byName["pool"]
		return x != nil && len(x.wanting) == 1 && h.active.Load() == 0
	})
	target.mu.Lock()
	target.room = 1
	target.mu.Unlock()
	h.Recovered("pool")
	h.awaitFacts(id, mail.ReasonDelivered, 1)
}

// TestNoRoomForLong: a message for which there is no room is told of when it is late, once, and ends when its time
// is over. Told of as late, it still goes as soon as there is room.
func TestNoRoomForLong(t *testing.T) {
	schedule, err := mail.ParseSchedule("10m, every 3h until 5h")
	if err != nil {
		t.Fatal(err)
	}
	sink := mailtest.NewSink(t)
	target := &pooled{}
	h := start(t, routes{"": pool([]*pooled{target}, sink.Addr())}, Options{Settings: Settings{Retry: schedule, DelayWarning: time.Hour}})
	looked := func(before int32) { // since then
		await(t, "it is looked at", func() bool { return target.refusals.Load() > before && h.active.Load() == 0 })
	}
	stays := h.submit("joe@sender.example", "a@x.example NEVER")
	looked(0)
	for _, d := range []time.Duration{time.Minute, 59 * time.Minute, time.Minute} { // late, but nobody wants to know
		before := target.refusals.Load()
		h.advance(d)
		looked(before)
	}
	h.wantStates(stays, "a@x.example queued 0")
	h.advance(4 * time.Hour)
	h.awaitFacts(stays, mail.ReasonExpired, 1)
	await(t, "nobody waits any more", func() bool {
		h.sites.mu.Lock()
		defer h.sites.mu.Unlock()
		return len(h.sites.byName["pool"].wanting) == 0
	})

	before := target.refusals.Load()
	goes := h.submit("joe@sender.example", "b@x.example")
	looked(before)
	h.advance(time.Hour)
	if f := h.awaitFacts(goes, mail.ReasonDeferred, 1)[0]; f.Reply.Enhanced != "4.4.5" {
		t.Errorf("%s", brief(f))
	}
	await(t, "the sender is told", func() bool {
		return slices.ContainsFunc(h.facts(goes), func(f mail.Fact) bool { return strings.Contains(f.Text, "delayed") })
	})
	target.mu.Lock()
	target.room = 1
	target.mu.Unlock()
	h.Recovered("pool")
	h.awaitFacts(goes, mail.ReasonDelivered, 1) // long before its time
}
