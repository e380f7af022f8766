package submit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"postern/internal/intake"
	"postern/internal/mail"
)

// pickupEvery is how often the drop directory is looked at. A file in it is
// the exception: the server was down, or too busy, when it was written.
const pickupEvery = 5 * time.Second

// staleAfter is the age at which a file that is still being written is given
// up: its writer was killed.
const staleAfter = 24 * time.Hour

// PickupOptions are what a Pickup needs. All but Clock, Logger and Record are
// required.
type PickupOptions struct {
	Directory Directory
	// Hostname completes addresses that have no domain.
	Hostname string
	Door     *intake.Intake
	IDs      *mail.IDs
	// MaxSize is the size of the largest message, in octets; MaxRecipients how
	// many recipients it may have.
	MaxSize       int64
	MaxRecipients int
	// GiveUp is how old a message becomes that policy defers each time: then its
	// sender is told that it is refused. 0: five days.
	GiveUp time.Duration
	// Report tells the sender of a message that some or all of its recipients
	// were refused, when the program that sent it had been told that all is
	// well. Doing so twice must be harmless.
	Report func(context.Context, *Refusal) error

	Clock  mail.Clock
	Logger *slog.Logger
	Record func(mail.Fact)
}

// Refusal is a message of which recipients were refused.
type Refusal struct {
	// Name is the same when the message is reported again.
	Name       string
	Origin     mail.Origin
	Envelope   mail.Envelope
	Recipients []mail.Recipient
	Replies    []mail.Reply     // why, in the same order
	Trails     [][]mail.Decided // which decisions led to that, likewise
	At         time.Time        // when it was left
	Content    io.ReaderAt
	Size       int64
}

// Pickup collects what was left in the drop directory.
type Pickup struct {
	PickupOptions
	next    atomic.Pointer[replaced]
	foreign int    // what the last pass found that cannot be removed
	unread  error  // of the last file that this pass could not read
	told    string // the error that was last logged
	open    func(path string) (*dropped, error)
}

// NewPickup returns a Pickup.
func NewPickup(o PickupOptions) *Pickup {
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.GiveUp == 0 {
		o.GiveUp = mail.DefaultSchedule.Until
	}
	if o.Record == nil {
		o.Record = func(mail.Fact) {}
	}
	return &Pickup{PickupOptions: o, open: openDropped}
}

// replaced is what Change has replaced.
type replaced struct {
	door     *intake.Intake
	hostname string
	giveUp   time.Duration
}

// Change replaces the door, the host name and GiveUp, for all that is collected from
// the next pass on.
func (p *Pickup) Change(door *intake.Intake, hostname string, giveUp time.Duration) {
	p.next.Store(&replaced{door, hostname, giveUp})
}

// Run collects until ctx ends. It fails only when the store does
// (queue.ErrUnknown), so that the process must end.
func (p *Pickup) Run(ctx context.Context) error {
	ticker := time.NewTicker(pickupEvery)
	defer ticker.Stop()
	for {
		err := p.Collect(ctx)
		if err != nil && intake.Fatal(err) {
			return err
		}
		if ctx.Err() == nil {
			p.tell(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// tell logs that messages wait, when that is news, and that they do no longer.
func (p *Pickup) tell(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case text == p.told:
	case err != nil:
		p.Logger.Warn("mail that was left for the server waits", "directory", string(p.Directory), "error", err)
	default:
		p.Logger.Info("mail that was left for the server waits no longer", "directory", string(p.Directory))
	}
	p.told = text
}

// fileError is an error of one file, which says nothing of the others.
type fileError struct{ error }

func (e fileError) Unwrap() error { return e.error }

// Collect takes all that is there. What it began and could not end stays in
// the directory "taken", for the next time. It fails at the first message for
// which there is no room now, and leaves the others; of files that cannot be
// read it tells when it has done the rest.
func (p *Pickup) Collect(ctx context.Context) error {
	if to := p.next.Swap(nil); to != nil {
		p.Door, p.Hostname, p.GiveUp = to.door, to.hostname, to.giveUp
	}
	if err := p.forgetGone(ctx); err != nil {
		return err
	}
	left, err := os.ReadDir(p.Directory.taken())
	if err != nil {
		return err
	}
	p.unread = nil
	for _, entry := range left {
		if err := p.tryFinish(ctx, entry.Name()); err != nil {
			return err
		}
	}
	if err := p.collectDropped(ctx); err != nil {
		return err
	}
	return p.unread
}

// tryFinish is finish, but notes the error of a file and goes on.
func (p *Pickup) tryFinish(ctx context.Context, name string) error {
	err := p.finish(ctx, name)
	if _, one := errors.AsType[fileError](err); one {
		p.unread = err
		return nil
	}
	return err
}

// forgetGone forgets the submissions whose files are gone: a crash came
// between the two.
func (p *Pickup) forgetGone(ctx context.Context) error {
	noted, err := p.Door.AllTaken(ctx)
	if err != nil {
		return err
	}
	var gone []string
	for _, name := range noted {
		file, _, _ := strings.Cut(name, ".")
		if _, err := os.Lstat(filepath.Join(p.Directory.taken(), file)); errors.Is(err, fs.ErrNotExist) {
			gone = append(gone, name)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return p.Door.Forget(ctx, gone...)
}

// dropChunk is how many names of the drop directory are read at a time.
const dropChunk = 256

// collectDropped goes once through the drop directory, in which there may be
// any number of files of any kind.
func (p *Pickup) collectDropped(ctx context.Context) error {
	dir, err := os.Open(p.Directory.drop())
	if err != nil {
		return err
	}
	defer dir.Close()
	foreign := 0
	for ctx.Err() == nil {
		entries, err := dir.ReadDir(dropChunk)
		for _, entry := range entries {
			known, err := p.collect(ctx, entry)
			if err != nil {
				return err
			}
			if !known {
				foreign++
			}
		}
		if err != nil {
			break // io.EOF, most often; what else there is will be so next time
		}
	}
	if foreign > 0 && foreign != p.foreign {
		p.Logger.Warn("in the drop directory is what cannot be removed; remove it by hand", "directory", p.Directory.drop(), "count", foreign)
	}
	p.foreign = foreign
	return ctx.Err()
}

// collect takes one file of the drop directory. It reports false when the file
// cannot be moved. From the move on nobody else has access to the name, and
// the name is ours: never used before.
func (p *Pickup) collect(ctx context.Context, entry fs.DirEntry) (known bool, err error) {
	path := filepath.Join(p.Directory.drop(), entry.Name())
	if strings.HasPrefix(entry.Name(), writing) && entry.Type().IsRegular() {
		if info, err := os.Lstat(path); err == nil && p.Clock.Now().Sub(info.ModTime()) > staleAfter {
			return true, os.Remove(path)
		}
		return true, nil
	}
	if entry.IsDir() { // to empty it could take as long as its owner fills it
		return os.Remove(path) == nil, nil
	}
	name := string(p.IDs.New(p.Clock.Now()))
	if err := os.Rename(path, filepath.Join(p.Directory.taken(), name)); err != nil {
		// Its owner may have taken it back.
		return errors.Is(err, fs.ErrNotExist), nil
	}
	return true, p.tryFinish(ctx, name)
}

// finish brings a file in the directory "taken" to its end: the message is
// stored, or the file is refused; then it is removed.
func (p *Pickup) finish(ctx context.Context, name string) error {
	taken, err := p.Door.Taken(ctx, name)
	if err != nil {
		return err
	}
	if !taken {
		if err := p.take(ctx, name); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(p.Directory.taken(), name)); err != nil {
		return fileError{err}
	}
	noted, err := p.noted(ctx, name)
	if err != nil || len(noted) == 0 {
		return err
	}
	// The removal is durable before the notes go.
	if err := p.syncTaken(); err != nil {
		return err
	}
	return p.Door.Forget(ctx, noted...)
}

// noted returns what is noted of a file.
func (p *Pickup) noted(ctx context.Context, name string) ([]string, error) {
	var noted []string
	for _, note := range []string{name, name + reportSuffix, name + refusedSuffix} {
		is, err := p.Door.Taken(ctx, note)
		if err != nil {
			return nil, err
		}
		if is {
			noted = append(noted, note)
		}
	}
	return noted, nil
}

func (p *Pickup) syncTaken() error {
	dir, err := os.Open(p.Directory.taken())
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// take stores the message in a file. It returns nil when the file has done its
// duty, also when it was refused, and an error when it must be tried again.
func (p *Pickup) take(ctx context.Context, name string) error {
	f, err := p.open(filepath.Join(p.Directory.taken(), name))
	if err != nil {
		if strange, ok := errors.AsType[strangeFile](err); ok {
			p.refuse(mail.Origin{Listener: Listener, User: strange.user}, err)
			return nil
		}
		return fileError{err}
	}
	defer f.Close()
	if f.size > p.MaxSize+maxSlip {
		p.refuse(f.origin(), errTooLarge(p.MaxSize))
		return nil
	}
	m, err := p.read(f)
	if err != nil {
		if _, ok := errors.AsType[*fs.PathError](err); ok {
			return fileError{fmt.Errorf("a message that was left: %w", err)} // the disk
		}
		p.refuse(f.origin(), err)
		return nil
	}
	m.name = name
	return p.store(ctx, m)
}

// refuse records a file that is no message.
func (p *Pickup) refuse(o mail.Origin, err error) {
	reply := mail.NewReply(550, "5.6.0", "Not a message that sendmail has left")
	p.Record(mail.Fact{Time: p.Clock.Now(), Reason: mail.ReasonRefused, Origin: &o, Reply: &reply, Text: err.Error()})
	p.Logger.Warn("a file in the drop directory was refused", "user", o.User, "error", err)
}
