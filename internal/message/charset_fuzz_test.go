package message

import (
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/transform"

	"postern/internal/charset"
	"postern/internal/mail"
)

// FuzzConvert: whatever a message is, its form for a charset has the same parts with the same texts, which readers of mail find the
// same, and is not converted once more; and nothing is changed in what is signed.
func FuzzConvert(f *testing.F) {
	for _, c := range conversions {
		f.Add(crlf(c.content), "iso-8859-1", false)
	}
	for _, s := range []string{
		textHead + "Content-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=\n=9Fe =20\nx  \n=2D-b\n",
		textHead + "Content-Transfer-Encoding: base64\n\nR3LDvMOfZQ0K\n",
		mimeHead + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B$\"\x1b(B\n\x1b(J--b\x1b(B\n\n--b--\n",
		"Subject: a =?utf-8?q?Gr=C3=BC?= \n =?UTF-8?B?w59l?= b =?utf-8*de?q?=C3=9F?=\nFrom: =?big5?b?pKQ=?= <joe@x.test>\n\n",
		mimeHead + "Content-Type: application/pdf; name=\"a\";\n name*0*=iso-8859-1''%FC%FC;\n name*1*=%DF;\n name*2=.pdf\n\nx\n",
		mimeHead + "Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\n/v8AZwD8\n",
		"DKIM-Signature: v=1\n" + textHead + "\nß\n",
	} {
		for _, to := range []string{"iso-8859-1", "utf-8", "iso-2022-jp", "big5", "gb18030"} {
			f.Add(crlf(s), to, true)
		}
	}
	f.Fuzz(func(t *testing.T, content, name string, sevenBit bool) {
		to, err := charset.ForMail(name)
		if err != nil {
			return
		}
		c, err := Convert(strings.NewReader(content), int64(len(content)), Form{sevenBit, to})
		if err != nil {
			if _, ok := errors.AsType[*mail.Error](err); !ok {
				t.Errorf("%v is no refusal", err)
			}
			return
		}
		converted, err := io.ReadAll(c.Reader())
		if err != nil || int64(len(converted)) != c.Size() {
			t.Fatalf("%d octets, announced were %d, %v", len(converted), c.Size(), err)
		}
		if sevenBit && HasEightBit(converted) {
			t.Errorf("8-bit octets are left in %q", converted)
		}
		if !sevenBit && len(c.edits) == 0 && string(converted) != content {
			t.Errorf("changed without a change: %q", converted)
		}
		sameMessage(t, content, string(converted))
	})
}

// sameMessage wants readers of mail to find the same in two messages: parts and their texts and names, and in the header. What they find
// in one that is malformed is not certain; but it never has more parts.
func sameMessage(t *testing.T, before, after string) {
	t.Helper()
	one, err := Inspect(strings.NewReader(before), InspectLimits{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := Inspect(strings.NewReader(after), InspectLimits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(other.Parts) > len(one.Parts) {
		t.Errorf("%d parts became %d: %q", len(one.Parts), len(other.Parts), after)
	}
	if len(one.Defects) > 0 {
		return
	}
	if len(other.Defects) > 0 || len(other.Parts) != len(one.Parts) {
		t.Fatalf("%d parts, defects %v: %q", len(other.Parts), other.Defects, after)
	}
	for i := range one.Parts {
		a, b := &one.Parts[i], &other.Parts[i]
		if textA, textB := textOf(t, a, before), textOf(t, b, after); !slices.Equal(a.Types, b.Types) || !slices.Equal(a.Names, b.Names) || padding.ReplaceAllString(textA, "$1") != padding.ReplaceAllString(textB, "$1") {
			t.Errorf("part %s: %v %q %q, was %v %q %q", a.Path, b.Types, b.Names, textB, a.Types, a.Names, textA)
		}
	}
	for _, name := range shownFields {
		a, _ := one.Header.First(name)
		b, _ := other.Header.First(name)
		textA, _ := DecodeText(a)
		if textB, _ := DecodeText(b); textA != textB {
			t.Errorf("%s: %q, was %q", name, textB, textA)
		}
	}
}

// padding are blanks at the end of a line, which quoted-printable does not keep (RFC 2045 6.7, rule 3).
var padding = regexp.MustCompile(`[ \t]+(\r?\n|$)`)

// typeField finds a Content-Type.
var typeField = regexp.MustCompile(`(?im)^content-type[ \t]*:.*\n([ \t].*\n)*`)

// textOf is what a part decodes to: in UTF-8, if the header that ends before it declares a charset.
func textOf(t *testing.T, p *Part, content string) string {
	t.Helper()
	octets, err := io.ReadAll(p.Content(strings.NewReader(content)))
	if err != nil {
		t.Fatal(err)
	}
	head := strings.TrimSuffix(content[:p.At], "\r\n")
	head = head[strings.LastIndex(head, "\r\n\r\n")+1:]
	fields := typeField.FindAllString(head, -1)
	if len(fields) == 0 || !strings.HasPrefix(p.Types[0], "text/") {
		return string(octets)
	}
	declared := charsetOf(fields[len(fields)-1], 0)
	from, known := charset.Lookup(declared.name)
	if !known {
		return string(octets)
	}
	text, _, err := transform.String(from.NewDecoder(), string(octets))
	if err != nil {
		return string(octets)
	}
	return text
}
