package ldap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	ldap3 "github.com/go-ldap/ldap/v3"
)

// A server that fails is left alone, at first for the shorter time, then, as long as it
// fails, for twice as long, up to the longer one.
const (
	firstPause = time.Second
	longPause  = time.Minute
)

// breaker is how a server has answered of late.
type breaker struct {
	mu     sync.Mutex
	pause  time.Duration // 0: it works
	until  time.Time     // the end of the pause
	trying bool          // one question shows whether it works again
	since  time.Time     // when it failed first
	cause  error
}

// begin reports whether the server is to be asked; settle or abandon must follow.
func (b *breaker) begin(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch wait := b.until.Sub(now); {
	case b.pause == 0:
		return true
	case b.trying || wait > 0 && wait <= b.pause: // a longer one is that of a clock set back
		return false
	}
	b.trying = true
	return true
}

// abandon ends a question that says nothing of the server.
func (b *breaker) abandon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = false
}

// settle notes how the server has answered, and reports whether that is news.
func (b *breaker) settle(err error, now time.Time) (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wasDown, tried := b.pause > 0, b.trying
	b.trying = false
	switch {
	case err == nil:
		b.pause, b.cause = 0, nil
		return wasDown
	case wasDown && !tried: // it was asked before it failed
		return false
	case !wasDown:
		b.since = now
	}
	b.pause = min(max(firstPause, 2*b.pause), longPause)
	b.until, b.cause = now.Add(b.pause), err
	return !wasDown
}

// look says since when the server does not work, and why; nil if it works.
func (b *breaker) look() (since, until time.Time, cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.since, b.until, b.cause
}

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
		if asking.Err() != nil || !s.breaker.begin(d.options.Clock.Now()) {
			continue
		}
		err := of(s).use(asking, d.timeout(), operate)
		switch {
		case err == nil || isAnswer(err) || errors.Is(err, errTooLarge):
			d.settle(s, nil)
			return err
		case errors.Is(err, errBusy) || ctx.Err() != nil: // which says nothing of the server
			s.breaker.abandon()
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
		if _, _, cause := s.breaker.look(); last == nil {
			last = cause
		}
	}
	if last == nil {
		return errDown
	}
	return fmt.Errorf("%w: %w", errDown, last)
}

// settle notes how a server has answered, and tells of it when something is new.
func (d *Directory) settle(s *server, err error) {
	if s.breaker.settle(err, d.options.Clock.Now()) {
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
		if _, _, cause := x.breaker.look(); cause == nil {
			down = false
		}
	}
	changed, s.down = s.down != down, down
	return down, changed
}

// Down is a server that does not work.
type Down struct {
	Server string
	Since  time.Time
	Until  time.Time // when it is asked again
	Err    error
}

// Down returns the servers that do not work, and whether none does.
func (d *Directory) Down() (servers []Down, all bool) {
	for _, s := range d.servers {
		if since, until, cause := s.breaker.look(); cause != nil {
			servers = append(servers, Down{Server: s.name, Since: since, Until: until, Err: cause})
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
				old.breaker.mu.Lock()
				s.breaker.pause, s.breaker.until, s.breaker.since, s.breaker.cause = old.breaker.pause, old.breaker.until, old.breaker.since, old.breaker.cause
				old.breaker.mu.Unlock()
			}
		}
	}
	d.state.change(d.servers)
}
