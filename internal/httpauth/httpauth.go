// Package httpauth asks a service over HTTP whether a user and a password belong
// together, and what the account may do. docs/http-auth.md has what it is asked and how
// it must answer.
//
// A service that does not answer, or not so that it can be understood, says nothing of
// the password: that is temporary. Neither password nor secret is in any log, error or
// URL, and the answer is in none either.
package httpauth

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/httpclient"
	"postern/internal/mail"
)

// maxAnswer bounds an answer, in octets.
const maxAnswer = 64 << 10

// Options are what a Source needs. All may be left out.
type Options struct {
	// Secret is the value of the field secret_header of requests.
	Secret mail.Secret
	// Authorities are those that may vouch for the service; nil for those of the system.
	Authorities *x509.CertPool
	// Certificate is what is shown to the service; nil for none.
	Certificate *tls.Certificate
	// Tell is told when the service does not answer, and when it answers again. It may
	// be called by several goroutines at a time.
	Tell    func(Event)
	Clock   mail.Clock
	Logger  *slog.Logger
	Metrics *Metrics
}

// Source asks one service. It is safe for use by several goroutines.
type Source struct {
	config  config.HTTPAuth
	options Options
	client  *http.Client
	health  *health
}

// health is how the service has answered.
type health struct {
	mu      sync.Mutex
	failure error // nil: it has answered
	since   time.Time
}

// New returns a Source that has asked nothing yet.
func New(c config.HTTPAuth, o Options) *Source {
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	client := httpclient.New(httpclient.Options{
		Authorities: o.Authorities, Certificate: o.Certificate, Timeout: c.Timeout, MaxBody: maxAnswer, MaxConnections: c.MaxConnections,
	})
	return &Source{config: c, options: o, client: client, health: new(health)}
}

// Name returns what the source is called.
func (s *Source) Name() string { return s.config.Name }

// Follow makes the Source the one after another: it is known how the same service has
// answered. It must be called before the Source is used by anybody.
func (s *Source) Follow(before *Source) {
	if s.config.URL == before.config.URL {
		s.health = before.health
	}
}

// Close gives up the connections that nobody uses at the moment.
func (s *Source) Close() { s.client.CloseIdleConnections() }

// Password asks whether a password is right, and who the user is.
//
// Errors: auth.ErrInvalid; any other is temporary.
func (s *Source) Password(ctx context.Context, user, password string) (mail.Principal, error) {
	who, err := s.ask(ctx, user, password)
	s.options.Metrics.asked(err)
	if err != nil {
		err = fmt.Errorf("source %s: %w", s.config.Name, err)
	}
	if ctx.Err() == nil { // or the client has gone, which says nothing of the service
		s.settle(err)
	}
	return who, err
}

// ask sends the question and reads the answer.
func (s *Source) ask(ctx context.Context, user, password string) (mail.Principal, error) {
	if user == "" || len(user) > maxName || !isName(user) || !utf8.ValidString(password) {
		return mail.Principal{}, fmt.Errorf("%w: no name of an account, or no password in UTF-8", auth.ErrInvalid)
	}
	request, err := s.request(ctx, user, password)
	if err != nil {
		return mail.Principal{}, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return mail.Principal{}, err
	}
	defer response.Body.Close()
	return s.read(user, response)
}

// request makes the question. It has no secret in its URL, which errors and the logs of
// servers show.
func (s *Source) request(ctx context.Context, user, password string) (*http.Request, error) {
	method, kind := http.MethodPost, ""
	var body []byte
	switch s.config.Request {
	case config.HTTPForm:
		kind = "application/x-www-form-urlencoded"
		body = []byte(url.Values{s.config.UserField: {user}, s.config.PasswordField: {password}}.Encode())
	case config.HTTPJSON:
		kind = "application/json"
		var err error
		if body, err = json.Marshal(map[string]string{s.config.UserField: user, s.config.PasswordField: password}); err != nil {
			return nil, errors.New("user and password cannot be written as JSON")
		}
	case config.HTTPBasic:
		method = http.MethodGet
		if strings.Contains(user, ":") { // RFC 7617 2
			return nil, fmt.Errorf("%w: a user with a colon, which HTTP cannot name", auth.ErrInvalid)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, s.config.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "Postern")
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if s.config.Request == config.HTTPBasic {
		r.SetBasicAuth(user, password)
	}
	if s.config.SecretHeader != "" {
		r.Header.Set(s.config.SecretHeader, string(s.options.Secret))
	}
	return r, nil
}

func isName(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// Event is that a service does not answer, or answers again.
type Event struct {
	Name string
	Err  error // nil: it answers again
}

// settle notes how the service has answered, and tells of it when that has changed.
func (s *Source) settle(err error) {
	if errors.Is(err, auth.ErrInvalid) {
		err = nil
	}
	h := s.health
	h.mu.Lock()
	was := h.failure
	if h.failure = err; err != nil && was == nil {
		h.since = s.options.Clock.Now()
	}
	h.mu.Unlock()
	if (err == nil) != (was == nil) {
		s.options.Tell(Event{Name: s.config.Name, Err: err})
	}
}

// Failure returns why the service does not answer, and since when; nil if it does, or
// has not been asked.
func (s *Source) Failure() (since time.Time, err error) {
	h := s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.since, h.failure
}
