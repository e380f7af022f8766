package embedded_test

import (
	"bytes"
	"fmt"
	"strings"
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

// backlogs are the numbers of deferred entries for which work is compared.
var backlogs = []int{0, 2_000, 20_000}

// counting is a file system that counts what is read.
type counting struct {
	vfs.FS
	reads  atomic.Int64 // of any file
	bodies atomic.Int64 // of the body log
}

func newCounting() *counting {
	c := &counting{}
	c.FS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileRead || op.Kind == errorfs.OpFileReadAt {
			c.reads.Add(1)
			if strings.Contains(op.Path, "bodies") {
				c.bodies.Add(1)
			}
		}
		return nil
	}))
	return c
}

// backlogOptions put contents over inline octets into the body log.
func backlogOptions(files vfs.FS, inline int64) embedded.Options {
	return embedded.Options{FS: files, Clock: mail.NewManualClock(noon), InlineSize: inline, Reserve: -1}
}

// waits is the content of what is deferred.
var waits = bytes.Repeat([]byte("text\r\n"), 200)

// deferredStore is a store with n entries that were attempted once and are due
// in an hour, opened again so that they lie in the tables.
func deferredStore(t testing.TB, files vfs.FS, n int, inline int64) *embedded.Store {
	t.Helper()
	s := open(t, "queue", backlogOptions(files, inline))
	const together = 1000
	for made := 0; made < n; made += together {
		acceptMany(t, s, made, min(together, n-made))
		deferAll(t, s)
	}
	for range 2 { // the first start may still write what the log holds into tables
		mailtest.Must(t, s.Close())
		s = open(t, "queue", backlogOptions(files, inline))
	}
	return s
}

// acceptMany accepts n entries to several hundred destinations in one group.
func acceptMany(t testing.TB, s *embedded.Store, first, n int) {
	t.Helper()
	var group queue.Group
	for i := first; i < first+n; i++ {
		d, err := s.Create(t.Context())
		mailtest.Must(t, err)
		_, err = d.Write(waits)
		mailtest.Must(t, err)
		e := entryTo(mail.ID(fmt.Sprintf("%016d", i)), fmt.Sprintf("d%d.example", i%300))
		group.Submissions = append(group.Submissions, queue.Submission{Entry: e, Draft: d})
	}
	mailtest.Must(t, s.Accept(t.Context(), group))
}

// deferAll attempts all that is due in vain. All is settled at once: a store waits a
// moment with each settlement for others to be synced with.
func deferAll(t testing.TB, s *embedded.Store) {
	t.Helper()
	agenda, err := s.Due(t.Context(), noon, 1000)
	mailtest.Must(t, err)
	var settlements []queue.Settlement
	for _, due := range agenda.Destinations {
		leases, err := s.Claim(t.Context(), due.Destination, due.Count, noon, noon.Add(time.Minute))
		mailtest.Must(t, err)
		for _, l := range leases {
			outcome := mail.Outcome{State: mail.Deferred, Attempt: l.Attempt(), At: noon, Reply: mail.Reply{Code: 451, Enhanced: "4.2.1", Text: "not now"}}
			settlements = append(settlements, queue.Settlement{Lease: l, Next: noon.Add(time.Hour), Outcomes: []mail.Outcome{outcome}})
		}
	}
	mailtest.Must(t, s.Settle(t.Context(), settlements))
}

// passOne lets one message pass through the queue, and its facts into the
// journal.
func passOne(t *testing.T, s *embedded.Store, id mail.ID, content []byte) {
	t.Helper()
	mailtest.Must(t, acceptOne(t.Context(), s, id, content))
	agenda, err := s.Due(t.Context(), noon, 100)
	if err != nil || len(agenda.Destinations) != 1 {
		t.Fatalf("due are %v, %v; want the one message", agenda.Destinations, err)
	}
	leases, err := s.Claim(t.Context(), "one.example", 1, noon, noon.Add(time.Minute))
	mailtest.Must(t, err)
	_, err = readBody(s, leases[0].Entry.Body)
	mailtest.Must(t, err)
	mailtest.Must(t, settleAs(t.Context(), s, leases[0], mail.Delivered))
	facts, err := s.NextFacts(t.Context(), 0, 100)
	mailtest.Must(t, err)
	mailtest.Must(t, s.ForgetFacts(t.Context(), facts[len(facts)-1].N))
}

// TestBacklogCostsNothing: what a message costs on its way through the queue
// does not depend on how much waits there.
func TestBacklogCostsNothing(t *testing.T) {
	const messages = 200
	for name, size := range map[string]int{"content in the database": 1 << 10, "content in the body log": 20 << 10} {
		var allocations, blocks []int
		for _, n := range backlogs {
			files := newCounting()
			s := deferredStore(t, files, n, 0)
			var ids mail.IDs
			pass := func() { passOne(t, s, ids.New(noon), make([]byte, size)) }
			pass() // the first opens what the others use
			reads, seen := files.reads.Load(), embedded.BlocksRead(s)
			allocations = append(allocations, int(testing.AllocsPerRun(messages, pass)))
			blocks = append(blocks, embedded.BlocksRead(s)-seen)
			if got := files.reads.Load() - reads; got != 0 {
				t.Errorf("%s, %d deferred: %d reads of files for %d messages; want none", name, n, got, messages)
			}
			mailtest.Must(t, s.Close())
		}
		t.Logf("%s: with %v deferred %v allocations a message, %v blocks for %d messages", name, backlogs, allocations, blocks, messages)
		// Some are made in the background: one in fifty.
		if most := allocations[0] + allocations[0]/50; allocations[1] > most || allocations[2] > most {
			t.Errorf("%s: with %v deferred %v allocations a message", name, backlogs, allocations)
		}
		// Where there are tables, the end of the facts is looked up in them.
		if blocks[2] > blocks[1]+blocks[1]/50 {
			t.Errorf("%s: with %v deferred %v blocks are read", name, backlogs, blocks)
		}
	}
}

// TestStartReadsRowsOnce: to open a store reads the rows of its deliveries
// once, and no content, wherever that lies.
func TestStartReadsRowsOnce(t *testing.T) {
	const few = 50 // blocks that are no rows: indexes and properties of the tables
	for _, n := range backlogs {
		files := newCounting()
		s := deferredStore(t, files, n, -1)
		rows, read := embedded.DataBlocks(t, s), embedded.BlocksRead(s)
		if read > rows+rows/20+few {
			t.Errorf("%d deferred: %d blocks read, and there are %d", n, read, rows)
		}
		if got := files.bodies.Load(); got != 0 {
			t.Errorf("%d deferred: %d reads of the body log", n, got)
		}
		mailtest.Must(t, s.Close())
		s = deferredStore(t, newCounting(), n, 0) // where contents lie among the rows
		if got := embedded.BlocksRead(s); got > read+read/20+few {
			t.Errorf("%d deferred: %d blocks read with contents in the database, %d without", n, got, read)
		}
		t.Logf("%d deferred: %d blocks read of %d; of %d with contents in the database", n, read, rows, embedded.DataBlocks(t, s))
		mailtest.Must(t, s.Close())
	}
}

// BenchmarkOpen opens a store with deferred entries; b.N does not count them.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("deferred=%d", n), func(b *testing.B) {
			b.Chdir(b.TempDir())
			mailtest.Must(b, deferredStore(b, vfs.Default, n, 0).Close())
			b.ReportAllocs()
			for b.Loop() {
				s, err := embedded.Open("queue", backlogOptions(vfs.Default, 0))
				mailtest.Must(b, err)
				mailtest.Must(b, s.Close())
			}
		})
	}
}
