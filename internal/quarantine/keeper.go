package quarantine

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/queue"
)

// Options are what a Keeper needs. Store and Changes are required.
type Options struct {
	Store Store
	// Changes is a number that grows with every change of the queue.
	Changes  func() uint64
	Settings Settings
	Clock    mail.Clock
	Logger   *slog.Logger
}

// Store is what a Keeper wants of the queue.
type Store interface {
	queue.Editor
	Contents
	List(ctx context.Context, f queue.Filter, p queue.Page) ([]queue.Entry, error)
	Count(ctx context.Context, f queue.Filter) (map[mail.State]int, error)
	Mark(ctx context.Context, kind queue.MarkKind, key string) (queue.Mark, error)
}

// Settings are what a reload can change. Door is required when there is a
// digest.
type Settings struct {
	Hostname string
	// Keep is how long a recipient stays; 0 is for ever.
	Keep time.Duration
	// DigestTo gets a digest every DigestEvery; the null address: nobody does.
	DigestTo    mail.Address
	DigestEvery time.Duration
	Door        *intake.Intake
}

// Census is what is in quarantine.
type Census struct {
	Messages   int       `json:"messages"`
	Recipients int       `json:"recipients"`
	Size       int64     `json:"size"`             // of the messages, in octets
	Oldest     time.Time `json:"oldest,omitzero"`  // since when somebody is there
	Counted    time.Time `json:"counted,omitzero"` // when that was found
}

// Keeper looks after what is in quarantine.
type Keeper struct {
	Options
	settings atomic.Pointer[Settings]
	census   atomic.Pointer[Census]

	// Of the goroutine that runs it.
	counted uint64    // the number of the last change that census knows of
	oldest  time.Time // since when somebody is there, as far as census knows
	rest    time.Time // nothing is counted before
	told    *covered  // what the last digest covered; nil: it was not read yet
	failing string    // the error that was last logged
}

// New returns a Keeper.
func New(o Options) *Keeper {
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{Options: o}
	k.settings.Store(&o.Settings)
	k.census.Store(&Census{})
	return k
}

// Change replaces the settings, from the next look on.
func (k *Keeper) Change(s Settings) { k.settings.Store(&s) }

// Census tells what was in quarantine when it was last counted. It does not
// read the store, which may be slow.
func (k *Keeper) Census() Census { return *k.census.Load() }

const (
	// lookEvery is how often the Keeper looks whether there is anything to do.
	// Steps of an expiry are that far apart, so that others can edit between two.
	lookEvery = time.Second
	// leisure is how many times longer than a count takes the Keeper waits until
	// the next: to count costs a hundredth of a processor at most.
	leisure = 100
	// mostLeisure bounds that wait.
	mostLeisure = 10 * time.Minute
	// retryAfter is how long it waits after a failure.
	retryAfter = time.Minute
)

// Run looks after the quarantine until ctx ends. It fails only when the store
// does (queue.ErrUnknown), so that the process must end.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		err, wait := k.look(ctx), lookEvery
		if err != nil && intake.Fatal(err) {
			return err
		}
		if err != nil {
			wait = retryAfter
		}
		if ctx.Err() == nil {
			k.tell(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// tell logs that something fails, when that is news.
func (k *Keeper) tell(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != k.failing {
		k.Logger.Error("the quarantine cannot be looked after at present; it is tried again", "error", text)
	}
	k.failing = text
}

// look does what there is to do.
func (k *Keeper) look(ctx context.Context) error {
	if err := k.count(ctx); err != nil {
		return err
	}
	s := k.settings.Load()
	if err := k.expire(ctx, s); err != nil {
		return err
	}
	return k.digest(ctx, s)
}

// page is how many entries are in memory at a time.
const page = 200

// each calls do for every entry with a recipient in quarantine, in order of id;
// others of its recipients are left out. It reads nothing while nobody is held,
// which a store knows without looking.
func (k *Keeper) each(ctx context.Context, do func(*queue.Entry)) error {
	if all, err := k.Store.Count(ctx, queue.Filter{}); err != nil || all[mail.Held] == 0 {
		return err
	}
	filter := Filter("")
	selector, err := filter.Selector(k.Clock.Now())
	if err != nil {
		return err
	}
	for p := (queue.Page{Limit: page}); ; {
		entries, err := k.Store.List(ctx, filter, p)
		if err != nil {
			return err
		}
		for i := range entries {
			selector.Reduce(&entries[i])
			do(&entries[i])
		}
		if len(entries) < page {
			return nil
		}
		p.After = entries[len(entries)-1].ID
	}
}

// count counts what is in quarantine, if that may have changed and is not too
// dear.
func (k *Keeper) count(ctx context.Context) error {
	begin, changes := time.Now(), k.Changes()
	known := k.census.Load()
	if begin.Before(k.rest) || changes == k.counted && !known.Counted.IsZero() {
		return nil
	}
	census := Census{Counted: k.Clock.Now()}
	err := k.each(ctx, func(e *queue.Entry) {
		first, _ := since(e)
		census.Messages++
		census.Recipients += len(e.Addresses())
		census.Size += e.Size
		if census.Oldest.IsZero() || first.Before(census.Oldest) {
			census.Oldest = first
		}
	})
	if err != nil {
		return err
	}
	k.counted, k.oldest = changes, census.Oldest
	k.census.Store(&census)
	end := time.Now()
	k.rest = end.Add(min(leisure*end.Sub(begin), mostLeisure))
	return nil
}

// expire removes those who are there for too long: one step of an edit, so that
// after a long time without the server others have their turn, too.
func (k *Keeper) expire(ctx context.Context, s *Settings) error {
	if s.Keep == 0 || k.oldest.IsZero() {
		return nil
	}
	before := k.Clock.Now().Add(-s.Keep)
	if !k.oldest.Before(before) {
		return nil
	}
	filter := Filter("")
	filter.HeldBefore = before
	entries, err := k.Store.List(ctx, filter, queue.Page{Limit: queue.EditStep})
	if err != nil {
		return err
	}
	if len(entries) < queue.EditStep {
		k.oldest = time.Time{} // the next count tells who is then
	}
	if len(entries) == 0 {
		return nil
	}
	for i := range entries {
		filter.IDs = append(filter.IDs, entries[i].ID)
	}
	why := "it was in quarantine for longer than " + mail.FormatWait(s.Keep) + " (quarantine.keep)"
	done, err := k.Store.Edit(ctx, filter, queue.Change{Kind: queue.ChangeRemove, Why: why}, Actor)
	if err != nil {
		return err
	}
	k.Logger.Info("removed from quarantine what nobody has judged in time", "recipients", done.Sum(), "messages", len(entries), "keep", s.Keep)
	return nil
}

// Actor is who removes what was there for too long.
const Actor = "postern"
