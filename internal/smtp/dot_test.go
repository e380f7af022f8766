package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDotWriter(t *testing.T) {
	tests := []struct{ name, content, want string }{
		{"nothing", "", ".\r\n"},
		{"a line", "a\r\n", "a\r\n.\r\n"},
		{"no line end", "a", "a\r\n.\r\n"},
		{"dot first", ".", "..\r\n.\r\n"},
		{"dots", ".a\r\n..b\r\nc.\r\n", "..a\r\n...b\r\nc.\r\n.\r\n"},
		{"end of data within", "a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"},
		{"bare LF", "a\nb", "a\r\nb\r\n.\r\n"},
		{"bare CR", "a\rb", "a\r\nb\r\n.\r\n"},
		{"CR CR LF", "a\r\r\nb", "a\r\n\r\nb\r\n.\r\n"},
		{"LF CR", "a\n\rb", "a\r\n\r\nb\r\n.\r\n"},
		{"LF LF", "a\n\n", "a\r\n\r\n.\r\n"},
		{"CR at the end", "a\r", "a\r\n.\r\n"},
		{"LF dot LF", "a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"},
		{"CR dot CR", "a\r.\rb", "a\r\n..\r\nb\r\n.\r\n"},
		{"LF dot CRLF", "a\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"},
		{"NUL", "a\x00\x00b\r\n\x00.\r\n", "a  b\r\n .\r\n.\r\n"},
		{"NUL within CRLF", "a\r\x00\n.\r\n", "a\r\n \r\n..\r\n.\r\n"},
		{"CRLF dot CR", "a\r\n.\rb", "a\r\n..\r\nb\r\n.\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for chunk := 1; chunk <= len(tt.content)+1; chunk++ {
				if got := stuffInChunks(t, []byte(tt.content), chunk); got != tt.want {
					t.Errorf("in pieces of %d: got %q, want %q", chunk, got, tt.want)
				}
			}
		})
	}
}

// stuffInChunks writes content through a DotWriter, chunk octets at a time.
func stuffInChunks(t *testing.T, content []byte, chunk int) string {
	t.Helper()
	var out bytes.Buffer
	w := bufio.NewWriterSize(&out, 16)
	d := NewDotWriter(w)
	for len(content) > 0 {
		n := min(chunk, len(content))
		if written, err := d.Write(content[:n]); written != n || err != nil {
			t.Fatalf("Write of %d octets: %d, %v", n, written, err)
		}
		content = content[n:]
	}
	if err := errors.Join(d.Close(), w.Flush()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// stuffNaively does by replacement what DotWriter does by scanning.
func stuffNaively(content []byte) string {
	s := strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", " ").Replace(string(content))
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	s = strings.ReplaceAll("\n"+s, "\n.", "\n..")[1:]
	return strings.ReplaceAll(s, "\n", "\r\n") + ".\r\n"
}

func TestDotWriterReportsErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, content := range []string{"a\r\n", "a\r", ".\n", strings.Repeat("x", 100)} {
		d := NewDotWriter(bufio.NewWriterSize(failingWriter{broken}, 16))
		var err error
		for range 20 {
			_, err = d.Write([]byte(content))
		}
		if !errors.Is(err, broken) {
			t.Errorf("Write of %q: %v", content, err)
		}
		if err := d.Close(); !errors.Is(err, broken) {
			t.Errorf("Close after %q: %v", content, err)
		}
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func FuzzDotWriter(f *testing.F) {
	f.Add([]byte("a\r\n.\r\nb\r.\n.\r"), uint8(1))
	f.Add([]byte("\r\r\r\n\n\n..\r\n"), uint8(3))
	f.Add([]byte("\r\n\x00.\r\n\r\x00\n.\x00\r\n"), uint8(2))
	f.Add([]byte(strings.Repeat("line\r\n", 20)), uint8(7))
	f.Fuzz(func(t *testing.T, content []byte, chunk uint8) {
		got := stuffInChunks(t, content, int(chunk)+1)
		if want := stuffNaively(content); got != want {
			t.Fatalf("%q became %q, want %q", content, got, want)
		}
		if end := strings.Index("\r\n"+got, "\r\n.\r\n"); end != len(got)-len(".\r\n") {
			t.Errorf("%q: end of data at %d of %d", got, end, len(got))
		}
		if bare := strings.NewReplacer("\r\n", "").Replace(got); strings.ContainsAny(bare, "\r\n\x00") {
			t.Errorf("%q holds a bare CR or LF, or NUL", got)
		}
	})
}

func BenchmarkDotWriter(b *testing.B) {
	for name, line := range map[string]string{
		"text":  strings.Repeat("x", 76) + "\r\n",
		"short": "abc\r\n",
		"dots":  ".dots\r\n",
		"bare":  strings.Repeat("x", 76) + "\n",
	} {
		b.Run(name, func(b *testing.B) {
			content := []byte(strings.Repeat(line, 64<<10/len(line)))
			w := bufio.NewWriterSize(io.Discard, 64<<10)
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				d := NewDotWriter(w)
				d.Write(content)
				d.Close()
			}
		})
	}
}

func BenchmarkDotWriterBinary(b *testing.B) {
	content := make([]byte, 64<<10)
	random := rand.NewChaCha8([32]byte{})
	random.Read(content)
	w := bufio.NewWriterSize(io.Discard, 64<<10)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		NewDotWriter(w).Write(content)
	}
}
