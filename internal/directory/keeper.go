package directory

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// writeEvery is how long at least lies between two writes of what is written behind.
const writeEvery = time.Second

// usage is what is known of the use of a user: when it was authenticated last, in
// milliseconds since 1970, and how often that has failed since.
type usage struct {
	last   int64
	failed int32
}

// keeper writes behind what changes too often for a transaction each: the use of users,
// and bans that are imposed. Both are in the image at once.
type keeper struct {
	d    *Directory
	done chan struct{} // closed when it has ended
	end  context.CancelFunc
	err  error // of the last write; read when done is closed
	// writes is how many transactions were committed.
	writes atomic.Int64

	mu    sync.Mutex
	wake  chan struct{}
	users map[string]bool // whose use is to be written
	bans  map[string]bool // which are to be written
}

func startKeeper(d *Directory) *keeper {
	ctx, end := context.WithCancel(context.Background())
	k := &keeper{d: d, done: make(chan struct{}), end: end, wake: make(chan struct{}, 1), users: map[string]bool{}, bans: map[string]bool{}}
	go k.run(ctx)
	return k
}

// stop writes what is left, and ends the keeper.
func (k *keeper) stop() error {
	k.end()
	<-k.done
	return k.err
}

func (k *keeper) run(ctx context.Context) {
	defer close(k.done)
	failing := false
	for {
		select {
		case <-ctx.Done():
			k.err = k.write(context.WithoutCancel(ctx))
			return
		case <-k.wake:
		}
		err := k.write(ctx)
		if err != nil && ctx.Err() == nil && !failing { // told once, and tried again
			k.d.log.Warn("directory: bans, or how users are used, cannot be written now", "error", err)
		}
		failing = err != nil
		timer := time.NewTimer(writeEvery)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// note notes that something is to be written.
func (k *keeper) note(which map[string]bool, key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	which[key] = true
	wakeUp(k.wake)
}

// take returns all that is to be written.
func (k *keeper) take() (users, bans []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	users, bans = slices.Sorted(maps.Keys(k.users)), slices.Sorted(maps.Keys(k.bans))
	clear(k.users)
	clear(k.bans)
	return users, bans
}

// putBack notes again what could not be written.
func (k *keeper) putBack(users, bans []string) {
	for _, login := range users {
		k.note(k.users, login)
	}
	for _, subject := range bans {
		k.note(k.bans, subject)
	}
}

// write writes all that waits, in one transaction.
func (k *keeper) write(ctx context.Context) error {
	if err := k.d.acquire(ctx); err != nil {
		return err
	}
	defer k.d.release()
	users, bans := k.take()
	if len(users)+len(bans) == 0 {
		return nil
	}
	if err := k.d.writeBehind(ctx, users, bans); err != nil {
		k.putBack(users, bans)
		return err
	}
	k.writes.Add(1)
	return nil
}

// writeBehind writes the use of users and bans as they are in the image. writing is held.
func (d *Directory) writeBehind(ctx context.Context, users, bans []string) error {
	var now time.Time
	err := d.writeRows(ctx, func(tx *Tx) error {
		now = tx.now
		for _, login := range users {
			use := read(d, func(m *image) usage { return m.usage[login] })
			if err := tx.exec(`UPDATE users SET last_used = ?, failed_logins = ? WHERE login = ?`, use.last, int64(use.failed), login); err != nil {
				return err
			}
		}
		for _, subject := range bans {
			b, found := d.recordedBan(subject)
			if !found {
				continue // lifted meanwhile
			}
			if err := tx.exec(putBan, banValues(&b)...); err != nil {
				return err
			}
		}
		return tx.exec(`DELETE FROM bans WHERE until <> 0 AND until <= ?`, millis(tx.now))
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.image.dropEnded(now)
	return nil
}

// dropEnded takes out bans that have ended.
func (m *image) dropEnded(now time.Time) {
	for subject, b := range m.bans {
		if !b.Active(now) {
			m.removeBan(subject)
		}
	}
}

// Flush writes what waits to be written: what Used, LoginFailed and Impose have noted. It
// fails as a Change does.
func (d *Directory) Flush(ctx context.Context) error { return d.keeper.write(ctx) }

// Used notes that a user was authenticated now. It is written within about a second, or
// by Close, and is no fact.
func (d *Directory) Used(login string) {
	d.use(login, func(usage) usage { return usage{last: millis(d.clock.Now())} })
}

// LoginFailed notes that somebody failed to be authenticated as a user, if there is one of
// that login. It is written as Used says.
func (d *Directory) LoginFailed(login string) {
	d.use(login, func(u usage) usage {
		u.failed++
		return u
	})
}

func (d *Directory) use(login string, to func(usage) usage) {
	login, err := Login(login)
	if err != nil {
		return
	}
	d.mu.Lock()
	var probes int
	known := d.image.users.get([]byte(login), &probes) != nil
	if known {
		d.image.usage[login] = to(d.image.usage[login])
	}
	d.mu.Unlock()
	if known {
		d.keeper.note(d.keeper.users, login)
	}
}

// Impose bans a subject at once, as the program itself does it. It is written soon, and
// each subject at most once a second; it is no fact: whoever bans tells of it. It fails
// with Problems, and when there are MaxBans.
func (d *Directory) Impose(b Ban) error {
	b, err := normalBan(b)
	if err != nil {
		return err
	}
	now := d.clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.image.bans[b.Subject]; !known && !d.roomForBan(now) {
		return ErrTooManyBans
	}
	d.image.putBan(b)
	d.keeper.note(d.keeper.bans, b.Subject)
	return nil
}

// roomForBan reports whether there can be one more, for which those make room that have
// ended. Whoever guesses must not have all of them looked at each time, while every
// look-up waits. mu is held.
func (d *Directory) roomForBan(now time.Time) bool {
	if len(d.image.bans) < MaxBans {
		return true
	}
	if wait := d.full.Sub(now); wait > 0 && wait <= writeEvery { // a longer one is of a clock that was set back
		return false
	}
	d.image.dropEnded(now)
	d.full = now.Add(writeEvery)
	return len(d.image.bans) < MaxBans
}

// ErrTooManyBans says that there are MaxBans that have not ended.
var ErrTooManyBans = errors.New("there are as many bans as there can be")

// AccountBan returns the ban of an account, if it holds now.
func (d *Directory) AccountBan(login string) (Ban, bool) {
	var buffer keyBuffer
	key, ok := appendLogin(append(buffer[:0], "account:"...), login)
	if !ok {
		return Ban{}, false
	}
	now := d.clock.Now()
	d.mu.RLock()
	defer d.mu.RUnlock()
	b, found := d.image.bans[string(key)]
	if !found || !b.Active(now) {
		return Ban{}, false
	}
	return b, true
}

// AddressBan returns the ban of an address or of a network that it is in, if one holds
// now; of several, that of the smallest.
func (d *Directory) AddressBan(ip netip.Addr) (b Ban, found bool) {
	now := d.clock.Now()
	d.mu.RLock()
	defer d.mu.RUnlock()
	d.image.banned.find(ip, func(subject string) bool {
		b, found = d.image.bans[subject]
		found = found && b.Active(now)
		return found
	})
	if !found {
		return Ban{}, false
	}
	return b, true
}

// recordedBan returns a ban, also one that has ended.
func (d *Directory) recordedBan(subject string) (Ban, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	b, found := d.image.bans[subject]
	return b, found
}

// Bans returns the bans that hold now, sorted by subject.
func (d *Directory) Bans() []Ban {
	now := d.clock.Now()
	list := read(d, func(m *image) []Ban { return slices.Collect(maps.Values(m.bans)) })
	list = slices.DeleteFunc(list, func(b Ban) bool { return !b.Active(now) })
	slices.SortFunc(list, func(a, b Ban) int { return strings.Compare(a.Subject, b.Subject) })
	return list
}
