package smtp

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"

	"postern/internal/mail"
)

func TestParseChunk(t *testing.T) {
	for args, want := range map[string]Chunk{
		"0":                       {},
		"12":                      {Size: 12},
		" 12  LAST ":              {Size: 12, Last: true},
		"0 last":                  {Last: true},
		"999999999999999999 LAST": {Size: 999999999999999999, Last: true},
	} {
		c, err := ParseChunk(args)
		if err != nil || c != want {
			t.Errorf("%q: %+v, %v", args, c, err)
		}
	}
	for _, args := range []string{"", "LAST", "x", "-1", "+1", "1 FIRST", "1 LAST x", "0x10", "1000000000000000000"} {
		if c, err := ParseChunk(args); err == nil || err.Reply.Code != 501 {
			t.Errorf("%q: %+v, %v", args, c, err)
		}
	}
	for _, want := range []string{"BDAT 0", "BDAT 5 LAST"} {
		if c, _ := ParseChunk(strings.TrimPrefix(want, "BDAT ")); c.String() != want {
			t.Errorf("%q becomes %q", want, c)
		}
	}
}

// TestChunkReaderStops: an error between two chunks ends the content, and
// what is left of a chunk is told.
func TestChunkReaderStops(t *testing.T) {
	gone := mail.Refuse(421, "4.4.2", "Gone")
	for _, c := range []struct {
		name, text string
		first      Chunk
		err        error
		want       string
		left       int64
	}{
		{"stated", "text", Chunk{Size: 4}, gone, "421 4.4.2 Gone", 0},
		{"broken", "text", Chunk{Size: 4}, io.ErrClosedPipe, "421 4.4.2 Connection lost before the last BDAT", 0},
		{"cut off", "te", Chunk{Size: 4, Last: true}, nil, "421 4.4.2 Connection lost before the last BDAT", 2},
		{"too large", strings.Repeat("x", 100), Chunk{Size: 100, Last: true}, nil, "552 5.3.4 The message is larger than 10 octets", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewChunkReader(bufio.NewReader(strings.NewReader(c.text)), NewlinesRefuse, 10, c.first,
				func() (Chunk, error) { return Chunk{}, c.err })
			_, err := io.ReadAll(d)
			e, ok := errors.AsType[*mail.Error](err)
			if !ok || e.Reply.String() != c.want || d.ChunkLeft() != c.left {
				t.Errorf("%v, %d octets left", err, d.ChunkLeft())
			}
		})
	}
}
