package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"postern/internal/admin"
	"postern/internal/config"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/pressure"
	"postern/internal/route"
)

// settings returns a configuration for one listener at any free port.
func settings(t *testing.T, smarthost string) *config.Config {
	t.Helper()
	hop, err := mail.ParseHostPort(smarthost, 25)
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Hostname = "gate.example"
	c.DataDir = filepath.Join(t.TempDir(), "data")
	c.Postmaster = mail.Address{Local: "postmaster", Domain: "corp.example"}
	c.Listeners = []config.Listener{config.DefaultListener()}
	c.Listeners[0].Address = netip.MustParseAddrPort("127.0.0.1:0")
	c.Delivery.Smarthosts = []mail.HostPort{hop}
	return c
}

// nowhere is an address at which nobody answers.
const nowhere = "127.0.0.1:1"

// run is a daemon that runs.
type run struct {
	*Daemon
	stop   context.CancelFunc
	result chan error
	status admin.Status
	log    *buffer
}

// buffer takes the log.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func start(t *testing.T, c *config.Config) *run {
	t.Helper()
	return startWith(t, c, Options{})
}

func startWith(t *testing.T, c *config.Config, o Options) *run {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &run{stop: cancel, result: make(chan error, 1), log: &buffer{}}
	ready := make(chan admin.Status, 1)
	var err error
	o.Version, o.Logger = "1", slog.New(slog.NewTextHandler(r.log, nil))
	o.Ready = func(s admin.Status) { ready <- s }
	r.Daemon, err = New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	go func() { r.result <- r.Run(ctx) }()
	select {
	case r.status = <-ready:
	case err := <-r.result:
		t.Fatal("not started:", err)
	}
	return r
}

func (r *run) smtp() netip.AddrPort { return netip.MustParseAddrPort(r.status.Listeners[0].Address) }

// client connects, and goes as far as the final dot.
func (r *run) inContent(t *testing.T) *mailtest.Client {
	t.Helper()
	c, _ := mailtest.NewClient(t, r.smtp())
	for _, line := range []string{"EHLO client.example", "MAIL FROM:<me@x.example>", "RCPT TO:<you@x.example>", "DATA"} {
		if reply := c.Command(line); reply.Code >= 400 {
			t.Fatalf("%s: %v", line, reply)
		}
	}
	c.SendRaw("Subject: x\r\n\r\nx\r\n")
	return c
}

// facts returns the reasons in the journal of a server that has ended.
func facts(t *testing.T, c *config.Config) string {
	t.Helper()
	var reasons []string
	err := journal.Read(t.Context(), filepath.Join(c.DataDir, "journal"), journal.Query{}, func(f mail.Fact) error {
		reasons = append(reasons, string(f.Reason))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(reasons, " ")
}

func TestStopLetsAMessageBeFinished(t *testing.T) {
	c := settings(t, nowhere)
	r := start(t, c)
	idle, _ := mailtest.NewClient(t, r.smtp())
	client := r.inContent(t)
	r.stop()
	if reply := idle.Reply(); reply.Code != 421 || reply.Enhanced != "4.3.2" {
		t.Errorf("an idle session was told %v", reply)
	}
	if reply := client.Command("."); reply.Code != 250 {
		t.Errorf("the message was answered %v", reply)
	}
	if reply := client.Reply(); reply.Code != 421 {
		t.Errorf("then the session was told %v", reply)
	}
	if err := <-r.result; err != nil {
		t.Error(err)
	}
	if got := facts(t, c); got != "started accepted stopped" {
		t.Errorf("the journal has %q", got)
	}
	// It is there after the restart.
	r = start(t, c)
	counts, err := admin.NewClient(c.Socket()).Status(t.Context())
	if err != nil || counts.Recipients[mail.Queued]+counts.Recipients[mail.Deferred] != 1 {
		t.Errorf("after the restart: %v, %v", counts, err)
	}
	r.stop()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
}

func TestStopLetsAnAttemptBeFinished(t *testing.T) {
	taken, answer := make(chan struct{}), make(chan struct{})
	peer := mailtest.NewPeerWith(t, mailtest.PeerOptions{Handle: func(_ int, p *mailtest.PeerConn) {
		p.Play("S: 220 x\nC: EHLO\nS: 250 x\nC: MAIL\nS: 250 x\nC: RCPT\nS: 250 x\nC: DATA\nS: 354 x\nCONTENT")
		close(taken)
		<-answer
		p.Play("S: 250 x\nC: QUIT\nS: 221 x")
	}})
	c := settings(t, peer.Addr().String())
	r := start(t, c)
	client := r.inContent(t)
	if reply := client.Command("."); reply.Code != 250 {
		t.Fatal(reply)
	}
	<-taken
	r.stop()
	client.Reply() // 421: the stop has begun
	close(answer)
	if err := <-r.result; err != nil {
		t.Error(err)
	}
	if got := facts(t, c); got != "started accepted routed attempted delivered stopped" {
		t.Errorf("the journal has %q", got)
	}
}

// One who follows the journal does not hold up the end, and sees it.
func TestStopEndsFollowers(t *testing.T) {
	c := settings(t, nowhere)
	r := start(t, c)
	var seen []string
	err := admin.NewClient(c.Socket()).Journal(t.Context(), admin.JournalQuery{Follow: true}, func(f mail.Fact) error {
		seen = append(seen, string(f.Reason))
		if f.Reason == mail.ReasonStarted {
			return admin.NewClient(c.Socket()).Stop(t.Context())
		}
		return nil
	})
	if got := strings.Join(seen, " "); err != nil || got != "started stopped" {
		t.Errorf("followed %q, %v", got, err)
	}
	if err := <-r.result; err != nil {
		t.Error(err)
	}
}

// TestPressure: what the gauge says reaches clients, operators and the
// journal.
// TestRouter: smarthosts take all mail; without any it goes directly, and what
// is before this host is this host.
func TestRouter(t *testing.T) {
	c := settings(t, "127.0.0.1:2525")
	c.OwnAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.77")}
	c.Delivery.Port = 2526
	for _, want := range []struct{ name, own string }{{"smarthost", ""}, {"mx", "5.4.6"}} {
		d, err := New(c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		router := d.graph.router()
		r, err := router.Route(t.Context(), route.Question{Destination: "[192.0.2.78]"})
		if err != nil || r.Name != want.name {
			t.Errorf("route %+v, %v, want %s", r, err, want.name)
		}
		if _, err := router.Route(t.Context(), route.Question{Destination: "[192.0.2.77]"}); mail.ReplyOf(err).Enhanced != want.own {
			t.Errorf("%s to the address of a router before this host: %v", want.name, err)
		}
		c.Delivery.Smarthosts = nil
	}
}

func TestPressure(t *testing.T) {
	c := settings(t, nowhere)
	c.Pressure.MinFreeSpace = 1 << 62
	c.Listeners[0].MaxConnections = 7
	r := start(t, c)
	client, _ := mailtest.NewClient(t, r.smtp())
	client.Command("EHLO client.example")
	if reply := client.Command("MAIL FROM:<me@x.example>"); reply.Code != 452 || reply.Enhanced != "4.3.1" {
		t.Errorf("MAIL was answered %v", reply)
	}
	s, err := admin.NewClient(c.Socket()).Status(t.Context())
	if err != nil || len(s.Pressures) != 1 || s.Pressures[0].Kind != "disk" || s.Pressures[0].Since.IsZero() || s.Pressures[0].Text == "" {
		t.Errorf("the status is %+v, %v", s, err)
	}
	if l := s.Listeners[0]; l.Limit != 7 || l.MaxConnections != 7 {
		t.Errorf("the status has the listener %+v", l)
	}
	r.stop()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
	if got := facts(t, c); got != "pressed started refused stopped" {
		t.Errorf("the journal has %q", got)
	}
}

// TestMemoryBudget: it is what is set, else what the machine has; and it is
// the runtime's limit for as long as the server runs.
func TestMemoryBudget(t *testing.T) {
	c := settings(t, nowhere)
	d, err := New(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.graph.memoryBudget(); got != pressure.DefaultBudget() {
		t.Errorf("by default %d", got)
	}
	c.Pressure.MaxMemory = 1 << 40
	before := debug.SetMemoryLimit(-1)
	r := start(t, c)
	if got := debug.SetMemoryLimit(-1); got != 1<<40 {
		t.Errorf("the runtime's limit is %d", got)
	}
	r.stop()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("then it is %d, and was %d", got, before)
	}
}

var errDisk = errors.New("the disk is gone")

func TestStoreFailureEndsAtOnce(t *testing.T) {
	for _, stopping := range []bool{false, true} {
		r := start(t, settings(t, nowhere))
		client := r.inContent(t) // a session that would hold up a stop in good order
		if stopping {
			idle, _ := mailtest.NewClient(t, r.smtp())
			r.stop()
			idle.Reply()
		}
		r.fail(errDisk)
		r.fail(errors.New("another"))
		if err := <-r.result; !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "without another reply") {
			t.Errorf("stopping %t: got %v", stopping, err)
		}
		// What the end of the process would do.
		client.SendRaw(".\r\n")
		if !stopping {
			if err := r.finish(func() {}, func() {}); err != nil {
				t.Error(err)
			}
		}
		if err := admin.NewClient(r.graph.config.Socket()).WaitEnd(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestPartThatEndsIsAFailure(t *testing.T) {
	c := settings(t, nowhere)
	r := start(t, c)
	r.listeners[0].socket.Close()
	if err := <-r.result; !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), "listener smtp: ") {
		t.Errorf("got %v", err)
	}
	if got := facts(t, c); got != "started stopped" {
		t.Errorf("the journal has %q: it did not stop in good order", got)
	}
	if !strings.Contains(r.log.String(), `level=ERROR msg="listener smtp ended"`) {
		t.Errorf("the log does not say so:\n%s", r.log)
	}
}

func TestStartFailures(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := netip.MustParseAddrPort(taken.Addr().String())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	running := settings(t, nowhere)
	r := start(t, running)
	for name, test := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"data_dir is a file":    {func(c *config.Config) { c.DataDir = file }, "data_dir: mkdir " + file + ": not a directory"},
		"data_dir below a file": {func(c *config.Config) { c.DataDir = file + "/data" }, "data_dir: mkdir " + file + ": not a directory"},
		"data_dir in use":       {func(c *config.Config) { c.DataDir = running.DataDir }, "data_dir " + running.DataDir + ": this process uses it; `postern stop` ends that server"},
		"port in use": {func(c *config.Config) {
			c.Listeners = append(c.Listeners, c.Listeners[0])
			c.Listeners[1].Name, c.Listeners[1].Address = "second", busy
			c.Listeners[1].Place = mail.Place{File: "postern.toml", Line: 7, Column: 1}
		}, "postern.toml:7:1: listener second: cannot listen at " + busy.String() + ": bind: address already in use; another program listens there"},
		"not ours": {func(c *config.Config) { c.Listeners[0].Address = netip.MustParseAddrPort("192.0.2.1:25") },
			"listener smtp: cannot listen at 192.0.2.1:25: bind: cannot assign requested address; this machine has no such address"},
		"socket is a file":  {func(c *config.Config) { c.AdminSocket = file }, "administrative socket " + file + ": something that is no socket is there; move it away, or choose another path"},
		"socket of another": {func(c *config.Config) { c.AdminSocket = running.Socket() }, "administrative socket " + running.Socket() + ": another server answers there"},
		"journal cannot be": {func(c *config.Config) { c.DataDir = withFile(t, "journal") }, "cannot open the journal: "},
		"queue cannot be":   {func(c *config.Config) { c.DataDir = withFile(t, "queue") }, "cannot open the queue: "},
	} {
		c := settings(t, nowhere)
		dir := c.DataDir
		test.change(c)
		d, err := New(c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = d.Run(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v\nwant %s", name, err, test.want)
		}
		// All of it was closed again: it can be had by the next.
		again := settings(t, nowhere)
		if c.DataDir == dir {
			again.DataDir = dir
		}
		r := start(t, again)
		r.stop()
		if err := <-r.result; err != nil {
			t.Errorf("%s: the next start: %v", name, err)
		}
	}
	r.stop()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
}

// withFile returns a data directory in which a file is in the way.
func withFile(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestNewTellsOfEveryCertificate(t *testing.T) {
	c := settings(t, nowhere)
	c.Listeners = append(c.Listeners, c.Listeners[0])
	for i := range c.Listeners {
		l := &c.Listeners[i]
		l.Name = []string{"one", "two"}[i]
		l.Place = mail.Place{File: "postern.toml", Line: i + 1, Column: 1}
		l.TLSCertificate, l.TLSKey = "missing.crt", "missing.key"
	}
	_, err := New(c, Options{})
	want := "postern.toml:1:1: listener.tls_certificate: listener one: missing.crt: cannot be read: no such file or directory\n" +
		"postern.toml:2:1: listener.tls_certificate: listener two: missing.crt: cannot be read: no such file or directory"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
