package embedded_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// slowDisk is a file system whose log is synced only when the test says so.
type slowDisk struct {
	vfs.FS
	log     string // the end of its files' names
	mu      sync.Mutex
	slow    bool
	syncs   int
	asked   chan struct{} // receives when a sync begins
	granted chan struct{} // send to let it end
}

func newSlowDisk() *slowDisk {
	d := &slowDisk{log: ".log", asked: make(chan struct{}), granted: make(chan struct{})}
	d.FS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			if strings.HasSuffix(op.Path, d.log) {
				d.wait()
			}
		}
		return nil
	}))
	return d
}

func (d *slowDisk) wait() {
	d.mu.Lock()
	d.syncs++
	slow := d.slow
	d.mu.Unlock()
	if slow {
		d.asked <- struct{}{}
		<-d.granted
	}
}

// set makes the disk slow, or not, and counts its syncs from now.
func (d *slowDisk) set(slow bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow, d.syncs = slow, 0
}

func (d *slowDisk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// TestVisibleIsNotDurable: before the sync has ended nobody sees what is
// being stored, though Pebble shows it.
func TestVisibleIsNotDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newSlowDisk()
		s := open(t, "queue", embedded.Options{FS: disk, Clock: mail.NewManualClock(noon)})
		defer closeStore(t, s)
		accepted := make(chan error, 1)
		seen := func() (facts, due, answers int) {
			f, err := s.NextFacts(t.Context(), 0, 10)
			mailtest.Must(t, err)
			agenda, err := s.Due(t.Context(), noon, 10)
			mailtest.Must(t, err)
			return len(f), len(agenda.Destinations), len(accepted)
		}
		disk.set(true)
		go func() { accepted <- submit(t.Context(), s, entryTo(smallID, "one.example")) }()
		<-disk.asked
		synctest.Wait()
		if facts, due, answers := seen(); facts+due+answers != 0 {
			t.Errorf("before the sync: %d facts, %d destinations due, %d answers", facts, due, answers)
		}
		disk.set(false)
		disk.granted <- struct{}{}
		synctest.Wait()
		if facts, due, answers := seen(); facts != 1 || due != 1 || answers != 1 {
			t.Errorf("after the sync: %d facts, %d destinations due, %d answers", facts, due, answers)
		}
		mailtest.Must(t, <-accepted)
	})
}

// TestGroupCommit: whoever comes while a sync is under way shares the next.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newSlowDisk()
		s := open(t, "queue", embedded.Options{FS: disk})
		defer closeStore(t, s)
		var ids mail.IDs
		errs := make(chan error, 100)
		send := func() {
			id := ids.New(noon)
			go func() {
				errs <- s.Accept(t.Context(), queue.Group{Facts: []mail.Fact{{Time: noon, Reason: mail.ReasonRefused, Session: id}}})
			}()
		}
		disk.set(true)
		send()
		<-disk.asked
		for range 50 {
			send()
		}
		synctest.Wait() // all of them wait for the committer
		disk.set(false)
		disk.granted <- struct{}{}
		for range 51 {
			mailtest.Must(t, <-errs)
		}
		if n := disk.count(); n != 1 {
			t.Errorf("%d syncs for what came during one, want 1", n)
		}
		facts, err := s.NextFacts(t.Context(), 0, 100)
		if err != nil || len(facts) != 51 || facts[50].N != 51 {
			t.Errorf("%d facts, %v", len(facts), err)
		}
	})
}

// inOneGroup has the calls wait for the committer, in their order, and then
// lets it take them together. It returns their errors and the syncs it took.
func inOneGroup(t *testing.T, s *embedded.Store, disk *slowDisk, calls ...func() error) (errs []error, syncs int) {
	disk.set(true)
	first := make(chan error, 1)
	go func() {
		first <- s.Accept(t.Context(), queue.Group{Facts: []mail.Fact{{Time: noon, Reason: mail.ReasonRefused}}})
	}()
	<-disk.asked
	results := make([]chan error, len(calls))
	for i, call := range calls {
		results[i] = make(chan error, 1)
		go func() { results[i] <- call() }()
		synctest.Wait()
	}
	disk.set(false)
	disk.granted <- struct{}{}
	mailtest.Must(t, <-first)
	for _, r := range results {
		errs = append(errs, <-r)
	}
	return errs, disk.count()
}

// TestMixedGroup: in one group with changes that need no sync, those that do
// are synced.
func TestMixedGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newSlowDisk()
		s := open(t, "queue", embedded.Options{FS: disk})
		defer closeStore(t, s)
		forget := func() error { return s.ForgetFacts(t.Context(), 1) }
		accept := func() error { return submit(t.Context(), s, entryTo(smallID, "one.example")) }
		errs, syncs := inOneGroup(t, s, disk, forget, accept, func() error { return s.ForgetFacts(t.Context(), 2) })
		if err := errors.Join(errs...); err != nil || syncs != 1 {
			t.Errorf("%d syncs, %v; want 1", syncs, err)
		}
		errs, syncs = inOneGroup(t, s, disk, func() error { return s.ForgetFacts(t.Context(), 9) })
		if err := errors.Join(errs...); err != nil || syncs != 0 {
			t.Errorf("%d syncs for what needs none, %v", syncs, err)
		}
	})
}

// TestSameEntryInOneGroup: the second of two callers with one id is refused,
// though nothing of the first is durable when it asks.
func TestSameEntryInOneGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newSlowDisk()
		s := open(t, "queue", embedded.Options{FS: disk})
		defer closeStore(t, s)
		mailtest.Must(t, submit(t.Context(), s, entryTo(otherID, "other.example")))
		accept := func(domain string) func() error {
			e := entryTo(smallID, domain)
			e.Body = otherID
			return func() error { return s.Accept(t.Context(), queue.Group{Submissions: []queue.Submission{{Entry: e}}}) }
		}
		errs, _ := inOneGroup(t, s, disk, accept("one.example"), accept("two.example"))
		if errs[0] != nil || !errors.Is(errs[1], queue.ErrInvalid) {
			t.Errorf("errors are %v, want none and ErrInvalid", errs)
		}
		e, err := s.Get(t.Context(), smallID)
		if err != nil || len(e.Deliveries) != 1 || e.Deliveries[0].Destination != "one.example" {
			t.Errorf("stored is %+v, %v", e, err)
		}
	})
}

// TestCancelledBeforeCommit: a caller that gives up while the committer is
// busy and its backlog full is let go, and nothing of it is stored.
func TestCancelledBeforeCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newSlowDisk()
		s := open(t, "queue", embedded.Options{FS: disk})
		defer closeStore(t, s)
		accept := func(ctx context.Context) error {
			return s.Accept(ctx, queue.Group{Facts: []mail.Fact{{Time: noon, Reason: mail.ReasonRefused}}})
		}
		disk.set(true)
		const callers = 400 // more than the backlog takes
		errs := make(chan error, callers)
		go func() { errs <- accept(t.Context()) }()
		<-disk.asked
		ctx, cancel := context.WithCancel(t.Context())
		for range callers - 1 {
			go func() { errs <- accept(ctx) }()
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		disk.set(false)
		disk.granted <- struct{}{}
		stored := 0
		for range callers {
			switch err := <-errs; {
			case err == nil:
				stored++
			case !errors.Is(err, context.Canceled):
				t.Errorf("accept: %v", err)
			}
		}
		facts, err := s.NextFacts(t.Context(), 0, 2*callers)
		if err != nil || len(facts) != stored || stored == callers {
			t.Errorf("%d facts of %d that were acknowledged, %v", len(facts), stored, err)
		}
	})
}

// TestCloseWaits: a commit under way ends before the store does.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newSlowDisk()
		s := open(t, "queue", embedded.Options{FS: disk, Clock: mail.NewManualClock(noon)})
		disk.set(true)
		accepted, closed := make(chan error, 1), make(chan error, 1)
		go func() { accepted <- submit(t.Context(), s, entryTo(smallID, "one.example")) }()
		<-disk.asked
		go func() { closed <- s.Close() }()
		synctest.Wait()
		if len(closed) != 0 {
			t.Error("closed during a commit")
		}
		if err := submit(t.Context(), s, entryTo(otherID, "one.example")); !errors.Is(err, queue.ErrClosed) {
			t.Errorf("accept while closing: %v, want ErrClosed", err)
		}
		disk.set(false)
		disk.granted <- struct{}{}
		mailtest.Must(t, <-accepted)
		mailtest.Must(t, <-closed)
		s = open(t, "queue", embedded.Options{FS: disk, Clock: mail.NewManualClock(noon)})
		defer closeStore(t, s)
		if _, err := s.Get(t.Context(), smallID); err != nil {
			t.Errorf("get: %v", err)
		}
	})
}

// TestLatency: a sync that hangs shows while it does, in the database and in
// the body log; what needs no sync is no measure of the disk.
func TestLatency(t *testing.T) {
	for log, inline := range map[string]int64{".log": 0, ".seg": -1} {
		synctest.Test(t, func(t *testing.T) {
			disk := newSlowDisk()
			disk.log = log
			s := open(t, "queue", embedded.Options{FS: disk, InlineSize: inline})
			defer closeStore(t, s)
			time.Sleep(time.Minute) // what opening took has faded
			disk.set(true)
			accepted := make(chan error, 1)
			go func() { accepted <- submit(t.Context(), s, entryTo(smallID, "one.example")) }()
			<-disk.asked
			time.Sleep(3 * time.Second)
			wantLatency(t, s, 3*time.Second, log+" hangs")
			if got := s.Stalled(); got != 3*time.Second {
				t.Errorf("while %s hangs it is stalled for %s", log, got)
			}
			disk.set(false)
			disk.granted <- struct{}{}
			mailtest.Must(t, <-accepted)
			mailtest.Must(t, s.ForgetFacts(t.Context(), 1))
			wantLatency(t, s, 3*time.Second, log+" went on")
			time.Sleep(time.Minute)
			wantLatency(t, s, 0, "a minute after "+log)
			if got := s.Stalled(); got != 0 {
				t.Errorf("a minute after %s it is stalled for %s", log, got)
			}
		})
	}
}

func wantLatency(t *testing.T, s *embedded.Store, want time.Duration, when string) {
	t.Helper()
	if got := s.Latency(); got != want {
		t.Errorf("%s: %v, want %v", when, got, want)
	}
}

// TestSettledWhileMoved: a content may be moved and not be needed any more in
// one commit. Each of its places is freed once.
func TestSettledWhileMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newSlowDisk()
		s := open(t, "queue", embedded.Options{FS: disk, Clock: mail.NewManualClock(noon), InlineSize: -1, SegmentSize: 4000})
		defer closeStore(t, s)
		var ids mail.IDs
		for _, size := range []int{500, 4000, 500} { // the third begins another segment
			mailtest.Must(t, submitContent(t.Context(), s, entryTo(ids.New(noon), "one.example"), make([]byte, size)))
		}
		leases, err := s.Claim(t.Context(), "one.example", 3, noon, noon.Add(time.Hour))
		mailtest.Must(t, err)
		done := make(chan error, 3)
		end := func(l queue.Lease) { go func() { done <- settleAs(t.Context(), s, l, mail.Delivered) }() }

		disk.set(true)
		end(leases[1])
		<-disk.asked
		go func() {
			done <- s.Accept(t.Context(), queue.Group{Facts: []mail.Fact{{Time: noon, Reason: mail.ReasonRefused}}})
		}()
		synctest.Wait()
		disk.granted <- struct{}{} // the large one has gone, and the small one beside it is copied
		<-disk.asked
		synctest.Wait() // its move waits for the commit of the fact
		end(leases[0])
		synctest.Wait()
		disk.set(false)
		disk.granted <- struct{}{}
		for range 3 {
			mailtest.Must(t, <-done)
		}
		synctest.Wait()
		st, err := s.Stat(t.Context())
		mailtest.Must(t, err)
		if st.Moved != 1 {
			t.Errorf("%d contents were moved, want 1", st.Moved)
		}
		for _, g := range st.Segments {
			if want := map[bool]int{true: 1}[g.Active]; g.Bodies != want || (g.Live != 0) != (want != 0) {
				t.Errorf("segment %+v, want %d contents", g, want)
			}
		}
		mailtest.Must(t, settleAs(t.Context(), s, leases[2], mail.Delivered))
	})
}
