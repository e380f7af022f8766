package admin_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"postern/internal/admin"
	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// queued is how many entries TestLargeQueue makes: POSTERN_QUEUED, or a number
// for every day.
func queued(t *testing.T) int {
	t.Helper()
	set := os.Getenv("POSTERN_QUEUED")
	if set == "" {
		return 100_000
	}
	n, err := strconv.Atoi(set)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// largeDestinations is how many destinations the large queue has.
const largeDestinations = 100

// fill accepts n entries, a thousand in a group with one content.
func fill(t *testing.T, store queue.Accepter, n int) {
	t.Helper()
	ids, now := new(mail.IDs), time.Now()
	for made := 0; made < n; {
		draft, err := store.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(draft, "Subject: x\r\n\r\n")
		var g queue.Group
		for range min(1000, n-made) {
			made++
			to := mail.Address{Local: "joe", Domain: fmt.Sprintf("d%d.example", made%largeDestinations)}
			r := queue.Recipient{Recipient: mail.Recipient{Address: to}, State: mail.Queued}
			id := ids.New(now)
			s := queue.Submission{Entry: queue.Entry{ID: id, Message: id, Accepted: now.Add(-time.Hour), Deliveries: queue.Deliveries([]queue.Recipient{r}, now)}}
			if len(g.Submissions) == 0 {
				s.Draft = draft
			} else {
				s.Entry.Body = g.Submissions[0].Entry.ID
			}
			g.Submissions = append(g.Submissions, s)
		}
		if err := store.Accept(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
}

// heap is the memory in use, in octets, when there is no garbage.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// large is a server with a large queue.
type large struct {
	*admin.Client
	store    *embedded.Store
	n        int
	progress int
}

func newLarge(t *testing.T) *large {
	t.Helper()
	store, err := embedded.Open(t.TempDir(), embedded.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	l := &large{store: store, n: queued(t)}
	fill(t, store, l.n)
	_, l.Client = serve(t, admin.Options{Queue: store, Store: store, Status: func() admin.Status { return admin.Status{} }})
	return l
}

func (l *large) told(queue.Progress) { l.progress++ }

// rows is how many rows of entries f has the store read.
func (l *large) rows(t *testing.T, f func()) int {
	t.Helper()
	read := func() uint64 {
		st, err := l.store.Stat(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.RowsRead
	}
	before := read()
	f()
	return int(read() - before)
}

// streamMemory is what a stream may take of memory, in octets, however long it
// is: both ends of it, and the caches of the database.
const streamMemory = 48 << 20

// allocationsPerEntry is how many objects one entry of a listing may cost, both
// ends together.
const allocationsPerEntry = 150

// TestLargeQueue: a long queue is listed, summed up and changed in bounded
// memory, and by reading what must be read.
func TestLargeQueue(t *testing.T) {
	l := newLarge(t)
	some := l.n / largeDestinations
	hold := admin.Edit{Filter: "destination = d7.example", Change: admin.Change{Kind: queue.ChangeHold}}

	var found admin.Selection
	var err error
	rows := l.rows(t, func() { found, err = l.Count(t.Context(), hold, l.told) })
	if err != nil || found.Changes != some || rows != 2*some || l.progress == 0 {
		t.Errorf("count: %+v, %v by %d rows, progress told %d times", found, err, rows, l.progress)
	}
	var done queue.Edited
	rows = l.rows(t, func() { done, err = l.Edit(t.Context(), hold, func(queue.Edited) {}) })
	if err != nil || done.Changed != some || rows != 2*some {
		t.Errorf("hold: %+v, %v by %d rows", done, err, rows)
	}
	l.list(t, "state = held", some)
	l.list(t, "not size > 1M", l.n)

	l.progress = 0
	rows = l.rows(t, func() {
		shape, err := l.Shape(t.Context(), "", 10, l.told)
		if err != nil || shape.Total.Recipients != l.n || len(shape.Rows) != 10 || shape.Total.States[mail.Held] != some || l.progress == 0 {
			t.Errorf("shape: %+v, %v, progress told %d times", shape.Total, err, l.progress)
		}
	})
	if rows != 2*l.n {
		t.Errorf("shape read %d rows", rows)
	}
}

// list lists n entries, and looks at the memory meanwhile.
func (l *large) list(t *testing.T, filter string, n int) {
	t.Helper()
	before, most, count := heap(), int64(0), 0
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	objects := m.Mallocs
	rows := l.rows(t, func() {
		err := l.List(t.Context(), admin.Listing{Filter: filter}, l.told, func(*queue.Entry) error {
			if count++; count%(n/4) == 0 {
				most = max(most, heap()-before)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	runtime.ReadMemStats(&m)
	each := int(m.Mallocs-objects) / n
	t.Logf("%s: %d entries by %d rows, %d objects each, %d KiB of memory at the most", filter, count, rows, each, most>>10)
	if count != n || rows != 2*n || most > streamMemory {
		t.Errorf("%s: %d entries by %d rows in %d KiB", filter, count, rows, most>>10)
	}
	if n == l.n && each > allocationsPerEntry {
		t.Errorf("%s: %d objects for each entry", filter, each)
	}
}
