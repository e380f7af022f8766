// Package monitor answers those who watch the server over HTTP: /metrics for
// Prometheus, /healthz and /readyz for whoever starts it again or sends it
// clients. It only reads: nothing can be changed here, and nothing that it shows
// is about single messages, addresses or hosts.
//
// /healthz is 200 while the server makes progress, /readyz while it takes mail,
// and both are 503 otherwise, with a line for each thing that is wrong. They are
// not logged: they are asked every few seconds. A change of what they say is.
package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"postern/internal/limit"
	"postern/internal/metrics"
)

// Check says what is wrong; nil if nothing is. It must answer at once, also
// when what it looks at hangs.
type Check func() error

// Options are what a Server needs.
type Options struct {
	Metrics *metrics.Set
	// Healthy says whether the server makes progress; Ready, whether it takes
	// mail.
	Healthy, Ready Check
	Logger         *slog.Logger
}

// Limits of those who ask.
const (
	askTimeout    = 10 * time.Second // for a whole request
	answerTimeout = 30 * time.Second // and for the answer
	maxHeader     = 8 << 10          // octets
	maxScrapes    = 4                // put together at the same time
	maxClients    = 64               // connected; more wait
	maxPerClient  = 16               // of them, from one address
)

// Server answers over HTTP. Make it with New.
type Server struct{ http http.Server }

// New returns a Server.
func New(o Options) *Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", unhurried(promhttp.HandlerFor(o.Metrics.Gatherer(), promhttp.HandlerOpts{ErrorLog: errorLog{o.Logger}})))
	mux.Handle("GET /healthz", &answerer{name: "healthz", check: o.Healthy, logger: o.Logger})
	mux.Handle("GET /readyz", &answerer{name: "readyz", check: o.Ready, logger: o.Logger})
	return &Server{http.Server{
		Handler: mux, ReadTimeout: askTimeout, WriteTimeout: answerTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug), // of clients that break off
	}}
}

// Serve answers those who connect to l, which it closes, until Shutdown, and
// then returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(limit.Total(limit.PerClient(l, maxPerClient), maxClients)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown stops answering. Those who are being answered have a second; then they
// are cut off.
func (s *Server) Shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
}

// unhurried lets h write its answer to memory, which is some tens of KiB, so
// that it is done before anybody reads: a client that does not read must keep
// no others from asking. When too many ask, they wait for their turn.
func unhurried(h http.Handler) http.Handler {
	turns := make(chan struct{}, maxScrapes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := written{header: w.Header(), status: http.StatusOK}
		turns <- struct{}{} // h waits for nobody
		h.ServeHTTP(&a, r)
		<-turns
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body.Bytes()) // fails when the client has left
	})
}

// written is an answer that lies in memory.
type written struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is that of the answer.
func (a *written) Header() http.Header { return a.header }

// WriteHeader notes the status.
func (a *written) WriteHeader(status int) { a.status = status }

// Write adds to the body.
func (a *written) Write(p []byte) (int, error) { return a.body.Write(p) }

// answerer answers what a Check says.
type answerer struct {
	name   string
	check  Check
	logger *slog.Logger

	mu  sync.Mutex
	bad bool // what was said last
}

// ServeHTTP answers 200 or 503.
func (a *answerer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	err := a.check()
	a.tell(err)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}

// tell logs what is said, when that is not what was said before.
func (a *answerer) tell(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bad == (err != nil) {
		return
	}
	if a.bad = err != nil; a.bad {
		a.logger.Warn("those who ask are told that something is wrong", "at", a.name, "error", err)
	} else {
		a.logger.Info("those who ask are told that all is well again", "at", a.name)
	}
}

// errorLog logs metrics that cannot be read.
type errorLog struct{ logger *slog.Logger }

// Println logs an error.
func (l errorLog) Println(v ...any) {
	l.logger.Error("metrics cannot be read", "error", fmt.Sprint(v...))
}
