package harness

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recorder is a sink that keeps what arrives.
type recorder struct {
	Sink
	mu       sync.Mutex
	arrivals map[string][]byte
}

func listen(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{arrivals: map[string][]byte{}}
	r.Take = func(a *Arrival) string {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.arrivals[IDOf(a.Content)] = bytes.Clone(a.Content)
		return ""
	}
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func message(id, body string) *Message {
	from, to := "a@example.org", "b@example.net"
	return &Message{ID: id, From: from, To: []string{to}, Content: append(Header(id, from, to), body...)}
}

func TestSourceAndSinkKeepEveryOctet(t *testing.T) {
	for _, body := range []string{
		"",
		"one line\r\n",
		".\r\n",
		"..\r\n.\r\n\r\n.x\r\n",
		"\r\n\r\n",
		"8 bit: \x80\xff and \x00\r\n",
		strings.Repeat("x", 40<<10) + "\r\n" + strings.Repeat("y", 32<<10-1) + "\r\n.\r\n",
		string(Text(100_000)),
	} {
		sink := listen(t)
		m := message("m", body)
		messages := []*Message{m}
		source := Source{Addr: sink.Addr(), Sessions: 1, Next: func() *Message {
			if len(messages) == 0 {
				return nil
			}
			defer func() { messages = nil }()
			return messages[0]
		}}
		if err := source.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := sink.arrivals["m"]; !bytes.Equal(got, m.Content) {
			t.Errorf("content with body %.40q arrived as %.400q", body, got)
		}
	}
}

func TestTornMessageIsNotTaken(t *testing.T) {
	for _, short := range []int{1, 3, 4, 5, 100} {
		sink := listen(t)
		c, err := Dial(t.Context(), sink.Addr())
		if err != nil {
			t.Fatal(err)
		}
		m := message("torn", strings.Repeat("line\r\n", 30))
		m.Short = short
		if outcome, err := c.Send(m); outcome != Torn || err != nil {
			t.Errorf("%d octets short: outcome %v, %v", short, outcome, err)
		}
		if err := sink.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(sink.arrivals) != 0 {
			t.Errorf("%d octets short: taken as %q", short, sink.arrivals)
		}
	}
}

// A sink that took "\n.\n" for the end of data could not tell a relay that
// passes bare line feeds on.
func TestSinkEndsContentWithCRLFOnly(t *testing.T) {
	sink := listen(t)
	conn, err := net.Dial("tcp", sink.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	content := "Subject: x\r\nMessage-ID: <lf@harness.example>\r\n\r\na\n.\nb\n.\r\nc\r\n.\nd\r\n"
	if _, err := conn.Write([]byte("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n" + content + ".\r\nQUIT\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := sink.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(content, "\r\n.\nd", "\r\n\nd", 1) // a leading dot is undone in any line
	if got := string(sink.arrivals["lf"]); got != want {
		t.Errorf("arrived as %q, want %q", got, want)
	}
}

func TestOutcomes(t *testing.T) {
	sink := listen(t)
	sink.Rcpt = func(from, to string) string {
		if to == "nobody@example.net" {
			return "550 no such user"
		}
		return ""
	}
	take := sink.Take
	sink.Take = func(a *Arrival) string {
		if IDOf(a.Content) == "later" {
			return "451 later"
		}
		return take(a)
	}
	refused := message("rcpt", "")
	refused.To = []string{"nobody@example.net"}
	messages := []*Message{message("good", ""), refused, message("later", ""), nil}
	var outcomes []Outcome
	source := Source{
		Addr: sink.Addr(), Sessions: 1, Redial: true,
		Next: func() *Message {
			m := messages[0]
			messages = messages[1:]
			return m
		},
		Done: func(_ *Message, o Outcome, _ error) { outcomes = append(outcomes, o) },
	}
	if err := source.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []Outcome{Accepted, Refused, Refused}; !slices.Equal(outcomes, want) {
		t.Errorf("outcomes %v, want %v", outcomes, want)
	}
}

func TestProcessThatEndsIsNoticed(t *testing.T) {
	log := t.TempDir() + "/output"
	p, err := startProcess(log, []string{"STATE=broken"}, "sh", "-c", "echo $STATE; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	err = p.untilGreets(t.Context(), Loopback(1))
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), log) {
		t.Errorf("error %v does not name the exit status and the log", err)
	}
	if err := p.terminate(); err == nil {
		t.Error("a process that had ended by itself was stopped without complaint")
	}
}

func TestTextHasNoBareCR(t *testing.T) {
	for n := range 4 * textLine {
		text := Text(n)
		if rest := bytes.ReplaceAll(text, []byte("\r\n"), nil); len(text) != n || bytes.ContainsAny(rest, "\r\n") && n > 1 {
			t.Errorf("%d octets for %d: %q", len(text), n, text)
		}
	}
}

func TestEnvelopeOptions(t *testing.T) {
	m := &Message{From: "a@x", To: []string{"b@x", "c@x", "d@x"}, UTF8: true, Options: "RET=HDRS ENVID=1", ToOptions: []string{"NOTIFY=NEVER", ""}}
	want := []string{"MAIL FROM:<a@x> SMTPUTF8 RET=HDRS ENVID=1", "RCPT TO:<b@x> NOTIFY=NEVER", "RCPT TO:<c@x>", "RCPT TO:<d@x>"}
	if got := envelope(m); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestFreePort: no two who ask get the same, although nobody listens.
func TestFreePort(t *testing.T) {
	seen := map[int]bool{}
	for range 1000 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] || port < firstPort || port >= lastPort {
			t.Fatalf("port %d", port)
		}
		seen[port] = true
	}
}
