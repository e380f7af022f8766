package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// sevenBit returns the 7-bit form of content, having checked what holds for
// every one: no 8-bit octet, the size that was announced, lines no longer than
// an encoding allows, and that each change decodes to what was there.
func sevenBit(t *testing.T, content string) (string, error) {
	t.Helper()
	src := strings.NewReader(content)
	s, err := ToSevenBit(src, int64(len(content)))
	if err != nil {
		return "", err
	}
	converted, err := io.ReadAll(s.Reader())
	if err != nil {
		t.Fatal(err)
	}
	if HasEightBit(converted) {
		t.Errorf("8-bit octets are left in %q", converted)
	}
	if int64(len(converted)) != s.Size() {
		t.Errorf("%d octets, announced were %d", len(converted), s.Size())
	}
	at := 0
	rebuilt, rest := "", converted
	for _, e := range s.edits {
		piece, err := io.ReadAll(e.reader(src))
		if err != nil {
			t.Fatal(err)
		}
		same := content[at:e.from]
		if !strings.HasPrefix(string(rest), same+string(piece)) {
			t.Fatalf("the change at %d is not in its place", e.from)
		}
		rest = rest[len(same)+len(piece):]
		rebuilt += same + undo(t, e, content[e.from:e.to], piece)
		at = int(e.to)
	}
	if rebuilt+string(rest) != content {
		t.Errorf("it does not decode to what it was:\n%q\n%q", rebuilt+string(rest), content)
	}
	return string(converted), nil
}

// undo returns what an edit stands for: of an encoding what another program
// makes of it, of a label what was there.
func undo(t *testing.T, e edit, was string, piece []byte) string {
	t.Helper()
	var decoded []byte
	var err error
	switch e.encoding {
	case quotedPrintable:
		decoded, err = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(piece)))
	case base64Lines:
		decoded, err = base64.StdEncoding.DecodeString(string(piece))
	default:
		return was
	}
	if err != nil {
		t.Fatalf("%q: %v", piece, err)
	}
	for line := range bytes.Lines(piece) {
		if len(bytes.TrimRight(line, "\r\n")) > 76 {
			t.Errorf("a line of %d characters", len(line))
		}
	}
	return string(decoded)
}

const mimeHead = "MIME-Version: 1.0\n"

var conversions = []struct{ name, content, want string }{
	{"text, mostly readable",
		mimeHead + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nViele Grüße = Gruß \n\n.\n",
		mimeHead + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nViele Gr=C3=BC=C3=9Fe =3D Gru=C3=9F=20\n\n.\n"},
	{"text, hardly readable", mimeHead + "Content-Type: text/plain; charset=utf-8\n\nпривет\n",
		mimeHead + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n0L/RgNC40LLQtdGCDQo=\n"},
	{"no text", mimeHead + "Content-Type: application/xml\nSubject: x\n\n<grüße>xxxxxxxxxxxxxxxx</grüße>\n",
		mimeHead + "Content-Type: application/xml\nSubject: x\nContent-Transfer-Encoding: base64\n\nPGdyw7zDn2U+eHh4eHh4eHh4eHh4eHh4eDwvZ3LDvMOfZT4NCg==\n"},
	{"no MIME at all", "Subject: x\n\nGrüße, wie geht es?\n",
		"Subject: x\nContent-Transfer-Encoding: quoted-printable\nMIME-Version: 1.0\n\nGr=C3=BC=C3=9Fe, wie geht es?\n"},
	{"a label, but no MIME-Version", "Content-Transfer-Encoding:\n 8BIT (as it is)\nSubject: x\n\nGrüße, wie geht es?\n",
		"Content-Transfer-Encoding: quoted-printable\nSubject: x\nMIME-Version: 1.0\n\nGr=C3=BC=C3=9Fe, wie geht es?\n"},
	{"a parameter that is malformed", mimeHead + "Content-Type: text/plain; charset=\n\nGrüße, wie geht es?\n",
		mimeHead + "Content-Type: text/plain; charset=\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe, wie geht es?\n"},
	{"one part of several",
		mimeHead + "Content-Type: multipart/mixed; boundary=\"=_a:b\"\nContent-Transfer-Encoding: 8bit\n\npreamble\n--=_a:b\n\nplain\n" +
			"--=_a:b \nContent-Transfer-Encoding: 8bit\n\nplain too\n" +
			"--=_a:b\nContent-Type: text/html\nContent-ID: <1>\n\n<p>Grüße und mehr davon</p>\n--=_a:b--\nepilogue\n",
		mimeHead + "Content-Type: multipart/mixed; boundary=\"=_a:b\"\nContent-Transfer-Encoding: 7bit\n\npreamble\n--=_a:b\n\nplain\n" +
			"--=_a:b \nContent-Transfer-Encoding: 7bit\n\nplain too\n" +
			"--=_a:b\nContent-Type: text/html\nContent-ID: <1>\nContent-Transfer-Encoding: quoted-printable\n\n<p>Gr=C3=BC=C3=9Fe und mehr davon</p>\n--=_a:b--\nepilogue\n"},
	{"base64 before a delimiter, and an empty part",
		mimeHead + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/x\n\n\xff\xfe\n--b\n--b\n\n--b--\n",
		mimeHead + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/x\nContent-Transfer-Encoding: base64\n\n//4=\n--b\n--b\n\n--b--\n"},
	{"nested, and closed by the outer delimiter",
		mimeHead + "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=ab\n\n--ab\n\nGrüße, und weiter\n--a\n\nder dritte: ß, sonst nichts\n",
		mimeHead + "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=ab\n\n--ab\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe, und weiter\n--a\nContent-Transfer-Encoding: quoted-printable\n\nder dritte: =C3=9F, sonst nichts\n"},
	{"a message in the message",
		mimeHead + "Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: inner\nMIME-Version: 1.0\n\nGrüße, wie geht es?\n",
		mimeHead + "Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nSubject: inner\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe, wie geht es?\n"},
	{"a digest", mimeHead + "Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: inner\nMIME-Version: 1.0\n\nGrüße, wie geht es?\n--d--\n",
		mimeHead + "Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: inner\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe, wie geht es?\n--d--\n"},
	{"a signed part without 8-bit octets stays as it is",
		mimeHead + "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/signed; boundary=s\n\n--s\nContent-Transfer-Encoding: 8bit\n\nsigned\n--s--\n--a\n\nGrüße, wie geht es?\n--a--\n",
		mimeHead + "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/signed; boundary=s\n\n--s\nContent-Transfer-Encoding: 8bit\n\nsigned\n--s--\n--a\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe, wie geht es?\n--a--\n"},
}

// TestToSevenBit: the encodings of RFC 2045 6.7 and 6.8, in parts as RFC 2046 5.1
// has them.
func TestToSevenBit(t *testing.T) {
	for _, c := range conversions {
		t.Run(c.name, func(t *testing.T) {
			got, err := sevenBit(t, crlf(c.content))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(crlf(c.want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNotSevenBit: what has no 7-bit form, or must not be touched.
// What is signed or encrypted is of RFC 1847, RFC 8551 (PKCS #7), RFC 6376 (DKIM) or
// RFC 8617 (ARC).
func TestNotSevenBit(t *testing.T) {
	for _, c := range []struct{ name, content, why string }{
		{"a header field", "Subject: Grüße\n\nx\n", "header field"},
		{"a header field of a part", mimeHead + "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text/plain; name=Grüße\n\nx\n--a--\n", "header field"},
		{"a header field of a message within", mimeHead + "Content-Type: message/rfc822\n\nSubject: Grüße\n\nx\n", "header field"},
		{"a DKIM signature", "DKIM-Signature: v=1\n\nGrüße\n", "signed"},
		{"an ARC signature", "ARC-Message-Signature: i=1\n\nGrüße\n", "signed"},
		{"a DKIM signature of a message within", mimeHead + "Content-Type: message/rfc822\n\nDKIM-Signature: v=1\n\nGrüße\n", "signed"},
		{"multipart/signed", mimeHead + "Content-Type: multipart/signed; boundary=s\n\n--s\n\nGrüße\n--s--\n", "signed"},
		{"multipart/encrypted", mimeHead + "Content-Type: multipart/encrypted; boundary=s\n\n--s\n\nGrüße\n--s--\n", "signed"},
		{"PKCS #7", mimeHead + "Content-Type: application/pkcs7-mime; smime-type=signed-data\n\nGrüße\n", "signed"},
		{"PKCS #7 by its old name", mimeHead + "Content-Type: application/x-pkcs7-mime\n\nGrüße\n", "signed"},
		{"preamble", mimeHead + "Content-Type: multipart/mixed; boundary=a\n\nGrüße\n--a\n\nx\n--a--\n", "outside"},
		{"epilogue", mimeHead + "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--a--\nGrüße\n", "outside"},
		{"no boundary", mimeHead + "Content-Type: multipart/mixed\n\n--a\n\nGrüße\n", "boundary"},
		{"a boundary that is too long", mimeHead + "Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", 71) + "\n\nGrüße\n", "boundary"},
		{"no type", mimeHead + "Content-Type: /\n\nGrüße\n", "Content-Type"},
		{"two types", mimeHead + "Content-Type: text/plain\nContent-Type: text/html\n\nGrüße\n", "twice"},
		{"two labels", mimeHead + "Content-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: 7bit\n\nGrüße\n", "twice"},
		{"another encoding", mimeHead + "Content-Transfer-Encoding: base64\n\nGrüße\n", "not encoded"},
		{"an unknown encoding", mimeHead + "Content-Transfer-Encoding: x-own\n\nGrüße\n", "not encoded"},
		{"message/partial", mimeHead + "Content-Type: message/partial; id=1; number=1\n\nSubject: x\n\nGrüße\n", "7-bit"},
		{"no empty line", mimeHead + "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text/plain\nGrüße\n--a--\n", "empty line"},
		{"a part that ends in its header", mimeHead + "Content-Type: multipart/mixed; boundary=\"a:b\"\n\n--a:b\nSubject: x\n--a:b\nContent-Type: text/plain\n\nGrüße\n--a:b--\n", "within its header"},
		{"too deep", nestedParts(maxDepth + 1), "too many parts"},
		{"too many", mimeHead + "Content-Type: multipart/mixed; boundary=a\n\n" + strings.Repeat("--a\n\nx\n", maxParts) + "--a--\n", "too many parts"},
		{"a header that is too large", mimeHead + "Subject: " + strings.Repeat("x", DefaultFieldOctets) + "\n\nGrüße\n", "large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := sevenBit(t, crlf(c.content))
			e, ok := errors.AsType[*mail.Error](err)
			if !ok || e.Reply.Code != 554 || e.Reply.Enhanced != "5.6.3" || !strings.Contains(e.Reply.Text, c.why) {
				t.Errorf("error %v, want 554 5.6.3 that speaks of %q", err, c.why)
			}
		})
	}
}

// nestedParts is a message with so many multiparts in each other.
func nestedParts(n int) string {
	s := mimeHead
	for i := range n {
		b := strings.Repeat("b", i+1)
		s += "Content-Type: multipart/mixed; boundary=" + b + "\n\n--" + b + "\n"
	}
	return s + "\nGrüße, wie geht es denn so?\n"
}

func TestDeepestParts(t *testing.T) {
	if _, err := sevenBit(t, crlf(nestedParts(maxDepth))); err != nil {
		t.Error(err)
	}
}

// TestSevenBitOfAnySize: pieces of every size, around the sizes of buffers.
func TestSevenBitOfAnySize(t *testing.T) {
	for kind := mailtest.Text; kind <= mailtest.LongLines; kind++ {
		for _, size := range []int{400, 4096, copyBuffer - 1, copyBuffer, copyBuffer + 1, 300_000} {
			content := string(mailtest.Message(kind, uint64(size), size))
			for _, head := range []string{"", "Content-Type: image/x\r\n"} {
				got, err := sevenBit(t, head+content)
				if err != nil {
					t.Fatal(err)
				}
				if kind != mailtest.EightBit && got != head+content {
					t.Errorf("kind %d of %d octets was changed without need", kind, size)
				}
			}
		}
	}
}

type brokenSource struct{ io.ReaderAt }

var errBroken = errors.New("broken")

func (brokenSource) ReadAt([]byte, int64) (int, error) { return 0, errBroken }

func TestSevenBitOfBrokenSource(t *testing.T) {
	if _, err := ToSevenBit(brokenSource{}, 100); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}

func FuzzToSevenBit(f *testing.F) {
	for _, c := range conversions {
		f.Add(crlf(c.content))
	}
	f.Add(crlf(mimeHead + "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\nGrüße\n--a--\n"))
	f.Add("Content-Transfer-Encoding: 8bit")
	f.Add("A: b\r\n\r\n\xff\r\r\n \n")
	f.Fuzz(func(t *testing.T, content string) {
		converted, err := sevenBit(t, content)
		if err != nil {
			if _, ok := errors.AsType[*mail.Error](err); !ok {
				t.Errorf("%v is no refusal", err)
			}
			return
		}
		// A reader finds the same parts in it as in the original.
		if again, err := sevenBit(t, converted); err != nil || again != converted {
			t.Errorf("the 7-bit form changes once more, %v:\n%q\n%q", err, converted, again)
		}
	})
}
