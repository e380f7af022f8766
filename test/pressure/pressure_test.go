// Package pressure tests the real binary on disks that are full or slow: file
// systems in memory that are small, and strace, which delays the calls that
// wait for a disk. It is no library.
//
// Only root can mount a file system and trace a process. Where that is not
// possible the tests are skipped, except where CI=true or
// POSTERN_REQUIRE_PEERS=1 is set: there they fail.
package pressure

import (
	"context"
	"encoding/json"
	"fmt"
	"net/textproto"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/admin"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// limit bounds each test here, and every wait in it.
const limit = 4 * time.Minute

// lack ends a test that cannot be made here.
func lack(t *testing.T, why error) {
	t.Helper()
	if harness.Required() {
		t.Fatalf("these tests are required here: %v", why)
	}
	t.Skip(why)
}

// instance is a Postern before a sink.
type instance struct {
	*harness.Postern
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	arrived map[string]int // by id
}

// newInstance makes one that can be started. Its files stay behind when the
// test fails.
func newInstance(t *testing.T, settings string) *instance {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	dir := mailtest.KeptDir(t, "pressure")
	in := &instance{t: t, ctx: ctx, arrived: map[string]int{}}
	sink := &harness.Sink{Take: in.take}
	if err := sink.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	binary, err := harness.BuildPostern(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	in.Postern, err = harness.NewPostern(harness.PosternOptions{
		Binary: binary, Dir: filepath.Join(dir, "instance"), NextHop: sink.Addr(), Settings: settings,
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func (in *instance) take(a *harness.Arrival) string {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.arrived[harness.IDOf(a.Content)]++
	return ""
}

// start starts it for the length of the test.
func (in *instance) start() {
	in.t.Helper()
	in.must(in.Start(in.ctx))
	in.t.Cleanup(func() {
		if err := in.Stop(); err != nil {
			in.t.Error(err)
		}
	})
}

func (in *instance) must(err error) {
	in.t.Helper()
	if err != nil {
		in.t.Fatal(err)
	}
}

// until waits until done reports true.
func (in *instance) until(what string, done func() bool) {
	in.t.Helper()
	in.must(harness.Until(in.ctx, what, func() (bool, error) { return done(), nil }))
}

// status is what `postern status` says.
func (in *instance) status() admin.Status {
	in.t.Helper()
	out, err := in.Command(in.ctx, "status", "--json").Output()
	in.must(err)
	var s admin.Status
	in.must(json.Unmarshal(out, &s))
	return s
}

// pressures are the kinds that are on.
func (in *instance) pressures() string {
	in.t.Helper()
	var kinds []string
	for _, p := range in.status().Pressures {
		kinds = append(kinds, p.Kind)
	}
	return strings.Join(kinds, " ")
}

// arrivals counts how often a message has arrived.
func (in *instance) arrivals(id string) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.arrived[id]
}

// facts are the texts of those of a reason that are in the journal.
func (in *instance) facts(reason mail.Reason) []string {
	in.t.Helper()
	var texts []string
	in.must(journal.Read(in.ctx, in.Journal(), journal.Query{}, func(f mail.Fact) error {
		if f.Reason == reason {
			texts = append(texts, f.Text)
		}
		return nil
	}))
	return texts
}

// session is an SMTP session, a command at a time.
type session struct {
	*textproto.Conn
	t *testing.T
}

// dial opens a session at an address, and returns it with the greeting.
func (in *instance) dial(addr string) (*session, string) {
	in.t.Helper()
	conn, err := textproto.Dial("tcp", addr)
	in.must(err)
	in.t.Cleanup(func() { conn.Close() })
	s := &session{conn, in.t}
	return s, s.reply()
}

// open opens a session, and says EHLO.
func (in *instance) open(addr string) *session {
	in.t.Helper()
	s, greeting := in.dial(addr)
	if !strings.HasPrefix(greeting, "220 ") {
		in.t.Fatalf("greeted with %s", greeting)
	}
	s.want("250", "EHLO source.example")
	return s
}

// reply reads one.
func (s *session) reply() string {
	s.t.Helper()
	code, text, err := s.ReadResponse(0)
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", code, text)
}

// say sends a command and returns its reply.
func (s *session) say(command string) string {
	s.t.Helper()
	if err := s.PrintfLine("%s", command); err != nil {
		s.t.Fatal(err)
	}
	return s.reply()
}

// want sends a command and wants a reply that begins so.
func (s *session) want(want, command string) {
	s.t.Helper()
	if got := s.say(command); !strings.HasPrefix(got, want+" ") {
		s.t.Fatalf("%s was answered %q, want %s", command, got, want)
	}
}

// begin goes as far as into the content of a message.
func (s *session) begin(id string) {
	s.t.Helper()
	s.want("250", "MAIL FROM:<a@source.example>")
	s.want("250", "RCPT TO:<b@elsewhere.example>")
	s.want("354", "DATA")
	if _, err := s.W.Write(harness.Header(id, "a@source.example", "b@elsewhere.example")); err != nil {
		s.t.Fatal(err)
	}
}

// end ends the message.
func (s *session) end() {
	s.t.Helper()
	s.want("250 2.0.0", "The end.\r\n.")
}
