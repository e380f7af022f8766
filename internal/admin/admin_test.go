package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/admin"
	"postern/internal/deliver"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/pool"
	"postern/internal/queue"
	"postern/internal/route"
)

// rig is a server on a socket, with a queue and a journal behind it.
type rig struct {
	*admin.Client
	dir     string // of the journal
	path    string // of the socket
	queue   *queue.Memory
	sites   *deliver.Deliverer // that does not run
	pools   *pool.Set          // likewise
	told    mailtest.Facts     // of pools
	store   *store
	journal *journal.Journal
	stopped chan struct{} // receives when the server was told to stop
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	j, err := journal.Open(filepath.Join(dir, "journal"), journal.Options{Delay: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{dir: dir, queue: queue.NewMemory(queue.Options{}), store: &store{}, journal: j, stopped: make(chan struct{}, 1)}
	r.sites = deliver.New(deliver.Options{Store: r.queue, Settings: deliver.Settings{Router: router{}}})
	r.pools = pool.New(pool.Options{Record: r.told.Record})
	r.path, r.Client = serve(t, admin.Options{
		Queue: r.queue, Sites: r.sites, Targets: r.pools, Tally: r.sites.Tally, Store: r.store, Journal: j,
		Status: func() admin.Status { return admin.Status{Version: "1", Hostname: "gate.example"} },
		Stop:   func() { r.stopped <- struct{}{} },

		Transports: func() []string { return []string{"mx", "partners"} },
		Bound: func(r mail.Routing, _ mail.Destination) string {
			if r.To.Local == "free" {
				return ""
			}
			return "it may not"
		},
	})
	t.Cleanup(func() { // the journal's end ends those who follow it, as in the server
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// router leads every destination to a site of its own, but for "lost.example".
type router struct{}

func (router) Route(_ context.Context, q route.Question) (route.Route, error) {
	d := q.Destination
	if d == "lost.example" {
		return route.Route{}, mail.Refuse(451, "4.4.4", "No way")
	}
	return route.Route{Name: "mx", Site: "mx:mail." + string(d) + ":25"}, nil
}

// serve serves on a socket until the test ends.
func serve(t *testing.T, o admin.Options) (path string, client *admin.Client) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "admin.sock")
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	server := admin.NewServer(o)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l, nil) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Shutdown(context.Background()), <-served); err != nil {
			t.Error(err)
		}
	})
	return path, admin.NewClient(path)
}

// plain is a client that is not ours.
func (r *rig) plain() *http.Client {
	dial := func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", r.path) }
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
}

// accept stores a message for each recipient.
func (r *rig) accept(t *testing.T, ids *mail.IDs, to ...string) []mail.ID {
	t.Helper()
	var list []mail.ID
	for _, text := range to {
		address, err := mail.ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		draft, err := r.queue.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(draft, "Subject: x\r\n\r\n")
		now := time.Now()
		id := ids.New(now)
		entry := queue.Entry{ID: id, Message: id, Accepted: now,
			Deliveries: queue.Deliveries([]queue.Recipient{{Recipient: mail.Recipient{Address: address}, State: mail.Queued}}, now)}
		if err := r.queue.Accept(t.Context(), queue.Group{Submissions: []queue.Submission{{Entry: entry, Draft: draft}}}); err != nil {
			t.Fatal(err)
		}
		list = append(list, id)
	}
	return list
}

func TestStatus(t *testing.T) {
	r := newRig(t)
	r.accept(t, new(mail.IDs), "a@x.example", "b@y.example")
	s, err := r.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Hostname != "gate.example" || s.Recipients[mail.Queued] != 2 || s.Active != 0 || s.JournalError != "" {
		t.Errorf("got %+v", s)
	}
}

func TestListAndMessage(t *testing.T) {
	r := newRig(t)
	ids := r.accept(t, new(mail.IDs), "a@x.example", "b@y.example", "c@y.example")
	list := func(l admin.Listing) (found []mail.ID) {
		t.Helper()
		err := r.List(t.Context(), l, func(queue.Progress) {}, func(e *queue.Entry) error {
			found = append(found, e.ID)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for _, test := range []struct {
		name    string
		listing admin.Listing
		want    []mail.ID
	}{
		{"all", admin.Listing{}, ids},
		{"the first", admin.Listing{Limit: 1}, ids[:1]},
		{"destination", admin.Listing{Filter: "destination = y.example"}, ids[1:]},
		{"recipient", admin.Listing{Filter: "recipient = A@X.example"}, ids[:1]},
		{"state", admin.Listing{Filter: "state = held"}, nil},
		{"null sender", admin.Listing{Filter: "sender = <>"}, ids},
	} {
		if got := list(test.listing); strings.Join(text(got), " ") != strings.Join(text(test.want), " ") {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
	m, err := r.Message(t.Context(), ids[1])
	if err != nil || m.ID != ids[1] || m.Deliveries[0].Destination != "y.example" || len(m.Attempting)+len(m.Suspensions) > 0 {
		t.Errorf("got %+v, %v", m, err)
	}
}

func text(ids []mail.ID) (list []string) {
	for _, id := range ids {
		list = append(list, string(id))
	}
	return list
}

// TestProblems: each error is a problem document (RFC 9457).
func TestProblems(t *testing.T) {
	r := newRig(t)
	client := r.plain()
	for _, test := range []struct {
		method, path string
		status       int
		detail       string
	}{
		{"GET", "/", 404, `there is nothing at "/"`},
		{"GET", "/v1/queue/", 404, "nothing at"},
		{"POST", "/v1/status", 405, "/v1/status takes GET"},
		{"GET", "/v1/stop", 405, "/v1/stop takes POST"},
		{"GET", "/v1/messages/zzz", 400, "is not an id"},
		{"GET", "/v1/messages/0000000000000000", 404, "not in the queue"},
		{"GET", "/v1/store/damaged?limit=1001", 422, "query.limit expected number <= 1000"},
		{"GET", "/v1/store/damaged?limit=0", 422, "query.limit expected number >= 1"},
		{"GET", "/v1/queue?limit=-1", 422, "query.limit expected number >= 0"},
		{"GET", "/v1/queue?limits=1", 422, "query.limits unknown query parameter"},
		{"GET", "/v1/queue?filter=state%3Dgone", 400, `column 7: state "gone": not a state`},
		{"GET", "/v1/queue/shape?filter=x", 400, "column 1"},
		{"GET", "/v1/messages/0000000000000000/content", 404, "not in the queue"},
		{"POST", "/v1/queue/edit", 400, "request body is required"},
		{"GET", "/v1/journal?last=10001", 422, "query.last expected number <= 10000"},
		{"GET", "/v1/journal?reason=lost", 400, `reason "lost": there is no such reason`},
		{"GET", "/v1/journal?since=today", 422, "query.since invalid date/time"},
		{"GET", "/v1/journal?last=-2", 422, "query.last expected number >= -1"},
		{"GET", "/v1/journal?follow=yes", 422, "query.follow invalid boolean"},
		{"GET", "/v1/journal?message=1", 400, "is not an id"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), test.method, "http://postern"+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var problem admin.Problem
		err = json.NewDecoder(response.Body).Decode(&problem)
		response.Body.Close()
		if err != nil || response.StatusCode != test.status || problem.Status != test.status || problem.Title == "" || !strings.Contains(problem.Error(), test.detail) ||
			response.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: got %s %q, %+v, %v", test.method, test.path, response.Status, response.Header.Get("Content-Type"), problem, err)
		}
	}
}

func TestStopIsPassedOn(t *testing.T) {
	r := newRig(t)
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-r.stopped
}

var errEnough = errors.New("enough")

// follow returns the texts of n facts.
func (r *rig) follow(t *testing.T, q admin.JournalQuery, n int, between func(i int)) string {
	t.Helper()
	var got []string
	err := r.Journal(t.Context(), q, func(f mail.Fact) error {
		got = append(got, f.Text)
		if len(got) == n {
			return errEnough
		}
		between(len(got))
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("got %v, %v", got, err)
	}
	return strings.Join(got, " ")
}

func (r *rig) record(texts ...string) {
	for _, s := range texts {
		r.journal.Record(mail.Fact{Reason: mail.ReasonStarted, Text: s})
	}
}

func TestJournal(t *testing.T) {
	r := newRig(t)
	r.record("a", "b", "c")
	// One who follows sees all that there is, then what comes.
	got := r.follow(t, admin.JournalQuery{Follow: true}, 4, func(i int) {
		if i == 3 {
			r.record("d")
		}
	})
	if got != "a b c d" {
		t.Errorf("followed %q", got)
	}
	for _, test := range []struct {
		last int
		want string
	}{{0, "a b c d"}, {2, "c d"}, {-1, ""}} {
		var got []string
		if err := r.Journal(t.Context(), admin.JournalQuery{Last: test.last}, func(f mail.Fact) error {
			got = append(got, f.Text)
			return nil
		}); err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("last %d: got %v, %v", test.last, got, err)
		}
	}
}

func TestJournalQuery(t *testing.T) {
	r := newRig(t)
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for i, f := range []mail.Fact{
		{Text: "a", Reason: mail.ReasonAccepted, From: "<joe@x.example>", To: []string{"ann@y.example"}},
		{Text: "b", Reason: mail.ReasonDelivered, From: "<joe@x.example>", To: []string{"ann@y.example"}},
		{Text: "c", Reason: mail.ReasonBounced, From: "<joe@x.example>", To: []string{"bob+1@z.example"}},
	} {
		f.Time = noon.Add(time.Duration(i) * time.Hour)
		r.journal.Record(f)
	}
	r.follow(t, admin.JournalQuery{Follow: true}, 3, func(int) {}) // they are written
	for want, q := range map[string]admin.JournalQuery{
		"a b": {From: "joe@x.example", To: "*@y.example"},
		"c":   {To: "bob+1@*"},
		"a c": {Reasons: []mail.Reason{mail.ReasonAccepted, mail.ReasonBounced}},
		"b c": {Since: noon.Add(time.Nanosecond)},
		"":    {From: "ann@y.example"},
	} {
		var got []string
		if err := r.Journal(t.Context(), q, func(f mail.Fact) error {
			got = append(got, f.Text)
			return nil
		}); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%+v: got %v, %v, want %q", q, got, err, want)
		}
	}
}

func TestFollowEndsWithTheJournal(t *testing.T) {
	r := newRig(t)
	r.record("a")
	err := r.Journal(t.Context(), admin.JournalQuery{Follow: true}, func(mail.Fact) error { return r.journal.Close() })
	if err != nil {
		t.Errorf("got %v", err)
	}
}

func TestDamageIsToldAtTheEnd(t *testing.T) {
	r := newRig(t)
	r.record("a")
	r.follow(t, admin.JournalQuery{Follow: true}, 1, nil) // it is written
	files, err := filepath.Glob(filepath.Join(r.dir, "journal", "*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	content[strings.IndexByte(string(content), '\n')-1] = '#' // of the header
	if err := os.WriteFile(files[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	err = r.Journal(t.Context(), admin.JournalQuery{}, func(f mail.Fact) error {
		got = append(got, f.Text)
		return nil
	})
	problem, ok := errors.AsType[*admin.Problem](err)
	if !ok || !strings.Contains(problem.Detail, "damaged line") || strings.Join(got, " ") != "a" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "none"), abandoned(t, dir)} {
		if _, err := admin.NewClient(path).Status(t.Context()); !errors.Is(err, admin.ErrNotRunning) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
		if err := admin.NewClient(path).WaitEnd(t.Context()); err != nil {
			t.Errorf("%s: got %v", path, err)
		}
	}
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.WaitEnd(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a server that runs: got %v", err)
	}
}

// abandoned returns the path of a socket that its owner has left behind.
func abandoned(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "abandoned")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	return path
}

func TestListenIsPrivate(t *testing.T) {
	// Whatever the mask allows: the socket has its mode before its name.
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "sub", "admin.sock")
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, want := range map[string]fs.FileMode{path: fs.ModeSocket | 0o600, filepath.Dir(path): fs.ModeDir | 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v", name, info.Mode(), err)
		}
	}
}

func TestListenForAll(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	path := filepath.Join(t.TempDir(), "socket")
	l, err := admin.ListenForAll(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o666 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
	if _, err := admin.ListenForAll(path); !errors.Is(err, admin.ErrInUse) {
		t.Errorf("a socket in use: got %v", err)
	}
	if _, err := admin.ListenForAll(filepath.Join(filepath.Dir(path), "sub", "socket")); err == nil {
		t.Error("a directory was made")
	}
}

func TestListenReplacesOnlyAnAbandonedSocket(t *testing.T) {
	dir := t.TempDir()
	l, err := admin.Listen(abandoned(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := admin.Listen(l.Addr().String()); !errors.Is(err, admin.ErrInUse) {
		t.Errorf("a socket in use: got %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, dir} {
		if _, err := admin.Listen(path); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if content, err := os.ReadFile(link); string(content) != "precious" {
		t.Errorf("the file is now %q, %v", content, err)
	}
	other, err := net.ListenPacket("unixgram", filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := admin.Listen(other.LocalAddr().String()); err == nil || !strings.Contains(err.Error(), "cannot be told") {
		t.Errorf("a socket of another kind: got %v", err)
	}
	if _, err := admin.Listen(filepath.Join(dir, strings.Repeat("x", 108))); err == nil || !strings.Contains(err.Error(), "the system allows 107") {
		t.Errorf("a long path: got %v", err)
	}
}
