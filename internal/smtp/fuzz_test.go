package smtp

import (
	"strings"
	"testing"
	"unicode"
)

// FuzzXtext: what is decoded can be printed, and is the same when it is encoded
// and decoded again (RFC 3461 4).
func FuzzXtext(f *testing.F) {
	for _, seed := range []string{"", "joe@example.com", "a+2Bb", "+", "+4", "+zz", "+0D+0A", "+C3+B6", "a=b", "a b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := decodeXtext(s)
		if err != nil {
			return
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r > 0x7e || r < ' ' }) {
			t.Errorf("%q stands for %q", s, text)
		}
		if again, err := decodeXtext(string(appendXtext(nil, text))); again != text || err != nil {
			t.Errorf("%q becomes %q, %v", text, again, err)
		}
	})
}

// FuzzExtensions: whatever a server says to EHLO, its limits are numbers that a
// client can keep to.
func FuzzExtensions(f *testing.F) {
	for _, seed := range []string{
		"mx\nSIZE 10\nLIMITS RCPTMAX=20 MAILMAX=5\nAUTH PLAIN LOGIN\nPIPELINING", "SIZE", "mx\nSIZE -1\nLIMITS RCPTMAX=0 MAILMAX=99999999999999999999",
		"mx\nauth=plain\n8BITMIME x\n\n LIMITS =", "mx\nLIMITS RCPTMAX=1 RCPTMAX=2",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if e := ParseExtensions(text); e.MaxSize < 0 || e.MaxRecipients < 0 || e.MaxMessages < 0 || e.MaxSize > 0 && !e.HasSize {
			t.Errorf("%q: %+v", text, e)
		}
	})
}

// FuzzChunk: what is understood is understood again as it is written.
func FuzzChunk(f *testing.F) {
	for _, seed := range []string{"", "0", "10 LAST", "1 last", "-1", "999999999999999999", "9999999999999999999", "1 LAST x", "+1", "1\u00a0LAST"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, args string) {
		c, err := ParseChunk(args)
		if err != nil {
			return
		}
		words, _ := strings.CutPrefix(c.String(), "BDAT ")
		if again, err := ParseChunk(words); again != c || err != nil || c.Size < 0 || strings.ContainsFunc(words, unicode.IsControl) {
			t.Errorf("%q is %+v, and then %+v, %v", args, c, again, err)
		}
	})
}
