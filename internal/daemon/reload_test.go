package daemon

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"postern/internal/admin"
	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

// source is the configuration that a reload finds.
type source struct {
	mu   sync.Mutex
	text func() *config.Config
	err  error
}

func (s *source) load() (*config.Config, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return s.text(), nil
}

// set lets the next reload find the settings of c with a change.
func (s *source) set(c *config.Config, change func(*config.Config)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = nil
	s.text = func() *config.Config {
		next := *c
		next.Listeners = append([]config.Listener(nil), c.Listeners...)
		change(&next)
		return &next
	}
}

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// reloadable starts a server that can be reloaded.
func reloadable(t *testing.T, c *config.Config) (*run, *source) {
	t.Helper()
	s := &source{}
	s.set(c, func(*config.Config) {})
	return startWith(t, c, Options{Load: s.load}), s
}

// end stops a server and expects a good end.
func (r *run) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
}

// addresses are those of the listeners, by name; of those that are open, if
// others have the same.
func (r *run) addresses() map[string]admin.Listener {
	list := make(map[string]admin.Listener)
	for _, l := range slices.Backward(r.Daemon.status().Listeners) {
		list[l.Name] = l
	}
	return list
}

// freeAddress is one at which nobody listens. Its port lies below those that the
// kernel gives to outgoing connections, one of which might have it when it is
// bound again.
func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000)))
		if err == nil {
			defer l.Close()
			return netip.MustParseAddrPort(l.Addr().String())
		}
	}
	t.Fatal("no port is free")
	return netip.AddrPort{}
}

func another(name string, at netip.AddrPort) config.Listener {
	l := config.DefaultListener()
	l.Name, l.Address = name, at
	return l
}

func connect(t *testing.T, address string) *mailtest.Client {
	t.Helper()
	c, greeting := mailtest.NewClient(t, netip.MustParseAddrPort(address))
	if greeting.Code != 220 {
		t.Fatalf("greeting: %v", greeting)
	}
	return c
}

func refused(address string) bool {
	nc, err := net.Dial("tcp", address)
	if err == nil {
		nc.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// TestReload: new sessions have the new settings, those that run keep the old;
// sockets come, stay and go; and all of it is told.
func TestReload(t *testing.T) {
	c := settings(t, nowhere)
	gone := another("gone", freeAddress(t))
	c.Listeners = append(c.Listeners, gone)
	r, s := reloadable(t, c)
	stays, leaves := connect(t, r.smtp().String()), connect(t, gone.Address.String())
	fresh := another("new", freeAddress(t))
	s.set(c, func(next *config.Config) {
		next.Hostname, next.Listeners = "other.example", []config.Listener{fresh, c.Listeners[0]}
	})
	done, err := r.Reload("ann")
	if err != nil {
		t.Fatal(err)
	}
	var changes []string
	for _, change := range done.Changes {
		changes = append(changes, change.String())
	}
	want := `hostname: "gate.example" is now "other.example"; listener of new: new, "` + fresh.Address.String() +
		`"; listener of gone: gone, was "` + gone.Address.String() + `"`
	if got := strings.Join(changes, "; "); got != want || done.Generation != 2 || len(done.Pending) != 0 {
		t.Errorf("generation %d, pending %v, changed: %s\nwant %s", done.Generation, done.Pending, got, want)
	}
	for _, session := range []*mailtest.Client{stays, leaves} {
		for _, line := range []string{"EHLO client.example", "MAIL FROM:<me@x.example>", "RCPT TO:<you@x.example>", "RSET"} {
			if reply := session.Command(line); reply.Code != 250 || strings.Contains(reply.Text, "other.example") {
				t.Errorf("%s in a session with old settings: %v", line, reply)
			}
		}
	}
	for _, address := range []string{r.smtp().String(), fresh.Address.String()} {
		if reply := connect(t, address).Command("EHLO client.example"); !strings.HasPrefix(reply.Text, "other.example") {
			t.Errorf("a new session at %s: %v", address, reply)
		}
	}
	if !refused(gone.Address.String()) {
		t.Error("the listener that is gone still listens")
	}
	if l := r.addresses()["gone"]; l.State != admin.ListenerClosing || l.Connections != 1 {
		t.Errorf("the listener that is gone: %+v", l)
	}
	leaves.Command("QUIT")
	r.end(t)
	if got := facts(t, c); got != "started reloaded stopped" {
		t.Errorf("the journal has %q", got)
	}
	var told mail.Fact
	_ = journal.Read(t.Context(), filepath.Join(c.DataDir, "journal"), journal.Query{Reasons: []mail.Reason{mail.ReasonReloaded}}, func(f mail.Fact) error {
		told = f
		return nil
	})
	if told.Actor != "ann" || told.Text != "generation 2; "+want {
		t.Errorf("the journal has %+v", told)
	}
}

// TestReloadFails: whatever is wrong, everything stays as it is, and is told of
// until a reload succeeds.
func TestReloadFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := another("busy", netip.MustParseAddrPort(taken.Addr().String()))
	busy.Place = mail.Place{File: "postern.toml", Line: 9, Column: 1}
	fresh := another("new", freeAddress(t))
	c := settings(t, nowhere)
	r, s := reloadable(t, c)
	for name, test := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"a certificate is missing": {func(next *config.Config) {
			next.Listeners[0].TLSCertificate, next.Listeners[0].TLSKey = "missing.crt", "missing.key"
		}, "listener.tls_certificate: listener smtp: missing.crt: cannot be read: no such file or directory"},
		"a secret is missing": {func(next *config.Config) {
			next.HTTPAuth = []config.HTTPAuth{{Name: "web", Secret: config.Secret{Source: config.SecretFile, Name: "/missing"}}}
		}, "http_auth.secret: http_auth web: file:/missing: no such file or directory"},
		"an address is in use": {func(next *config.Config) {
			next.Hostname, next.Listeners = "other.example", append(next.Listeners, fresh, busy)
		}, "postern.toml:9:1: listener busy: cannot listen at " + busy.Address.String() + ": bind: address already in use; another program listens there"},
		"the file cannot be read": {nil, "configuration: broken"},
	} {
		if test.change == nil {
			s.fail(errors.New(test.want))
		} else {
			s.set(c, test.change)
		}
		if done, err := r.Reload("ann"); err == nil || err.Error() != test.want || done.Generation != 0 {
			t.Errorf("%s: got %+v, %v\nwant %s", name, done, err, test.want)
		}
		status := r.Daemon.status()
		if status.Generation != 1 || len(status.Listeners) != 1 || status.ReloadFailure == nil || status.ReloadFailure.Problems[0] != test.want {
			t.Errorf("%s: status %+v, %+v", name, status, status.ReloadFailure)
		}
		if reply := connect(t, r.smtp().String()).Command("EHLO client.example"); !strings.HasPrefix(reply.Text, "gate.example") {
			t.Errorf("%s: a new session: %v", name, reply)
		}
		if !refused(fresh.Address.String()) {
			t.Errorf("%s: a socket was bound and is still open", name)
		}
		if !strings.Contains(r.log.String(), "reload failed, and everything stays as it is: "+test.want) {
			t.Errorf("%s: the log does not tell", name)
		}
	}
	s.set(c, func(*config.Config) {})
	if done, err := r.Reload("ann"); err != nil || done.Generation != 1 || len(done.Changes) != 0 {
		t.Errorf("with nothing changed: %+v, %v", done, err)
	}
	if failure := r.Daemon.status().ReloadFailure; failure != nil {
		t.Errorf("still told: %+v", failure)
	}
	r.end(t)
	if got := facts(t, c); got != "started"+strings.Repeat(" reload-failed", 4)+" reloaded stopped" {
		t.Errorf("the journal has %q", got)
	}
}

// TestReloadWithoutFile: a server that has no file says so.
func TestReloadWithoutFile(t *testing.T) {
	r := start(t, settings(t, nowhere))
	if _, err := r.Reload("ann"); !errors.Is(err, errNoConfiguration) {
		t.Errorf("got %v", err)
	}
	r.end(t)
	if _, err := r.Reload("ann"); err == nil {
		t.Error("a server that has ended was reloaded")
	}
}

// TestReloadAtRestart: what waits for a restart keeps its value, and is told of
// each time; the rest is in force.
func TestReloadAtRestart(t *testing.T) {
	c := settings(t, nowhere)
	r, s := reloadable(t, c)
	for generation := range uint64(2) {
		s.set(c, func(next *config.Config) {
			next.DataDir, next.Log.Format, next.Message.MaxHops = "/elsewhere", config.LogJSON, 40+int(generation)
		})
		done, err := r.Reload("ann")
		if err != nil || done.Generation != 2+generation || len(done.Changes) != 1 || len(done.Pending) != 2 ||
			done.Pending[0].Key != "data_dir" || done.Pending[1].Key != "log.format" {
			t.Errorf("got %+v, %v", done, err)
		}
	}
	if dir := r.Daemon.status().DataDir; dir != c.DataDir {
		t.Errorf("data_dir is %s", dir)
	}
	if !strings.Contains(r.log.String(), "keeps its value until then") {
		t.Error("the log does not warn")
	}
	r.end(t)
}

// TestReloadReadsFilesAnew: a certificate that has changed in its file is found, and told of.
func TestReloadReadsFilesAnew(t *testing.T) {
	c := settings(t, "127.0.0.1:2525")
	dir := t.TempDir()
	l := &c.Listeners[0]
	l.Name, l.TLSCertificate, l.TLSKey = "smtp", filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	issue := func() tls.Certificate {
		t.Helper()
		made, err := certs.SelfSigned(certs.Options{Names: []string{"gate.example"}})
		if err := errors.Join(err, certs.Save(made, l.TLSCertificate, l.TLSKey)); err != nil {
			t.Fatal(err)
		}
		return made
	}
	issue()
	r, _ := reloadable(t, c)
	if done, err := r.Reload("ann"); err != nil || len(done.Changes) != 0 {
		t.Errorf("before there was a change: %+v, %v", done, err)
	}
	second := issue()
	done, err := r.Reload("ann")
	if err != nil || len(done.Changes) != 1 || done.Changes[0].Key != "listener.tls_certificate" || done.Changes[0].Name != "smtp" ||
		done.Changes[0].Old == done.Changes[0].New {
		t.Errorf("got %+v, %v", done, err)
	}
	if g := r.graph; !g.certificates.choices[0].Certificates()[0].Leaf.Equal(second.Leaf) {
		t.Error("the old one is in force")
	}
	r.end(t)
}

// TestReloadOnHangup: the signal does what the command does, and one that comes
// while a part ends does not hold up the end.
func TestReloadOnHangup(t *testing.T) {
	c := settings(t, nowhere)
	s := &source{}
	s.set(c, func(next *config.Config) { next.Hostname = "other.example" })
	hup := make(chan os.Signal, 1)
	r := startWith(t, c, Options{Load: s.load, Hangup: hup})
	hup <- syscall.SIGHUP
	err := admin.NewClient(c.Socket()).Journal(t.Context(), admin.JournalQuery{Follow: true}, func(f mail.Fact) error {
		if f.Reason == mail.ReasonReloaded {
			if f.Actor != "SIGHUP" {
				t.Errorf("by %q", f.Actor)
			}
			r.stop()
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := <-r.result; err != nil {
		t.Error(err)
	}
}

// TestReloadChangesSubmission: programs of this host see the new settings of the
// server too, and one that is connected stays so.
func TestReloadChangesSubmission(t *testing.T) {
	c := settings(t, nowhere)
	dir, err := os.MkdirTemp("", "reload-") // short: the path of a socket is bounded
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c.Submission.Directory = filepath.Join(dir, "spool")
	r, s := reloadable(t, c)
	greeting := func(nc net.Conn) string {
		t.Helper()
		text := make([]byte, 200)
		n, err := nc.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(text[:n])
	}
	connected := func() net.Conn {
		t.Helper()
		nc, err := net.Dial("unix", r.submission.listener.socket.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		return nc
	}
	before := connected()
	greeting(before)
	s.set(c, func(next *config.Config) { next.Hostname = "other.example" })
	if _, err := r.Reload("ann"); err != nil {
		t.Fatal(err)
	}
	if got := greeting(connected()); !strings.HasPrefix(got, "220 other.example") {
		t.Errorf("greeted with %q", got)
	}
	if _, err := before.Write([]byte("NOOP\r\n")); err != nil {
		t.Error(err)
	}
	if got := greeting(before); !strings.HasPrefix(got, "250") {
		t.Errorf("a session of before was told %q", got)
	}
	r.end(t)
}

// TestReloadKeepsTheCacheOfDNS, as long as the same servers are asked.
func TestReloadKeepsTheCacheOfDNS(t *testing.T) {
	c := settings(t, nowhere)
	r, s := reloadable(t, c)
	first := r.graph.resolver
	for _, step := range []struct {
		change func(*config.Config)
		kept   bool
	}{
		{func(next *config.Config) { next.Hostname = "other.example" }, true},
		{func(next *config.Config) {
			next.DNS.Servers = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}
		}, false},
	} {
		s.set(c, step.change)
		if _, err := r.Reload("ann"); err != nil {
			t.Fatal(err)
		}
		if kept := r.graph.resolver == first; kept != step.kept {
			t.Errorf("the cache was kept: %t", kept)
		}
	}
	r.end(t)
}

// TestLogLevel: one that was set by hand outlasts a reload, unless that changes
// the setting.
func TestLogLevel(t *testing.T) {
	c := settings(t, nowhere)
	r, s := reloadable(t, c)
	want := func(when string, level slog.Level) {
		t.Helper()
		if got := r.Level.Level(); got != level {
			t.Errorf("%s: %v, want %v", when, got, level)
		}
	}
	want("at the start", slog.LevelInfo)
	r.SetLogLevel(slog.LevelError, "ann")
	want("set by hand", slog.LevelError)
	s.set(c, func(next *config.Config) { next.Hostname = "other.example" })
	if _, err := r.Reload("ann"); err != nil {
		t.Fatal(err)
	}
	want("after a reload of something else", slog.LevelError)
	s.set(c, func(next *config.Config) { next.Log.Level = slog.LevelWarn })
	if _, err := r.Reload("ann"); err != nil {
		t.Fatal(err)
	}
	want("after a reload that changes the setting", slog.LevelWarn)
	r.end(t)
}
