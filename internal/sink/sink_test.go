package sink

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/smtpserver"
)

// serve runs a sink behind a server and returns it with the server's address.
func serve(t *testing.T, o Options) (*Sink, netip.AddrPort) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Handler(o)
	server := smtpserver.New(smtpserver.Options{Listener: "sink"}, s)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, listener.Addr().(*net.TCPAddr).AddrPort()
}

func connect(t *testing.T, address netip.AddrPort) *mailtest.Client {
	t.Helper()
	client, greeting := mailtest.NewClient(t, address)
	if greeting.Code != 220 {
		t.Fatal(greeting)
	}
	return client
}

func TestTakesMail(t *testing.T) {
	var told []Message
	dir := filepath.Join(t.TempDir(), "inbox")
	clock := mail.NewManualClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s, address := serve(t, Options{Dir: dir, Clock: clock, Received: func(m Message) { told = append(told, m) }})
	content := mailtest.Message(mailtest.Dots, 1, 3000)
	reply := connect(t, address).Send("joe@x", []string{"ok@y", "anybody@z"}, content)
	if reply.Code != 250 || len(s.Messages()) != 1 {
		t.Fatalf("%s, %d messages", reply, len(s.Messages()))
	}
	m := s.Messages()[0]
	if want := mail.NewReply(250, "2.0.0", "Taken as %s", m.ID); reply != want {
		t.Errorf("got %s, want %s", reply, want)
	}
	if m.Origin.Hello != "client.example" || !m.At.Equal(clock.Now()) {
		t.Errorf("origin %+v, at %s", m.Origin, m.At)
	}
	want := Message{ID: m.ID, At: m.At, Origin: m.Origin,
		Envelope: mail.Envelope{From: mail.Address{Local: "joe", Domain: "x"}},
		Recipients: []mail.Recipient{
			{Address: mail.Address{Local: "ok", Domain: "y"}}, {Address: mail.Address{Local: "anybody", Domain: "z"}}},
		Content: content}
	if diff := cmp.Diff([]Message{want}, told, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	file := filepath.Join(dir, "20260102T030405Z-"+string(m.ID)+".eml")
	if got, err := os.ReadFile(file); err != nil || string(got) != string(content) {
		t.Errorf("file of %d octets, %v", len(got), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files", len(entries))
	}
}

func TestFaultsAtRcpt(t *testing.T) {
	s, address := serve(t, Options{})
	client := connect(t, address)
	rcpt := func(from, to string) string {
		client.Command("RSET")
		client.Command("MAIL FROM:<" + from + ">")
		return client.Command("RCPT TO:<" + to + ">").String()
	}
	client.Command("EHLO client.example")
	const notNow = "451 4.7.1 Not now, says Defer-451@x; the third attempt will do"
	steps := []struct{ from, to, want string }{
		{"a@x", "bounce-550@x", "550 5.1.1 No such user, says bounce-550@x"},
		{"a@x", "Defer-451@x", notNow},
		{"b@x", "Defer-451@x", notNow},
		{"a@x", "Defer-451@x", notNow},
		{"a@x", "Defer-451@x", "250"},
		{"b@x", "Defer-451@x", notNow},
		{"b@x", "Defer-451@x", "250"},
		{"a@x", "Defer-451@x", notNow},
		{"a@x", "defer-421@x", "421 4.3.2 Closing, as defer-421@x always does"},
	}
	for i, step := range steps {
		if got := rcpt(step.from, step.to); !strings.HasPrefix(got, step.want) {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
	}
	if !client.Closed() {
		t.Error("421 did not close the connection")
	}
	if n := len(s.Messages()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

func TestARefusedRecipientGetsNothing(t *testing.T) {
	s, address := serve(t, Options{})
	client := connect(t, address)
	for _, line := range []string{"EHLO x", "MAIL FROM:<>", "RCPT TO:<bounce-550@x>", "RCPT TO:<ok@x>", "DATA"} {
		client.Command(line)
	}
	client.Content([]byte("text\r\n"))
	want := []mail.Recipient{{Address: mail.Address{Local: "ok", Domain: "x"}}}
	if diff := cmp.Diff(want, s.Messages()[0].Recipients); diff != "" {
		t.Error(diff)
	}
}

func TestDropsTwice(t *testing.T) {
	s, address := serve(t, Options{})
	for attempt := range 3 {
		client := connect(t, address)
		for _, line := range []string{"EHLO x", "MAIL FROM:<a@x>", "RCPT TO:<DROP@x>", "DATA"} {
			client.Command(line)
		}
		client.SendRaw("text\r\n.\r\n")
		if attempt < 2 {
			if !client.Closed() {
				t.Errorf("attempt %d was answered", attempt)
			}
		} else if reply := client.Reply(); reply.Code != 250 {
			t.Errorf("attempt %d: %s", attempt, reply)
		}
	}
	if n := len(s.Messages()); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// still is content of a client that waits.
type still struct{ io.Reader }

func (still) ClientGone() bool { return false }

// gone is content of a client that does not.
type gone struct{ io.Reader }

func (gone) ClientGone() bool { return true }

func TestIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Handler(Options{})
		for local, want := range map[string]time.Duration{"slow": 3 * time.Second, "ok": 0} {
			session := &session{sink: s, accepted: []mail.Recipient{{Address: mail.Address{Local: local, Domain: "x"}}}}
			begun := time.Now()
			if reply := session.Content(t.Context(), still{strings.NewReader("text\r\n")}); reply.Code != 250 {
				t.Error(reply)
			}
			if took := time.Since(begun); took != want {
				t.Errorf("%s took %s", local, took)
			}
		}
	})
}

func TestSlownessEndsWithTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pause(ctx, time.Hour)
}

func TestTakesNothingFromAClientThatHasGone(t *testing.T) {
	s := Handler(Options{})
	session := &session{sink: s}
	if reply := session.Content(t.Context(), gone{strings.NewReader("text\r\n")}); reply.Code != mail.NoReply {
		t.Error(reply)
	}
	if n := len(s.Messages()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

func TestSaysWhenItCannotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, address := serve(t, Options{Dir: file})
	if reply := connect(t, address).Send("", []string{"ok@x"}, nil); reply.Code != 452 || strings.Contains(reply.Text, file) {
		t.Error(reply)
	}
	if n := len(s.Messages()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

func TestLeavesNoPartOfAFile(t *testing.T) {
	dir := t.TempDir()
	m := Message{ID: "no/such", Content: []byte("text\r\n")} // cannot be a file's name
	if err := writeFile(dir, m); err == nil {
		t.Error("written")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left %v", entries)
	}
}

func TestRefusesWhatTheServerRefuses(t *testing.T) {
	s, address := serve(t, Options{})
	client := connect(t, address)
	for _, line := range []string{"EHLO x", "MAIL FROM:<>", "RCPT TO:<ok@x>", "DATA"} {
		client.Command(line)
	}
	client.SendRaw("bare\nline feed\r\n.\r\n")
	if reply := client.Reply(); reply.Code != 550 || len(s.Messages()) != 0 {
		t.Errorf("%s, %d messages", reply, len(s.Messages()))
	}
}

func TestKeepsTheLatest(t *testing.T) {
	contents := func(s *Sink) []string {
		var kept []string
		for _, m := range s.Messages() {
			kept = append(kept, string(m.Content))
		}
		return kept
	}
	tests := []struct {
		name    string
		options Options
		want    []string
	}{
		{"all", Options{}, []string{"12345678", "1234", "123", "12"}},
		{"three", Options{MaxMessages: 3}, []string{"1234", "123", "12"}},
		{"nine octets", Options{MaxBytes: 9}, []string{"1234", "123", "12"}},
		{"four octets", Options{MaxBytes: 4}, []string{"12"}},
		{"one octet", Options{MaxBytes: 1}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Handler(tt.options)
			for _, content := range []string{"12345678", "1234", "123", "12"} {
				if err := s.take(Message{Content: []byte(content)}); err != nil {
					t.Fatal(err)
				}
			}
			if got := contents(s); !slices.Equal(got, tt.want) {
				t.Errorf("kept %q", got)
			}
		})
	}
}

func TestFaultsAreBounded(t *testing.T) {
	var f faults
	address := func(i int) attempted { return attempted{to: mail.Address{Local: string(rune(i))}} }
	for i := range 3 * maxFaults {
		if !f.next(address(i)) {
			t.Fatalf("the first attempt %d did not fail", i)
		}
		if len(f.failed) > maxFaults {
			t.Fatalf("%d are remembered", len(f.failed))
		}
	}
	last := address(3*maxFaults - 1)
	if !f.next(last) || f.next(last) {
		t.Error("the last one is not remembered")
	}
}
