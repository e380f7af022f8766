package admin

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

// pipes is a listener whose connections are pipes.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-p.conns:
		return nc, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

const testToken = "a-token-of-the-tests"

// TestBodyThatNeverComes: a client that announces a body and does not send it
// has its time and no more, stranger or not, whatever it asks for.
func TestBodyThatNeverComes(t *testing.T) {
	for _, c := range []struct {
		name, request string
		drip          bool
		status        int
	}{
		{"stranger", "POST /v1/suspend HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", false, 401},
		{"stranger who drips", "POST /v1/suspend HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", true, 401},
		{"stranger in chunks", "POST /v1/suspend HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", false, 401},
		{"operation", authorized("POST /v1/suspend", "Content-Length: 1000"), false, 408},
		{"operation, dripping", authorized("POST /v1/suspend", "Content-Length: 1000"), true, 408},
		{"operation without a body", authorized("POST /v1/stop", "Content-Length: 1000"), false, 408},
		{"stream", authorized("GET /v1/queue", "Content-Length: 1000"), false, 408},
		{"no path", authorized("GET /nowhere", "Content-Length: 1000"), true, 408},
		{"import without a body", authorized("POST /v1/imports", "Content-Length: 1000"), false, 422},
		{"header", "GET /v1/status HTTP/1.1\r\n", false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				if status := ask(t, c.request, c.drip); status != c.status {
					t.Errorf("answered %d, want %d", status, c.status)
				}
				if took := time.Since(begin); took > bodyTimeout+time.Second {
					t.Errorf("the connection was held for %s", took)
				}
			})
		})
	}
}

func authorized(request, field string) string {
	return fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n", request, testToken, field)
}

// ask sends a request to a server, and returns the status of the answer when
// the server has ended the connection; 0 without an answer.
func ask(t *testing.T, request string, drip bool) int {
	t.Helper()
	server := NewServer(Options{Queue: queue.NewMemory(queue.Options{}), Tokens: []Token{{Name: "test", Value: testToken}}})
	l := &pipes{make(chan net.Conn), make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l, nil) }()
	here, there := net.Pipe()
	l.conns <- there
	said := make(chan bool)
	go func() {
		defer close(said)
		_, err := io.WriteString(here, request)
		for drip && err == nil {
			time.Sleep(time.Second)
			_, err = io.WriteString(here, "x")
		}
	}()
	answer, err := io.ReadAll(here)
	if err != nil {
		t.Error(err)
	}
	here.Close()
	<-said
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(answer))), nil)
	if err != nil {
		return 0
	}
	return response.StatusCode
}

// TestPlacesOfEachActor: one whose requests are all under way gets no more, and
// others are answered.
func TestPlacesOfEachActor(t *testing.T) {
	server := NewServer(Options{Queue: queue.NewMemory(queue.Options{}), Tokens: []Token{{Name: "a", Value: "token-of-a"}, {Name: "b", Value: "token-of-b"}}})
	entered, leave := make(chan bool), make(chan bool)
	h := server.authenticated(server.limited(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- true
		<-leave
	})))
	status := func(token string) int {
		r := httptest.NewRequest("GET", "/v1/queue", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	ended := make(chan int, maxRequests+1)
	for range maxRequests {
		go func() { ended <- status("token-of-a") }()
		<-entered
	}
	if got := status("token-of-a"); got != http.StatusServiceUnavailable {
		t.Errorf("request %d is answered %d", maxRequests+1, got)
	}
	if got := status("token-of-nobody"); got != http.StatusUnauthorized {
		t.Errorf("a stranger is answered %d", got)
	}
	go func() { ended <- status("token-of-b") }()
	<-entered // somebody else's is answered
	for range maxRequests + 1 {
		leave <- true
		if got := <-ended; got != http.StatusOK {
			t.Errorf("answered %d", got)
		}
	}
	if len(server.places.taken) != 0 {
		t.Errorf("places are left: %v", server.places.taken)
	}
}

// TestStrangersDoNotFillTheLog: of many requests without a valid token one a
// minute is told, and how many there were.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	var log strings.Builder
	clock := mail.NewManualClock(time.Unix(1e9, 0))
	server := NewServer(Options{Queue: queue.NewMemory(queue.Options{}), Clock: clock, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	knock := func() {
		w := httptest.NewRecorder()
		if server.http.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/v1/queue", nil)); w.Code != http.StatusUnauthorized {
			t.Fatalf("answered %d", w.Code)
		}
	}
	for range 1000 {
		knock()
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("1000 requests make %d lines", n)
	}
	clock.Advance(tellEvery)
	knock()
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "more_since_last=999") {
		t.Errorf("after a minute there are %d lines: %s", n, log.String())
	}
}
