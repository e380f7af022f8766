package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// maxDocument bounds a document of an issuer, in octets.
	maxDocument = 512 << 10
	// maxConnections is how many connections to an issuer there are: it is asked for
	// one thing at a time.
	maxConnections = 2
)

// An issuer that does not answer is asked again after the first wait, then after twice
// as long each time, up to the last.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// issuer is what is known of an issuer: its keys, and how it has answered. It is safe
// for use by several goroutines.
type issuer struct {
	mu sync.Mutex
	// keys are those that were read last, at read; none before.
	keys []key
	read time.Time
	// keysURL is where they are, as discovery has said.
	keysURL string
	// asked is when it was asked last; asking is closed when that is over, nil when
	// nobody asks.
	asked  time.Time
	asking chan struct{}
	// failure is why it has not answered, since failed, failures times in a row; nil
	// when it has.
	failure  error
	failed   time.Time
	failures int
}

// errNoKeys is that nothing can be said of a token.
var errNoKeys = errors.New("the keys of the issuer are not known")

// known returns the keys, as long as they may be used.
func (s *Source) known(now time.Time) ([]key, error) {
	i := s.issuer
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.keys == nil && i.failure != nil:
		return nil, fmt.Errorf("%w: %w", errNoKeys, i.failure)
	case i.keys == nil:
		return nil, errNoKeys
	case now.Sub(i.read) > s.config.KeepKeys:
		return nil, fmt.Errorf("%w any more, because it has not answered for %s: %w", errNoKeys, s.config.KeepKeys, i.failure)
	}
	return i.keys, nil
}

// due says when the issuer is to be asked: at once if it never was.
func (i *issuer) due(refresh time.Duration) time.Time {
	switch {
	case i.asked.IsZero():
		return time.Time{}
	case i.failure != nil:
		return i.asked.Add(min(firstRetry<<min(i.failures-1, 10), lastRetry))
	}
	return i.read.Add(refresh)
}

// Tend asks the issuer for its keys if it is time: at the start, every refresh, and again
// when it has not answered. It is to be called every second or so.
func (s *Source) Tend(ctx context.Context) {
	// What became of it is in State.
	_ = s.ask(ctx, true, func(now time.Time) (bool, error) {
		wait := s.issuer.due(s.config.Refresh).Sub(now)
		// A wait that is longer than any is that of a clock that was set back.
		return wait <= 0 || wait > max(s.config.Refresh, lastRetry), nil
	})
}

// want has the keys asked for, because a token names one that is not known. However
// many tokens do, the issuer is asked once in a key_wait, and while it does not answer as
// seldom as Tend asks it. It returns when the answer is there, and fails if nobody can
// tell whether there is such a key: the issuer did not answer, or the client waits no
// longer.
func (s *Source) want(ctx context.Context) error {
	return s.ask(ctx, false, func(now time.Time) (bool, error) {
		i := s.issuer
		if i.failure != nil && now.Before(i.due(s.config.Refresh)) {
			return false, i.failure
		}
		since := now.Sub(i.asked)
		justSaid := i.failure == nil && !i.asked.IsZero() && since >= 0 && since < s.config.KeyWait
		return !justSaid, nil
	})
}

// ask asks the issuer if that is needed, or waits for the answer if somebody else has
// asked. needed is called with the lock held. whole is whether discovery is asked, too,
// although it is known where the keys are. It goes on when the client has gone that it
// is asked for: others wait for it.
func (s *Source) ask(ctx context.Context, whole bool, needed func(now time.Time) (bool, error)) error {
	i := s.issuer
	i.mu.Lock()
	if over := i.asking; over != nil {
		i.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
			return ctx.Err()
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		return i.failure
	}
	now := s.options.Clock.Now()
	if need, err := needed(now); !need {
		i.mu.Unlock()
		return err
	}
	i.asking, i.asked = make(chan struct{}), now
	keysURL := i.keysURL
	i.mu.Unlock()

	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*s.config.Timeout)
	defer cancel()
	var err error
	if whole || keysURL == "" {
		keysURL, err = s.discover(asking)
		s.options.Metrics.document(documentDiscovery, err)
	}
	var keys []key
	if err == nil {
		keys, err = s.fetchKeys(asking, keysURL)
		s.options.Metrics.document(documentKeys, err)
	}
	return s.settle(keysURL, keys, err)
}

// settle notes how the issuer has answered, and tells of it when that has changed.
func (s *Source) settle(keysURL string, keys []key, err error) error {
	i, now := s.issuer, s.options.Clock.Now()
	i.mu.Lock()
	was := i.failure
	if err == nil {
		i.keys, i.keysURL, i.read = keys, keysURL, now
		i.failure, i.failures = nil, 0
	} else {
		if was == nil {
			i.failed = now
		}
		i.failure, i.failures = err, i.failures+1
	}
	close(i.asking)
	i.asking = nil
	i.mu.Unlock()
	switch {
	case err != nil && was == nil:
		s.options.Tell(Event{Name: s.config.Name, Err: err})
	case err == nil && was != nil:
		s.options.Tell(Event{Name: s.config.Name})
	case err != nil:
		s.options.Logger.Debug("an issuer of tokens does not answer", "source", s.config.Name, "error", err)
	}
	return err
}

// discover asks where the keys are (OpenID Connect Discovery 1.0, 4). The document must
// be of this very issuer.
func (s *Source) discover(ctx context.Context) (string, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, s.client), s.config.Issuer)
	if err != nil {
		return "", fmt.Errorf("discovery: %s", clip(err.Error()))
	}
	var document struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&document); err != nil {
		return "", fmt.Errorf("discovery: %s", clip(err.Error()))
	}
	at, err := url.Parse(document.Keys)
	from, _ := url.Parse(s.config.Issuer) // which is one, or there would be no configuration
	// Who can read or change what goes between here and there could make tokens.
	if err != nil || at.Host == "" || at.User != nil || at.Scheme != "https" && !(at.Scheme == "http" && from.Scheme == "http" && at.Host == from.Host) {
		return "", fmt.Errorf("discovery: jwks_uri is %q, and not a URL with https", clip(document.Keys))
	}
	return document.Keys, nil
}

// fetchKeys asks for the keys.
func (s *Source) fetchKeys(ctx context.Context, at string) ([]key, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("keys: %s answers %s", at, clip(answer.Status))
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return keys, nil
}

// Event is that an issuer does not answer, or answers again.
type Event struct {
	Name string
	Err  error // nil: it answers again
}

// State is how an issuer has answered.
type State struct {
	Name string
	// Keys is how many are known, since Read.
	Keys int
	Read time.Time
	// Err is why it does not answer, Since when; nil if it does.
	Err   error
	Since time.Time
}

// State returns how the issuer has answered so far.
func (s *Source) State() State {
	i := s.issuer
	i.mu.Lock()
	defer i.mu.Unlock()
	return State{Name: s.config.Name, Keys: len(i.keys), Read: i.read, Err: i.failure, Since: i.failed}
}
