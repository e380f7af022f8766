package admin

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"postern/internal/limit"
	"postern/internal/mail"
)

const (
	// maxHeader bounds a request's header in octets.
	maxHeader = 16 << 10
	// maxBody bounds the body of a request in octets; that of an import, which is
	// read as it comes, has bounds of its own.
	maxBody = 1 << 20
	// maxRequests is how many requests of one actor are answered at a time.
	maxRequests = 50
	// maxConnections is how many clients may be connected to the socket, or to
	// the TCP address; there a client may have maxPerClient of them.
	maxConnections = 200
	maxPerClient   = 50

	headerTimeout = 10 * time.Second
	// bodyTimeout is how long the body of a request may take to come.
	bodyTimeout = 10 * time.Second
	idleTimeout = time.Minute
	// stallTimeout is how long a client may take nothing of an answer.
	stallTimeout = 2 * time.Minute
)

// bounded keeps the connections to a listener within their bounds. Who comes
// when there are too many waits.
func bounded(l net.Listener) net.Listener {
	if l.Addr().Network() != "unix" {
		l = limit.PerClient(l, maxPerClient)
	}
	return limit.Total(l, maxConnections)
}

// hurried gives a client its time for the body of its request, whatever is
// answered: net/http waits for the rest of a body that nobody has read, and
// would do so without end.
func hurried(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // fails when the client has left
		}
		h.ServeHTTP(w, r)
	})
}

// whole lets h answer a request when its body is there, so that no operation
// waits for a client. The body of an import is read as it comes.
func (s *Server) whole(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 && r.URL.Path != importPath {
			body, problem := readBody(w, r, cmp.Or(s.large[r.URL.Path], maxBody))
			if problem != nil {
				refuse(w, problem)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		h.ServeHTTP(w, r)
	})
}

// readBody reads the body of a request, after which its answer may take as long
// as it takes.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, *Problem) {
	patient := &patientReader{body: http.MaxBytesReader(w, r.Body, most), control: http.NewResponseController(w)}
	from := io.Reader(patient)
	if most <= maxBody {
		from = patient.body // it has bodyTimeout
	}
	body, err := io.ReadAll(from)
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return nil, &Problem{Status: http.StatusRequestEntityTooLarge, Title: "Request too large",
			Detail: fmt.Sprintf("the body is too large: it may have %d octets", most)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &Problem{Status: http.StatusRequestTimeout, Title: "Request too slow",
			Detail: fmt.Sprintf("the body did not come within %s", bodyTimeout)}
	case err != nil:
		return nil, badRequest(fmt.Errorf("the body cannot be read: %w", err))
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // fails when the client has left
	return body, nil
}

// places counts the requests of each actor that are being answered, so that one
// whose answers are not read shuts nobody else out.
type places struct {
	mu    sync.Mutex
	taken map[string]int
}

// enter gives an actor a place, if there is one left; leave must follow.
func (p *places) enter(actor string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[actor] >= maxRequests {
		return false
	}
	p.taken[actor]++
	return true
}

func (p *places) leave(actor string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[actor]--; p.taken[actor] == 0 {
		delete(p.taken, actor)
	}
}

// limited answers only so many requests of an actor at a time.
func (s *Server) limited(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := actor(r.Context())
		if !s.places.enter(who) {
			refuse(w, &Problem{Status: http.StatusServiceUnavailable, Title: "Too many requests",
				Detail: fmt.Sprintf("%d requests of %s are being answered; try again later", maxRequests, who)})
			return
		}
		defer s.places.leave(who)
		h.ServeHTTP(w, r)
	})
}

// tellEvery is how often the log tells of strangers.
const tellEvery = time.Minute

// strangers tells the log of requests without a valid token, not of each when
// there are many.
type strangers struct {
	mu     sync.Mutex
	until  time.Time // nothing is told before
	untold int
}

func (s *strangers) tell(log *slog.Logger, clock mail.Clock, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := clock.Now()
	if now.Before(s.until) {
		s.untold++
		return
	}
	log.Warn("administrative request without a valid token", "client", r.RemoteAddr, "path", r.URL.Path, "more_since_last", s.untold)
	s.until, s.untold = now.Add(tellEvery), 0
}
