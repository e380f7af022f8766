package monitor

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"postern/internal/metrics"
)

// watched is a server that can be asked.
type watched struct {
	t      *testing.T
	base   string
	log    bytes.Buffer
	health error
	ready  error
}

func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{t: t}
	set := metrics.NewSet()
	set.Counter("things_total", "Things.").Add(3)
	server := New(Options{
		Metrics: set, Healthy: func() error { return w.health }, Ready: func() error { return w.ready },
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.base = "http://" + l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.Shutdown()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

// ask returns the status and the body.
func (w *watched) ask(method, path string) (int, string) {
	w.t.Helper()
	request, err := http.NewRequest(method, w.base+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func (w *watched) want(path string, status int, text string) {
	w.t.Helper()
	if got, body := w.ask("GET", path); got != status || !strings.Contains(body, text) {
		w.t.Errorf("%s answers %d %q, want %d with %q", path, got, body, status, text)
	}
}

func TestAnswers(t *testing.T) {
	w := watch(t)
	w.want("/metrics", 200, "things_total 3\n")
	w.want("/healthz", 200, "ok\n")
	w.want("/readyz", 200, "ok\n")
	w.want("/", 404, "")
	if status, _ := w.ask("POST", "/healthz"); status != 405 {
		t.Errorf("POST is answered with %d, want 405", status)
	}
	w.health = errors.New("the committer hangs")
	w.want("/healthz", 503, "the committer hangs\n")
	w.want("/readyz", 200, "ok\n")
	w.ready = errors.New("disk: full")
	w.want("/readyz", 503, "disk: full\n")
}

// Who asks every second must not fill the log.
func TestQuietInTheLog(t *testing.T) {
	w := watch(t)
	for range 3 {
		w.want("/healthz", 200, "ok")
		w.want("/metrics", 200, "")
	}
	if w.log.Len() != 0 {
		t.Errorf("the log says of a server that is well: %s", w.log.String())
	}
	w.ready = errors.New("disk: full")
	for range 3 {
		w.want("/readyz", 503, "disk: full")
	}
	w.ready = nil
	w.want("/readyz", 200, "ok")
	if lines := strings.Count(w.log.String(), "\n"); lines != 2 {
		t.Errorf("the log has %d lines about one change for the worse and one for the better:\n%s", lines, w.log.String())
	}
}

// deaf is a client that reads nothing.
type deaf struct {
	http.ResponseWriter
	writing, done chan bool
}

func (d deaf) Write(p []byte) (int, error) {
	d.writing <- true
	<-d.done
	return d.ResponseWriter.Write(p)
}

// TestDeafScrapersShutNobodyOut: clients that ask for metrics and read none,
// as many as are answered at a time, keep no other from asking.
func TestDeafScrapersShutNobodyOut(t *testing.T) {
	set := metrics.NewSet()
	set.Counter("things_total", "Things.").Add(3)
	server := New(Options{Metrics: set, Logger: slog.New(slog.DiscardHandler)})
	writing, done, ended := make(chan bool), make(chan bool), make(chan bool)
	for range maxScrapes {
		go func() {
			server.http.Handler.ServeHTTP(deaf{httptest.NewRecorder(), writing, done}, httptest.NewRequest("GET", "/metrics", nil))
			ended <- true
		}()
		<-writing
	}
	w := httptest.NewRecorder()
	server.http.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "things_total 3") {
		t.Errorf("answered %d %q", w.Code, w.Body)
	}
	close(done)
	for range maxScrapes {
		<-ended
	}
}
