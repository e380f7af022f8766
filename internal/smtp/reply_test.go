package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

func TestReadReply(t *testing.T) {
	tests := []struct {
		name, wire string
		want       mail.Reply
	}{
		{"one line", "250 ok\r\n", mail.Reply{Code: 250, Text: "ok"}},
		{"no text", "250 \r\n", mail.Reply{Code: 250}},
		{"no space", "250\r\n", mail.Reply{Code: 250}},
		{"bare LF", "250 ok\n", mail.Reply{Code: 250, Text: "ok"}},
		{"enhanced", "550 5.1.1 no such user\r\n", mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user"}},
		{"enhanced alone", "250 2.0.0\r\n", mail.Reply{Code: 250, Enhanced: "2.0.0"}},
		{"enhanced of three digits", "250 2.123.456 x\r\n", mail.Reply{Code: 250, Enhanced: "2.123.456", Text: "x"}},
		{"four digits are none", "250 2.1.1234 x\r\n", mail.Reply{Code: 250, Text: "2.1.1234 x"}},
		{"other class", "550 4.1.1 x\r\n", mail.Reply{Code: 550, Text: "4.1.1 x"}},
		{"3yz has none", "354 3.0.0 x\r\n", mail.Reply{Code: 354, Text: "3.0.0 x"}},
		{"an address is none", "550 5.1.1.7 x\r\n", mail.Reply{Code: 550, Text: "5.1.1.7 x"}},
		{"lines", "250-a\r\n250-b\r\n250 c\r\n", mail.Reply{Code: 250, Text: "a\nb\nc"}},
		{"empty lines", "250-\r\n250-\r\n250\r\n", mail.Reply{Code: 250, Text: "\n\n"}},
		{"enhanced on each line", "550-5.7.1 a\r\n550-5.7.1\r\n550 5.7.1 c\r\n",
			mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "a\n\nc"}},
		{"enhanced on the first line only", "550-5.7.1 a\r\n550 b\r\n",
			mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "a\nb"}},
		{"control characters", "250 a\x1b[31m\x00\tb\u0085c\r\n", mail.Reply{Code: 250, Text: "a [31m  b c"}},
		{"CR within", "250 a\rb\r\n", mail.Reply{Code: 250, Text: "a b"}},
		{"not UTF-8", "250 gr\xfc\xdfe\r\n", mail.Reply{Code: 250, Text: "gr??e"}},
		{"UTF-8", "250 grüße\r\n", mail.Reply{Code: 250, Text: "grüße"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			br := bufio.NewReader(strings.NewReader(tt.wire + "rest"))
			got, err := ReadReply(br, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if rest, _ := io.ReadAll(br); string(rest) != "rest" {
				t.Errorf("left in the stream: %q", rest)
			}
		})
	}
}

func TestReadReplyFails(t *testing.T) {
	tests := []struct {
		name, wire string
		want       error
	}{
		{"nothing", "", io.EOF},
		{"cut in a line", "250 o", io.ErrUnexpectedEOF},
		{"cut between lines", "250-ok\r\n", io.ErrUnexpectedEOF},
		{"no code", "hello\r\n", ErrReplySyntax},
		{"empty line", "\r\n", ErrReplySyntax},
		{"short code", "25\r\n", ErrReplySyntax},
		{"1yz", "150 ok\r\n", ErrReplySyntax},
		{"6yz", "600 ok\r\n", ErrReplySyntax},
		{"letters in the code", "2x0 ok\r\n", ErrReplySyntax},
		{"no mark", "250ok\r\n", ErrReplySyntax},
		{"code changes", "250-a\r\n550 b\r\n", ErrReplySyntax},
		{"long line", "250 " + strings.Repeat("x", 100) + "\r\n", ErrReplyTooLong},
		{"line without end", "250 " + strings.Repeat("x", 10000), ErrReplyTooLong},
		{"many lines", strings.Repeat("250-ok\r\n", 13), ErrReplyTooLong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadReply(bufio.NewReaderSize(strings.NewReader(tt.wire), 16), 100)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestReadReplyLimitIsExact(t *testing.T) {
	const wire = "250-" + "0123456789" + "\r\n250 ok\r\n"
	for limit, want := range map[int]error{len(wire): nil, len(wire) - 1: ErrReplyTooLong} {
		if _, err := ReadReply(bufio.NewReader(strings.NewReader(wire)), limit); !errors.Is(err, want) {
			t.Errorf("limit %d for %d octets: got %v, want %v", limit, len(wire), err, want)
		}
	}
}

func TestReadReplyKeepsTheStreamsError(t *testing.T) {
	broken := errors.New("broken")
	br := bufio.NewReader(io.MultiReader(strings.NewReader("250-ok\r\n"), iotest.ErrReader(broken)))
	if _, err := ReadReply(br, 100); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestAppendReply(t *testing.T) {
	long := strings.Repeat("0123456789 ", 60)
	tests := []struct {
		name  string
		reply mail.Reply
		want  string
	}{
		{"plain", mail.NewReply(250, "2.0.0", "Ok"), "250 2.0.0 Ok\r\n"},
		{"no text", mail.Reply{Code: 250}, "250 \r\n"},
		{"no text but a code", mail.Reply{Code: 250, Enhanced: "2.0.0"}, "250 2.0.0\r\n"},
		{"lines", mail.NewReply(250, "", "a\nb\n\nc"), "250-a\r\n250-b\r\n250-\r\n250 c\r\n"},
		{"enhanced on each", mail.NewReply(550, "5.7.1", "a\nb"), "550-5.7.1 a\r\n550 5.7.1 b\r\n"},
		{"line ends cannot escape", mail.NewReply(550, "", "a\r\n250 b\r250 c"), "550-a \r\n550 250 b 250 c\r\n"},
		{"not in the enhanced code either", mail.NewReply(550, "5.1.1\r\n250", "a"), "550 a\r\n"},
		{"enhanced of another class", mail.NewReply(550, "4.1.1", "a"), "550 a\r\n"},
		{"control characters", mail.NewReply(250, "", "a\x00\x7f\u009bb\u2028c"), "250 a   b c\r\n"},
		{"not UTF-8", mail.NewReply(250, "", "a\xff\xfeb"), "250 a??b\r\n"},
		{"no reply", mail.Reply{}, "451 4.3.0 " + mail.LocalError.Text + "\r\n"},
		{"no code", mail.NewReply(99, "", "x"), "451 4.3.0 " + mail.LocalError.Text + "\r\n"},
		{"long line", mail.NewReply(250, "", "%s", long+"end"),
			"250-" + long[:505] + "\r\n250 " + long[506:] + "end\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := AppendReply([]byte("before"), tt.reply)
			if diff := cmp.Diff("before"+tt.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAppendReplySplitsBetweenRunes(t *testing.T) {
	wire := AppendReply(nil, mail.NewReply(250, "", "%s", "x"+strings.Repeat("ü", 400)))
	checkReplyLines(t, wire)
	reply, err := ReadReply(bufio.NewReader(bytes.NewReader(wire)), len(wire))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(reply.Text, "\n", ""); got != "x"+strings.Repeat("ü", 400) {
		t.Errorf("text became %q", got)
	}
}

// checkReplyLines checks what holds of any reply on the wire.
func checkReplyLines(t *testing.T, wire []byte) {
	t.Helper()
	for line := range bytes.Lines(wire) {
		text, whole := bytes.CutSuffix(line, []byte("\r\n"))
		if !whole || bytes.ContainsAny(text, "\r\n\x00\x1b\x7f") {
			t.Errorf("line %q holds a control character or does not end with CRLF", line)
		}
		if len(line) > MaxReplyLine {
			t.Errorf("line of %d octets", len(line))
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("250-5.1.1 a\r\n250 b\r\n"), 250, "2.0.0", "text\nmore", 100)
	f.Add([]byte("550 5.1.1 no\r\n"), 550, "5.1.1", "5.1.1 x\n5.1.1 y", 10)
	f.Add([]byte("220"), 354, "3.0.0", strings.Repeat("\x80", 600), 0)
	f.Add([]byte(strings.Repeat("250-x\r\n", 100)), 421, "", "2.0.0\r\n.", 300)
	f.Fuzz(func(t *testing.T, wire []byte, code int, enhanced, text string, limit int) {
		checkRead(t, wire, limit%10_000)
		built := AppendReply(nil, mail.Reply{Code: code, Enhanced: enhanced, Text: text})
		checkReplyLines(t, built)
		reply, err := ReadReply(bufio.NewReader(bytes.NewReader(built)), len(built))
		if err != nil {
			t.Fatalf("%v in %q", err, built)
		}
		if again := AppendReply(nil, reply); !bytes.Equal(again, built) {
			t.Errorf("read and written again:\n%q\n%q", built, again)
		}
	})
}

// checkRead reads wire as one reply, and what was read again from its own
// wire form.
func checkRead(t *testing.T, wire []byte, limit int) {
	t.Helper()
	const buffer = 16
	source := bytes.NewReader(wire)
	br := bufio.NewReaderSize(source, buffer)
	reply, err := ReadReply(br, limit)
	taken := len(wire) - source.Len() - br.Buffered()
	if err != nil {
		if taken > max(limit, 0)+buffer {
			t.Errorf("%d octets taken before the limit of %d was noticed", taken, limit)
		}
		return
	}
	if taken > limit {
		t.Errorf("a reply of %d octets was read under a limit of %d", taken, limit)
	}
	built := AppendReply(nil, reply)
	checkReplyLines(t, built)
	if _, err := ReadReply(bufio.NewReader(bytes.NewReader(built)), len(built)); err != nil {
		t.Errorf("%v in %q", err, built)
	}
}
