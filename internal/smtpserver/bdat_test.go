package smtpserver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/smtp"
)

const toChunks = ehlo + `
	C: MAIL FROM:<joe@example.com>
	C: RCPT TO:<ann@example.net>
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
`

var chunkDialogues = []struct {
	name     string
	replies  map[string]mail.Reply
	messages string // all that were kept, one behind the other
	dialogue string
}{
	{name: "one chunk, pipelined with the envelope", messages: "Hi\r\n", dialogue: ehlo + `
	C: MAIL FROM:<joe@example.com>
	C: RCPT TO:<ann@example.net>
	C: BDAT 4 LAST
	C: Hi
	C: QUIT
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 250 2.0.0 Kept 4 octets
	S: 221 2.0.0 mx.test closing connection
	S.
	`},
	{name: "several, pipelined, and another message", messages: "Hi\r\n.\r\nBye\r\nNext\r\n", dialogue: toChunks + `
	C= "BDAT 3\r\nHi\rBDAT 4\r\n\n.\r\nBDAT 0\r\nBDAT 5 LAST\r\nBye\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.net>\r\nbdat 6 last\r\nNext\r\n"
	S: 250 2.0.0 3 octets received
	S: 250 2.0.0 4 octets received
	S: 250 2.0.0 0 octets received
	S: 250 2.0.0 Kept 12 octets
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 250 2.0.0 Kept 6 octets
	`},
	{name: "an empty last chunk", messages: "Hi\r\n", dialogue: toChunks + `
	C= "BDAT 4\r\nHi\r\n"
	S: 250 2.0.0 4 octets received
	C: BDAT 0 LAST
	S: 250 2.0.0 Kept 4 octets
	`},
	{name: "an empty message, and one without a line end", messages: "x", dialogue: toChunks + `
	C= "BDAT 0 LAST\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.net>\r\nBDAT 1 LAST\r\nx"
	S: 250 2.0.0 Kept 0 octets
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 250 2.0.0 Kept 1 octets
	`},
	{name: "other commands between chunks", messages: "Hi\r\n", dialogue: toChunks + `
	C= "BDAT 2\r\nHiNOOP\r\nDATA\r\nMAIL FROM:<x@y>\r\nXYZZY\r\n\x01\r\nRSET x\r\nBDAT 2 LAST\r\n\r\n"
	S: 250 2.0.0 2 octets received
	S: 250 2.0.0 Ok
	S: 503 5.5.1 The message is not at its end: send BDAT, or RSET
	S: 503 5.5.1 The message is not at its end: send BDAT, or RSET
	S: 503 5.5.1 The message is not at its end: send BDAT, or RSET
	S: 500 5.5.2 Control character in the command
	S: 503 5.5.1 The message is not at its end: send BDAT, or RSET
	S: 250 2.0.0 Kept 4 octets
	`},
	{name: "RSET between chunks", messages: "New\r\n", dialogue: toChunks + `
	C= "BDAT 2\r\nHiRSET\r\nBDAT 6 LAST\r\nQUIT\r\n"
	S: 250 2.0.0 2 octets received
	S: 250 2.0.0 Ok
	S: 503 5.5.1 Send MAIL first
	C= "MAIL FROM:<>\r\nRCPT TO:<ann@example.net>\r\nBDAT 5 LAST\r\nNew\r\n"
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 250 2.0.0 Kept 5 octets
	`},
	{name: "QUIT between chunks", dialogue: toChunks + `
	C= "BDAT 2\r\nHiQUIT\r\n"
	S: 250 2.0.0 2 octets received
	S: 221 2.0.0 mx.test closing connection
	S.
	`},
	{name: "EHLO between chunks", dialogue: toChunks + `
	C= "BDAT 2\r\nHiHELO x\r\nBDAT 2 LAST\r\nHi"
	S: 250 2.0.0 2 octets received
	S: 250 mx.test
	S: 503 5.5.1 Send MAIL first
	`},
	{name: "EHLO without a name between chunks", messages: "HiHi", dialogue: toChunks + `
	C= "BDAT 2\r\nHiEHLO\r\nBDAT 2 LAST\r\nHi"
	S: 250 2.0.0 2 octets received
	S: 503 5.5.1 The message is not at its end: send BDAT, or RSET
	S: 250 2.0.0 Kept 4 octets
	`},
	{name: "after HELO", dialogue: `
	S: 220 mx.test ESMTP Postern
	C= "BDAT 6\r\nQUIT\r\nHELO x\r\nMAIL FROM:<>\r\nRCPT TO:<ann@example.net>\r\nBDAT 6 LAST\r\nQUIT\r\n"
	S: 503 5.5.1 Send EHLO or HELO first
	S: 250 mx.test
	S: 250 2.1.0 Ok
	S: 250 2.1.5 Ok
	S: 502 5.5.1 BDAT needs EHLO
	`},
	{name: "a bare newline at a border", dialogue: toChunks + `
	C= "BDAT 3\r\nHi\rBDAT 7\r\n\rx\r\nyz\rBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"
	S: 250 2.0.0 3 octets received
	S: 550 5.6.0 Bare CR or LF in the message: lines must end with CRLF
	S: 503 5.5.1 Send MAIL first
	S: 250 2.0.0 Ok
	`},
	{name: "NUL", dialogue: toChunks + `
	C= "BDAT 3\r\nHi BDAT 2\r\n\x00xBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"
	S: 250 2.0.0 3 octets received
	S: 550 5.6.0 NUL in the message: what is not text must be encoded, as with Base64
	S: 503 5.5.1 Send MAIL first
	S: 250 2.0.0 Ok
	`},
	{name: "a bare newline at the end", dialogue: toChunks + `
	C= "BDAT 3 LAST\r\nHi\rNOOP\r\n"
	S: 550 5.6.0 Bare CR or LF in the message: lines must end with CRLF
	S: 250 2.0.0 Ok
	`},
	{name: "refused by the handler before content", replies: map[string]mail.Reply{"Data": mail.NewReply(451, "4.7.1", "Later")}, dialogue: toChunks + `
	C= "BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\n"
	S: 451 4.7.1 Later
	S: 503 5.5.1 Send MAIL first
	`},
	{name: "a success before content is none", replies: map[string]mail.Reply{"Data": mail.NewReply(250, "2.0.0", "Fine")}, dialogue: toChunks + `
	C= "BDAT 6\r\nQUIT\r\n"
	S: 451 4.3.0 Local error in processing, please try again later
	`},
	{name: "a size that is none", dialogue: toChunks + `
	C= "BDAT 2\r\nHiBDAT x LAST\r\nQUIT\r\n"
	S: 250 2.0.0 2 octets received
	S: 421 4.5.2 Nobody knows how long the chunk is, closing connection
	S.
	`},
}

func TestChunkDialogues(t *testing.T) {
	for _, d := range chunkDialogues {
		t.Run(d.name, func(t *testing.T) {
			h := &scripted{replies: d.replies}
			c := start(t, Options{MaxSize: 1000, MaxRecipients: 2, MaxMessages: 3}, h).dial()
			c.play(d.dialogue)
			if got := strings.Join(h.messages, ""); got != d.messages {
				t.Errorf("messages %q, want %q", got, d.messages)
			}
		})
	}
}

// TestChunksTooLarge: what is too large is dropped to the end of its chunk,
// and refused there.
func TestChunksTooLarge(t *testing.T) {
	h := &scripted{}
	c := start(t, Options{MaxSize: 1000, MaxErrors: 50}, h).dial().open()
	begin := "MAIL FROM:<joe@example.com>\r\nRCPT TO:<ann@example.net>\r\n"
	const tooLarge = "552 5.3.4 The message is larger than 1000 octets"
	part := strings.Repeat("x", 600)
	c.send(begin + "BDAT 600\r\n" + part + "BDAT 600\r\n" + part + "BDAT 600 LAST\r\n" + part + "NOOP\r\n")
	c.expect("250 2.1.0 Ok", "250 2.1.5 Ok", "250 2.0.0 600 octets received", tooLarge, "503 5.5.1 Send MAIL first", "250 2.0.0 Ok")
	c.send(begin + "BDAT 60000 LAST\r\n" + strings.Repeat(part, 100) + "NOOP\r\n")
	c.expect("250 2.1.0 Ok", "250 2.1.5 Ok", tooLarge, "250 2.0.0 Ok")
	if len(h.messages) > 0 {
		t.Errorf("%d messages", len(h.messages))
	}
}

// TestTooManyChunks: chunks without content do not keep a session for ever.
func TestTooManyChunks(t *testing.T) {
	c := start(t, Options{}, &scripted{}).dial().open()
	c.send("MAIL FROM:<joe@example.com>\r\nRCPT TO:<ann@example.net>\r\n" + strings.Repeat("BDAT 0\r\n", freeChunks+2))
	c.expect("250 2.1.0 Ok", "250 2.1.5 Ok")
	for range freeChunks + 1 {
		c.expect("250 2.0.0 0 octets received")
	}
	c.expect("421 4.7.0 Too many small chunks, closing connection")
	c.expectEnd()
}

// TestManyErrorsBetweenChunks: the limit of errors holds there, too, and no
// message comes of it.
func TestManyErrorsBetweenChunks(t *testing.T) {
	h := &scripted{}
	c := start(t, Options{MaxErrors: 2}, h).dial().open()
	c.send("MAIL FROM:<joe@example.com>\r\nRCPT TO:<ann@example.net>\r\nBDAT 1\r\nxDATA\r\nDATA\r\nBDAT 1 LAST\r\nx")
	c.expect("250 2.1.0 Ok", "250 2.1.5 Ok", "250 2.0.0 1 octets received",
		"503 5.5.1 The message is not at its end: send BDAT, or RSET", "421 4.7.0 mx.test: too many errors, closing connection")
	c.expectEnd()
	if len(h.messages) > 0 {
		t.Errorf("messages %q", h.messages)
	}
}

// TestChunkHandlers: the handler's reply against what it read.
func TestChunkHandlers(t *testing.T) {
	reply := func(r mail.Reply) func(context.Context, smtp.Content) mail.Reply {
		return func(context.Context, smtp.Content) mail.Reply { return r }
	}
	for _, c := range []struct {
		name    string
		handler func(context.Context, smtp.Content) mail.Reply
		want    []string
	}{
		{"success unread", reply(mail.NewReply(250, "2.0.0", "Fine")), []string{"250 2.0.0 3 octets received", "250 2.0.0 Fine", "250 2.0.0 Ok"}},
		{"refusal unread", reply(mail.NewReply(550, "5.7.1", "Spam")), []string{"550 5.7.1 Spam", "503 5.5.1 Send MAIL first", "250 2.0.0 Ok"}},
		{"no reply at all", reply(mail.Reply{}), []string{mail.LocalError.String(), "503 5.5.1 Send MAIL first", "250 2.0.0 Ok"}},
		{"hung up", reply(mail.Reply{Code: mail.NoReply}), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := start(t, Options{}, &scripted{content: c.handler}).dial().open()
			cl.send("MAIL FROM:<joe@example.com>\r\nRCPT TO:<ann@example.net>\r\nBDAT 3\r\nx\r\nBDAT 3 LAST\r\ny\r\nNOOP\r\n")
			cl.expect("250 2.1.0 Ok", "250 2.1.5 Ok")
			cl.expect(c.want...)
			if c.want == nil {
				cl.expectEnd()
			}
		})
	}
}

// TestConnectionLostInChunk: no message comes of what was cut off, be it in
// the middle of a chunk or between two.
func TestConnectionLostInChunk(t *testing.T) {
	for _, said := range []string{"BDAT 10 LAST\r\nhalf", "BDAT 4\r\nhalf", "BDAT 4\r\nhalfBDAT 4 LA"} {
		h := &scripted{}
		s := start(t, Options{}, h)
		c := s.dial().open()
		c.send("MAIL FROM:<joe@example.com>\r\nRCPT TO:<ann@example.net>\r\n" + said)
		c.expect("250 2.1.0 Ok", "250 2.1.5 Ok")
		c.Close()
		s.stop()
		if len(h.messages) > 0 || h.counted("End") != 1 {
			t.Errorf("%q: messages %q", said, h.messages)
		}
	}
}

// TestSmugglingInChunks: no ending of a message in chunks is one but the last
// chunk's, and none of DATA's ways to end means anything in it.
func TestSmugglingInChunks(t *testing.T) {
	for _, ending := range append(smuggling, "\r\n.\r\n") {
		for cut := range len(ending) + 1 {
			checkChunks(t, []byte("begin"+ending+"MAIL FROM:<evil@example.com>\r\n"), []int{len("begin") + cut}, true)
			checkChunks(t, []byte("begin"+ending+"MAIL FROM:<evil@example.com>\r\n"), []int{len("begin") + cut}, false)
		}
	}
}

// FuzzChunks cuts content into chunks anywhere.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("a\r\n.\r\nb\rc\nd\r"), []byte{1, 1, 1, 2, 3}, true)
	f.Add([]byte("\r\n\r\n..\r\n"), []byte{1, 1}, false)
	f.Fuzz(func(t *testing.T, text, sizes []byte, repairs bool) {
		text = text[:min(len(text), 1000)]
		var cuts []int
		at := 0
		for _, size := range sizes[:min(len(sizes), 100)] {
			if at += int(size); at > len(text) {
				break
			}
			cuts = append(cuts, at)
		}
		checkChunks(t, text, cuts, repairs)
	})
}

// checkChunks sends content in chunks, all of it and a NOOP in one piece. What
// is kept is what a naive reader makes of the whole, and the server stays in
// step.
func checkChunks(t *testing.T, text []byte, cuts []int, repairs bool) {
	t.Helper()
	h := &scripted{}
	o := Options{Hostname: "mx.test", MaxSize: 10_000, MaxErrors: 1000}
	if repairs {
		o.Newlines = repair
	}
	var said bytes.Buffer
	said.WriteString("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")
	from := 0
	for _, to := range cuts {
		fmt.Fprintf(&said, "BDAT %d\r\n%s", to-from, text[from:to])
		from = to
	}
	fmt.Fprintf(&said, "BDAT %d LAST\r\n%sRSET\r\nVRFY x\r\n", len(text)-from, text[from:])
	nc := &stream{in: bytes.NewReader(said.Bytes())}
	New(o, h).serve(context.Background(), nc)

	want := strings.ReplaceAll(string(text), "\r\n", "\n")
	bare := strings.ContainsAny(strings.ReplaceAll(string(text), "\r\n", ""), "\r\n\x00")
	want = strings.NewReplacer("\r", "\r\n", "\n", "\r\n", "\x00", " ").Replace(want)
	switch {
	case bare && !repairs && len(h.messages) > 0:
		t.Fatalf("%q: the message was taken", said.Bytes())
	case (!bare || repairs) && (len(h.messages) != 1 || h.messages[0] != want):
		t.Fatalf("%q: messages %q, want %q", said.Bytes(), h.messages, want)
	}
	replies := readReplies(t, &nc.out)
	if n := 1 + 3 + len(cuts) + 1 + 2; len(replies) != n || replies[n-1].Code != 252 {
		t.Fatalf("%q: replies %v, want %d, the last of them 252", said.Bytes(), replies, n)
	}
}

func readReplies(t *testing.T, r io.Reader) []mail.Reply {
	t.Helper()
	var replies []mail.Reply
	for br := bufio.NewReader(r); ; {
		reply, err := smtp.ReadReply(br, 4096)
		if err == io.EOF {
			return replies
		}
		if err != nil {
			t.Fatal(err)
		}
		replies = append(replies, reply)
	}
}
