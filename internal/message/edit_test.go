package message

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

func like(t testing.TB, pattern string) *mail.Wildcard {
	t.Helper()
	w, err := mail.ParseWildcard(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return &w
}

func TestEdits(t *testing.T) {
	const received = "Received: from a by b;\r\n\tMon, 5 Feb 2024 09:08:07 +0100\r\n"
	for _, tt := range []struct {
		name, in, want string
		edits          []Edit
		utf8           bool
	}{
		{name: "none", in: "A: b\r\n\r\nbody", want: "A: b\r\n\r\nbody\r\n"},
		{name: "add", in: "A: b\r\n\r\nbody\r\n", edits: []Edit{{Name: "X", Value: "y"}}, want: "X: y\r\nA: b\r\n\r\nbody\r\n"},
		{name: "add below the trace", in: received + "Received: c\r\nA: b\r\n\r\n", edits: []Edit{{Name: "X", Value: "y"}, {Name: "Y", Value: "z"}},
			want: received + "Y: z\r\nX: y\r\nReceived: c\r\nA: b\r\n\r\n"},
		{name: "add to none", in: "\r\nbody\r\n", edits: []Edit{{Name: "X", Value: "y"}}, want: "X: y\r\n\r\nbody\r\n"},
		{name: "remove all", in: "x: 1\r\nA:b\r\nX: 2\r\n folded\r\nX : 3\r\n\r\nX: body\r\n", edits: []Edit{{Op: RemoveFields, Name: "X"}}, want: "A:b\r\n\r\nX: body\r\n"},
		{name: "remove by value", in: "X: a SPAM b\r\nX: =?utf-8?q?a_sp=61m_b?=\r\nX: spam\r\nX: ok\r\n\r\n",
			edits: []Edit{{Op: RemoveFields, Name: "x", Like: like(t, "*spam*")}}, want: "X: spam\r\nX: ok\r\n\r\n"},
		{name: "remove trace", in: received + "Received: c\r\nA: b\r\n\r\n", edits: []Edit{{Op: RemoveFields, Name: "Received"}}, want: received + "A: b\r\n\r\n"},
		{name: "replace", in: "A: b\r\nX: 1\r\nB: c\r\nx: 2\r\n\r\n", edits: []Edit{{Op: ReplaceField, Name: "X", Value: "y"}}, want: "A: b\r\nX: y\r\nB: c\r\n\r\n"},
		{name: "replace none", in: received + "A: b\r\n\r\n", edits: []Edit{{Op: ReplaceField, Name: "X", Value: "y"}}, want: received + "X: y\r\nA: b\r\n\r\n"},
		{name: "author", in: "A: b\r\nFROM:  \"J. Doe\"\r\n <joe@x.example>\r\n\r\n", edits: []Edit{{Op: ReplaceFrom, Name: "X-Original-From", Value: "ann@y.example"}},
			want: "A: b\r\nFrom: \"J. Doe\" <ann@y.example>\r\nX-Original-From:  \"J. Doe\"\r\n <joe@x.example>\r\n\r\n"},
		{name: "encoded author", in: "From: =?utf-8?q?J=C3=B6?= <joe@x.example>\r\n\r\n", edits: []Edit{{Op: ReplaceFrom, Name: "X-Old", Value: "ann@y.example"}},
			want: "From: =?utf-8?q?J=C3=B6?= <ann@y.example>\r\nX-Old: =?utf-8?q?J=C3=B6?= <joe@x.example>\r\n\r\n"},
		{name: "author without name", in: "From: joe@x.example (Joe)\r\n\r\n", edits: []Edit{{Op: ReplaceFrom, Name: "X-Old", Value: "ann@y.example"}},
			want: "From: <ann@y.example>\r\nX-Old: joe@x.example (Joe)\r\n\r\n"},
		{name: "two authors", in: "From: A <a@x>, B <b@x>\r\n\r\n", edits: []Edit{{Op: ReplaceFrom, Name: "X-Old", Value: "ann@y.example"}},
			want: "From: <ann@y.example>\r\nX-Old: A <a@x>, B <b@x>\r\n\r\n"},
		{name: "two From", in: "From: A <a@x>\r\nB: c\r\nFrom: B <b@x>\r\n\r\n", edits: []Edit{{Op: ReplaceFrom, Name: "X-Old", Value: "ann@y.example"}},
			want: "From: <ann@y.example>\r\nX-Old: A <a@x>\r\nB: c\r\nX-Old: B <b@x>\r\n\r\n"},
		{name: "malformed From", in: "From: <<joe\r\n\r\n", edits: []Edit{{Op: ReplaceFrom, Name: "X-Old", Value: "ann@y.example"}},
			want: "From: <ann@y.example>\r\nX-Old: <<joe\r\n\r\n"},
		{name: "no From", in: "A: b\r\n\r\n", edits: []Edit{{Op: ReplaceFrom, Name: "X-Old", Value: "ann@y.example"}}, want: "A: b\r\nFrom: <ann@y.example>\r\n\r\n"},
		{name: "UTF-8 address", in: "A: b\r\n\r\n", utf8: true, edits: []Edit{{Op: ReplaceFrom, Name: "X-Old", Value: "jörg@bücher.example"}}, want: "A: b\r\nFrom: <jörg@bücher.example>\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var dst bytes.Buffer
			if _, err := (Rewrite{Edits: tt.edits, UTF8: tt.utf8}).Copy(&dst, strings.NewReader(tt.in)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, dst.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Edits come after all else that acceptance does.
func TestEditsOfAccepted(t *testing.T) {
	r := testRewrite()
	r.Edits = []Edit{{Name: "X", Value: "ä"}, {Op: RemoveFields, Name: "Date"}, {Op: ReplaceField, Name: "Message-ID", Value: "<1@x>"}}
	r.UTF8 = true
	var dst bytes.Buffer
	s, err := r.Copy(&dst, strings.NewReader("To: y\r\nDate: x\r\n\r\nbody\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := testReceived + "X: ä\r\nTo: y\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"; dst.String() != want {
		t.Errorf("%q, want %q", dst.String(), want)
	}
	if want := (Summary{Size: int64(dst.Len()), MessageID: "<1@x>", EightBit: true, HeaderUTF8: true, LongestLine: 31}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

func TestEditRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		edit Edit
		want error
	}{
		"CRLF":            {Edit{Name: "X", Value: "a\r\nBcc: b"}, ErrFieldValue},
		"LF":              {Edit{Op: ReplaceField, Name: "X", Value: "a\nb"}, ErrFieldValue},
		"CR":              {Edit{Name: "X", Value: "a\rb"}, ErrFieldValue},
		"NUL":             {Edit{Name: "X", Value: "a\x00b"}, ErrFieldValue},
		"too long":        {Edit{Name: "X", Value: strings.Repeat("a", maxFieldText+1)}, ErrFieldValue},
		"no name":         {Edit{Name: "", Value: "a"}, ErrFieldName},
		"name with colon": {Edit{Name: "X:", Value: "a"}, ErrFieldName},
		"name with space": {Edit{Name: "X ", Value: "a"}, ErrFieldName},
		"name with CRLF":  {Edit{Name: "X\r\nY", Value: "a"}, ErrFieldName},
		"long name":       {Edit{Name: strings.Repeat("x", maxFieldName+1), Value: "a"}, ErrFieldName},
		"no address":      {Edit{Op: ReplaceFrom, Name: "X", Value: "joe"}, mail.ErrAddressSyntax},
		"two addresses":   {Edit{Op: ReplaceFrom, Name: "X", Value: "a@x.example, b@x.example"}, mail.ErrDomain},
		"null address":    {Edit{Op: ReplaceFrom, Name: "X", Value: ""}, mail.ErrLocalPart},
		"From as From":    {Edit{Op: ReplaceFrom, Name: "from", Value: "a@x.example"}, ErrFieldName},
		"UTF-8 address":   {Edit{Op: ReplaceFrom, Name: "X", Value: "jörg@x.example"}, ErrNeedsUTF8},
	} {
		const in = "From: a@b\r\nX: y\r\n\r\n"
		h, _ := read(t, in)
		if err := h.Apply(&tt.edit, false); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if got := string(h.AppendTo(nil)); got != in {
			t.Errorf("%s: the header is now %q", name, got)
		}
		if _, err := (Rewrite{Edits: []Edit{tt.edit}}).Copy(new(bytes.Buffer), strings.NewReader(in)); !errors.Is(err, tt.want) {
			t.Errorf("%s: Copy: %v", name, err)
		}
	}
}

// TestNewField: long fields are folded (RFC 5322 2.2.3), and what is not US-ASCII
// is encoded (RFC 2047) unless it may stand there (RFC 6532).
func TestNewField(t *testing.T) {
	long := strings.Repeat("word ", 30)
	for _, tt := range []struct {
		text, want string
		utf8       bool
	}{
		{text: "", want: "X:\r\n"},
		{text: " a  b\t", want: "X: a  b\r\n"},
		{text: "ä", want: "X: =?utf-8?b?w6Q=?=\r\n"},
		{text: "ä", want: "X: ä\r\n", utf8: true},
		{text: "a ä b ö c", want: "X: a =?utf-8?b?w6QgYiDDtg==?= c\r\n"},
		{text: "a =?utf-8?q?b?= c", want: "X: a =?utf-8?b?PT91dGYtOD9xP2I/PQ==?= c\r\n", utf8: true},
		{text: "a word and ä", want: "X: a word and =?utf-8?b?w6Q=?=\r\n"},
		{text: "ä and a word behind it ö", want: "X: =?utf-8?q?=C3=A4_and_a_word_behind_it_=C3=B6?=\r\n"},
		{text: "日本語", want: "X: =?utf-8?b?5pel5pys6Kqe?=\r\n"},
		{text: long, want: "X: " + strings.TrimSpace(strings.Repeat("word ", 15)) + "\r\n " + strings.TrimSpace(strings.Repeat("word ", 15)) + "\r\n"},
		{text: "a\xffb", want: "X: a\ufffdb\r\n", utf8: true},
		{text: strings.Repeat("a", maxPlainWord), want: "X: " + strings.Repeat("a", maxPlainWord) + "\r\n"},
		{text: "a" + strings.Repeat(" ", 80) + "b", want: "X: a" + strings.Repeat(" ", 79) + "\r\n b\r\n"},
	} {
		f, err := NewField("X", tt.text, tt.utf8)
		if err != nil || f.String() != tt.want {
			t.Errorf("%.60q: %q, %v; want %q", tt.text, f.String(), err, tt.want)
		}
	}
}

var longEncodedWord = regexp.MustCompile(`=\?[^ \r\n]{74,}`)

// FuzzNewField: whatever the text, it makes one field of lines that are not too
// long, and can be read again.
func FuzzNewField(f *testing.F) {
	for _, s := range []string{"", "a b", "ä ö", "=?utf-8?q?a?=", strings.Repeat("ä", 100), strings.Repeat("a ", 100), "a" + strings.Repeat(" ", 1000) + "b", strings.Repeat("x", 2000), "a\r\nb", "\xff"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, u bool) {
		field, err := NewField("X-Test", text, u)
		if err != nil {
			if !strings.ContainsFunc(text, isForbidden) && len(text) <= maxFieldText {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if _, err := ParseField(field.String()); err != nil {
			t.Errorf("%q: %q: %v", text, field, err)
		}
		for line := range strings.Lines(field.String()) {
			if len(line) > 1000 || strings.Trim(line, " \t\r\n") == "" {
				t.Errorf("%q: a line %q", text, line)
			}
		}
		if !u && HasEightBit(field.raw) || !utf8.Valid(field.raw) || longEncodedWord.MatchString(field.String()) {
			t.Errorf("%.80q: %.500q", text, field)
		}
		want := strings.Trim(strings.ToValidUTF8(text, "\ufffd"), " \t")
		if got, _ := DecodeText(field.Value()); got != want && strings.Count(field.String(), "=?") < maxWords {
			t.Errorf("%q is read as %q", want, got)
		}
	})
}
