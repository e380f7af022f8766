package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
)

// decodeInPieces decodes an encoded text of pieces of n octets.
func decodeInPieces(d decoder, encoded string, n int) (out []byte, exact bool) {
	exact = true
	for rest := []byte(encoded); len(rest) > 0; {
		piece := rest[:min(n, len(rest))]
		rest = rest[len(piece):]
		var ok bool
		out, ok = d.decode(out, piece)
		exact = exact && ok
	}
	return out, exact && d.end()
}

// TestDecoders: what Go's own packages encode is decoded to what it was, in
// whatever pieces it comes.
func TestDecoders(t *testing.T) {
	content := strings.Repeat("some text = with ä and \x00 in it\r\n", 20) + "end"
	var quoted bytes.Buffer
	w := quotedprintable.NewWriter(&quoted)
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for cut := range 4 {
		text := content[cut:]
		flat := base64.StdEncoding.EncodeToString([]byte(text))
		var lines strings.Builder
		for ; len(flat) > 75; flat = flat[75:] { // no multiple of 4
			lines.WriteString(flat[:75] + "\r\n")
		}
		lines.WriteString(flat + "\r\n")
		for _, n := range []int{1, 2, 3, 7, 4096} {
			if got, exact := decodeInPieces(new(base64Decoder), lines.String(), n); string(got) != text || !exact {
				t.Errorf("base64 in pieces of %d: %q, %v", n, got, exact)
			}
			if got, exact := decodeInPieces(new(quotedDecoder), quoted.String(), n); string(got) != content || !exact {
				t.Errorf("quoted-printable in pieces of %d: %q, %v", n, got, exact)
			}
		}
	}
}

func TestDecodersInexact(t *testing.T) {
	for _, tt := range []struct {
		d       decoder
		in, out string
	}{
		{new(base64Decoder), "YW\x00Jj", "abc"},
		{new(base64Decoder), "YQ==YmM=", "abc"}, // two in turn
		{new(base64Decoder), "YQ=", ""},
		{new(base64Decoder), "YQ===", "a"},
		{new(base64Decoder), "YWJjY", "abc"},
		{new(base64Decoder), "=", ""},
		{new(quotedDecoder), "a=xb", "a=xb"},
		{new(quotedDecoder), "a=3xb", "a=3xb"},
		{new(quotedDecoder), "a= xb", "a= xb"},
		{new(quotedDecoder), "a==3D", "a=="},
		{new(quotedDecoder), "a=3", "a"},
	} {
		for _, n := range []int{1, 100} {
			d := tt.d
			switch d.(type) {
			case *base64Decoder:
				d = new(base64Decoder)
			case *quotedDecoder:
				d = new(quotedDecoder)
			}
			if got, exact := decodeInPieces(d, tt.in, n); string(got) != tt.out || exact {
				t.Errorf("%q in pieces of %d: %q, %v; want %q", tt.in, n, got, exact, tt.out)
			}
		}
	}
}
