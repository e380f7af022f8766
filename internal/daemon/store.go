package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

func queueDir(c *config.Config) string   { return filepath.Join(c.DataDir, queueName) }
func journalDir(c *config.Config) string { return filepath.Join(c.DataDir, journalName) }

// namedInUse says what to do about a data directory that has a server, and
// returns any other error as it is.
func namedInUse(c *config.Config, err error) error {
	if inUse, ok := errors.AsType[*embedded.InUseError](err); ok {
		return fmt.Errorf("data_dir %s: %w; `postern stop` ends that server", c.DataDir, inUse)
	}
	return err
}

// Maintenance is what can be done to the store of a server that does not run.
// Each method fails when one does, and says which process that is.
type Maintenance struct {
	Config *config.Config
	Logger *slog.Logger
}

func (m Maintenance) options() embedded.Options { return embedded.Options{Logger: m.Logger} }

// Stat tells what the store takes and holds.
func (m Maintenance) Stat(ctx context.Context) (queue.Stat, error) {
	st, err := embedded.Stat(ctx, queueDir(m.Config), m.options())
	return st, namedInUse(m.Config, err)
}

// Verify reads everything in the store and checks it.
func (m Maintenance) Verify(ctx context.Context, progress func(queue.Progress)) (queue.Verified, error) {
	v, err := embedded.Verify(ctx, queueDir(m.Config), m.options(), progress)
	return v, namedInUse(m.Config, err)
}

// ReadJournal calls each for every fact in the files of the journal that the
// query selects. Facts that had not come there yet are missing.
func (m Maintenance) ReadJournal(ctx context.Context, q admin.JournalQuery, each func(mail.Fact) error) error {
	return journal.Read(ctx, journalDir(m.Config), q.Query(), each)
}

// Salvage rebuilds what can be read of the store. The journal says what has
// ended, where the store cannot.
func (m Maintenance) Salvage(ctx context.Context, progress func(queue.Progress)) (queue.Salvaged, error) {
	s, err := embedded.Salvage(ctx, queueDir(m.Config), m.options(), m.past(ctx), progress)
	return s, namedInUse(m.Config, err)
}

// past reads the journal for a salvage. A journal that is gone knows nothing.
func (m Maintenance) past(ctx context.Context) embedded.Past {
	return func(q embedded.Question) (embedded.History, error) {
		s := stories{Question: q, open: make(map[mail.ID]*story), ended: make(map[mail.ID]bool)}
		last, err := m.readJournal(ctx, &s)
		if errors.Is(err, fs.ErrNotExist) {
			m.Logger.Warn("there is no journal to say what has ended", "error", err)
		} else if err != nil {
			return embedded.History{}, err
		}
		for _, f := range q.Facts {
			if f.N > last {
				s.add(&f)
			}
		}
		history := embedded.History{Ended: s.ended, Last: last}
		for _, one := range s.open {
			history.Open = append(history.Open, one.accepted)
		}
		return history, nil
	}
}

// readJournal adds what stands in the journal, and returns the number of the
// last fact of the queue that it has. Lines that are damaged are logged and
// passed over: what they tell is then not known.
func (m Maintenance) readJournal(ctx context.Context, s *stories) (uint64, error) {
	dir := journalDir(m.Config)
	last, err := journal.Mark(dir, queue.FactSource)
	if err != nil {
		return 0, err
	}
	err = journal.Read(ctx, dir, journal.Query{}, func(f mail.Fact) error {
		s.add(&f)
		return nil
	})
	if damage, ok := errors.AsType[*journal.DamageError](err); ok {
		m.Logger.Warn("the journal is damaged too", "error", damage)
		err = nil
	}
	return last, err
}

// stories are what the facts tell of messages that are not kept.
type stories struct {
	embedded.Question
	open  map[mail.ID]*story
	ended map[mail.ID]bool // of the suspects
}

// story is a message with a recipient that has not come to an end.
type story struct {
	accepted mail.Fact
	left     map[string]bool
}

func (s *stories) add(f *mail.Fact) {
	begins := f.Reason == mail.ReasonAccepted || f.Reason == mail.ReasonHeld && f.Hold == mail.HoldDeadLetter
	switch one := s.open[f.Message]; {
	case begins && !s.Kept[f.Message]:
		one = &story{accepted: *f, left: make(map[string]bool)}
		for _, to := range f.To {
			one.left[bare(to)] = true
		}
		s.open[f.Message] = one
	case one != nil && f.Reason == mail.ReasonReaddressed:
		for _, to := range f.To {
			delete(one.left, bare(to))
		}
		one.left[bare(strings.TrimPrefix(f.Text, "to "))] = true
	case one != nil && mail.State(f.Reason).Final():
		for _, to := range f.To {
			delete(one.left, bare(to))
		}
		if len(one.left) == 0 {
			delete(s.open, f.Message)
			if s.Suspects[f.Message] {
				s.ended[f.Message] = true
			}
		}
	}
}

// bare takes the brackets off a path.
func bare(path string) string { return strings.TrimSuffix(strings.TrimPrefix(path, "<"), ">") }
