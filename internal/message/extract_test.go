package message

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestContent: each part of a message comes out as it was before it was encoded.
func TestContent(t *testing.T) {
	text := crlf(`Content-Type: multipart/mixed; boundary=b

preamble
--b

plain = text
--b
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

` + strings.Repeat("AAECA/8=\n", 1) + `--b
Content-Type: text/plain
Content-Transfer-Encoding: quoted-printable

a=3Db=
c
--b
Content-Type: multipart/mixed

without a boundary
--b
Content-Type: message/rfc822

Subject: inner
Content-Transfer-Encoding: base64

d2l0aGlu
--b--
`)
	got, err := Inspect(strings.NewReader(text), InspectLimits{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"1": "", "1.1": "plain = text", "1.2": "\x00\x01\x02\x03\xff", "1.3": "a=bc", "1.4": "without a boundary", "1.5": "", "1.5.1": "within",
	}
	for i := range got.Parts {
		p := &got.Parts[i]
		content, err := io.ReadAll(iotest.OneByteReader(p.Content(strings.NewReader(text))))
		if err != nil || string(content) != want[p.Path] {
			t.Errorf("part %s, %v: %q, %v, want %q", p.Path, p.Types, content, err, want[p.Path])
		}
		delete(want, p.Path)
	}
	if len(want) > 0 {
		t.Errorf("no parts %v", want)
	}
}

// TestContentOfMuch: what is longer than a buffer is decoded across its ends.
func TestContentOfMuch(t *testing.T) {
	var text strings.Builder
	text.WriteString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	for range 20_000 {
		text.WriteString("=4=\r\n1=42\r\n") // the first is malformed
	}
	src := strings.NewReader(text.String())
	got, err := Inspect(src, InspectLimits{})
	if err != nil || len(got.Parts) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	whole, err := io.ReadAll(got.Parts[0].Content(src))
	if err != nil {
		t.Fatal(err)
	}
	pieces, err := io.ReadAll(iotest.HalfReader(got.Parts[0].Content(src)))
	if err != nil || string(pieces) != string(whole) || strings.Count(string(whole), "B\r\n") != 20_000 {
		t.Errorf("%d octets at once, %d in pieces, %v: %.60q", len(whole), len(pieces), err, whole)
	}
	failing := failingAt{src, got.Parts[0].At + 100_000}
	if _, err := io.ReadAll(got.Parts[0].Content(failing)); err != iotest.ErrTimeout {
		t.Errorf("error %v, want that of the source", err)
	}
}

// failingAt fails behind an offset.
type failingAt struct {
	io.ReaderAt
	end int64
}

func (f failingAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.end {
		return 0, iotest.ErrTimeout
	}
	return f.ReaderAt.ReadAt(p, off)
}
