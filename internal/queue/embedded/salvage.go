package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"postern/internal/mail"
	"postern/internal/pebblefile"
	"postern/internal/queue"
	"postern/internal/seglog"
)

// Past asks somebody else about messages that were in the store: the journal.
type Past func(Question) (History, error)

// Question is what a salvage has to ask.
type Question struct {
	// Kept are the entries that need no asking after.
	Kept map[mail.ID]bool
	// Suspects are entries of which the store cannot tell whether they ended.
	Suspects map[mail.ID]bool
	// Facts are those that the store has, in order of their numbers. They come
	// behind what the journal has, which may have the first of them.
	Facts []mail.Fact
}

// History is what the journal knows.
type History struct {
	// Ended are those of the suspects that have ended.
	Ended map[mail.ID]bool
	// Open are the facts of the acceptance of those entries that have not ended
	// and that are not kept.
	Open []mail.Fact
	// Last is the number of the last fact that it has from the store. It would
	// take another one with that number, or a lower one, for one that it has.
	Last uint64
}

// The directories in which a salvage works. The second is whole: should the
// power go while the database is replaced by it, the next start ends that.
const (
	versionsName  = databaseName + ".versions"
	salvagingName = databaseName + ".salvaging"
	salvagedName  = databaseName + ".salvaged"
)

// Salvage makes a damaged store in a directory, which nobody has open, one
// that opens: from every row that can be read, and from the envelopes that lie
// beside the contents in the body log. The damaged database is kept under
// another name.
//
// An entry of which no row can have been lost stays as it is. One whose state
// is uncertain is held, and one that cannot be put together is set aside.
// Nothing is sent that may have been sent before.
//
// When nothing is damaged nothing is done, and Salvaged.Old is empty. past may
// be nil. Errors: the store is as it was, and Salvage may be called again.
func Salvage(ctx context.Context, dir string, o Options, past Past, progress func(queue.Progress)) (queue.Salvaged, error) {
	s := newStore(dir, o)
	lock, err := s.lockToSalvage()
	if err != nil {
		return queue.Salvaged{}, fmt.Errorf("queue in %s: %w", dir, err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	v := &salvage{
		ctx: ctx, stop: stop, store: s, past: past, tell: progress, now: s.options.Clock.Now(),
		contents: make(map[mail.ID]kept), kept: make(map[mail.ID]bool), used: make(map[mail.ID]bool),
		bodies: make(map[mail.ID]mail.ID),
	}
	err = v.run()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err = errors.Join(err, lock.Close()); err != nil {
		err = fmt.Errorf("queue in %s: %w", dir, err)
	}
	return v.result, err
}

// lockToSalvage locks a directory that holds a store, and ends a salvage that
// was cut short when it was all but done.
func (s *Store) lockToSalvage() (io.Closer, error) {
	if done, err := s.exists(salvagedName); err != nil || !done {
		return s.lockToRead()
	}
	lock, err := lockDirectory(s.options.FS, s.path(lockName))
	if err != nil {
		return nil, err
	}
	if err := s.finishSalvage(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// salvage is one under way.
type salvage struct {
	ctx      context.Context
	stop     func(error) // ends ctx
	store    *Store
	past     Past
	tell     func(queue.Progress)
	progress queue.Progress
	now      time.Time
	result   queue.Salvaged

	source   *pebblefile.Database
	damage   []pebblefile.Damage
	versions *pebble.DB          // every version of every row, newest first
	out      *pebble.DB          // the new database
	contents map[mail.ID]kept    // what the body log has
	kept     map[mail.ID]bool    // entries in the new database, or set aside
	used     map[mail.ID]bool    // bodies in use
	bodies   map[mail.ID]mail.ID // that of an entry, as the rows of uses say
	onTheWay []mail.Fact         // to the journal, in order
	lost     []queue.Flaw        // entries that cannot be put together
	history  History             // by the journal
	facts    []mail.Fact         // of what is done
}

// kept is a content in the body log.
type kept struct {
	place seglog.Place
	head  []byte
}

func (v *salvage) run() (err error) {
	if err := v.store.checkFormat(); err != nil {
		return err
	}
	if v.source, err = v.store.openFiles(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	if err := v.open(); err != nil {
		return err
	}
	for _, step := range []func() error{v.collect, v.chooseNewest, v.walkLog} {
		if err := step(); err != nil {
			return err
		}
	}
	if len(v.damage) == 0 && v.opens() {
		return nil
	}
	for _, step := range []func() error{v.entries, v.orphans, v.clearBodies, v.number, v.replace} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// opens reports whether the store opens as it is.
func (v *salvage) opens() bool {
	s := newStore(v.store.dir, v.store.options)
	s.lock = io.NopCloser(nil) // it is held
	err := s.prepareToRead()
	s.closeToRead()
	return err == nil
}

// open makes the two databases to work with.
func (v *salvage) open() (err error) {
	files := v.store.options.FS
	for _, name := range []string{versionsName, salvagingName, salvagedName} {
		if err := files.RemoveAll(v.store.path(name)); err != nil {
			return err
		}
	}
	if v.versions, err = openDatabase(v.store.path(versionsName), v.options()); err != nil {
		return err
	}
	v.out, err = openDatabase(v.store.path(salvagingName), v.options())
	return err
}

// options are those of the two databases. What Pebble cannot write it tries
// again for ever, on a full disk too; a salvage ends instead.
func (v *salvage) options() *pebble.Options {
	o := v.store.pebbleOptions()
	o.DisableWAL = true // it is begun anew if it is not finished
	o.EventListener = &pebble.EventListener{BackgroundError: func(err error) {
		v.stop(fmt.Errorf("cannot write the new database: %w", err))
	}}
	return o
}

// close closes what is open, and removes what is only in the way by now.
func (v *salvage) close() error {
	var errs []error
	for _, db := range []*pebble.DB{v.versions, v.out} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	for _, name := range []string{versionsName, salvagingName} {
		errs = append(errs, v.store.options.FS.RemoveAll(v.store.path(name)))
	}
	return errors.Join(errs...)
}

// versionKey sorts the versions of a key behind each other, the newest first.
func versionKey(key []byte, seq uint64) []byte {
	k := binary.BigEndian.AppendUint32(nil, uint32(len(key)))
	return binary.BigEndian.AppendUint64(append(k, key...), math.MaxUint64-seq)
}

// collect reads every row.
func (v *salvage) collect() (err error) {
	for _, f := range v.source.Files {
		v.progress.Total += f.Size
	}
	paths, err := seglog.Files(v.store.options.FS, v.store.path(bodiesName))
	if err != nil {
		return err
	}
	for _, p := range paths {
		if info, err := v.store.options.FS.Stat(p); err == nil {
			v.progress.Total += info.Size()
		}
	}
	v.damage, err = v.source.Read(func(r pebblefile.Row) error {
		value := append([]byte{boolByte(r.Gone)}, r.Value...)
		return errors.Join(v.versions.Set(versionKey(r.Key, r.Seq), value, pebble.NoSync), v.ctx.Err())
	}, func(f pebblefile.File) { v.did(f.Size) })
	for _, d := range v.damage {
		v.result.Found.Add(queue.Flaw{File: d.Path, Offset: d.Offset, Cause: d.Cause})
	}
	return err
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (v *salvage) did(octets int64) {
	v.progress.Done += octets
	v.tell(v.progress)
}

// chooseNewest copies the newest version of each row, unless it says that the
// row is gone. Uses are counted anew.
func (v *salvage) chooseNewest() error {
	var last []byte
	for p, err := range scan(v.versions, nil, nil) {
		if err = errors.Join(err, v.ctx.Err()); err != nil {
			return err
		}
		k := p.key[4 : len(p.key)-8]
		if bytes.Equal(k, last) {
			continue
		}
		last = append(last[:0], k...)
		if p.value[0] == 1 || k[0] == usePrefix || k[0] == versionPrefix {
			continue
		}
		if k[0] == factPrefix {
			if f, err := decodeFact(k, p.value[1:]); err == nil {
				v.onTheWay = append(v.onTheWay, f)
			}
		}
		if err := v.out.Set(k, p.value[1:], pebble.NoSync); err != nil {
			return err
		}
	}
	return nil
}

// ended reports whether the newest version of an entry's header says that the
// entry has gone.
func (v *salvage) ended(id mail.ID) (bool, error) {
	k := key(headerPrefix, id)
	for p, err := range scan(v.versions, versionKey(k, math.MaxUint64), versionKey(k, 0)) {
		if err != nil {
			return false, err
		}
		return p.value[0] == 1, nil
	}
	return false, nil
}

// uncertain reports whether a row of an entry may be lost, or an older one
// taken for the newest.
func (v *salvage) uncertain(id mail.ID) bool {
	return v.source.Unsettled || v.touched(key(headerPrefix, id), append(key(headerPrefix, id), 0)) ||
		v.touched(partKey(deliveryPrefix, id, ""), after(partKey(deliveryPrefix, id, ""))) ||
		v.touched(partKey(pendingPrefix, id, ""), after(partKey(pendingPrefix, id, "")))
}

// touched reports whether a row from lower up to, not including, upper may be
// lost.
func (v *salvage) touched(lower, upper []byte) bool {
	for i := range v.damage {
		if v.damage[i].Touches(lower, upper) {
			return true
		}
	}
	return false
}

// walkLog takes stock of the body log. Of a content that was moved both
// copies may be there.
func (v *salvage) walkLog() error {
	files := v.store.options.FS
	paths, err := seglog.Files(files, v.store.path(bodiesName))
	if err != nil {
		return err
	}
	for _, path := range paths {
		err := seglog.Walk(files, path, func(f seglog.Found) error {
			v.did(f.Place.Head + f.Place.Size)
			if f.Err == nil {
				v.contents[f.ID] = kept{f.Place, bytes.Clone(f.Head)}
			}
			return v.ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// replace puts the new database in the place of the old one.
func (v *salvage) replace() error {
	err := errors.Join(v.out.Set([]byte{versionPrefix}, encodeNumber(formatVersion), pebble.NoSync), v.flush())
	if err != nil {
		return err
	}
	err = v.out.Close()
	v.out = nil
	if err = errors.Join(err, v.store.failure.get()); err != nil { // Pebble tells of some failures by Fatalf alone
		return err
	}
	files := v.store.options.FS
	name := databaseName + ".damaged-" + v.now.UTC().Format("20060102T150405")
	if err := files.Rename(v.store.path(salvagingName), v.store.path(salvagedName)); err != nil {
		return err
	}
	if err := syncDirectory(files, v.store.dir); err != nil {
		return err
	}
	if err := files.MkdirAll(v.store.path(databaseName), 0o700); err != nil { // it may be missing
		return err
	}
	if err := files.Rename(v.store.path(databaseName), v.store.path(name)); err != nil {
		return err
	}
	v.result.Old = v.store.path(name)
	return v.store.finishSalvage()
}

// flush makes the new database durable.
func (v *salvage) flush() error {
	flushed, err := v.out.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-flushed:
		return v.ctx.Err()
	case <-v.ctx.Done():
		return v.ctx.Err()
	}
}

// finishSalvage gives a salvaged database its name, when there is no other.
func (s *Store) finishSalvage() error {
	files := s.options.FS
	if found, err := s.exists(databaseName); found || err != nil {
		return err
	}
	if found, err := s.exists(salvagedName); !found || err != nil {
		return err
	}
	if err := files.Rename(s.path(salvagedName), s.path(databaseName)); err != nil {
		return err
	}
	return syncDirectory(files, s.dir)
}
