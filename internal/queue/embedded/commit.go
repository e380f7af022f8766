package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/crashpoint"
	"postern/internal/mail"
	"postern/internal/pebblefile"
	"postern/internal/queue"
	"postern/internal/seglog"
)

// change is what one caller wants committed. The caller encodes it; the
// committer only joins it with others.
type change struct {
	batch  *pebble.Batch
	facts  []recorded // in order; they are numbered at the commit
	enter  []entering
	leave  []leaving
	moving *moving
	forget uint64 // the last fact to be forgotten
	lazy   bool   // it needs no sync
	// patient says that nobody waits at the wire for it: see patience.
	patient bool
	drafts  []*draft
	err     error    // the first of building it
	done    []func() // run once it is durable, before its caller goes on

	result chan error
}

// entering is an entry that is stored.
type entering struct {
	entry mail.ID
	body  mail.ID
	// brings is the place of the body that comes with it; nil when it uses
	// one that is stored.
	brings *place
}

// leaving is an entry whose last recipient is final.
type leaving struct{ entry, body mail.ID }

// moving is a body that goes to another place in the body log.
type moving struct {
	body     mail.ID
	from, to seglog.Place
}

func (s *Store) newChange() *change {
	return &change{batch: s.db.NewBatch(), result: make(chan error, 1)}
}

func (c *change) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// set stores a value as JSON. What cannot be encoded is the caller's fault: a
// time behind the year 9999.
func (c *change) set(key []byte, value any) {
	encoded, err := json.Marshal(value)
	if err != nil {
		c.fail(fmt.Errorf("%w: %w", queue.ErrInvalid, err))
		return
	}
	c.setBytes(key, encoded)
}

// setDelivery stores a delivery of an entry with that body and class.
func (c *change) setDelivery(id, body mail.ID, class mail.Class, d *queue.Delivery) {
	encoded, err := encodeDelivery(body, class, d)
	if err != nil {
		c.fail(err)
		return
	}
	c.setBytes(partKey(deliveryPrefix, id, string(d.Destination)), encoded)
}

func (c *change) setBytes(key, value []byte) {
	if err := c.batch.Set(key, value, nil); err != nil {
		c.fail(err)
	}
}

func (c *change) remove(key []byte) {
	if err := c.batch.Delete(key, nil); err != nil {
		c.fail(err)
	}
}

// removeOnce removes what was set just once. Both the value and its deletion
// are gone when they meet, where a plain deletion would stay and be walked.
func (c *change) removeOnce(key []byte) {
	if err := c.batch.SingleDelete(key, nil); err != nil {
		c.fail(err)
	}
}

// usualFact is more octets than most facts take.
const usualFact = 512

// record adds facts.
func (c *change) record(facts []mail.Fact) {
	if len(facts) == 0 {
		return
	}
	c.facts = slices.Grow(c.facts, len(facts))
	buffer := make([]byte, 0, usualFact*len(facts)) // of all
	for i := range facts {
		start := len(buffer)
		var err error
		if buffer, err = mail.AppendFact(buffer, &facts[i]); err != nil {
			c.fail(fmt.Errorf("%w: fact about message %q: %w", queue.ErrInvalid, facts[i].Message, err))
			return
		}
		c.facts = append(c.facts, recorded{facts[i], buffer[start:]})
	}
}

// after has f run once the change is durable.
func (c *change) after(f func()) { c.done = append(c.done, f) }

func (c *change) empty() bool {
	return c.batch.Empty() && len(c.facts) == 0 && c.forget == 0
}

// commit makes a change durable and takes its drafts. Until it is handed to
// the committer ctx may end it.
func (s *Store) commit(ctx context.Context, c *change) error {
	err := c.err
	switch {
	case err != nil:
	case c.empty():
		c.finish()
	default:
		err = s.submit(ctx, c)
	}
	if err != nil {
		return err // the batch is not closed: a committer that hangs may still read it
	}
	for _, d := range c.drafts {
		d.release()
	}
	return c.batch.Close()
}

// submit hands a change to the committer and waits for what comes of it.
func (s *Store) submit(ctx context.Context, c *change) error {
	if err := s.enqueue(ctx, c); err != nil {
		return err
	}
	select {
	case err := <-c.result:
		return err
	case <-s.failure.done: // the committer may hang in Pebble
		return s.failure.get()
	}
}

// enqueue hands a change to the committer.
func (s *Store) enqueue(ctx context.Context, c *change) error {
	select {
	case s.changes <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.failure.done:
		return s.failure.get()
	}
}

func (c *change) finish() {
	for _, f := range c.done {
		f()
	}
}

// maxGroup bounds, in octets, how much is committed together.
const maxGroup = 8 << 20

// patience is how long a change that nobody waits for at the wire, which is a
// settlement, waits for one to be synced with. The syncs of the disk follow
// each other: one more for the last message would be in the way of the next
// one's acceptance. It is less than many disks take for a sync.
//
// More than fewPatient have a sync of their own at once: with many sessions
// what comes meanwhile gathers behind it, and it keeps nobody waiting.
const (
	patience   = 2 * time.Millisecond
	fewPatient = 2
)

// commitAll is the committer. It ends when the store is closed.
func (s *Store) commitAll() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	batch := s.db.NewBatch() // one for all groups, so that it need not grow again
	for first := range s.changes {
		g := group{changes: []*change{first}, size: first.batch.Len()}
		g.gather(s.changes)
		if g.patient() {
			timer.Reset(patience)
			g.wait(s.changes, timer.C)
		}
		batch.Reset()
		s.commitGroup(g.changes, batch)
	}
	_ = batch.Close() // which frees memory
}

// group is what is committed together.
type group struct {
	changes []*change
	size    int
	closed  bool // nothing more can come
}

// gather takes what waits.
func (g *group) gather(from <-chan *change) {
	for g.size < maxGroup && !g.closed {
		select {
		case c, open := <-from:
			g.add(c, open)
		default:
			return
		}
	}
}

// wait lets a patient group wait for one that is not.
func (g *group) wait(from <-chan *change, over <-chan time.Time) {
	for g.size < maxGroup && !g.closed && g.patient() {
		select {
		case c, open := <-from:
			g.add(c, open)
			g.gather(from)
		case <-over:
			return
		}
	}
}

func (g *group) add(c *change, open bool) {
	if g.closed = !open; open {
		g.changes = append(g.changes, c)
		g.size += c.batch.Len()
	}
}

// patient reports whether the group waits: somebody needs a sync, and all who
// do are patient, and few.
func (g *group) patient() bool {
	if len(g.changes) > fewPatient {
		return false
	}
	some := false
	for _, c := range g.changes {
		if !c.patient && !c.lazy {
			return false
		}
		some = some || c.patient
	}
	return some
}

// commitGroup commits changes together, in a batch that is empty.
func (s *Store) commitGroup(group []*change, batch *pebble.Batch) {
	began := s.grouped.begin()
	defer s.grouped.end(began)
	s.committing <- struct{}{}
	defer func() { <-s.committing }()
	joined := joining{store: s, batch: batch, entered: make(map[mail.ID]bool), last: s.facts.last}
	for _, c := range group {
		joined.add(c)
	}
	err := joined.write()
	for _, c := range joined.changes {
		if err == nil {
			c.finish()
		}
		c.result <- err
	}
}

// joining is a group on its way into one batch.
type joining struct {
	store   *Store
	batch   *pebble.Batch
	changes []*change // that are in it
	entered map[mail.ID]bool
	last    uint64      // number of the last fact
	facts   []mail.Fact // that are in it, with their numbers
	sync    bool
	key     []byte // of a fact; used again and again
}

// add joins a change, or answers it when what is stored by now forbids it.
func (j *joining) add(c *change) {
	if err := j.admit(c); err != nil {
		c.result <- err
		return
	}
	// Errors of a batch are errors of the program or of memory: none of the
	// group may be committed then.
	if err := errors.Join(j.batch.Apply(c.batch, nil), j.account(c), j.number(c), j.forget(c)); err != nil {
		_ = j.store.failure.happen(err)
	}
	j.changes = append(j.changes, c)
	j.sync = j.sync || !c.lazy || len(c.facts) > 0 // facts are shown, and must not come undone
}

// admit checks a change against what is committed before it.
func (j *joining) admit(c *change) error {
	if m := c.moving; m != nil && !j.store.ledger.at(m.body, m.from) {
		return errMovedOn
	}
	brought := make(map[mail.ID]bool)
	for _, e := range c.enter {
		if j.entered[e.entry] || j.store.index.Has(e.entry) || e.brings != nil && j.store.ledger.has(e.body) {
			return fmt.Errorf("%w: entry %q is already stored", queue.ErrInvalid, e.entry)
		}
		if e.brings != nil {
			brought[e.body] = true
		} else if !brought[e.body] && !j.store.ledger.has(e.body) {
			return fmt.Errorf("entry %q: body %q: %w", e.entry, e.body, queue.ErrNotFound)
		}
	}
	return nil
}

// account keeps count of the uses of bodies, and removes those without any.
func (j *joining) account(c *change) error {
	if m := c.moving; m != nil {
		j.store.ledger.move(m.body, m.to) // now: who leaves behind it in the group leaves the new place
	}
	for _, e := range c.enter {
		j.entered[e.entry] = true
		if e.brings != nil {
			j.store.ledger.enter(e.body, *e.brings)
		}
		j.store.ledger.use(e.body)
	}
	for _, l := range c.leave {
		last, gone := j.store.ledger.leave(l.body)
		if !gone {
			continue
		}
		if err := removeBody(j.batch, last); err != nil {
			return err
		}
		if !last.unplaced {
			c.after(func() { j.store.reclaimer.free(last.id, last.place) })
		}
	}
	return nil
}

// removeBody deletes what the database has of a body. Its content was set
// once, so that a single deletion makes both disappear.
func removeBody(b *pebble.Batch, body stored) error {
	err := b.Delete(key(placePrefix, body.id), nil)
	if body.unplaced || body.place.inline {
		err = errors.Join(err, b.SingleDelete(key(contentPrefix, body.id), nil))
	}
	return err
}

func (j *joining) number(c *change) error {
	for _, f := range c.facts {
		j.last++
		j.key = appendFactKey(j.key[:0], j.last)
		if err := j.batch.Set(j.key, f.encoded, nil); err != nil {
			return err
		}
		f.fact.Source, f.fact.N = queue.FactSource, j.last
		j.facts = append(j.facts, f.fact)
	}
	return nil
}

// forget deletes facts one by one: they are few, and ranges that were deleted
// slow every later read.
func (j *joining) forget(c *change) error {
	facts := &j.store.facts
	if c.forget <= facts.forgotten {
		return nil
	}
	for n := facts.forgotten + 1; n <= min(c.forget, j.last); n++ {
		j.key = appendFactKey(j.key[:0], n)
		if err := j.batch.SingleDelete(j.key, nil); err != nil {
			return err
		}
	}
	facts.forgotten, j.last = c.forget, max(j.last, c.forget)
	return j.batch.Set([]byte{forgottenPrefix}, encodeNumber(c.forget), nil)
}

// write commits the batch.
func (j *joining) write() error {
	if err := j.batch.LogData(pebblefile.Promise(j.store.promised), nil); err != nil {
		return j.store.failure.happen(err)
	}
	if err := j.apply(); err != nil {
		return err
	}
	if j.sync {
		j.store.promised = uint64(j.batch.SeqNum()) + uint64(j.batch.Count())
	}
	crashpoint.Reach(crashpoint.Committed)
	j.store.facts.durable(j.last, j.facts)
	j.store.facts.forget(j.store.facts.forgotten)
	return nil
}

// apply writes the batch, and waits for the disk if anything in it asks for
// that.
func (j *joining) apply() error {
	if !j.sync {
		return j.store.write(j.batch, pebble.NoSync)
	}
	began := j.store.committed.begin()
	defer j.store.committed.end(began)
	defer j.store.options.Metrics.committed(began, len(j.changes))
	return j.store.write(j.batch, pebble.Sync)
}

// write applies a batch. It fails only with ErrUnknown, and then for good; or
// it does not return (see guard), which is why only the committer calls it
// once the store is open.
func (s *Store) write(b *pebble.Batch, options *pebble.WriteOptions) error {
	if err := s.failure.get(); err != nil {
		return err
	}
	if err := s.db.Apply(b, options); err != nil {
		return s.failure.happen(err)
	}
	return s.failure.get() // Pebble tells of a failed commit by Fatalf alone
}
