package message

import (
	"bufio"
	"strings"
	"testing"
)

// FuzzParseField: what is one field is read as one again, and nothing with it
// (RFC 5322 2.2).
func FuzzParseField(f *testing.F) {
	for _, seed := range []string{"", "A: b\r\n", "A:\r\n b\r\n", "A: b\r\nC: d\r\n", "A: b\r\n\r\n", "A b\r\n", "A: b\n", "A: b\r\r\n", " A: b\r\n", "A : b\r\n", "From x\r\n", "A: b\r\n \r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		field, err := ParseField(s)
		if err != nil {
			return
		}
		if field.String() != s {
			t.Errorf("%q became %q", s, field)
		}
		h, err := ReadHeader(bufio.NewReader(strings.NewReader(s+"\r\nbody\r\n")), Limits{})
		if err != nil {
			return // it is larger than a header may be
		}
		if value, found := h.First(field.Name()); !found || value != field.Value() {
			t.Errorf("%q is read as %q, %v; want %q", s, value, found, field.Value())
		}
	})
}
