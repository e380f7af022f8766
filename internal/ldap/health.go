package ldap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	ldap3 "github.com/go-ldap/ldap/v3"

	"postern/internal/limit"
)

// A server that fails is left alone, at first for the shorter time, then, as long as it
// fails, for twice as long, up to the longer one.
const (
	firstPause = time.Second
	longPause  = time.Minute
)

// Event is that no server of a directory answers any more, or that one does again.
type Event struct {
	Name string
	// Down says which of the two; Err is why.
	Down bool
	Err  error
}

// state is whether any server answers.
type state struct {
	mu   sync.Mutex
	down bool
}

// kind chooses which connections of a server are to be used.
type kind func(*server) *pool

func searchers(s *server) *pool { return s.searchers }
func binders(s *server) *pool   { return s.binders }

// ask runs an operation on the first server that works. An error is the answer of a
// server (isAnswer), or there was none.
func (d *Directory) ask(ctx context.Context, of kind, operate func(*ldap3.Conn) error) error {
	err := d.askServers(ctx, of, operate)
	d.options.Metrics.asked(err)
	return err
}

func (d *Directory) askServers(ctx context.Context, of kind, operate func(*ldap3.Conn) error) error {
	asking, cancel := context.WithTimeout(ctx, d.patience())
	defer cancel()
	var last error
	for _, s := range d.servers {
		if asking.Err() != nil || !s.breaker.Begin(d.options.Clock.Now()) {
			continue
		}
		err := of(s).use(asking, d.timeout(), operate)
		switch {
		case err == nil || isAnswer(err) || errors.Is(err, errTooLarge):
			d.settle(s, nil)
			return err
		case errors.Is(err, errBusy) || ctx.Err() != nil: // which says nothing of the server
			s.breaker.Abandon()
			return err
		}
		d.settle(s, err)
		last = err
	}
	return d.down(last)
}

// down is that no server answers, with why: that of the last one asked, or of one that
// is left alone.
func (d *Directory) down(last error) error {
	for _, s := range d.servers {
		if last == nil {
			last = s.breaker.Pause().Err
		}
	}
	if last == nil {
		return errDown
	}
	return fmt.Errorf("%w: %w", errDown, last)
}

// settle notes how a server has answered, and tells of it when something is new.
func (d *Directory) settle(s *server, err error) {
	if _, news := s.breaker.Settle(err, d.options.Clock.Now()); news {
		if err != nil {
			d.options.Logger.Warn("a server of a directory fails, and is left alone for a while", "ldap", d.Name(), "server", s.name, "error", err)
		} else {
			d.options.Logger.Info("a server of a directory answers again", "ldap", d.Name(), "server", s.name)
		}
	}
	if down, changed := d.state.change(d.servers); changed && !d.retired.Load() {
		d.options.Tell(Event{Name: d.Name(), Down: down, Err: err})
	}
}

// change looks whether any server works, and reports when that has changed.
func (s *state) change(servers []*server) (down, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	down = true
	for _, x := range servers {
		if x.breaker.Pause().Err == nil {
			down = false
		}
	}
	changed, s.down = s.down != down, down
	return down, changed
}

// Down is a server that does not work, and until when it is left alone.
type Down struct {
	Server string
	limit.Pause
}

// Down returns the servers that do not work, and whether none does.
func (d *Directory) Down() (servers []Down, all bool) {
	for _, s := range d.servers {
		if p := s.breaker.Pause(); p.Err != nil {
			servers = append(servers, Down{s.name, p})
		}
	}
	return servers, len(servers) == len(d.servers)
}

// Follow makes the Directory the one after another: what is known of the servers that
// both have stays known. It must be called before the Directory is used by anybody.
func (d *Directory) Follow(before *Directory) {
	for _, s := range d.servers {
		for _, old := range before.servers {
			if old.name == s.name {
				s.breaker = old.breaker
			}
		}
	}
	d.state.change(d.servers)
}
