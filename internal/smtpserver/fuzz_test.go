package smtpserver

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/smtp"
)

// stream is a connection whose client has said all it ever will, and keeps
// what it is told.
type stream struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (s *stream) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *stream) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *stream) Close() error                     { return nil }
func (s *stream) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *stream) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *stream) SetDeadline(time.Time) error      { return nil }
func (s *stream) SetReadDeadline(time.Time) error  { return nil }
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// FuzzSession feeds whole sessions. Whatever comes: no panic, replies that a
// client can read, and no message but what ends with CRLF "." CRLF.
func FuzzSession(f *testing.F) {
	const toData = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
	for _, d := range dialogues {
		f.Add([]byte(clientLines(d.dialogue)), true)
	}
	for _, ending := range smuggling {
		f.Add([]byte(toData+"x"+ending+"MAIL FROM:<e@f>\r\n\r\n.\r\nQUIT\r\n"), false)
	}
	for _, d := range chunkDialogues {
		f.Add([]byte(clientLines(d.dialogue)), true)
	}
	for _, said := range []string{
		"AUTH LOGIN\r\nam9l\r\nc2VjcmV0\r\n" + toData[8:] + "x\r\n.\r\n", "AUTH PLAIN =\r\nAUTH PLAIN\r\n*\r\nAUTH ENDLESS\r\n\r\n=\r\nQUIT\r\n",
		"AUTH PLAIN " + strings.Repeat("A", 12300) + "\r\nMAIL FROM:<a@b> AUTH=<>\r\n", "AUTH PLAIN\r\nx\nNOOP\r\n",
	} {
		f.Add([]byte("EHLO c\r\n"+said), true)
	}
	f.Add([]byte("EHLO c\r\nMAIL FROM:<>\r\n0\xfd\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n"), true) // no UTF-8
	f.Fuzz(func(t *testing.T, said []byte, repairs bool) {
		var log logBuffer
		h := newKnowing("PLAIN", "LOGIN", "ENDLESS")
		o := Options{Hostname: "mx.test", MaxSize: 1000, MaxErrors: 50, Logger: log.logger(), AuthInClear: true}
		if repairs {
			o.Newlines = repair
		}
		nc := &stream{in: bytes.NewReader(said)}
		New(o, h).serve(context.Background(), nc)

		br := bufio.NewReader(&nc.out)
		for replies := 0; ; replies++ {
			_, err := smtp.ReadReply(br, 4096)
			if err == io.EOF && replies > 0 {
				break
			}
			if err != nil {
				t.Fatalf("%q: reply %d: %v", said, replies, err)
			}
		}
		checkMessages(t, &h.scripted, said)
		if h.ended != len(h.begun) {
			t.Fatalf("%q: %d exchanges of %d were ended", said, h.ended, len(h.begun))
		}
		if h.counted("End") != 1 || strings.Contains(log.String(), `msg="panic in a handler"`) {
			t.Fatalf("%q: calls %q, log:\n%s", said, h.calls, log.String())
		}
	})
}

// clientLines returns what the client says in a dialogue.
func clientLines(dialogue string) string {
	var b strings.Builder
	for line := range strings.Lines(dialogue) {
		line = strings.Trim(line, "\t\n")
		if text, found := strings.CutPrefix(line, "C: "); found {
			b.WriteString(text + "\r\n")
		}
		if quoted, found := strings.CutPrefix(line, "C= "); found {
			raw, _ := strconv.Unquote(quoted)
			b.WriteString(raw)
		}
	}
	return b.String()
}

// checkMessages holds each accepted message against a naive look at what was
// said: somewhere behind a DATA command it stands up to the first end of
// data.
func checkMessages(t *testing.T, h *scripted, said []byte) {
	t.Helper()
	ends := bytes.Count(append([]byte("\r\n"), said...), []byte("\r\n.\r\n")) + bytes.Count(bytes.ToUpper(said), []byte("LAST"))
	if len(h.messages) > ends {
		t.Fatalf("%q: %d messages from %d ends of data", said, len(h.messages), ends)
	}
	chunked := bytes.Contains(bytes.ToUpper(said), []byte("BDAT")) // FuzzChunks knows what is right there
	for _, m := range h.messages {
		if strings.ContainsAny(strings.ReplaceAll(m, "\r\n", ""), "\r\n\x00") {
			t.Fatalf("%q: bare newline or NUL in %q", said, m)
		}
		if chunked {
			continue
		}
		if m != "" && !strings.HasSuffix(m, "\r\n") || !contentOf(said, m) {
			t.Fatalf("%q: nobody said %q", said, m)
		}
	}
}

func contentOf(said []byte, message string) bool {
	for rest := said; ; {
		at := indexData(rest)
		if at < 0 {
			return false
		}
		line, after, _ := bytes.Cut(rest[at:], []byte("\r\n"))
		rest = rest[at+4:]
		if len(bytes.Trim(line[4:], " \t")) > 0 {
			continue
		}
		content, _, found := bytes.Cut(append([]byte("\r\n"), after...), []byte("\r\n.\r\n"))
		if found && naiveRepair(content) == message {
			return true
		}
	}
}

// indexData returns the place of the first DATA in any case, or -1. The case
// functions of package bytes would change the length of what is no UTF-8.
func indexData(p []byte) int {
	for i := range p {
		if len(p) >= i+4 && strings.EqualFold(string(p[i:i+4]), "DATA") {
			return i
		}
	}
	return -1
}

// naiveRepair takes the dots off content that begins with a CRLF of its own,
// makes every newline CRLF, and NUL a space.
func naiveRepair(content []byte) string {
	s := strings.ReplaceAll(string(content)+"\r\n", "\r\n.", "\r\n")
	lines := strings.Split(strings.TrimPrefix(s, "\r\n"), "\r\n")
	for i, line := range lines {
		lines[i] = strings.NewReplacer("\r", "\r\n", "\n", "\r\n", "\x00", " ").Replace(line)
	}
	return strings.Join(lines, "\r\n")
}
