package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"postern/internal/mail"
)

// endings are byte sequences after "a" that end data, or must not. What is
// content of them is said for NewlinesRepair.
var endings = []struct {
	in      string
	content string // what is read of it
	ends    bool
	bare    bool // it holds a bare newline or NUL
}{
	{in: "\r\n.\r\n", content: "\r\n", ends: true},
	{in: "\n.\n", content: "\r\n.\r\n", bare: true},
	{in: "\r.\r", content: "\r\n.", bare: true},
	{in: "\r.\n", content: "\r\n.\r\n", bare: true},
	{in: "\n.\r", content: "\r\n.", bare: true},
	{in: "\n.\r\n", content: "\r\n.\r\n", bare: true},
	{in: "\r.\r\n", content: "\r\n.\r\n", bare: true},
	{in: "\r\n.\n", content: "\r\n\r\n", bare: true},
	{in: "\r\n.\r", content: "\r\n"},
	{in: "\r\n\x00.\r\n", content: "\r\n .\r\n", bare: true},
	{in: "\r\n.\x00\r\n", content: "\r\n \r\n", bare: true},
	{in: "\r\n\x00.\x00\r\n", content: "\r\n . \r\n", bare: true},
	{in: "\r\x00\n.\r\n", content: "\r\n \r\n.\r\n", bare: true},
	{in: "\r\n.\r\x00\n", content: "\r\n\r\n \r\n", bare: true},
	{in: "\x00\x00\x00", content: "   ", bare: true},
	{in: "\r\n.\r\r\n", content: "\r\n\r\n\r\n", bare: true},
	{in: "\r\n..\r\n", content: "\r\n.\r\n"},
	{in: "\r\n...\r\n", content: "\r\n..\r\n"},
	{in: "\r\n. \r\n", content: "\r\n \r\n"},
	{in: "\r\n .\r\n", content: "\r\n .\r\n"},
	{in: "\r\r\n.\r\n", content: "\r\n\r\n", ends: true, bare: true},
	{in: "\n\r\n.\r\n", content: "\r\n\r\n", ends: true, bare: true},
	{in: "\r\n\r.\r\n", content: "\r\n\r\n.\r\n", bare: true},
	{in: "\r\n\n.\r\n", content: "\r\n\r\n.\r\n", bare: true},
	{in: "\r\n.\r\n.\r\n", content: "\r\n", ends: true},
	{in: "\u0085.\u0085", content: "\u0085.\u0085"},
	{in: "\u2028.\u2028", content: "\u2028.\u2028"},
	{in: "\v.\v\f.\f", content: "\v.\v\f.\f"},
}

// TestEndOfData reads every ending behind content of every length up to the
// size of the buffer, so that each is cut at every place, followed by a
// message that an attacker would smuggle in.
func TestEndOfData(t *testing.T) {
	const buffer = 16 // the least that bufio has
	const rest = "NEXT"
	for _, e := range endings {
		for pad := range 2 * buffer {
			front := strings.Repeat("a", pad) + "b"
			stream := front + e.in + rest
			want := front + e.content
			if !e.ends {
				stream += "\r\n.\r\n"
				want = front + resumed(e.in, e.content) + rest + "\r\n"
			}
			br := bufio.NewReaderSize(strings.NewReader(stream), buffer)
			d := NewDataReader(br, NewlinesRepair, 1<<20)
			got, err := io.ReadAll(d)
			if err != nil || string(got) != want || !d.Ended() {
				t.Errorf("%q behind %d: %q, %v; want %q", e.in, pad, got, err, want)
			}
			if d.Size() != int64(len(want)) {
				t.Errorf("%q behind %d: size %d, want %d", e.in, pad, d.Size(), len(want))
			}
			checkRefuseMode(t, stream, e.bare, buffer)
		}
	}
}

// resumed is the content of an ending that is followed by more: a CR at its
// end turns out to be bare.
func resumed(in, content string) string {
	if strings.HasSuffix(in, "\r") {
		return content + "\r\n"
	}
	return content
}

// checkRefuseMode expects of a stream that it is refused if it is bare or
// becomes so, and that the reader finds the same end of data all the same.
func checkRefuseMode(t *testing.T, stream string, bare bool, buffer int) {
	t.Helper()
	content, used, isBare := reference([]byte(stream))
	bare = bare || isBare
	br := bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(stream)), buffer)
	d := NewDataReader(br, NewlinesRefuse, 1<<20)
	got, err := io.ReadAll(d)
	switch {
	case bare && mail.ReplyOf(err).String()[:9] != "550 5.6.0":
		t.Errorf("%q: %q, %v; want 550 5.6.0", stream, got, err)
	case !bare && (err != nil || !bytes.Equal(got, content)):
		t.Errorf("%q: %q, %v; want %q", stream, got, err, content)
	}
	d.Drain(1 << 20)
	left, _ := io.ReadAll(br)
	if !d.Ended() || string(left) != stream[used:] {
		t.Errorf("%q: ended %v with %q left, want %q", stream, d.Ended(), left, stream[used:])
	}
}

// reference is the law written down naively: it looks for the first
// CRLF "." CRLF in CRLF + stream, takes off the dots, and repairs what is
// left. used is 0 when data does not end.
func reference(stream []byte) (content []byte, used int, bare bool) {
	all := append([]byte("\r\n"), stream...)
	end := bytes.Index(all, []byte("\r\n.\r\n"))
	if end < 0 {
		return nil, 0, false
	}
	body := bytes.ReplaceAll(all[:end+2], []byte("\r\n."), []byte("\r\n"))
	body = body[2:]
	used = end + 5 - 2
	for i := 0; i < len(body); i++ {
		switch {
		case body[i] == '\r' && i+1 < len(body) && body[i+1] == '\n':
			content = append(content, "\r\n"...)
			i++
		case body[i] == '\r' || body[i] == '\n':
			content = append(content, "\r\n"...)
			bare = true
		case body[i] == 0:
			content = append(content, ' ')
			bare = true
		default:
			content = append(content, body[i])
		}
	}
	return content, used, bare
}

// FuzzDataReader compares with the reference, for any size of buffer and of
// reads.
func FuzzDataReader(f *testing.F) {
	for _, e := range endings {
		f.Add([]byte("a"+e.in+"b\r\n.\r\nrest"), uint8(0), uint8(1))
	}
	f.Add([]byte(".\r\n"), uint8(3), uint8(100))
	f.Fuzz(func(t *testing.T, stream []byte, buffer, read uint8) {
		content, used, bare := reference(stream)
		for _, newlines := range []Newlines{NewlinesRepair, NewlinesRefuse} {
			br := bufio.NewReaderSize(bytes.NewReader(stream), 16+int(buffer))
			d := NewDataReader(br, newlines, 1<<30)
			got, err := readAll(d, 1+int(read))
			refuse := bare && newlines == NewlinesRefuse
			d.Drain(1 << 30)
			left, _ := io.ReadAll(br)
			switch {
			case used == 0 && (err == nil || d.Ended()):
				t.Fatalf("%q ended", stream)
			case used == 0:
			case refuse && mail.ReplyOf(err).Code != 550:
				t.Fatalf("%q: %v, want 550", stream, err)
			case !refuse && (err != nil || !bytes.Equal(got, content)):
				t.Fatalf("%q: %q, %v; want %q", stream, got, err, content)
			case !bytes.Equal(left, stream[used:]):
				t.Fatalf("%q: %q left, want %q", stream, left, stream[used:])
			}
			checkLaw(t, got)
		}
	})
}

// readAll reads in pieces of n octets.
func readAll(r io.Reader, n int) (all []byte, err error) {
	p := make([]byte, n)
	for {
		n, err := r.Read(p)
		all = append(all, p[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// checkLaw allows a CR at the end: the LF may not have been read yet.
func checkLaw(t *testing.T, content []byte) {
	t.Helper()
	left := bytes.TrimSuffix(bytes.ReplaceAll(content, []byte("\r\n"), nil), []byte("\r"))
	if bytes.ContainsAny(left, "\r\n\x00") {
		t.Fatalf("bare newline or NUL in %q", content)
	}
}

func TestDataReaderLimit(t *testing.T) {
	const content = "0123456\r\n..\r\n" // 12 octets without the dot
	for limit := range int64(20) {
		br := bufio.NewReader(strings.NewReader(content + ".\r\nrest"))
		d := NewDataReader(br, NewlinesRefuse, limit)
		_, err := io.ReadAll(d)
		if tooLarge := limit < 12; tooLarge != (mail.ReplyOf(err).Code == 552) || tooLarge != (err != nil) {
			t.Errorf("limit %d: %v", limit, err)
		}
		d.Drain(20)
		if rest, _ := io.ReadAll(br); string(rest) != "rest" {
			t.Errorf("limit %d: out of step, %q left", limit, rest)
		}
	}
}

func TestDrainIsBounded(t *testing.T) {
	endless := bufio.NewReader(&repeat{text: "more and more\r\n"})
	d := NewDataReader(endless, NewlinesRepair, 100)
	d.Drain(10_000)
	if d.Ended() || d.Size() <= 10_000 || d.Size() > 10_000+4096 || mail.ReplyOf(d.Err()).Code != 552 {
		t.Errorf("ended %v after %d octets, %v", d.Ended(), d.Size(), d.Err())
	}
}

// repeat is a stream that never ends.
type repeat struct {
	text string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at]
		r.at = (r.at + 1) % len(r.text)
	}
	return len(p), nil
}

func TestDataReaderStreamErrors(t *testing.T) {
	for _, c := range []struct {
		stream  string
		err     error
		text    string
		bareDot bool
	}{
		{"abc\r\n", io.EOF, "Connection lost", false},
		{"abc\r\n.\r", io.ErrClosedPipe, "Connection lost", false},
		{"abc\n.\n", os.ErrDeadlineExceeded, "Timeout", true},
		{".\n", os.ErrDeadlineExceeded, "Timeout", true},
		{"abc\r\n.\r\r\n", os.ErrDeadlineExceeded, "Timeout", false},
		{"", os.ErrDeadlineExceeded, "Timeout", false},
	} {
		for _, cut := range []func(io.Reader) io.Reader{nil, iotest.OneByteReader} {
			var stream io.Reader = io.MultiReader(strings.NewReader(c.stream), iotest.ErrReader(c.err))
			if cut != nil {
				stream = cut(stream)
			}
			d := NewDataReader(bufio.NewReader(stream), NewlinesRepair, 100)
			_, err := io.ReadAll(d)
			reply := mail.ReplyOf(err)
			if reply.Code != 421 || !strings.HasPrefix(reply.Text, c.text) || d.BareDot() != c.bareDot {
				t.Errorf("%q, %v: %v, bare dot %v", c.stream, c.err, err, d.BareDot())
			}
			if c.err != io.EOF && !errors.Is(err, c.err) || c.err == io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%q: cause of %v is not %v", c.stream, err, c.err)
			}
			d.Drain(100) // returns
		}
	}
}

func TestDataReaderAllocates(t *testing.T) {
	content := []byte(strings.Repeat("a line of usual length, as people write them\r\n", 1000) + ".\r\n")
	stream := bytes.NewReader(content)
	br := bufio.NewReader(stream)
	p := make([]byte, 32<<10)
	if n := testing.AllocsPerRun(10, func() {
		stream.Reset(content)
		br.Reset(stream)
		d := NewDataReader(br, NewlinesRefuse, 1<<20)
		for {
			if _, err := d.Read(p); err != nil {
				return
			}
		}
	}); n > 1 {
		t.Errorf("%v allocations for a message, want that of the reader alone", n)
	}
}

func BenchmarkDataReader(b *testing.B) {
	for _, length := range []int{20, 74, 998} {
		line := strings.Repeat("x", length) + "\r\n"
		content := []byte(strings.Repeat(line, 1<<20/len(line)) + ".\r\n")
		b.Run(fmt.Sprintf("line=%d", length), func(b *testing.B) {
			stream := bytes.NewReader(content)
			br := bufio.NewReaderSize(stream, 4096)
			p := make([]byte, 32<<10)
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				stream.Reset(content)
				br.Reset(stream)
				d := NewDataReader(br, NewlinesRefuse, 1<<30)
				var err error
				for err == nil {
					_, err = d.Read(p)
				}
				if err != io.EOF {
					b.Fatal(err)
				}
			}
		})
	}
}
