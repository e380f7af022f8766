package submit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"postern/internal/mail"
)

// TestPost: what comes of a message is the same whether the server is there,
// or finds it later.
func TestPost(t *testing.T) {
	for _, c := range []struct {
		name, line, in string
		from, to, text string
		notify         mail.Notify
	}{
		{name: "plain", line: "ann@x.example", in: "Subject: s\n\nbody\n",
			from: "<joe@gate.example>", to: "ann@x.example", text: "Subject: s\nFrom: joe@gate.example\n\nbody\n"},
		{name: "-t", line: "-t", in: "From: f@x\nTo: a@one.example\nBcc: b@two.example\n\nbody\n",
			from: "<joe@gate.example>", to: "a@one.example b@two.example", text: "From: f@x\nTo: a@one.example\n\nbody\n"},
		{name: "-t and recipients", line: "-t c@x.example", in: "From: f@x\nTo: a@x.example\n\n",
			from: "<joe@gate.example>", to: "c@x.example a@x.example", text: "From: f@x\nTo: a@x.example\n\n"},
		{name: "Bcc without -t", line: "c@x.example", in: "From: f@x\nTo: a@x.example\nBcc: b@x.example\n\n",
			from: "<joe@gate.example>", to: "c@x.example", text: "From: f@x\nTo: a@x.example\n\n"},
		{name: "sender", line: "-f list-bounces@x.example -F The.List ann@x.example", in: "\nbody\n",
			from: "<list-bounces@x.example>", to: "ann@x.example", text: "From: \"The.List\" <list-bounces@x.example>\n\nbody\n"},
		{name: "local sender", line: "-fwww ann@x.example", in: "\n", from: "<www@gate.example>", to: "ann@x.example", text: "From: www@gate.example\n\n"},
		{name: "null sender", line: "-f <> ann@x.example", in: "\n", from: "<>", to: "ann@x.example", text: "From: MAILER-DAEMON@gate.example\n\n"},
		{name: "users of the host", line: "root", in: "From: root (Cron)\nTo: root\n\nx\n",
			from: "<joe@gate.example>", to: "admin@example.net", text: "From: root@gate.example (Cron)\nTo: root@gate.example\n\nx\n"},
		{name: "DSN", line: "-N success -R hdrs -V id+7 ann@x.example", in: "From: a@x\n\n", notify: mail.NotifySuccess,
			from: "<joe@gate.example>", to: "ann@x.example", text: "From: a@x\n\n"},
		{name: "bare CR", line: "ann@x.example", in: "From: a@x\n\na\rb\n", from: "<joe@gate.example>", to: "ann@x.example", text: "From: a@x\n\na\nb\n"},
		{name: "dots", line: "-i ann@x.example", in: "From: a@x\n\n.\n..\n.x\n", from: "<joe@gate.example>", to: "ann@x.example", text: "From: a@x\n\n.\n..\n.x\n"},
		{name: "no header", line: "ann@x.example", in: "text\n", from: "<joe@gate.example>", to: "ann@x.example", text: "From: joe@gate.example\n\ntext\n"},
		{name: "empty", line: "ann@x.example", in: "", from: "<joe@gate.example>", to: "ann@x.example", text: "From: joe@gate.example\n\n"},
	} {
		for _, up := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, up %v", c.name, up), func(t *testing.T) {
				h := newHost(t)
				if up {
					h.serve()
				} else {
					h.client.User.Name = ownName(t)
					c.from = strings.Replace(c.from, "joe@gate", h.client.User.Name+"@gate", 1)
					c.text = strings.ReplaceAll(c.text, "From: joe@gate", "From: "+h.client.User.Name+"@gate")
				}
				if err := h.post(c.line, c.in); err != nil {
					t.Fatal(err)
				}
				if !up {
					if n := len(h.files()); n != 1 || len(h.entries()) > 0 {
						t.Fatalf("%d files were left", n)
					}
					h.collect()
				}
				e, to, text := h.only()
				if e.Envelope.From.Path() != c.from || to != c.to || text != strings.ReplaceAll(c.text, "\n", "\r\n") {
					t.Errorf("from %s to %s:\n%q, want from %s to %s:\n%q", e.Envelope.From.Path(), to, text, c.from, c.to, c.text)
				}
				if u := e.Origin.User; u == nil || u.UID != uint32(os.Getuid()) || e.Origin.Listener != Listener {
					t.Errorf("origin %+v", e.Origin)
				}
				if e.Deliveries[0].Recipients[0].Notify != c.notify || c.notify != 0 && (e.Envelope.EnvelopeID != "id+7" || e.Envelope.Return != mail.ReturnHeaders) {
					t.Errorf("%+v", e)
				}
				if left := h.files(); len(left) > 0 {
					t.Errorf("left: %q", left)
				}
			})
		}
	}
}

// ownName is the name of the user who runs the test: the owner of the files.
func ownName(t *testing.T) string {
	t.Helper()
	u, _ := lookup(uint32(os.Getuid()))
	if u.Name == "" {
		t.Fatal("the user who runs this test has no name")
	}
	return u.Name
}

// TestPostFails: with the code that says why, and with nothing taken.
func TestPostFails(t *testing.T) {
	for _, c := range []struct {
		name, line, in string
		code           ExitCode
	}{
		{"no recipients", "", "x\n", Usage},
		{"none in the header", "-t", "Subject: x\n\n", Usage},
		{"an empty group", "-t", "To: undisclosed-recipients:;\n\n", Usage},
		{"a recipient that is a hyphen", "-t", "To: -Xfile\n\n", DataErr},
		{"a field that cannot be read", "-t", "To: two words\n\n", DataErr},
		{"a recipient that is none", "a..b@x.example", "x\n", DataErr},
		{"an empty recipient", "<>", "x\n", DataErr},
		{"a sender that is none", "-f a@b@c d@x.example", "x\n", DataErr},
		{"two senders", "-f a@x,b@x d@x.example", "x\n", DataErr},
		{"an unknown user", "nosuch", "x\n", NoUser},
		{"an unknown user among others", "ann@x.example nosuch@gate.example", "x\n", NoUser},
		{"too many", strings.Repeat("a@x.example,", 101), "x\n", DataErr},
		{"too large", "ann@x.example", strings.Repeat("0123456789\n", 1<<20), DataErr},
		{"too large for the server alone", "ann@x.example", strings.Repeat("0123456789\n", 4<<10), DataErr},
		{"too many hops", "ann@x.example", strings.Repeat("Received: x\n", 101) + "\n", Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			h.maxSize = 40 << 10
			h.serve()
			err := h.post(c.line, c.in)
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != c.code {
				t.Errorf("%v (%+v), want %d", err, e, c.code)
			}
			if len(h.entries()) > 0 || len(h.files()) > 0 {
				t.Errorf("%d messages are stored; left: %q", len(h.entries()), h.files())
			}
		})
	}
}

func TestUserWithoutName(t *testing.T) {
	h := newHost(t)
	h.client.User.Name = ""
	if e, ok := errors.AsType[*Error](h.post("a@x.example", "x\n")); !ok || e.Code != OSErr {
		t.Errorf("%+v", e)
	}
	if err := h.post("-f b@x.example a@x.example", "x\n"); err != nil {
		t.Error(err)
	}
}

// TestNoDirectory: where no server ever was there is nothing to leave a message in.
func TestNoDirectory(t *testing.T) {
	h := newHost(t)
	h.client.Directory += "-other"
	if e, ok := errors.AsType[*Error](h.post("a@x.example", "x\n")); !ok || e.Code != Unavailable {
		t.Errorf("%+v", e)
	}
}

// TestInterrupted: the command does not wait for a program that says nothing.
func TestInterrupted(t *testing.T) {
	h := newHost(t)
	c, err := ParseCommand([]string{"ann@x.example"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	go func() {
		io.WriteString(w, "half a li") // it is being read
		cancel()
	}()
	if e, ok := errors.AsType[*Error](h.client.Post(ctx, c, r)); !ok || e.Code != TempFail {
		t.Errorf("%+v", e)
	}
	w.Close()
	if len(h.files()) > 0 {
		t.Errorf("left: %q", h.files())
	}
}

// scripted is a server that says what it is told to: a reply for each command,
// "-" to hang up.
func scripted(h *host, replies ...string) {
	l, err := net.Listen("unix", h.directory.Socket())
	if err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		br := bufio.NewReader(conn)
		data := false
		for i, r := range replies {
			for i > 0 {
				line, err := br.ReadString('\n')
				if err != nil {
					return
				}
				if !data || line == ".\r\n" {
					data = strings.HasPrefix(line, "DATA")
					break
				}
			}
			if r == "-" {
				return
			}
			fmt.Fprintf(conn, "%s\r\n", r)
		}
		br.ReadString(0)
	}()
	h.t.Cleanup(func() { l.Close(); <-ended })
}

// TestNotNow: a message that the server cannot take now is left for it,
// wherever it said so, and whatever it broke off.
func TestNotNow(t *testing.T) {
	whole := []string{"220 gate.example hi", "250-gate.example hi\r\n250 DSN", "250 ok", "250 ok", "354 go", "250 ok"}
	for at := range whole {
		for _, instead := range []string{"-", "421 4.3.2 stopping", "451 4.3.0 later", "452 4.3.1 full", "nonsense"} {
			h := newHost(t)
			scripted(h, append(slices.Clone(whole[:at]), instead)...)
			if err := h.post("ann@x.example", "Subject: x\n\nbody\n"); err != nil {
				t.Errorf("%q at %d: %v", instead, at, err)
			}
			if n := len(h.files()); n != 1 {
				t.Errorf("%q at %d: %d files are left", instead, at, n)
			}
		}
		if at < 2 {
			continue
		}
		h := newHost(t)
		scripted(h, append(slices.Clone(whole[:at]), "554 5.7.1 never")...)
		if e, ok := errors.AsType[*Error](h.post("ann@x.example", "Subject: x\n\nbody\n")); !ok || e.Code != NoPerm || len(h.files()) > 0 {
			t.Errorf("refused at %d: %+v, %q", at, e, h.files())
		}
	}
	h := newHost(t)
	scripted(h, whole...)
	if err := h.post("ann@x.example", "x\n"); err != nil || len(h.files()) > 0 {
		t.Errorf("accepted: %v, %q", err, h.files())
	}
}

func TestCodeFor(t *testing.T) {
	for reply, want := range map[mail.Reply]ExitCode{
		mail.NewReply(550, "5.1.1", ""): NoUser,
		mail.NewReply(553, "5.1.3", ""): DataErr,
		mail.NewReply(550, "5.6.0", ""): DataErr,
		mail.NewReply(552, "5.3.4", ""): DataErr,
		mail.NewReply(550, "5.7.1", ""): NoPerm,
		mail.NewReply(554, "5.4.6", ""): Unavailable,
		mail.NewReply(550, "", ""):      Unavailable,
	} {
		if got := codeFor(reply); got != want {
			t.Errorf("%s: %d, want %d", reply, got, want)
		}
	}
}
