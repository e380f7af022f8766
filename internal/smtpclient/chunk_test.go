package smtpclient

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

// chunking opens a script: a server to which the whole message goes at once.
var chunking = strings.Replace(hello, "250-DSN", "250-CHUNKING", 1)

// chunkExchanges are with such servers.
var chunkExchanges = []exchange{
	{"delivered", chunking + `
		C: MAIL FROM:<s@x> SIZE=6
		C: RCPT TO:<r1@x>
		C: RCPT TO:<r2@x>
		BDAT
		S: 250 ok
		S: 250 ok
		S: 250 ok
		S: 250 2.0.0 queued` + quit, 2,
		slices.Repeat([]string{"delivered end of data: remote 250 2.0.0 queued"}, 2), true},
	{"some recipients", chunking + `
		C: MAIL
		C: RCPT
		C: RCPT
		BDAT
		S: 250 ok
		S: 550 no
		S: 250 ok
		S: 250 queued` + quit, 2,
		[]string{"bounced RCPT: remote 550 no", "delivered end of data: remote 250 queued"}, true},
	{"no recipient", chunking + `
		C: MAIL
		C: RCPT
		BDAT
		S: 250 ok
		S: 550 no
		S: 554 5.5.1 no recipients
		C: RSET
		S: 250 ok` + quit, 1,
		[]string{"bounced RCPT: remote 550 no"}, true},
	{"sender refused", chunking + `
		C: MAIL
		C: RCPT
		BDAT
		S: 550 5.7.1 no
		S: 503 no
		S: 503 no
		C: RSET
		S: 250 ok` + quit, 1,
		[]string{"bounced MAIL: remote 550 5.7.1 no"}, true},
	{"content refused", chunking + `
		C: MAIL
		C: RCPT
		BDAT
		S: 250 ok
		S: 250 ok
		S: 554 5.7.1 spam
		C: RSET
		S: 250 ok` + quit, 1,
		[]string{"bounced end of data: remote 554 5.7.1 spam"}, true},
	{"content refused for now", chunking + `
		C: MAIL
		C: RCPT
		BDAT
		S: 250 ok
		S: 250 ok
		S: 451 4.7.1 later
		C: RSET
		S: 250 ok` + quit, 1,
		[]string{"deferred end of data: remote 451 4.7.1 later"}, true},
	{"421 at MAIL", chunking + `
		C: MAIL
		C: RCPT
		BDAT
		S: 421 4.3.2 closing
		CLOSED`, 1,
		[]string{"deferred MAIL: remote 421 4.3.2 closing"}, false},
	{"lost before any reply", chunking + `
		C: MAIL
		C: RCPT
		BDAT
		DROP`, 1,
		[]string{"deferred end of data: " + lost + "while waiting for the reply to MAIL"}, false},
	{"lost before the last reply", chunking + `
		C: MAIL
		C: RCPT
		BDAT
		S: 250 ok
		S: 250 ok
		DROP`, 1,
		[]string{"deferred end of data: " + lost + "after the end of the message"}, false},
	{"354", chunking + `
		C: MAIL
		C: RCPT
		BDAT
		S: 250 ok
		S: 250 ok
		S: 354 go
		CLOSED`, 1,
		[]string{"deferred end of data: local 451 4.5.0 Unexpected reply from mx.example to end of data"}, false},
	{"354 to MAIL", chunking + `
		C: MAIL
		C: RCPT
		BDAT
		S: 354 go
		CLOSED`, 1,
		[]string{"deferred end of data: local 451 4.5.0 Unexpected reply from mx.example to MAIL"}, false},
}

func TestSendChunk(t *testing.T) {
	for _, e := range chunkExchanges {
		t.Run(e.name, e.run)
	}
}

// TestSendChunkRefused: a server that does not know what it offers.
func TestSendChunkRefused(t *testing.T) {
	for code := 500; code <= 504; code++ {
		conn := mustDial(t, mailtest.NewPeer(t, chunking+fmt.Sprintf(`
			C: MAIL
			C: RCPT
			BDAT
			S: 250 ok
			S: 250 ok
			S: %d 5.5.1 what
			CLOSED`, code)))
		got := conn.Send(t.Context(), transaction(1, "text\r\n"))[0]
		if got.State != mail.Deferred || !strings.Contains(got.Cause, "5.5.1 what") || strings.Contains(got.Cause, "unknown") || !conn.ChunksRefused() || conn.Usable() {
			t.Errorf("%s, cause %q", brief(got), got.Cause)
		}
	}
}

// TestWhichGoesByChunk: small messages, to servers that take commands and
// content at once.
func TestWhichGoesByChunk(t *testing.T) {
	for _, c := range []struct {
		name       string
		keywords   []string
		options    Options
		size       int64 // announced, of a content of 300 octets
		recipients int
		want       bool
	}{
		{"small", []string{"PIPELINING", "CHUNKING"}, Options{}, 300, 1, true},
		{"many recipients", []string{"PIPELINING", "CHUNKING"}, Options{}, 300, pipelined - 2, true},
		{"too many", []string{"PIPELINING", "CHUNKING"}, Options{}, 300, pipelined - 1, false},
		{"no pipelining", []string{"CHUNKING"}, Options{}, 300, 1, false},
		{"no chunking", []string{"PIPELINING"}, Options{}, 300, 1, false},
		{"not wanted", []string{"PIPELINING", "CHUNKING"}, Options{NoChunking: true}, 300, 1, false},
		{"size unknown", []string{"PIPELINING", "CHUNKING"}, Options{}, 0, 1, false},
		{"as large as may be", []string{"PIPELINING", "CHUNKING"}, Options{}, maxChunk, 1, true},
		{"larger", []string{"PIPELINING", "CHUNKING"}, Options{}, maxChunk + 1, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{Keywords: c.keywords})
			conn, err := Dial(t.Context(), "sink.example", sink.Addr(), c.options)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			content := mailtest.Message(mailtest.Dots, 1, int(max(300, c.size)))
			tx := transaction(c.recipients, "")
			tx.Size, tx.Body = c.size, bytes.NewReader(content)
			if got := conn.Send(t.Context(), tx)[0]; got.State != mail.Delivered {
				t.Fatal(brief(got))
			}
			if got := sink.Received()[0]; got.Chunked != c.want || !bytes.Equal(got.Content, content) || len(got.Rcpts) != c.recipients {
				t.Errorf("chunked %t, %d octets, %d recipients", got.Chunked, len(got.Content), len(got.Rcpts))
			}
		})
	}
}

// TestChunkKeepsTheLaw: no bare newline or NUL leaves in a chunk, and its length is
// that of what leaves.
func TestChunkKeepsTheLaw(t *testing.T) {
	for text, want := range map[string]string{
		"a\nb\rc\r\n":               "a\r\nb\r\nc\r\n",
		"no end":                    "no end\r\n",
		"\r\n.\r\nMAIL FROM:<>\r\n": "\r\n.\r\nMAIL FROM:<>\r\n",
		"\n.\nx\r":                  "\r\n.\r\nx\r\n",
		"\r.\r\n":                   "\r\n.\r\n",
		"a\r\n\x00.\r\n":            "a\r\n .\r\n",
	} {
		sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{Keywords: []string{"PIPELINING", "CHUNKING"}})
		conn, err := Dial(t.Context(), "sink.example", sink.Addr(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			conn.Send(t.Context(), transaction(1, text))
		}
		conn.Close()
		received := sink.Received()
		if len(received) != 2 || string(received[0].Content) != want || string(received[1].Content) != want || !received[1].Chunked {
			t.Errorf("%q: %+v", text, received)
		}
	}
}
