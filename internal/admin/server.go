package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/queue"
)

// Options are what a Server acts on. All but Logger are required.
type Options struct {
	Queue   queue.Reader
	Store   Store
	Journal *journal.Journal
	// Status tells the state of the server; the counts of the queue are
	// filled in here.
	Status func() Status
	// Stop asks the server to end, and returns at once.
	Stop   func()
	Logger *slog.Logger
}

const (
	// maxHeader bounds a request's header in octets; requests have no body.
	maxHeader = 16 << 10
	// maxRequests is how many requests are served at a time.
	maxRequests = 100

	headerTimeout = 10 * time.Second
	idleTimeout   = time.Minute
)

// Server answers on the socket.
type Server struct {
	Options
	mux   *http.ServeMux
	slots chan struct{} // one for each request under way
	http  http.Server
}

// NewServer returns a server; Serve sets it to work.
func NewServer(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{Options: o, mux: http.NewServeMux(), slots: make(chan struct{}, maxRequests)}
	s.path("/v1/status", http.MethodGet, s.status)
	s.path("/v1/stop", http.MethodPost, s.stop)
	s.path("/v1/queue", http.MethodGet, s.list)
	s.path("/v1/store/damaged", http.MethodGet, s.damaged)
	s.path("/v1/queue/{id}", http.MethodGet, s.entry)
	s.path("/v1/store", http.MethodGet, s.stat)
	s.path("/v1/store/verify", http.MethodPost, s.verify)
	s.path("/v1/journal", http.MethodGet, s.journal)
	s.mux.HandleFunc("/", s.handle(func(_ http.ResponseWriter, r *http.Request) error {
		return &Problem{Status: http.StatusNotFound, Title: "No such path", Detail: fmt.Sprintf("there is nothing at %q", r.URL.Path)}
	}))
	s.http = http.Server{
		Handler:           s.mux,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	return s
}

// handler answers a request, or returns a *Problem. Any other error is one
// that nobody foresaw.
type handler func(http.ResponseWriter, *http.Request) error

// path lets h answer a method at a path, and a problem any other method.
func (s *Server) path(pattern, method string, h handler) {
	s.mux.HandleFunc(method+" "+pattern, s.handle(h))
	s.mux.HandleFunc(pattern, s.handle(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Allow", method)
		return &Problem{Status: http.StatusMethodNotAllowed, Title: "Wrong method",
			Detail: fmt.Sprintf("%s takes %s, not %q", pattern, method, r.Method)}
	}))
}

// Serve answers until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown lets requests finish until ctx ends, then cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// handle turns the error of a handler into a problem document.
func (s *Server) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := s.limited(w, r, h)
		if err == nil || r.Context().Err() != nil {
			return
		}
		problem := s.problem(r, err)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(problem.Status)
		_ = json.NewEncoder(w).Encode(problem) // fails when the client has left
	}
}

func (s *Server) limited(w http.ResponseWriter, r *http.Request, h handler) error {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
		return h(w, r)
	default:
		return &Problem{Status: http.StatusServiceUnavailable, Title: "Too many requests",
			Detail: fmt.Sprintf("%d requests are being answered; try again later", maxRequests)}
	}
}

// problem returns what the client is told of an error. What nobody foresaw is
// said in the log only.
func (s *Server) problem(r *http.Request, err error) *Problem {
	if problem, ok := errors.AsType[*Problem](err); ok {
		return problem
	}
	if errors.Is(err, queue.ErrClosed) || errors.Is(err, queue.ErrUnknown) {
		return &Problem{Status: http.StatusServiceUnavailable, Title: "Stopping", Detail: "the server is stopping"}
	}
	if errors.Is(err, queue.ErrDamaged) {
		return &Problem{Status: http.StatusInternalServerError, Title: "Damaged store", Detail: fmt.Sprintf("%v; `postern store verify` tells where", err)}
	}
	s.Logger.Error("administrative request failed", "path", r.URL.Path, "error", err)
	return &Problem{Status: http.StatusInternalServerError, Title: "Internal error", Detail: "the request failed; the log of the server says why"}
}

func badRequest(err error) error {
	return &Problem{Status: http.StatusBadRequest, Title: "Bad request", Detail: err.Error()}
}

func answer(w http.ResponseWriter, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // fails when the client has left
	return nil
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	status := s.Status()
	counts, err := s.Queue.Count(r.Context(), queue.Filter{})
	if err != nil {
		return err
	}
	status.Recipients = counts
	status.Active = s.Queue.Leased()
	status.DamagedFiles = s.Store.DamagedFiles()
	if err := s.Journal.Failure(); err != nil {
		status.JournalError = err.Error()
	}
	return answer(w, status)
}

func (s *Server) stop(w http.ResponseWriter, _ *http.Request) error {
	w.WriteHeader(http.StatusAccepted)
	s.Stop()
	return nil
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) error {
	filter, page, err := selection(r.URL.Query())
	if err != nil {
		return badRequest(err)
	}
	entries, err := s.Queue.List(r.Context(), filter, page)
	if errors.Is(err, queue.ErrInvalid) {
		return badRequest(err)
	}
	if err != nil {
		return err
	}
	if entries == nil {
		entries = []queue.Entry{}
	}
	return answer(w, entries)
}

func (s *Server) entry(w http.ResponseWriter, r *http.Request) error {
	id, err := mail.ParseID(r.PathValue("id"))
	if err != nil {
		return badRequest(err)
	}
	entry, err := s.Queue.Get(r.Context(), id)
	if errors.Is(err, queue.ErrNotFound) {
		return &Problem{Status: http.StatusNotFound, Title: "Not in the queue",
			Detail: fmt.Sprintf("message %s is not in the queue; the journal tells what became of it", id)}
	}
	if err != nil {
		return err
	}
	return answer(w, entry)
}

// lastLine is the last line of a journal that could not be read to its end.
type lastLine struct {
	Problem *Problem `json:"problem"`
}

// journal streams facts as JSON lines, each flushed as it comes when the
// client follows. The header is sent before the first fact is found, so that
// a client need not wonder whether the server is there; what fails behind it
// is told in a last line.
func (s *Server) journal(w http.ResponseWriter, r *http.Request) error {
	query, follow, err := journalQuery(r.URL.Query())
	if err != nil {
		return badRequest(err)
	}
	w.Header().Set("Content-Type", "application/jsonl")
	encoder, flush := json.NewEncoder(w), http.NewResponseController(w).Flush
	if err := flush(); err != nil {
		return nil // the client has left
	}
	if follow {
		err = s.Journal.Follow(r.Context(), query, func(f mail.Fact) error { return errors.Join(encoder.Encode(f), flush()) })
	} else {
		err = s.Journal.Read(r.Context(), query, func(f mail.Fact) error { return encoder.Encode(f) })
	}
	if err != nil && r.Context().Err() == nil {
		_ = encoder.Encode(lastLine{s.journalProblem(r, err)})
	}
	return nil
}

// journalProblem says what kept the journal from being read. Damage is told
// with its place: the facts that can be read were sent.
func (s *Server) journalProblem(r *http.Request, err error) *Problem {
	if damage, ok := errors.AsType[*journal.DamageError](err); ok {
		return &Problem{Status: http.StatusInternalServerError, Title: "Damaged journal", Detail: damage.Error()}
	}
	return s.problem(r, err)
}

func journalQuery(v url.Values) (q journal.Query, follow bool, err error) {
	if m := v.Get(paramMessage); m != "" {
		if q.Message, err = mail.ParseID(m); err != nil {
			return q, false, err
		}
	}
	if v.Has(paramLast) {
		if q.Last, err = number(v, paramLast, span{0, MaxLast}); err != nil {
			return q, false, err
		}
		if q.Last == 0 {
			q.Last = -1 // none: in a Query, 0 means all
		}
	}
	switch follow := v.Get(paramFollow); follow {
	case "", "0":
		return q, false, nil
	case "1":
		return q, true, nil
	default:
		return q, false, fmt.Errorf("%s is %q: it must be 0 or 1", paramFollow, follow)
	}
}
