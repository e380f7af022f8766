package submit

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestInput(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for _, c := range []struct {
		name, in   string
		want, dots string // with a dot as the end, and as content; "" for the same
	}{
		{"empty", "", "", ""},
		{"LF", "a\nb\n", "a\r\nb\r\n", ""},
		{"CRLF", "a\r\nb\r\n", "a\r\nb\r\n", ""},
		{"mixed", "a\r\nb\n\r\nc", "a\r\nb\r\n\r\nc\r\n", ""},
		{"doubled by PHP", "a\r\r\nb\r\r\r\n", "a\r\nb\r\n", ""},
		{"CR alone stays", "a\rb\n\rc\n", "a\rb\r\n\rc\r\n", ""},
		{"CR at the end", "a\r", "a\r\n", ""},
		{"only CR", "\r\r", "\r\n", ""},
		{"no last line end", "a", "a\r\n", ""},
		{"dot", "a\n.\nb\n", "a\r\n", "a\r\n.\r\nb\r\n"},
		{"dot at once", ".\nb\n", "", ".\r\nb\r\n"},
		{"dot with CRLF", "a\r\n.\r\nb\r\n", "a\r\n", "a\r\n.\r\nb\r\n"},
		{"dot without line end", "a\n.", "a\r\n", "a\r\n.\r\n"},
		{"dots", "a\n..\n.b\n", "a\r\n..\r\n.b\r\n", ""},
		{"long line", long + "\n" + long, long + "\r\n" + long + "\r\n", ""},
		{"long line with CR", long + "\r" + long + "\r\n", long + "\r" + long + "\r\n", ""},
		{"a dot that ends a long line", strings.Repeat("x", 64<<10) + ".\nb\n", strings.Repeat("x", 64<<10) + ".\r\nb\r\n", ""},
		{"a CR that ends a part", strings.Repeat("x", 64<<10-1) + "\r\nb\n", strings.Repeat("x", 64<<10-1) + "\r\nb\r\n", ""},
		{"mailbox lines", "From joe Mon\n>From x\nSubject: y\n\nFrom here\n", "Subject: y\r\n\r\nFrom here\r\n", ""},
		{"NUL", "a\x00b\n", "a\x00b\r\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.dots == "" {
				c.dots = c.want
			}
			for dots, want := range map[bool]string{false: c.want, true: c.dots} {
				for _, r := range []io.Reader{strings.NewReader(c.in), iotest.HalfReader(strings.NewReader(c.in)), iotest.DataErrReader(strings.NewReader(c.in))} {
					got, err := io.ReadAll(newInput(r, dots))
					if string(got) != want || err != nil {
						t.Errorf("dots %v: %.80q, %v; want %.80q", dots, got, err, want)
					}
				}
			}
		})
	}
}

func TestInputFails(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(errors.New("broken pipe")))
	if _, err := readContent(newInput(broken, false), nil); err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("%v", err)
	}
}

func TestContent(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcde\n"), keepInMemory/16+1000)
	for _, c := range []struct {
		in          []byte
		limit       int64
		asked, fits bool
	}{
		{[]byte("small\n"), 1, false, true}, // the server will say it
		{large[:keepInMemory], 1, false, true},
		{large, int64(len(large)), true, true},
		{large, int64(len(large)) - 1, true, false},
		{large, 1, true, false},
	} {
		asked := false
		got, err := readContent(bytes.NewReader(c.in), func() int64 { asked = true; return c.limit })
		if e, ok := errors.AsType[*Error](err); asked != c.asked || (err == nil) != c.fits || !c.fits && (!ok || e.Code != DataErr) {
			t.Errorf("%d octets, limit %d: %v, asked %v", len(c.in), c.limit, err, asked)
		}
		if err != nil {
			continue
		}
		for range 2 {
			if again, err := io.ReadAll(got.raw()); err != nil || !bytes.Equal(again, c.in) {
				t.Errorf("%d octets: %d came back, %v", len(c.in), len(again), err)
			}
		}
		got.Close()
	}
}

// endless is a program that does not stop.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.read += int64(len(p))
	return len(p), nil
}

// TestTooLargeIsToldEarly: not when all was read.
func TestTooLargeIsToldEarly(t *testing.T) {
	var e endless
	if _, err := readContent(&e, func() int64 { return 2 << 20 }); err == nil {
		t.Error("an endless message was read")
	}
	if e.read > 4<<20 {
		t.Errorf("%d octets were read", e.read)
	}
}

// TestLawOfLineEnds: what is handed in has no CR or LF alone.
func TestLawOfLineEnds(t *testing.T) {
	c := &content{ReaderAt: strings.NewReader("a\rb\r\nc\n\n.\r"), size: 10}
	got, err := io.ReadAll(c.reader())
	if want := "a\r\nb\r\nc\r\n\r\n.\r\n"; string(got) != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	short := &content{ReaderAt: strings.NewReader("abc"), size: 10}
	if got, err := io.ReadAll(short.reader()); err == nil {
		t.Errorf("content that is too short gave %q", got)
	}
}
