package embedded_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// spaceSegment is the size of the segments in these tests.
const spaceSegment = 20_000

// yielding is a disk in memory on which whoever syncs lets others go first.
func yielding(random *rand.Rand) vfs.FS {
	var mu sync.Mutex
	return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpOpen:
			mu.Lock()
			n := random.IntN(20)
			mu.Unlock()
			for range n {
				runtime.Gosched()
			}
		}
		return nil
	}))
}

// TestSpaceModel does random things to entries that share contents, with
// contents that are moved about meanwhile, and compares with what should be
// there.
func TestSpaceModel(t *testing.T) {
	const steps = 10_000
	seeds := uint64(mailtest.Number(t, "SEEDS", 2))
	var moved atomic.Uint64
	t.Run("seeds", func(t *testing.T) { // which ends when all of them have
		for seed := range seeds {
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				m := newSpaceModel(t, seed)
				for range steps {
					m.step()
				}
				m.finish()
				moved.Add(m.moved)
			})
		}
	})
	t.Logf("%d seeds of %d steps, %d contents moved", seeds, steps, moved.Load())
	if moved.Load() < 100*seeds {
		t.Errorf("only %d contents were moved", moved.Load())
	}
}

// spaceModel is a store and what should be in it.
type spaceModel struct {
	t       *testing.T
	random  *rand.Rand
	files   vfs.FS
	clock   *mail.ManualClock
	store   *embedded.Store
	next    int
	entries map[mail.ID]mail.ID // to their bodies
	uses    map[mail.ID]int     // of bodies
	reading []openBody
	moved   uint64
}

type openBody struct {
	id   mail.ID
	body queue.Body
}

func newSpaceModel(t *testing.T, seed uint64) *spaceModel {
	m := &spaceModel{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), clock: mail.NewManualClock(noon),
		entries: make(map[mail.ID]mail.ID), uses: make(map[mail.ID]int),
	}
	m.files = yielding(rand.New(rand.NewPCG(seed, 2)))
	m.open()
	return m
}

func (m *spaceModel) open() {
	m.store = open(m.t, "queue", embedded.Options{FS: m.files, Clock: m.clock, InlineSize: 200, SegmentSize: spaceSegment})
}

func (m *spaceModel) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *spaceModel) step() {
	switch n := m.random.IntN(1000); {
	case n < 300:
		m.accept()
	case n < 320:
		m.share()
	case n < 620:
		m.settle(mail.Delivered)
	case n < 750:
		m.settle(mail.Deferred)
	case n < 850:
		m.openBody()
	case n < 950:
		m.readBody()
	case n < 997:
		m.clock.Advance(time.Second)
	default:
		m.reopen()
	}
}

// spaceContent is the content of a body: from nothing to several thousand
// octets.
func spaceContent(id mail.ID) []byte {
	n, _ := strconv.Atoi(string(id))
	return bytes.Repeat([]byte(id), n*n%300)
}

func (m *spaceModel) newID() mail.ID {
	m.next++
	return mail.ID(fmt.Sprintf("%016d", m.next))
}

// accept stores an entry with a content, sometimes with a second that shares it.
func (m *spaceModel) accept() {
	id := m.newID()
	d, err := m.store.Create(m.t.Context())
	m.ok(err)
	_, err = d.Write(spaceContent(id))
	m.ok(err)
	g := queue.Group{Submissions: []queue.Submission{{Entry: entryTo(id, "one.example"), Draft: d}}}
	if m.random.IntN(4) == 0 {
		g.Submissions = append(g.Submissions, m.sharing(id))
	}
	m.ok(m.store.Accept(m.t.Context(), g))
	for i := range g.Submissions {
		m.entries[g.Submissions[i].Entry.ID] = id
		m.uses[id]++
	}
}

// sharing is an entry that uses the content of another.
func (m *spaceModel) sharing(body mail.ID) queue.Submission {
	e := entryTo(m.newID(), "two.example")
	e.Body = body
	return queue.Submission{Entry: e}
}

// share stores an entry with the content of one that is stored.
func (m *spaceModel) share() {
	for _, body := range m.entries {
		s := m.sharing(body)
		m.ok(m.store.Accept(m.t.Context(), queue.Group{Submissions: []queue.Submission{s}}))
		m.entries[s.Entry.ID] = body
		m.uses[body]++
		return
	}
}

// settle claims a few deliveries and settles them all in one call.
func (m *spaceModel) settle(state mail.State) {
	d := mail.Destination("one.example")
	if m.random.IntN(4) == 0 {
		d = "two.example"
	}
	leases, err := m.store.Claim(m.t.Context(), d, 1+m.random.IntN(3), m.clock.Now(), m.clock.Now().Add(time.Hour))
	m.ok(err)
	var all []queue.Settlement
	for _, l := range leases {
		all = append(all, queue.Settlement{
			Lease: l, Next: m.clock.Now().Add(time.Duration(m.random.IntN(200)) * time.Second),
			Outcomes: []mail.Outcome{{State: state, Attempt: l.Attempt(), At: noon}},
		})
		if state.Final() {
			m.gone(l.Entry.ID)
		}
	}
	m.ok(m.store.Settle(m.t.Context(), all))
}

func (m *spaceModel) gone(id mail.ID) {
	body, known := m.entries[id]
	if !known {
		m.t.Fatalf("entry %s is not known", id)
	}
	delete(m.entries, id)
	if m.uses[body]--; m.uses[body] == 0 {
		delete(m.uses, body)
	}
}

func (m *spaceModel) openBody() {
	for body := range m.uses {
		b, err := m.store.Body(m.t.Context(), body)
		m.ok(err)
		m.reading = append(m.reading, openBody{body, b})
		return
	}
}

// readBody reads a content that was opened earlier; it may have moved since,
// or gone.
func (m *spaceModel) readBody() {
	if len(m.reading) == 0 {
		return
	}
	last := len(m.reading) - 1
	o := m.reading[last]
	m.reading = m.reading[:last]
	m.same(o.id, o.body)
	m.ok(o.body.Close())
}

func (m *spaceModel) same(id mail.ID, b queue.Body) {
	m.t.Helper()
	content, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil || !bytes.Equal(content, spaceContent(id)) {
		m.t.Fatalf("content of %s: %d octets, %v", id, len(content), err)
	}
}

func (m *spaceModel) reopen() {
	for len(m.reading) > 0 {
		m.readBody()
	}
	m.compare()
	m.close()
	m.open()
	m.compare()
}

func (m *spaceModel) close() {
	st, err := m.store.Stat(m.t.Context())
	m.ok(err)
	m.moved += st.Moved
	m.ok(m.store.Close())
}

// compare wants exactly the entries and contents that should be there.
func (m *spaceModel) compare() {
	m.t.Helper()
	entries, err := m.store.List(m.t.Context(), queue.Filter{}, queue.Page{Limit: queue.MaxPage})
	m.ok(err)
	if len(entries) != len(m.entries) {
		m.t.Fatalf("%d entries are stored, want %d", len(entries), len(m.entries))
	}
	for _, e := range entries {
		if m.entries[e.ID] != e.Body {
			m.t.Fatalf("entry %s has body %s, want %s", e.ID, e.Body, m.entries[e.ID])
		}
	}
	for body := range m.uses {
		b, err := m.store.Body(m.t.Context(), body)
		m.ok(err)
		m.same(body, b)
		m.ok(b.Close())
	}
}

// finish removes everything, and wants the space back.
func (m *spaceModel) finish() {
	m.reopen()
	_, err := m.store.Edit(m.t.Context(), queue.Filter{}, queue.Change{Kind: queue.ChangeRemove}, "operator")
	m.ok(err)
	m.close()
	m.open()
	st, err := m.store.Stat(m.t.Context())
	m.ok(err)
	if st.Bodies != 0 || len(st.Segments) != 0 || st.Files != 0 {
		m.t.Errorf("left behind: %+v", st)
	}
	m.close()
}

// TestReclaim: when nearly all of many messages have gone, so has the space
// they took; those that are kept back stay as they were.
func TestReclaim(t *testing.T) {
	messages := 20_000
	if mailtest.Long() {
		messages = 200_000
	}
	const every, size, segment = 1000, 2000, 1 << 20
	s := open(t, "queue", embedded.Options{FS: vfs.NewMem(), Clock: mail.NewManualClock(noon), InlineSize: 1000, SegmentSize: segment, Reserve: -1})
	kept := make(map[mail.ID][]byte)
	var ids mail.IDs
	ctx := t.Context()
	for i := range messages {
		id, content := ids.New(noon), make([]byte, size)
		copy(content, fmt.Sprintf("message %d", i))
		e := entryTo(id, "one.example")
		if i%every == 0 {
			e.Deliveries[0].Next = noon.Add(time.Hour)
			kept[id] = content
		}
		d, err := s.Create(ctx)
		mailtest.Must(t, err)
		_, err = d.Write(content)
		mailtest.Must(t, err)
		mailtest.Must(t, s.Accept(ctx, queue.Group{Submissions: []queue.Submission{{Entry: e, Draft: d}}}))
		if i%500 == 499 { // so that a backlog spreads over segments
			deliverDue(t, s)
		}
	}
	st := settled(t, s, func(st queue.Stat) bool { return space(st) <= 2*segment+maxGroupSlack+int64(len(kept))*(size+1000) })
	t.Logf("%d messages of %d octets through, %d kept back: %d octets in %d segments, %d moved", messages, size, len(kept), space(st), len(st.Segments), st.Moved)
	for id, content := range kept {
		got, err := readBody(s, id)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("kept %s: %d octets, %v", id, len(got), err)
		}
	}
}

// maxGroupSlack is how much longer than its size a segment of this test may be.
const maxGroupSlack = 1 << 20

// space is what the body log takes on the disk.
func space(st queue.Stat) int64 {
	total := st.FileSize
	for _, g := range st.Segments {
		total += g.Size
	}
	return total
}

func deliverDue(t *testing.T, s *embedded.Store) {
	t.Helper()
	for {
		leases, err := s.Claim(t.Context(), "one.example", 100, noon, noon.Add(time.Hour))
		mailtest.Must(t, err)
		if len(leases) == 0 {
			return
		}
		var all []queue.Settlement
		for _, l := range leases {
			all = append(all, queue.Settlement{Lease: l, Outcomes: []mail.Outcome{{State: mail.Delivered, Attempt: 1, At: noon}}})
		}
		mailtest.Must(t, s.Settle(t.Context(), all))
	}
}

// settled waits for the reclaimer, which works behind the commits.
func settled(t *testing.T, s *embedded.Store, enough func(queue.Stat) bool) queue.Stat {
	t.Helper()
	for range 10_000 {
		st, err := s.Stat(t.Context())
		mailtest.Must(t, err)
		if enough(st) {
			return st
		}
		// Each commit lets the others run, and moves nothing.
		mailtest.Must(t, s.PutMark(t.Context(), queue.Mark{Kind: "k", Key: "x", Value: "y"}, mail.Fact{Time: noon, Reason: mail.ReasonMarked}))
	}
	st, err := s.Stat(t.Context())
	t.Fatalf("the space does not come back: %+v, %v", st, errors.Join(err))
	return st
}
