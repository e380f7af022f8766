package message

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/charset"
	"postern/internal/mail"
)

// inCharset returns content for a server of a charset, having checked that its size is
// the one that was announced and that nothing more is to be converted in it.
func inCharset(t *testing.T, content, name string, sevenBit bool) (string, *Converted, error) {
	t.Helper()
	to, err := charset.ForMail(name)
	if err != nil {
		t.Fatal(err)
	}
	form := Form{SevenBit: sevenBit, Charset: to}
	c, err := Convert(strings.NewReader(content), int64(len(content)), form)
	if err != nil {
		return "", nil, err
	}
	converted, err := io.ReadAll(c.Reader())
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(converted)) != c.Size() {
		t.Errorf("%d octets, announced were %d", len(converted), c.Size())
	}
	if sevenBit && HasEightBit(converted) {
		t.Errorf("8-bit octets are left in %q", converted)
	}
	again, err := Convert(strings.NewReader(string(converted)), int64(len(converted)), form)
	if err != nil || len(again.edits) > 0 {
		t.Errorf("it is to be converted once more, %v: %q", err, converted)
	}
	return string(converted), c, nil
}

const (
	textHead = mimeHead + "Content-Type: text/plain; charset=utf-8\n"
	asLatin1 = mimeHead + "Content-Type: text/plain; charset=iso-8859-1\n"
)

// TestConvertCharset: each case is one thing that may be declared in a message, and what becomes of it.
func TestConvertCharset(t *testing.T) {
	for _, c := range []struct{ name, to, content, want string }{
		{"8 bits stay 8 bits", "iso-8859-1", textHead + "Content-Transfer-Encoding: 8bit\n\nGrüße\n.\n",
			asLatin1 + "Content-Transfer-Encoding: 8bit\n\nGr\xfc\xdfe\n.\n"},
		{"a name in quotes, with a comment", "iso-8859-1", mimeHead + "Content-Type: text/plain; format=flowed;\n CHARSET = \"UTF-8\" (really);\n\tx=y\nContent-Transfer-Encoding: 8bit\n\nß\n",
			mimeHead + "Content-Type: text/plain; format=flowed;\n CHARSET = iso-8859-1 (really);\n\tx=y\nContent-Transfer-Encoding: 8bit\n\n\xdf\n"},
		{"quoted-printable stays that", "iso-8859-1", textHead + "Content-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=\n=9Fe =20\nx  \n",
			asLatin1 + "Content-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe =20\nx\n"},
		{"a line that becomes too long is folded", "utf-8", asLatin1 + "Content-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=FC", 25) + "\n",
			textHead + "Content-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=C3=BC", 12) + "=C3=\n=BC" + strings.Repeat("=C3=BC", 12) + "\n"},
		{"base64 stays that", "iso-8859-1", textHead + "Content-Transfer-Encoding: BASE64\n\nR3LDvMOfZQ0K\n", asLatin1 + "Content-Transfer-Encoding: BASE64\n\nR3L832UNCg==\n"},
		{"a wide charset", "utf-8", mimeHead + "Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\n/v8AZwD8\n",
			mimeHead + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nZ8O8\n"},
		{"no label", "iso-8859-1", textHead + "\nß\n", asLatin1 + "Content-Transfer-Encoding: 8bit\n\n\xdf\n"},
		{"no MIME-Version", "iso-8859-1", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nß\n",
			"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\nMIME-Version: 1.0\n\n\xdf\n"},
		{"a byte order mark is no text", "iso-8859-1", textHead + "Content-Transfer-Encoding: 8bit\n\n\ufeffß\n", asLatin1 + "Content-Transfer-Encoding: 8bit\n\n\xdf\n"},
		{"to a stateful charset", "iso-2022-jp", textHead + "Content-Transfer-Encoding: 8bit\n\nあa\nい\n",
			mimeHead + "Content-Type: text/plain; charset=iso-2022-jp\nContent-Transfer-Encoding: 8bit\n\n\x1b$B$\"\x1b(Ba\n\x1b$B$$\x1b(B\n"},
		{"from a stateful charset, which is in 7 bits", "shift_jis", mimeHead + "Content-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B$\"\x1b(Ba\n",
			mimeHead + "Content-Type: text/plain; charset=shift_jis\nContent-Transfer-Encoding: 8bit\n\n\x82\xa0a\n"},
		{"to Big5", "big5", textHead + "\n中\n", mimeHead + "Content-Type: text/plain; charset=big5\nContent-Transfer-Encoding: 8bit\n\n\xa4\xa4\n"},
		{"another charset of the same octets", "iso-8859-1", mimeHead + "Content-Type: text/html; charset=windows-1252\nContent-Transfer-Encoding: 8bit\n\n\xdf\n",
			mimeHead + "Content-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n\xdf\n"},
		{"several parts, of which one is no text", "iso-8859-1",
			mimeHead + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nß\n--b\nContent-Type: application/xml; charset=utf-8\n\nß\n--b\n\nplain\n--b--\n",
			mimeHead + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n\xdf\n--b\nContent-Type: application/xml; charset=utf-8\n\nß\n--b\n\nplain\n--b--\n"},
		{"a message within", "iso-8859-1", mimeHead + "Content-Type: message/rfc822\n\nSubject: =?utf-8?q?=C3=9F?=\n" + textHead + "Content-Transfer-Encoding: 8bit\n\nß\n",
			mimeHead + "Content-Type: message/rfc822\n\nSubject: =?iso-8859-1?q?=DF?=\n" + asLatin1 + "Content-Transfer-Encoding: 8bit\n\n\xdf\n"},

		{"encoded words", "iso-8859-1", "Subject: a =?utf-8?q?Gr=C3=BC?= \n =?UTF-8?B?w59l?= b =?utf-8*de?q?=C3=9F?=\nFrom: =?utf-8?q?J=C3=B6?= <joe@x.test>\n\n",
			"Subject: a =?iso-8859-1?b?R3L832U=?= b =?iso-8859-1*de?q?=DF?=\nFrom: =?iso-8859-1?q?J=F6?= <joe@x.test>\n\n"},
		{"a character in two words", "iso-8859-1", "Subject: =?utf-8?q?=C3?=\n =?utf-8?q?=9F?=\n\n", "Subject: =?iso-8859-1?q?=DF?=\n\n"},
		{"words of a stateful charset", "iso-2022-jp", "Subject: =?utf-8?b?" + "44GC44GE44GG44GI44GK44GL44GN44GP44GR44GT44GC44GE44GG44GI44GK44GL44GN44GP44GR44GT" + "?=\n\n",
			"Subject: =?iso-2022-jp?b?GyRCJCIkJCQmJCgkKiQrJC0kLyQxJDMkIiQkJCYkKCQqGyhC?=\n =?iso-2022-jp?b?GyRCJCskLSQvJDEkMxsoQg==?=\n\n"},
		{"a file name", "iso-8859-1", mimeHead + "Content-Type: application/pdf\nContent-Disposition: attachment; filename*=utf-8'de'Gr%C3%BC%C3%9Fe.pdf; size=3\n\nx\n",
			mimeHead + "Content-Type: application/pdf\nContent-Disposition: attachment; filename*=iso-8859-1'de'Gr%FC%DFe.pdf; size=3\n\nx\n"},
		{"a file name in quotes", "iso-8859-1", mimeHead + "Content-Type: application/pdf; name=\"=?utf-8?Q?Gr=C3=BC?=\n =?utf-8?Q?=C3=9Fe.pdf?=\"; x=\"=?utf-8?q?=C3=9F?=\"\nContent-Disposition: attachment;\n filename=\"a =?utf-8?B?w58=?=\"; filename*=utf-8''%C3%9F\n\nx\n",
			mimeHead + "Content-Type: application/pdf; name=\"=?iso-8859-1?b?R3L832UucGRm?=\"; x=\"=?utf-8?q?=C3=9F?=\"\nContent-Disposition: attachment;\n filename=\"a =?iso-8859-1?q?=DF?=\"; filename*=iso-8859-1''%DF\n\nx\n"},
		{"a continued file name", "utf-8", mimeHead + "Content-Type: application/pdf; name=\"a\";\n name*0*=iso-8859-1''" + strings.Repeat("%FC", 5) + ";\n name*1*=" + strings.Repeat("%DF", 5) + ";\n name*2=.pdf\n\nx\n",
			mimeHead + "Content-Type: application/pdf; name=\"a\";\n name*0*=utf-8''%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%9F%C3%9F;\n name*1*=%C3%9F%C3%9F%C3%9F.pdf\n\nx\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := inCharset(t, crlf(c.content), c.to, false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(crlf(c.want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestConvertNothing: what means the same in the other charset, or of which nobody knows what it means,
// stays octet for octet (RFC 1428 3: unknown-8bit).
func TestConvertNothing(t *testing.T) {
	for name, content := range map[string]string{
		"US-ASCII in another charset":                   textHead + "\nplain\n",
		"signed US-ASCII":                               "DKIM-Signature: v=1\n" + textHead + "\nplain\n",
		"ASCII of a stateful charset":                   "DKIM-Signature: v=1\n" + mimeHead + "Content-Type: text/plain; charset=iso-2022-jp\n\nplain\n",
		"the charset itself":                            "DKIM-Signature: v=1\n" + asLatin1 + "\n\xdf\n",
		"the charset by another name":                   mimeHead + "Content-Type: text/plain; charset=latin1\n\n\xdf\n",
		"no charset":                                    "Subject: x\n\nß\n",
		"a type without a charset":                      mimeHead + "Content-Type: text/html\n\nß\n",
		"US-ASCII which it is not":                      mimeHead + "Content-Type: text/html; charset=us-ascii\n\nß\n",
		"a charset that nobody knows":                   mimeHead + "Content-Type: text/plain; charset=unknown-8bit\n\nß\n",
		"two charsets":                                  mimeHead + "Content-Type: text/plain; charset=utf-8; charset=big5\n\nß\n",
		"an unknown charset of US-ASCII":                mimeHead + "Content-Type: text/plain; charset=x-own\n\nplain\n",
		"no text":                                       mimeHead + "Content-Type: application/json; charset=utf-8\n\nß\n",
		"an unknown encoding":                           textHead + "Content-Transfer-Encoding: x-own\n\nß\n",
		"two types":                                     textHead + "Content-Type: text/html; charset=utf-8\n\nß\n",
		"a multipart without a boundary":                mimeHead + "Content-Type: multipart/mixed\n\nß\n",
		"encrypted":                                     mimeHead + "Content-Type: application/pkcs7-mime; name*=us-ascii''x\n\nß\n",
		"a field for programs":                          "X-Own: =?utf-8?q?=C3=9F?=\nMessage-ID: <=?utf-8?q?=C3=9F?=@x>\n\n",
		"a malformed word":                              "Subject: =?utf-8?q?=C3=9F =?= =?utf-8?x?=C3=9F?=\n\n",
		"a word of US-ASCII":                            "DKIM-Signature: v=1\nSubject: =?utf-8?q?plain?=\n\n",
		"a raw header":                                  "Subject: Grüße\n\nx\n",
		"a name in sections of which one is elsewhere":  mimeHead + "Content-Disposition: attachment; filename*0*=utf-8''%C3%9F; size=3; filename*1*=%C3%9F\n\nx\n",
		"a name in sections that are not in order":      mimeHead + "Content-Disposition: attachment; filename*1*=%C3%9F; filename*0*=utf-8''%C3%9F\n\nx\n",
		"a name in quotes that escapes something":       mimeHead + "Content-Disposition: attachment; filename=\"=?utf-8?q?=C3=9F\\?=\"\n\nx\n",
		"a name in words without quotes":                mimeHead + "Content-Disposition: attachment; filename==?utf-8?q?=C3=9F?=\n\nx\n",
		"a parameter that names nothing":                mimeHead + "Content-Disposition: attachment; title*=utf-8''%C3%9F\n\nx\n",
		"a boundary that looks like an encoded word":    mimeHead + "Content-Type: multipart/mixed; boundary=\"=?utf-8?q?=C3=9F?=\"\n\n--=?utf-8?q?=C3=9F?=\n\nx\n",
		"8-bit octets where the label says 8bit in all": mimeHead + "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\nß\n--b\n\nplain\n--b--\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, c, err := inCharset(t, crlf(content), "iso-8859-1", false)
			if err != nil {
				t.Fatal(err)
			}
			if said := c.Recoded(); got != crlf(content) || said != "" {
				t.Errorf("%s: %q", said, got)
			}
		})
	}
}

// TestNotInCharset: what the charset cannot hold, or must not be touched (RFC 3463 3.7): what is
// signed, by DKIM, ARC, S/MIME or OpenPGP (RFC 9580 7), or has a checksum (RFC 1864).
func TestNotInCharset(t *testing.T) {
	const body = "\nß\n"
	for _, c := range []struct{ name, to, content, why string }{
		{"a character", "iso-8859-1", textHead + "\n1 €\n", "U+20AC"},
		{"a character behind much text", "iso-8859-1", textHead + "\n" + strings.Repeat("ß\n", 100_000) + "€\n", "U+20AC"},
		{"a character of a field", "iso-8859-1", "Subject: =?utf-8?q?=E2=82=AC?=\n\n", "U+20AC"},
		{"a character of a file name", "us-ascii", mimeHead + "Content-Type: image/x; name*=utf-8''%C3%9F\n\n", "U+00DF"},
		{"a character of a file name in quotes", "us-ascii", mimeHead + "Content-Type: image/x; name=\"=?utf-8?q?=C3=9F?=\"\n\n", "U+00DF"},
		{"a DKIM signature over a file name in quotes", "iso-8859-1", "DKIM-Signature: v=1\n" + mimeHead + "Content-Type: image/x; name=\"=?utf-8?q?=C3=9F?=\"\n\n", "signed"},
		{"octets that are no text", "iso-8859-1", textHead + "\n\xdf\n", "none of utf-8"},
		{"octets of a field that are no text", "iso-8859-1", "Subject: =?utf-8?q?=DF?=\n\n", "none of utf-8"},
		{"an unknown charset", "iso-8859-1", mimeHead + "Content-Type: text/plain; charset=x-own" + "\n" + body, "x-own"},
		{"an unknown charset of a field", "iso-8859-1", "Subject: =?x-own?q?=DF?=\n\n", "x-own"},
		{"malformed base64", "iso-8859-1", textHead + "Content-Transfer-Encoding: base64\n\nw58=!\n", "not encoded"},
		{"what a shift would hide", "iso-2022-jp", textHead + "\nあ\x1b\n", "another text"},
		{"a DKIM signature", "iso-8859-1", "DKIM-Signature: v=1\n" + textHead + body, "signed"},
		{"a DKIM signature over a field", "iso-8859-1", "DKIM-Signature: v=1\nSubject: =?utf-8?q?=C3=9F?=\n\n", "signed"},
		{"a DKIM signature over a file name", "iso-8859-1", "DKIM-Signature: v=1\n" + mimeHead + "Content-Type: image/x; name*=utf-8''%C3%9F\n\n", "signed"},
		{"an ARC signature", "iso-8859-1", "ARC-Message-Signature: i=1\n" + textHead + body, "signed"},
		{"a DKIM signature of a message within", "iso-8859-1", mimeHead + "Content-Type: message/rfc822\n\nDKIM-Signature: v=1\n" + textHead + body, "signed"},
		{"a DKIM signature around a message", "iso-8859-1", "DKIM-Signature: v=1\n" + mimeHead + "Content-Type: message/rfc822\n\n" + textHead + body, "signed"},
		{"multipart/signed", "iso-8859-1", mimeHead + "Content-Type: multipart/signed; boundary=s\n\n--s\nContent-Type: text/plain; charset=utf-8" + "\n" + body + "--s--\n", "signed"},
		{"a file name in multipart/signed", "iso-8859-1", mimeHead + "Content-Type: multipart/signed; boundary=s\n\n--s\nContent-Type: image/x; name*=utf-8''%C3%9F\n\nx\n--s--\n", "signed"},
		{"a field above multipart/signed", "iso-8859-1", "Subject: =?utf-8?q?=C3=9F?=\n" + mimeHead + "Content-Type: multipart/signed; boundary=s\n\n--s\n\nx\n--s--\n", "signed"},
		{"a field above PKCS #7 (RFC 8551)", "iso-8859-1", "Subject: =?utf-8?q?=C3=9F?=\n" + mimeHead + "Content-Type: application/pkcs7-mime; smime-type=signed-data\n\nx\n", "signed"},
		{"PGP in the text", "iso-8859-1", textHead + "\n-----BEGIN PGP SIGNED MESSAGE-----\n" + body, "signed"},
		{"a checksum", "iso-8859-1", textHead + "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\n" + body, "signed"},
		{"no empty line", "iso-8859-1", mimeHead + "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text/plain; charset=utf-8\nß\n--a--\n", "empty line"},
		{"too deep", "iso-8859-1", nestedParts(maxDepth + 1), "too many parts"},
		{"a header that is too large", "iso-8859-1", "Subject: " + strings.Repeat("x", DefaultFieldOctets) + "\n\nß\n", "large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := inCharset(t, crlf(c.content), c.to, false)
			e, ok := errors.AsType[*mail.Error](err)
			if !ok || e.Reply.Code != 550 || e.Reply.Enhanced != "5.6.3" || !strings.Contains(e.Reply.Text, c.why) || !strings.Contains(e.Reply.Text, c.to) {
				t.Errorf("error %v, want 550 5.6.3 that speaks of %q and %s", err, c.why, c.to)
			}
		})
	}
}

// TestConvertBoth: another charset, and 7 bits (RFC 6152 3).
func TestConvertBoth(t *testing.T) {
	for _, c := range []struct{ name, to, content, want string }{
		{"mostly readable", "iso-8859-1", textHead + "Content-Transfer-Encoding: 8bit\n\nViele Grüße\n", asLatin1 + "Content-Transfer-Encoding: quoted-printable\n\nViele Gr=FC=DFe\n"},
		{"hardly readable", "koi8-r", textHead + "Content-Transfer-Encoding: 8bit\n\nпривет\n", mimeHead + "Content-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: base64\n\n0NLJ18XUDQo=\n"},
		{"no 8 bits any more", "iso-2022-jp", textHead + "Content-Transfer-Encoding: 8bit\n\nあ\n", mimeHead + "Content-Type: text/plain; charset=iso-2022-jp\nContent-Transfer-Encoding: 7bit\n\n\x1b$B$\"\x1b(B\n"},
		{"parts that are no text, and labels", "iso-8859-1",
			mimeHead + "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\n--b\nContent-Type: text/plain; charset=utf-8\n\nViele Grüße\n--b\nContent-Type: image/x\n\n\xff\xfe\n--b--\n",
			mimeHead + "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 7bit\n\n--b\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nViele Gr=FC=DFe\n--b\nContent-Type: image/x\nContent-Transfer-Encoding: base64\n\n//4=\n--b--\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := inCharset(t, crlf(c.content), c.to, true)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(crlf(c.want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
	_, _, err := inCharset(t, crlf("DKIM-Signature: v=1\n"+mimeHead+"Content-Type: image/x\n\n\xff\n"), "iso-8859-1", true)
	if e, ok := errors.AsType[*mail.Error](err); !ok || e.Reply.Code != 554 {
		t.Errorf("a signed image: %v", err)
	}
}

// TestNoNewDelimiters: what a text becomes never ends the part (RFC 2046 5.1.1).
func TestNoNewDelimiters(t *testing.T) {
	parts := func(head, body string) string {
		return crlf(mimeHead + "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + head + "\n" + body + "\n--b--\n")
	}
	for name, content := range map[string]string{
		"hidden in quoted-printable": parts("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n", "=C3=9F\n=2D-b\nContent-Type: text/evil\n\nx"),
		"where a line is folded":     parts("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", strings.Repeat("x", 66)+"ß--b\nContent-Type: text/evil\n\nx"),
		"by shifts":                  parts("Content-Type: text/plain; charset=iso-2022-jp\n", "\x1b$B$\"\x1b(B\n\x1b(J--b\x1b(B\nContent-Type: text/evil\n\nx"),
		"behind a byte order mark":   parts("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", "\ufeff--b\nContent-Type: text/evil\n\nx"),
	} {
		for _, sevenBit := range []bool{false, true} {
			got, _, err := inCharset(t, content, "euc-jp", sevenBit)
			if err != nil {
				if got, _, err = inCharset(t, content, "iso-8859-1", sevenBit); err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
			}
			found, err := Inspect(strings.NewReader(got), InspectLimits{})
			if err != nil || len(found.Parts) != 2 {
				t.Errorf("%s, 7 bits %v: %d parts, %v: %q", name, sevenBit, len(found.Parts), err, got)
			}
		}
	}
}

func TestConvertBrokenSource(t *testing.T) {
	to, _ := charset.ForMail("iso-8859-1")
	content := crlf(textHead + "\n" + strings.Repeat("ß\n", 100_000))
	for _, at := range []int64{0, 100, 150_000} {
		_, err := Convert(breaksAt{strings.NewReader(content), at}, int64(len(content)), Form{Charset: to})
		if !errors.Is(err, errBroken) {
			t.Errorf("at %d: error %v", at, err)
		}
	}
}

// breaksAt is a source that cannot be read from an offset on.
type breaksAt struct {
	io.ReaderAt
	at int64
}

func (b breaksAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.at {
		return 0, errBroken
	}
	return b.ReaderAt.ReadAt(p, off)
}

// TestLackingIsCheap: the character that a charset lacks is found at the end of a large text without a look at each of
// those before it.
func TestLackingIsCheap(t *testing.T) {
	to, err := FormIn("iso-2022-jp", false)
	if err != nil {
		t.Fatal(err)
	}
	content := "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat("abcdefghi あ\r\n", 100_000) + "\U0001F600\r\n"
	allocs := testing.AllocsPerRun(1, func() {
		_, err = Convert(strings.NewReader(content), int64(len(content)), to)
	})
	if err == nil || !strings.Contains(err.Error(), "U+1F600") {
		t.Error(err)
	}
	if allocs > float64(len(content)/10) {
		t.Errorf("%.0f allocations for %d octets", allocs, len(content))
	}
}
