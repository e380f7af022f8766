package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

var noon = time.Date(2024, 5, 17, 12, 0, 0, 0, time.UTC)

// entryTo makes an entry with one queued recipient that is due at noon.
func entryTo(id mail.ID, domain string) queue.Entry {
	r := queue.Recipient{Recipient: mail.Recipient{Address: mail.Address{Local: "joe", Domain: domain}}, State: mail.Queued}
	return queue.Entry{
		ID: id, Message: id, Accepted: noon,
		Envelope:   mail.Envelope{From: mail.Address{Local: "ann", Domain: "source.example"}},
		Deliveries: queue.Deliveries([]queue.Recipient{r}, noon),
	}
}

// contentOf is the content of an entry, of a size that its id decides: most
// are small, some large, and few so large that they have a file of their own.
func contentOf(id mail.ID) []byte {
	size := 100 + int(id[15])*20
	switch {
	case id[14] == 'h' && id[15]%8 == 1:
		size = 1_200_000
	case id[15]%8 == 0:
		size = 600_000
	}
	return bytes.Repeat([]byte(id), size/len(id)+1)
}

// submit accepts an entry with contentOf its id, and a fact.
func submit(ctx context.Context, s queue.Store, e queue.Entry) error {
	return submitContent(ctx, s, e, contentOf(e.ID))
}

// submitContent stores an entry with a content, and a fact.
func submitContent(ctx context.Context, s queue.Store, e queue.Entry, content []byte) error {
	d, err := s.Create(ctx)
	if err != nil {
		return err
	}
	defer d.Discard()
	if _, err := d.Write(content); err != nil {
		return err
	}
	return s.Accept(ctx, queue.Group{
		Submissions: []queue.Submission{{Entry: e, Draft: d}},
		Facts:       []mail.Fact{{Time: noon, Reason: mail.ReasonAccepted, Message: e.ID}},
	})
}

// settleAs ends a lease in one state for all its recipients, with a fact.
func settleAs(ctx context.Context, s queue.Store, l queue.Lease, state mail.State) error {
	settlement := queue.Settlement{Lease: l, Next: noon, Facts: []mail.Fact{{Time: noon, Reason: mail.ReasonFor(state), Message: l.Entry.ID}}}
	for range l.Delivery().Recipients {
		settlement.Outcomes = append(settlement.Outcomes, mail.Outcome{State: state, Attempt: l.Attempt(), At: noon})
	}
	return s.Settle(ctx, []queue.Settlement{settlement})
}

func readBody(s queue.Store, id mail.ID) ([]byte, error) {
	b, err := s.Body(context.Background(), id)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
}

// cutsOfDisk is how many cuts one disk sees: what it keeps becomes more and
// more, and all of it is looked at after each.
const cutsOfDisk = 100

// TestPowerCut cuts the power at random moments under load, and after each
// goes on with what the disk has kept. Segments are small and contents on
// both sides of each threshold, so that all of the store is at work.
func TestPowerCut(t *testing.T) {
	cuts := mailtest.Number(t, "CUTS", 60)
	random := rand.New(rand.NewPCG(11, uint64(cuts)))
	stored, settled := 0, 0
	for done := 0; done < cuts; done += cutsOfDisk {
		known := &acknowledged{stored: make(map[mail.ID]bool), settled: make(map[mail.ID]bool)}
		known.cutPower(t, random, min(cutsOfDisk, cuts-done))
		if t.Failed() {
			t.Fatalf("after %d cuts of other disks", done)
		}
		stored += known.survived
		settled += len(known.settled)
	}
	t.Logf("%d power cuts: %d times an acknowledged entry was still stored after one, %d settled, 0 lost", cuts, stored, settled)
	if settled < 50 || stored < 50 {
		t.Errorf("entries were still stored %d times and %d settled: too few to say anything", stored, settled)
	}
}

// cutPower cuts the power of one disk again and again.
func (a *acknowledged) cutPower(t *testing.T, random *rand.Rand, cuts int) {
	t.Helper()
	disk := newDisk()
	for cut := 0; ; cut++ {
		// Not by open: thousands of stores are not to be kept to the end.
		store, err := embedded.Open("queue", embedded.Options{
			FS: disk, Clock: mail.NewManualClock(noon), InlineSize: 1000, SegmentSize: 64 << 10,
		})
		mailtest.Must(t, err)
		if a.check(t, store); t.Failed() {
			t.Fatalf("after cut %d", cut)
		}
		if cut == cuts {
			mailtest.Must(t, store.Close())
			return
		}
		disk = a.load(t, store, disk, random)
	}
}

// acknowledged is what the store has promised.
type acknowledged struct {
	mu      sync.Mutex
	ids     mail.IDs
	stored  map[mail.ID]bool // false: its settlement is under way
	settled map[mail.ID]bool
	// survived counts, cut by cut, what was promised to be there and was.
	survived int
}

// load works on the store until the power is cut, and returns what is left
// of the disk.
func (a *acknowledged) load(t *testing.T, s *embedded.Store, d *disk, random *rand.Rand) *disk {
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	acks := make(chan struct{})
	for i := range 6 {
		workers.Go(func() { a.accept(ctx, t, s, fmt.Sprintf("d%d.example", i%2), acks) })
	}
	for i := range 2 {
		workers.Go(func() { a.deliver(ctx, t, s, mail.Destination(fmt.Sprintf("d%d.example", i)), acks) })
	}
	for range 5 + random.IntN(60) {
		<-acks
	}
	a.mu.Lock()
	left := d.cut(random, random.IntN(101))
	stored, settled := maps.Clone(a.stored), maps.Clone(a.settled)
	a.mu.Unlock()

	cancel()
	workers.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	a.stored, a.settled = stored, settled // what came after the cut is no promise
	return left
}

// acknowledge tells of an acknowledgement.
func (a *acknowledged) acknowledge(ctx context.Context, acks chan struct{}, note func()) {
	a.mu.Lock()
	note()
	a.mu.Unlock()
	select {
	case acks <- struct{}{}:
	case <-ctx.Done():
	}
}

func (a *acknowledged) accept(ctx context.Context, t *testing.T, s queue.Store, domain string, acks chan struct{}) {
	for ctx.Err() == nil {
		id := a.ids.New(time.Now())
		switch err := submit(ctx, s, entryTo(id, domain)); {
		case err == nil:
			a.acknowledge(ctx, acks, func() {
				if _, touched := a.stored[id]; !touched && !a.settled[id] {
					a.stored[id] = true
				}
			})
		case !errors.Is(err, context.Canceled):
			t.Errorf("accept: %v", err)
			return
		}
	}
}

func (a *acknowledged) deliver(ctx context.Context, t *testing.T, s queue.Store, d mail.Destination, acks chan struct{}) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		leases, err := s.Claim(ctx, d, 2, noon, noon.Add(time.Hour))
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("claim: %v", err)
			return
		}
		for _, l := range leases {
			if attempt%5 == 1 { // it is given back to the other destination
				other := mail.Destination("d0.example")
				if d == other {
					other = "d1.example"
				}
				if err := s.Regroup(ctx, []queue.Move{{Lease: l, To: []mail.Destination{other}}}); err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("regroup: %v", err)
					return
				}
				continue
			}
			state := mail.Delivered
			if attempt%7 == 0 {
				state = mail.Deferred
			}
			id := l.Entry.ID
			a.mu.Lock()
			if state.Final() {
				a.stored[id] = false
			}
			a.mu.Unlock()
			err := settleAs(ctx, s, l, state)
			switch {
			case err == nil && state.Final():
				a.acknowledge(ctx, acks, func() { delete(a.stored, id); a.settled[id] = true })
			case err != nil && !errors.Is(err, context.Canceled):
				t.Errorf("settle: %v", err)
				return
			}
		}
	}
}

// check compares what is stored with what was promised.
func (a *acknowledged) check(t *testing.T, s *embedded.Store) {
	t.Helper()
	entries, err := s.List(t.Context(), queue.Filter{}, queue.Page{Limit: queue.MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	accepted := a.facts(t, s)
	found := make(map[mail.ID]bool)
	for _, e := range entries {
		found[e.ID] = true
		if content, err := readBody(s, e.Body); err != nil || !bytes.Equal(content, contentOf(e.ID)) {
			t.Errorf("entry %s is stored, but of its content %d octets of %d: %v", e.ID, len(content), len(contentOf(e.ID)), err)
		}
		if !accepted[e.ID] {
			t.Errorf("entry %s is stored without its fact", e.ID)
		}
		if n := len(e.Addresses()); n != 1 {
			t.Errorf("entry %s has %d recipients: it was regrouped in part", e.ID, n)
		}
		if a.settled[e.ID] {
			t.Errorf("entry %s is stored, though it was settled", e.ID)
		}
	}
	for id, untouched := range a.stored {
		if untouched && !found[id] {
			t.Errorf("entry %s was acknowledged and is lost", id)
		}
		if found[id] {
			a.survived++
		}
		if !accepted[id] {
			t.Errorf("entry %s was acknowledged and its fact is lost", id)
		}
	}
	if damaged, err := s.Damaged(t.Context(), queue.Page{}); err != nil || len(damaged) > 0 {
		t.Errorf("set aside as damaged: %+v, %v", damaged, err)
	}
	for id := range found { // the cut may have kept more than was promised
		a.stored[id] = true
	}
}

// facts returns the entries with a fact of their acceptance.
func (a *acknowledged) facts(t *testing.T, s *embedded.Store) map[mail.ID]bool {
	t.Helper()
	facts, err := s.NextFacts(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(map[mail.ID]bool)
	for i, f := range facts {
		if f.N != uint64(i)+1 {
			t.Fatalf("fact %d has number %d", i+1, f.N)
		}
		if f.Reason == mail.ReasonAccepted {
			accepted[f.Message] = true
		}
	}
	return accepted
}

// TestShownFactsStay: the facts of an edit that a release applied are
// durable before they are shown, though the release itself needs no sync.
func TestShownFactsStay(t *testing.T) {
	disk := newDisk()
	s := open(t, "queue", embedded.Options{FS: disk, Clock: mail.NewManualClock(noon)})
	mailtest.Must(t, submit(t.Context(), s, entryTo(smallID, "one.example")))
	leases, err := s.Claim(t.Context(), "one.example", 1, noon, noon.Add(time.Hour))
	mailtest.Must(t, err)
	_, err = s.Edit(t.Context(), queue.Filter{}, queue.Change{Kind: queue.ChangeHold, Hold: mail.HoldOperator}, "operator")
	mailtest.Must(t, err)
	mailtest.Must(t, s.Release(t.Context(), leases, noon))
	shown, err := s.NextFacts(t.Context(), 0, 10)
	mailtest.Must(t, err)
	after := open(t, "queue", embedded.Options{FS: disk.cut(nil, 0), Clock: mail.NewManualClock(noon.Add(time.Hour))})
	kept, err := after.NextFacts(t.Context(), 0, 10)
	mailtest.Must(t, err)
	if diff := cmp.Diff(shown, kept, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" || len(shown) != 2 {
		t.Errorf("%d facts were shown; after a power cut they differ (-shown +kept):\n%s", len(shown), diff)
	}
}

// TestLaterAttemptsAreRegistered: whoever comes after this process knows how
// often mail was attempted, also when no attempt was settled.
func TestLaterAttemptsAreRegistered(t *testing.T) {
	disk := newDisk()
	clock := mail.NewManualClock(noon)
	s := open(t, "queue", embedded.Options{FS: disk, Clock: clock})
	mailtest.Must(t, submit(t.Context(), s, entryTo(smallID, "one.example")))
	for range 3 {
		_, err := s.Claim(t.Context(), "one.example", 1, clock.Now(), clock.Now().Add(time.Minute))
		mailtest.Must(t, err)
		clock.Advance(time.Minute)
	}
	mailtest.Must(t, s.Close())
	s = open(t, "queue", embedded.Options{FS: disk, Clock: clock})
	leases, err := s.Claim(t.Context(), "one.example", 1, clock.Now(), clock.Now().Add(time.Minute))
	if err != nil || len(leases) != 1 || leases[0].Attempt() != 4 {
		t.Errorf("claimed %+v, %v; want attempt 4", leases, err)
	}
}

// TestFailureIsTold: a failed commit is told once, in the log and to whoever
// can end the process, and Close does not hang.
func TestFailureIsTold(t *testing.T) {
	disk := newDisk()
	var log bytes.Buffer
	told := make(chan error, 10)
	s := open(t, "queue", embedded.Options{FS: disk, Logger: textLogger(&log), Failed: func(err error) { told <- err }})
	var ids mail.IDs
	disk.failSync(1)
	for range 3 {
		if err := submit(t.Context(), s, entryTo(ids.New(noon), "one.example")); !errors.Is(err, queue.ErrUnknown) {
			t.Errorf("accept: %v, want ErrUnknown", err)
		}
	}
	if err := s.Close(); !errors.Is(err, queue.ErrUnknown) {
		t.Errorf("close: %v, want ErrUnknown", err)
	}
	if err := <-told; !errors.Is(err, queue.ErrUnknown) || !errors.Is(err, errDisk) || len(told) != 0 {
		t.Errorf("told: %v, and %d more", err, len(told))
	}
	if n := strings.Count(log.String(), "the queue has failed"); n != 1 {
		t.Errorf("the log tells it %d times:\n%s", n, log.String())
	}
}

// TestCloseFails: an error of the last sync is returned; nothing hangs.
func TestCloseFails(t *testing.T) {
	disk := newDisk()
	s := open(t, "queue", embedded.Options{FS: disk})
	mailtest.Must(t, submit(t.Context(), s, entryTo(smallID, "one.example")))
	disk.failSync(1)
	if err := s.Close(); !errors.Is(err, errDisk) {
		t.Errorf("close: %v, want the error of the disk", err)
	}
}
