package admin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/alignment"
	"postern/internal/certs"
	"postern/internal/deliver"
	"postern/internal/dkim"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/queue"
)

// Options are what a Server acts on. All but Logger and Clock are required.
type Options struct {
	Queue   Queue
	Sites   Sites
	Targets Targets
	// Tally tells what became of mail, and for how many attempts retry lists the waits.
	Tally   func() (counted deliver.Tally, listed int)
	Store   Store
	Journal *journal.Journal
	// Importer takes in what was exported.
	Importer Importer
	// Snapshot makes a snapshot for a backup that somebody makes. Errors: ErrBusy.
	Snapshot     func(ctx context.Context, actor string, o SnapshotOrder) (Snapshot, error)
	Control      Controller
	Records      Records
	Certificates *certs.Keeper
	// Keys are those for signatures; Alignment looks at a domain of theirs.
	Keys      *dkim.Keeper
	Alignment func(ctx context.Context, domain string) (*alignment.Alignment, error)
	// Status tells the state of the server; the counts of the queue are
	// filled in here.
	Status func() Status
	// Transports are the names of those by which mail can be rerouted. Nil: it is not known.
	Transports func() []string
	// Bound says why a recipient may not be sent to a destination: a route of its that must never
	// be gone round; "" if it may. Nil: all may.
	Bound func(r mail.Routing, to mail.Destination) string
	// Stop asks the server to end, and returns at once.
	Stop func()
	// Tokens let in who does not come by the socket; without any nobody.
	Tokens []Token
	Logger *slog.Logger
	Clock  mail.Clock
}

// Server answers on the socket.
type Server struct {
	Options
	api       huma.API
	methods   map[string][]string // those that each path takes
	large     map[string]int64    // paths whose bodies may be so large, in octets
	places    places
	exporting sync.Mutex // held while records are exported
	strangers strangers
	http      http.Server
}

// NewServer returns a server; Serve sets it to work.
func NewServer(o Options) *Server {
	return newServer(o, (*Server).serverOperations, (*Server).controlOperations, (*Server).queueOperations, (*Server).siteOperations, (*Server).targetOperations, (*Server).certificateOperations, (*Server).keyOperations,
		(*Server).quarantineOperations, (*Server).partOperations, (*Server).suspendOperations, (*Server).importOperations,
		(*Server).backupOperations, (*Server).storeOperations, (*Server).journalOperations, (*Server).recordOperations)
}

// newServer returns a server with some operations.
func newServer(o Options, operations ...func(*Server)) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	mux := http.NewServeMux()
	s := &Server{Options: o, api: newAPI(mux), methods: make(map[string][]string), large: make(map[string]int64), places: places{taken: make(map[string]int)}}
	for _, add := range operations {
		add(s)
	}
	s.refuseTheRest(mux)
	s.http = http.Server{
		Handler:           hurried(s.authenticated(s.whole(s.limited(mux)))),
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      stallTimeout, // streams prolong it
		IdleTimeout:       idleTimeout,
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	return s
}

// OpenAPI returns the description of the API (OpenAPI 3.1) as JSON.
func (s *Server) OpenAPI() ([]byte, error) { return json.MarshalIndent(s.api.OpenAPI(), "", "  ") }

// refuseTheRest lets a problem answer what no operation does.
func (s *Server) refuseTheRest(mux *http.ServeMux) {
	for path, methods := range s.methods {
		allowed := strings.Join(methods, ", ")
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", allowed)
			refuse(w, &Problem{Status: http.StatusMethodNotAllowed, Title: "Wrong method",
				Detail: fmt.Sprintf("%s takes %s, not %q", path, allowed, r.Method)})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, &Problem{Status: http.StatusNotFound, Title: "No such path", Detail: fmt.Sprintf("there is nothing at %q", r.URL.Path)})
	})
}

func refuse(w http.ResponseWriter, problem *Problem) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(problem.Status)
	_ = json.NewEncoder(mail.PlainJSONWriter(w)).Encode(problem) // fails when the client has left
}

// Serve answers those who connect to l, which it closes, until Shutdown; by TLS
// if there is a configuration for it.
func (s *Server) Serve(l net.Listener, secure *tls.Config) error {
	l = bounded(l)
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
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

func (s *Server) serverOperations() {
	answer(s, huma.Operation{OperationID: "status", Method: http.MethodGet, Path: "/v1/status",
		Summary: "The state of the server at a glance"}, s.status)
	act(s, huma.Operation{OperationID: "stop", Method: http.MethodPost, Path: "/v1/stop", DefaultStatus: http.StatusAccepted,
		Summary: "End the server in good order; it is answered at once"}, s.stop)
}

func (s *Server) status(ctx context.Context, _ *struct{}) (Status, error) {
	status := s.Status()
	counts, err := s.Queue.Count(ctx, queue.Filter{})
	if err != nil {
		return Status{}, err
	}
	status.Recipients, status.Waiting = counts, make(map[string]int)
	for class, n := range s.Queue.Classes() {
		status.Waiting[class.String()] = n
	}
	status.Active = s.Queue.Leased()
	status.DamagedFiles = s.Store.DamagedFiles()
	if status.Suspensions, err = s.suspensions(ctx, nil); err != nil {
		return Status{}, err
	}
	if status.Sites, err = s.siteSummary(ctx); err != nil {
		return Status{}, err
	}
	if now, underWay := s.Queue.Editing(); underWay {
		status.Edit = &now
	}
	if err := s.Journal.Failure(); err != nil {
		status.JournalError = err.Error()
	}
	return status, nil
}

func (s *Server) stop(context.Context, *struct{}) error {
	s.Stop()
	return nil
}
