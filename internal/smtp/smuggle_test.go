package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
)

// victims are servers that take too much for the end of data, by what they take
// for it. One of them may be the next on the way.
var victims = map[string]*regexp.Regexp{
	"any newline":           regexp.MustCompile(`(?:\r\n|\r|\n)\.(?:\r\n|\r|\n)`),
	"any CR before an LF":   regexp.MustCompile(`\r*\n\.\r*\n`),
	"LF and CR swapped":     regexp.MustCompile(`\n\r\.\n\r|\n\r\.\r\n|\r\n\.\n\r`),
	"blanks behind the dot": regexp.MustCompile(`[\r\n]\.[ \t]*[\r\n]`),
	"NUL behind the dot":    regexp.MustCompile(`[\r\n]\.\x00*[\r\n]`),
	"no NUL anywhere":       regexp.MustCompile(`\r\x00*\n\x00*\.\x00*\r\x00*\n`),
}

// TestVictimsAreDeceived: each of them would be, without Postern in between.
func TestVictimsAreDeceived(t *testing.T) {
	for name, end := range victims {
		deceived := 0
		for _, e := range endings {
			if !e.ends && end.MatchString("a"+e.in+"MAIL") {
				deceived++
			}
		}
		if deceived == 0 {
			t.Errorf("%s: no ending deceives it", name)
		}
	}
}

// TestVictimsSeeOneMessage: whatever comes in, behind DATA or in chunks cut
// anywhere, goes out with one end of data by anybody's rule, cut anywhere.
func TestVictimsSeeOneMessage(t *testing.T) {
	const inner = "MAIL FROM:<evil@example.com>\r\n"
	for _, e := range endings {
		for pad := range 20 { // the buffers have 16
			text := strings.Repeat("a", pad) + e.in + inner
			checkVictims(t, text, []byte(text)) // as it may lie in a queue
			content := takeData(t, text)
			checkVictims(t, text, content)
			if whole := bytes.HasSuffix(content, []byte(inner)); whole == e.ends {
				t.Errorf("%q is read as %q", text, content)
			}
			for cut := range len(e.in) + 1 {
				checkVictims(t, text, takeInChunks(t, text[:pad+cut], text[pad+cut:]))
			}
		}
	}
}

// takeData returns what is read of text behind DATA.
func takeData(t *testing.T, text string) []byte {
	t.Helper()
	br := bufio.NewReaderSize(strings.NewReader(text+".\r\n"), 16)
	content, err := io.ReadAll(NewDataReader(br, NewlinesRepair, 1<<20))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return content
}

// takeInChunks returns what is read of two chunks.
func takeInChunks(t *testing.T, first, second string) []byte {
	t.Helper()
	br := bufio.NewReaderSize(strings.NewReader(first+second), 16)
	more := func() (Chunk, error) { return Chunk{Size: int64(len(second)), Last: true}, nil }
	content, err := io.ReadAll(NewChunkReader(br, NewlinesRepair, 1<<20, Chunk{Size: int64(len(first))}, more))
	if err != nil {
		t.Fatalf("%q and %q: %v", first, second, err)
	}
	return content
}

// checkVictims sends content on, in pieces of several sizes.
func checkVictims(t *testing.T, text string, content []byte) {
	t.Helper()
	for _, piece := range []int{1, 3, 16, 1 << 10} {
		wire := "\r\n" + stuffInChunks(t, content, piece)
		for name, end := range victims {
			// The end of data begins with the CRLF of the line before. Some of
			// these do not know it by that, or not by all of it.
			if at := end.FindStringIndex(wire); at != nil && at[0] < len(wire)-len("\r\n.\r\n") {
				t.Errorf("%q becomes %q: %s ends it at %d of %d", text, wire, name, at[0], len(wire))
			}
		}
	}
	checkChunkWriter(t, content)
}

// checkChunkWriter: in a chunk nothing needs to be stuffed, and nothing bare
// leaves for a server that sends it on without a look.
func checkChunkWriter(t *testing.T, content []byte) {
	t.Helper()
	var out bytes.Buffer
	bw := bufio.NewWriterSize(&out, 16)
	w := NewChunkWriter(bw)
	_, err := w.Write(content)
	if err := errors.Join(err, w.Close(), bw.Flush()); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(strings.ReplaceAll(out.String(), "\r\n", ""), "\r\n\x00") {
		t.Errorf("bare newline or NUL in the chunk %q", out.String())
	}
}
