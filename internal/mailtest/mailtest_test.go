package mailtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"postern/internal/mail"

	"github.com/google/go-cmp/cmp"
)

func TestContentRoundTrip(t *testing.T) {
	for _, content := range []string{
		"", "a\r\n", ".\r\n", "..\r\n.a\r\n", "a\r\n.\r\nb\r\n", "bare\n.\nhere\rand\r\n",
		strings.Repeat(".", 5000) + "\r\n.x\r\n", "\r\n\r\n.\r\n",
	} {
		br := bufio.NewReaderSize(bytes.NewReader(append(stuff([]byte(content)), "rest"...)), 16)
		got, err := readContent(br)
		if err != nil || string(got) != content {
			t.Errorf("%.40q came back as %.40q, %v", content, got, err)
		}
		if rest, _ := io.ReadAll(br); string(rest) != "rest" {
			t.Errorf("%.40q: left %q", content, rest)
		}
	}
}

func TestContentNeedsItsEnd(t *testing.T) {
	for _, wire := range []string{"", "a\r\n", "a\r\n.", "a\n.\n", "a\r\n.\n", "a\n.\r\n", "x.\r\n"} {
		if _, err := readContent(bufio.NewReader(strings.NewReader(wire))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: got %v", wire, err)
		}
	}
}

func TestMessage(t *testing.T) {
	for kind := Text; kind <= LongLines; kind++ {
		for _, size := range []int{1, 300, 1001, 5000, 300_000} {
			m := Message(kind, 7, size)
			if len(m) != size && size > 300 {
				t.Errorf("kind %d: %d octets instead of %d", kind, len(m), size)
			}
			if !bytes.Equal(m, Message(kind, 7, size)) || size > 300 && bytes.Equal(m, Message(kind, 8, size)) {
				t.Errorf("kind %d: not made by the seed alone", kind)
			}
			if !bytes.HasSuffix(m, []byte("\r\n")) || bytes.ContainsAny(bytes.ReplaceAll(m, []byte("\r\n"), nil), "\r\n") {
				t.Errorf("kind %d: bare CR or LF, or no CRLF at the end", kind)
			}
		}
	}
	if !bytes.Contains(Message(Dots, 1, 5000), []byte("\r\n.\r\n")) {
		t.Error("dots: no line of a single dot")
	}
	if m := Message(EightBit, 1, 5000); !bytes.Contains(m, []byte("ß")) || !bytes.Contains(m, []byte("\xff")) {
		t.Error("8-bit: no UTF-8, or nothing else")
	}
	if longest(Message(LongLines, 1, 500_000)) < 10_000 || longest(Message(Text, 1, 500_000)) > 998 {
		t.Error("long lines: not where they should be")
	}
}

func longest(message []byte) int {
	n := 0
	for line := range bytes.Lines(message) {
		n = max(n, len(line))
	}
	return n
}

func TestSinkRemembers(t *testing.T) {
	serverTLS, pool := ServerTLS(t, "sink.example")
	sink := NewSinkWith(t, SinkOptions{TLS: serverTLS})
	content := Message(Dots, 1, 2000)
	client, _ := NewClient(t, sink.Addr())
	if reply := client.Send("a@x", []string{"b@y", "c@z"}, content); reply.Code != 250 {
		t.Fatal(reply)
	}
	client.StartTLS(&tls.Config{RootCAs: pool, ServerName: "sink.example"})
	if reply := client.Send("", []string{"d@y"}, nil); reply.Code != 250 {
		t.Fatal(reply)
	}
	if reply := client.Command("QUIT"); reply.Code != 221 || !client.Closed() {
		t.Error("QUIT did not end the connection")
	}
	got, err := sink.Wait(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	want := []Received{
		{Mail: "MAIL FROM:<a@x>", Rcpts: []string{"RCPT TO:<b@y>", "RCPT TO:<c@z>"}, Content: content},
		{Mail: "MAIL FROM:<>", Rcpts: []string{"RCPT TO:<d@y>"}, TLS: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got[0].From() != "a@x" || !slices.Equal(got[0].To(), []string{"b@y", "c@z"}) || got[1].From() != "" {
		t.Errorf("paths %q %q %q", got[0].From(), got[0].To(), got[1].From())
	}
}

func TestSinkAnswersPipelined(t *testing.T) {
	sink := NewSink(t)
	client, _ := NewClient(t, sink.Addr())
	client.SendRaw("EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nBLAH\r\nDATA\r\n")
	for _, want := range []int{250, 250, 250, 500, 354} {
		if got := client.Reply(); got.Code != want {
			t.Errorf("got %s, want %d", got, want)
		}
	}
}

func TestSinkWaitEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewSink(t).Wait(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestPeerPlaysItsScripts(t *testing.T) {
	peer := NewPeer(t, `
		S: 220 first
		C: EHLO
		S: 250 ok
		CONTENT
		RAW "250-one\r\n250 two\r\n"
		CLOSED`, `
		S: 421 second
		DROP`)
	first, greeting := NewClient(t, peer.Addr())
	if greeting.Text != "first" {
		t.Errorf("greeting %s", greeting)
	}
	first.Command("EHLO me")
	if reply := first.Content([]byte(".x\r\n")); reply.Text != "one\ntwo" {
		t.Errorf("reply %q", reply.Text)
	}
	for range 2 { // the last script repeats
		second, greeting := NewClient(t, peer.Addr())
		if greeting.Text != "second" || !second.Closed() {
			t.Errorf("greeting %s", greeting)
		}
	}
	if got := peer.Lines(); !slices.Equal(got, []string{"EHLO me"}) || peer.Connections() != 3 {
		t.Errorf("lines %q, connections %d", got, peer.Connections())
	}
	if got := peer.Contents(); len(got) != 1 || string(got[0]) != ".x\r\n" {
		t.Errorf("contents %q", got)
	}
}

func TestPeerNoticesWhatIsNotInTheScript(t *testing.T) {
	tests := []struct{ name, script, client, want string }{
		{"another command", "C: EHLO", "HELO x\r\n", `expected "EHLO"`},
		{"bare LF", "C: EHLO", "EHLO x\n", `expected "EHLO"`},
		{"the end", "C: EHLO", "", "EOF"},
		{"more than nothing", "CLOSED", "QUIT\r\n", "expected the client to close"},
		{"half a message", "CONTENT", "x\r\n", "unexpected EOF"},
		{"a script that is none", "X: y", "", "unknown word"},
		{"raw text that is none", "RAW y", "", "RAW y"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				_, _ = io.WriteString(ours, tt.client)
				ours.Close()
			}()
			if _, err := PlayOn(theirs, tt.script+"\nC: never"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAddress(t *testing.T) {
	for text, want := range map[string]mail.Address{"": {}, "<>": {}, "joe@a.example": {Local: "joe", Domain: "a.example"}} {
		if got := Address(t, text); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}
