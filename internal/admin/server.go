package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/queue"
)

// Options are what a Server acts on. All but Logger are required.
type Options struct {
	Queue   queue.Reader
	Journal *journal.Journal
	// Status tells the state of the server; the counts of the queue are
	// filled in here.
	Status func() Status
	// Stop asks the server to end, and returns at once.
	Stop   func()
	Logger *slog.Logger
}

// Server answers on the socket.
type Server struct {
	Options
	http http.Server
}

// NewServer returns a server; Serve sets it to work.
func NewServer(o Options) *Server {
	s := &Server{Options: o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.handle(s.status))
	mux.HandleFunc("POST /v1/stop", s.handle(s.stop))
	mux.HandleFunc("GET /v1/queue", s.handle(s.list))
	mux.HandleFunc("GET /v1/queue/{id}", s.handle(s.entry))
	mux.HandleFunc("GET /v1/journal", s.handle(s.journal))
	s.http = http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn)}
	return s
}

// Listen opens the socket at a path; only its owner may use it. A socket that
// a server which is gone has left behind is replaced.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, errors.New("a server answers at " + path + " already")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	// The directory is closed to others until this is done, if it is ours.
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
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

// handle turns the error of a handler into a problem document. What nobody
// foresaw is said in the log only.
func (s *Server) handle(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil || r.Context().Err() != nil {
			return
		}
		problem, ok := errors.AsType[*Problem](err)
		if !ok {
			s.Logger.Error("administrative request failed", "path", r.URL.Path, "error", err)
			problem = &Problem{Status: http.StatusInternalServerError, Title: "Internal error", Detail: "the request failed; the log of the server says why"}
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(problem.Status)
		json.NewEncoder(w).Encode(problem)
	}
}

func badRequest(err error) error {
	return &Problem{Status: http.StatusBadRequest, Title: "Bad request", Detail: err.Error()}
}

func answer(w http.ResponseWriter, value any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(value)
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	status := s.Status()
	counts, err := s.Queue.Count(r.Context(), queue.Filter{})
	if err != nil {
		return err
	}
	status.Recipients = counts
	status.Active = s.Queue.Leased()
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
			Detail: "message " + string(id) + " is not in the queue; `postern journal show " + string(id) + "` tells what became of it"}
	}
	if err != nil {
		return err
	}
	return answer(w, entry)
}

// journal streams facts as JSON lines, each flushed as it comes when the
// client follows.
func (s *Server) journal(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	query := journal.Query{}
	if m := v.Get(paramMessage); m != "" {
		id, err := mail.ParseID(m)
		if err != nil {
			return badRequest(err)
		}
		query.Message = id
	}
	last, err := number(v, paramLast)
	if err != nil {
		return badRequest(err)
	}
	query.Last = last

	w.Header().Set("Content-Type", "application/jsonl")
	encoder := json.NewEncoder(w)
	write := func(f mail.Fact) error { return encoder.Encode(f) }
	if v.Get(paramFollow) == "" {
		return s.Journal.Read(r.Context(), query, write)
	}
	flush := http.NewResponseController(w).Flush
	return s.Journal.Follow(r.Context(), query, func(f mail.Fact) error {
		return errors.Join(write(f), flush())
	})
}
