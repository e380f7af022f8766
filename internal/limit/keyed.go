package limit

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/mail"
)

// Options are what a Keyed needs. Rate is required.
type Options struct {
	Rate Rate
	// MaxKeys is how many keys are counted at a time (20,000). Each takes at most
	// a KiB, and usually a tenth of it; one with turns at most four.
	MaxKeys int
	Clock   mail.Clock
}

const (
	defaultKeys = 20_000
	// slots is into how many parts the time of a rate is divided, when its amount is
	// larger than that: what was used in one part counts from the last use in it, so
	// that it counts by up to one part longer than Rate says. Smaller rates are exact.
	slots = 32
	// maxTurns is how many turns a key can have ahead of it.
	maxTurns = 128
	// classes is how many steps of use are told apart when a key has to go.
	classes = 8
)

// Keyed has one rate for each of many keys. It is safe for use by several
// goroutines.
//
// When there are more keys than MaxKeys, one goes for each that comes: one that has
// nothing to remember; else, of those that have used least of their rate, in steps of
// an eighth, the one that was not asked for the longest time. So nobody gets rid of
// what a key has used by making up others, unless each of those uses as much; and
// whoever has so many keys has as many rates anyway.
type Keyed struct {
	rate  Rate
	limit int // of keys
	slot  time.Duration
	clock mail.Clock
	// shifted is by how much the clock was set, in nanoseconds.
	shifted atomic.Int64

	mu   sync.Mutex
	keys map[string]*record
	// used are the keys by how much they have used; in each, the last one asked
	// for is at the front.
	used [classes]list.List
}

// record is what a key has used.
type record struct {
	key   string
	uses  []use // in the order of time
	turns []use // that are booked, in the order of time, behind all uses
	sum   int64 // of both
	class int
	at    *list.Element // in used[class]
}

// use is what was used from first to last. It counts until the time of the rate
// has passed since last.
type use struct {
	first, last time.Duration
	n           int64
}

// New returns a Keyed that counts nothing yet.
func New(o Options) *Keyed {
	if o.MaxKeys == 0 {
		o.MaxKeys = defaultKeys
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	k := &Keyed{rate: o.Rate, limit: o.MaxKeys, clock: o.Clock, keys: make(map[string]*record)}
	if o.Rate.Max > slots {
		k.slot = o.Rate.Per / slots
	}
	return k
}

// Result says whether something is within the rate.
type Result struct {
	Allowed bool
	// Left is how much more there may be now.
	Left int64
	// Wait is after which time it is allowed, if nothing else is used meanwhile;
	// 0 if it is allowed now.
	Wait time.Duration
	// Booked says that it has its turn after that time, and counts.
	Booked bool
	// Never says that it is more than the rate allows at all.
	Never bool
}

// Rate returns the rate of each key.
func (k *Keyed) Rate() Rate { return k.rate }

// Len returns how many keys are counted.
func (k *Keyed) Len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.keys)
}

// Take uses n of the rate of a key, if that is allowed. What is not allowed is
// not counted: whoever keeps asking does not wait longer for it. To use nothing is
// always allowed.
func (k *Keyed) Take(key string, n int64) Result { return k.ask(key, n, take) }

// Book is Take, but that what is not allowed now gets its turn: the first moment at
// which it is, behind all that got theirs before. Nothing is booked that is more than
// the rate at all, or when there are too many turns already.
func (k *Keyed) Book(key string, n int64) Result { return k.ask(key, n, book) }

// Look says what Take would, and uses nothing.
func (k *Keyed) Look(key string, n int64) Result { return k.ask(key, n, look) }

// Forget forgets what a key has used, and the turns that it has.
func (k *Keyed) Forget(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.keys[key]; r != nil {
		k.used[r.class].Remove(r.at)
		delete(k.keys, key)
	}
}

// intent is what is done with what is asked for.
type intent int

const (
	look intent = iota
	take
	book
)

func (k *Keyed) ask(key string, n int64, to intent) Result {
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.keys[key]
	if r == nil {
		r = &record{key: key}
	} else {
		r.forget(now, k.rate.Per)
	}
	result := k.judge(r, n, now)
	if to != look && result.Allowed && n > 0 {
		r.uses = add(r.uses, now, n, k.slot)
		r.sum += n
		if r.at == nil {
			k.admit(r, now)
		}
	}
	if to == book && !result.Allowed && !result.Never {
		result.Booked = r.book(now+result.Wait, n, k.slot)
	}
	if to != look && r.at != nil {
		k.place(r)
	}
	return result
}

// judge says whether n more are allowed. mu is held.
func (k *Keyed) judge(r *record, n int64, now time.Duration) Result {
	left := max(k.rate.Max-r.sum, 0) // turns may use more
	switch {
	case n <= left:
		return Result{Allowed: true, Left: left - n}
	case n > k.rate.Max:
		return Result{Left: left, Never: true}
	}
	free, i := k.rate.Max-r.sum, 0
	for free += r.nth(i).n; free < n; free += r.nth(i).n {
		i++
	}
	return Result{Left: left, Wait: r.nth(i).last + k.rate.Per - now}
}

// nth returns one of the uses and turns.
func (r *record) nth(i int) use {
	if i < len(r.uses) {
		return r.uses[i]
	}
	return r.turns[i-len(r.uses)]
}

// book notes a turn, which is not before those that there are: each has to wait until
// all that was used and booked before it leaves room. ok is false when there are too
// many.
func (r *record) book(at time.Duration, n int64, slot time.Duration) (ok bool) {
	if last := len(r.turns) - 1; last >= maxTurns-1 && at-r.turns[last].first > slot {
		return false
	}
	r.turns = add(r.turns, at, n, slot)
	r.sum += n
	return true
}

// forget drops what no longer counts, and makes uses of the turns that have come. Uses in the future, which a clock leaves
// that was set back unnoticed, count from now on.
func (r *record) forget(now, per time.Duration) {
	for i := len(r.uses) - 1; i >= 0 && r.uses[i].last > now; i-- {
		r.uses[i].first, r.uses[i].last = min(r.uses[i].first, now), now
	}
	if len(r.turns) > 0 { // the first waits for something that was used: not for longer
		if early := r.turns[0].last - (now + per); early > 0 {
			for i := range r.turns {
				r.turns[i].first, r.turns[i].last = r.turns[i].first-early, r.turns[i].last-early
			}
		}
	}
	come := 0
	for ; come < len(r.turns) && r.turns[come].last <= now; come++ {
		r.uses = append(r.uses, r.turns[come])
	}
	r.turns = append(r.turns[:0], r.turns[come:]...)
	over := 0
	for ; over < len(r.uses) && r.uses[over].last+per <= now; over++ {
		r.sum -= r.uses[over].n
	}
	r.uses = append(r.uses[:0], r.uses[over:]...)
}

// add adds a use to a list in the order of time.
func add(list []use, at time.Duration, n int64, slot time.Duration) []use {
	if last := len(list) - 1; last >= 0 && at-list[last].first <= slot {
		list[last].last = at
		list[last].n += n
		return list
	}
	return append(list, use{at, at, n})
}

// admit counts a key from now on. mu is held.
func (k *Keyed) admit(r *record, now time.Duration) {
	if len(k.keys) >= k.limit {
		k.evict(now)
	}
	k.keys[r.key] = r
	r.at = k.used[0].PushFront(r)
}

// place puts a key that was asked for where it belongs. mu is held.
func (k *Keyed) place(r *record) {
	class := int(min(min(r.sum, k.rate.Max)*classes/k.rate.Max, classes-1))
	if class == r.class {
		k.used[class].MoveToFront(r.at)
		return
	}
	k.used[r.class].Remove(r.at)
	r.class, r.at = class, k.used[class].PushFront(r)
}

// evict drops one key. It looks at one of each class. mu is held.
func (k *Keyed) evict(now time.Duration) {
	var least *record
	for i := range k.used {
		oldest := k.used[i].Back()
		if oldest == nil {
			continue
		}
		r := oldest.Value.(*record)
		r.forget(now, k.rate.Per)
		if least == nil || r.sum == 0 && least.sum > 0 {
			least = r
		}
	}
	k.used[least.class].Remove(least.at)
	delete(k.keys, least.key)
}

// Shift tells that the clock was set by so much, as mail.SteppedClock does: the
// time that passed is what counts. It waits for nobody.
func (k *Keyed) Shift(by time.Duration) { k.shifted.Add(int64(by)) }

// now is the time as if the clock had never been set. Shift is called while the
// clock is looked at, if it was set.
func (k *Keyed) now() time.Duration {
	for {
		before := k.shifted.Load()
		at := k.clock.Now().UnixNano()
		if k.shifted.Load() == before {
			return time.Duration(at - before)
		}
	}
}
