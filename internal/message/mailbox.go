package message

import (
	"bufio"
	"bytes"
	"io"
)

// mailboxField is the field in which the line that a mailbox file puts before
// a message is kept.
const mailboxField = "X-Mailbox-Line"

// maxMailboxLine is how far into a message takeMailboxLine looks: over two
// lines of RFC 5322 2.1.1.
const maxMailboxLine = 2 * 1000

// takeMailboxLine takes the line off br that mailbox files put
// before a message, "From joe@example.com Mon Jan 1 10:00:00 2024" or the
// same behind a ">", and returns it without its line end; "" when there is
// none. Only a line that a field follows is one: a text without a header may
// well begin with "From ".
//
// It fails with the error of br unless that is io.EOF.
func takeMailboxLine(br *bufio.Reader) (string, error) {
	limit := min(maxMailboxLine, br.Size())
	for want := len(">From "); ; {
		window, err := br.Peek(want)
		if err != nil && err != io.EOF {
			return "", err
		}
		if !bytes.HasPrefix(bytes.TrimPrefix(window, []byte(">")), []byte("From ")) {
			return "", nil
		}
		line, next, _ := bytes.Cut(window, []byte("\n"))
		switch kind, _ := classify(next); {
		case kind == fieldLine:
			text := string(bytes.TrimSuffix(line, []byte("\r")))
			_, err := br.Discard(len(line) + len("\n"))
			return text, err
		case kind != undecided, err == io.EOF, want == limit:
			return "", nil
		}
		want = min(2*want, limit)
	}
}
