package message

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestSign: what is signed is what is written, and that is 7-bit where it can be.
func TestSign(t *testing.T) {
	for name, c := range map[string]struct {
		content         string
		same, stays8bit bool
	}{
		"7-bit":              {"From: a@b.example\r\n\r\nx\r\n", true, false},
		"8-bit":              {"From: a@b.example\r\n\r\ngr\xfc\xdfe\r\n", false, false},
		"8-bit in a header":  {"From: a@b.example\r\nSubject: gr\xfc\xdfe\r\n\r\nx\r\n", true, true},
		"signed by another":  {"DKIM-Signature: v=1\r\nFrom: a@b.example\r\n\r\ngr\xfc\xdfe\r\n", true, true},
		"S/MIME":             {"From: a@b.example\r\nContent-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\ngr\xfc\xdfe\r\n--x--\r\n", true, true},
		"S/MIME and 7-bit":   {"From: a@b.example\r\nContent-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\na\r\n--x--\r\n", true, false},
		"without any header": {"\r\n\xff", false, false},
	} {
		var seen []byte
		s, err := Sign(strings.NewReader(c.content), int64(len(c.content)), func(r io.Reader) (string, error) {
			var err error
			seen, err = io.ReadAll(r)
			return "X: 1\r\n", err
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var out bytes.Buffer
		n, err := s.WriteTo(&out)
		if err != nil || n != int64(out.Len()) || out.String() != "X: 1\r\n"+string(seen) {
			t.Errorf("%s: %d octets, %v:\n%q", name, n, err, out.String())
		}
		if string(seen) == c.content != c.same || s.EightBit != c.stays8bit || HasEightBit(seen) != c.stays8bit {
			t.Errorf("%s: 8-bit %v: %q", name, s.EightBit, seen)
		}
	}
	failure := errors.New("no")
	if _, err := Sign(strings.NewReader("x"), 1, func(io.Reader) (string, error) { return "", failure }); !errors.Is(err, failure) {
		t.Errorf("the error of whoever signs: %v", err)
	}
}
