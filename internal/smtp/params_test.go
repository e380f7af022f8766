package smtp

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

var allExtensions = Extensions{
	Pipelining: true, EightBitMIME: true, SMTPUTF8: true, DSN: true, EnhancedStatusCodes: true, Chunking: true, Auth: Mechanisms{"PLAIN", "LOGIN"},
	StartTLS: true, RequireTLS: true, Help: true, HasSize: true, MaxSize: 1000, MaxRecipients: 10, MaxMessages: 20,
}

var joe = mail.Address{Local: "joe", Domain: "example.com"}

func TestParseMail(t *testing.T) {
	for _, c := range []struct {
		args string
		want Mail
	}{
		{"FROM:<joe@example.com>", Mail{mail.Envelope{From: joe}, 0}},
		{"from: <joe@example.com> ", Mail{mail.Envelope{From: joe}, 0}},
		{"FROM:<>", Mail{}},
		{"FROM:joe@example.com", Mail{mail.Envelope{From: joe}, 0}},
		{"from: joe@example.com  SIZE=12 ", Mail{mail.Envelope{From: joe}, 12}},
		{`FROM:"joe"@example.com`, Mail{mail.Envelope{From: joe}, 0}},
		{"FROM:<@a.example,@[IPv6:::1]:joe@example.com>", Mail{mail.Envelope{From: joe}, 0}},
		{`FROM:<"a>b \" c"@example.com>`, Mail{mail.Envelope{From: mail.Address{Local: `a>b " c`, Domain: "example.com"}}, 0}},
		{"FROM:<joe@[192.0.2.1]>", Mail{mail.Envelope{From: mail.Address{Local: "joe", Domain: "[192.0.2.1]"}}, 0}},
		{"FROM:<joe@example.com> SIZE=12345", Mail{mail.Envelope{From: joe}, 12345}},
		{"FROM:<joe@example.com> SIZE=99999999999999999999", Mail{mail.Envelope{From: joe}, math.MaxInt64}},
		{"FROM:<joe@example.com>  body=8bitmime  ret=hdrs ENVID=a+2Bb", Mail{mail.Envelope{
			From: joe, Body: mail.Body8BitMIME, Return: mail.ReturnHeaders, EnvelopeID: "a+b"}, 0}},
		{"FROM:<joe@example.com> BODY=7BIT RET=FULL", Mail{mail.Envelope{
			From: joe, Body: mail.Body7Bit, Return: mail.ReturnFull}, 0}},
		{"FROM:<joe@example.com> requireTLS", Mail{mail.Envelope{From: joe, RequireTLS: true}, 0}},
		{"FROM:<> REQUIRETLS SIZE=7", Mail{mail.Envelope{RequireTLS: true}, 7}},
		{"FROM:<jörg@exämple.com> SMTPUTF8", Mail{mail.Envelope{
			From: mail.Address{Local: "jörg", Domain: "exämple.com"}, UTF8: true}, 0}},
	} {
		got, err := ParseMail(c.args, allExtensions)
		if err != nil {
			t.Errorf("ParseMail(%q): %v", c.args, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("ParseMail(%q): -want +got\n%s", c.args, diff)
		}
	}
}

func TestParseMailRefuses(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "501 5.5.4"},
		{"TO:<joe@example.com>", "501 5.5.4"},
		{"FROM <joe@example.com>", "501 5.5.4"},
		{"FROM:", "501 5.5.4"},
		{"FROM:joe", "501 5.5.4"},
		{"FROM:SIZE=1", "501 5.5.4"},
		{"FROM:Joe joe@example.com", "501 5.5.4"},
		{"FROM:Joe <joe@example.com>", "501 5.5.4"},
		{"FROM:joe@example.com ann@example.com", "501 5.5.4"},
		{"FROM:joe@example.com (Joe)", "501 5.5.4"},
		{`FROM:"joe x"@example.com`, "501 5.5.4"},
		{`FROM:"joe@x y"@example.com`, "501 5.5.4"},
		{"FROM:joe@example.com>", "501 5.1.7"},
		{"FROM:joe@", "501 5.1.7"},
		{"FROM:joe@example.com SIZE=x", "501 5.5.4"},
		{"FROM:joe@example.com XYZZY", "555 5.5.4"},
		{"FROM:<joe@example.com> REQUIRETLS=yes", "501 5.5.4"},
		{"FROM:<joe@example.com> REQUIRETLS=", "501 5.5.4"},
		{"FROM:<joe@example.com> REQUIRETLS REQUIRETLS", "501 5.5.4"},
		{"FROM:<joe@example.com> REQUIRETLSX", "555 5.5.4"},
		{"FROM:<joe@example.com", "501 5.5.4"},
		{`FROM:<"joe@example.com>`, "501 5.5.4"},
		{"FROM:<joe@example.com>SIZE=1", "501 5.5.4"},
		{"FROM:<joe>", "501 5.1.7"},
		{"FROM:<postmaster>", "501 5.1.7"},
		{"FROM:<@a joe@example.com>", "501 5.1.7"},
		{"FROM:<@a,b:joe@example.com>", "501 5.1.7"},
		{"FROM:<@:joe@example.com>", "501 5.1.7"},
		{"FROM:<@[1:joe@example.com>", "501 5.1.7"},
		{"FROM:<" + strings.Repeat("a", 65) + "@example.com>", "501 5.1.7"},
		{"FROM:<jörg@example.com>", "553 5.6.7"},
		{"FROM:<joe@example.com> XYZZY", "555 5.5.4"},
		{"FROM:<joe@example.com> NOTIFY=NEVER", "555 5.5.4"},
		{"FROM:<joe@example.com> BODY=BINARYMIME", "555 5.5.4"},
		{"FROM:<joe@example.com> BODY", "555 5.5.4"},
		{"FROM:<joe@example.com> RET=SOME", "501 5.5.4"},
		{"FROM:<joe@example.com> SIZE", "501 5.5.4"},
		{"FROM:<joe@example.com> SIZE=", "501 5.5.4"},
		{"FROM:<joe@example.com> SIZE=-1", "501 5.5.4"},
		{"FROM:<joe@example.com> SIZE=1e3", "501 5.5.4"},
		{"FROM:<joe@example.com> SIZE=999999999999999999999", "501 5.5.4"},
		{"FROM:<joe@example.com> SIZE=1 size=1", "501 5.5.4"},
		{"FROM:<joe@example.com> SMTPUTF8=1", "501 5.5.4"},
		{"FROM:<joe@example.com> ENVID=a=b", "501 5.5.4"},
		{"FROM:<joe@example.com> ENVID=a+0D+0Ab", "501 5.5.4"},
		{"FROM:<joe@example.com> ENVID=" + strings.Repeat("a", 101), "501 5.5.4"},
		{"FROM:<joe@example.com> -X=1", "501 5.5.4"},
		{"FROM:<joe@example.com> X_Y=1", "501 5.5.4"},
		{"FROM:<joe@example.com> =1", "501 5.5.4"},
	} {
		_, err := ParseMail(c.args, allExtensions)
		checkRefusal(t, c.args, err, c.want)
	}
	for _, param := range []string{"SIZE=1", "BODY=8BITMIME", "SMTPUTF8", "RET=FULL", "ENVID=a"} {
		_, err := ParseMail("FROM:<joe@example.com> "+param, Extensions{})
		checkRefusal(t, param+" without its extension", err, "555 5.5.4")
	}
}

func checkRefusal(t *testing.T, what string, err *mail.Error, want string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Reply.String(), want+" ") {
		t.Errorf("%q: %v, want %s", what, err, want)
	}
}

func TestParseRcpt(t *testing.T) {
	for _, c := range []struct {
		args string
		want mail.Recipient
	}{
		{"TO:<joe@example.com>", mail.Recipient{Address: joe}},
		{"to: <@a.example:joe@example.com>", mail.Recipient{Address: joe}},
		{"TO: joe@example.com NOTIFY=NEVER", mail.Recipient{Address: joe, Notify: mail.NotifyNever}},
		{"TO:<Postmaster>", mail.Recipient{Address: mail.Address{Local: "Postmaster"}}},
		{"TO:<joe@example.com> NOTIFY=success,Delay ORCPT=rfc822;a+2Bb@x", mail.Recipient{
			Address: joe, Notify: mail.NotifySuccess | mail.NotifyDelay, Original: "rfc822;a+b@x"}},
		{"TO:<joe@example.com> ORCPT=utf-8;j\u3000o@x", mail.Recipient{Address: joe, Original: "utf-8;j\u3000o@x"}},
		{"TO:<joe@example.com> ORCPT=rfc822;j+C3+B6rg@x", mail.Recipient{Address: joe, Original: "utf-8;jörg@x"}},
		{`TO:<joe@example.com> ORCPT=utf-8;j\x{F6}rg@x`, mail.Recipient{Address: joe, Original: "utf-8;jörg@x"}},
	} {
		got, err := ParseRcpt(c.args, allExtensions)
		if err != nil {
			t.Errorf("ParseRcpt(%q): %v", c.args, err)
		}
		if diff := cmp.Diff(c.want, got.Recipient); diff != "" {
			t.Errorf("ParseRcpt(%q): -want +got\n%s", c.args, diff)
		}
	}
	withoutUTF8 := allExtensions
	withoutUTF8.SMTPUTF8 = false
	for _, c := range []struct{ args, want string }{
		{"FROM:<joe@example.com>", "501 5.5.4"},
		{"TO:<>", "501 5.1.3"},
		{"TO:postmaster", "501 5.5.4"},
		{"TO:joe@example.com, ann@example.com", "501 5.5.4"},
		{"TO:joe@example.com,ann@example.com", "501 5.1.3"},
		{"TO:<joe>", "501 5.1.3"},
		{"TO:<jörg@example.com>", "553 5.6.7"},
		{"TO:<joe@example.com> SIZE=1", "555 5.5.4"},
		{"TO:<joe@example.com> NOTIFY=NEVER,DELAY", "501 5.5.4"},
		{"TO:<joe@example.com> ORCPT=joe@x", "501 5.5.4"},
		{"TO:<joe@example.com> ORCPT=rfc822;", "501 5.5.4"},
		{"TO:<joe@example.com> ORCPT=rfc822;j+C3rg@x", "501 5.5.4"},
		{"TO:<joe@example.com> ORCPT=rfc822;" + strings.Repeat("a", 500), "501 5.5.4"},
	} {
		_, err := ParseRcpt(c.args, withoutUTF8)
		checkRefusal(t, c.args, err, c.want)
	}
	for _, param := range []string{"NOTIFY=NEVER", "ORCPT=rfc822;a@b"} {
		_, err := ParseRcpt("TO:<joe@example.com> "+param, Extensions{})
		checkRefusal(t, param+" without DSN", err, "555 5.5.4")
	}
}

func TestTooManyParameters(t *testing.T) {
	seen := 0
	params := "X"
	for i := range maxParams {
		params += " X" + strings.Repeat("Y", i+1)
	}
	err := eachParam(params, func(param) *mail.Error { seen++; return nil })
	if err == nil || seen != maxParams {
		t.Errorf("%d parameters taken, %v; want %d and a refusal", seen, err, maxParams)
	}
}

func TestDecodeXtext(t *testing.T) {
	for s, want := range map[string]string{
		"abc": "abc", "a+2Bb": "a+b", "a+3db+20": "a=b ", "+41": "A",
	} {
		if got, err := decodeXtext(s); err != nil || got != want {
			t.Errorf("decodeXtext(%q) = %q, %v; want %q", s, got, err, want)
		}
	}
	for _, s := range []string{"+", "a+4", "+4x", "++1", "a=b", "a b", "a=+41", "+00", "+7F", "+E4", "ä", "+0D"} {
		if got, err := decodeXtext(s); err == nil {
			t.Errorf("decodeXtext(%q) = %q, want an error", s, got)
		}
	}
}

func TestDecodeOriginal(t *testing.T) {
	for s, want := range map[string]string{
		"rfc822;joe@x":             "rfc822;joe@x",
		"RFC822;a+2Bb@x":           "RFC822;a+b@x",
		"utf-8;jörg@x":             "utf-8;jörg@x",
		`UTF-8;j\x{F6}rg\x{2B}a@x`: "UTF-8;jörg+a@x",
	} {
		if got, err := decodeOriginal(s); err != nil || got != want {
			t.Errorf("decodeOriginal(%q) = %q, %v; want %q", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "rfc822", ";joe", "rfc822;", "rf c;joe", "rfc822;jörg", "utf-8;a+b", `utf-8;a\b`, `utf-8;\x{F6`, `utf-8;\x{}`,
		`utf-8;\x{D800}`, `utf-8;\x{0A}`, `utf-8;\x{85}`, `utf-8;\x{0000041}`, "utf-8;\xff", "utf-8;a b", "utf-8;\x7f",
	} {
		if got, err := decodeOriginal(s); err == nil {
			t.Errorf("decodeOriginal(%q) = %q, want an error", s, got)
		}
	}
}

func TestExtensions(t *testing.T) {
	want := []string{"PIPELINING", "SIZE 1000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING",
		"STARTTLS", "REQUIRETLS", "AUTH PLAIN LOGIN", "LIMITS RCPTMAX=10 MAILMAX=20", "HELP"}
	if diff := cmp.Diff(want, allExtensions.Keywords()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got := (Extensions{HasSize: true, MaxMessages: 3}).Keywords(); !cmp.Equal(got, []string{"SIZE", "LIMITS MAILMAX=3"}) {
		t.Errorf("keywords %q", got)
	}
	for _, e := range []Extensions{allExtensions, {}, {HasSize: true, MaxMessages: 3}, {MaxRecipients: 3}} {
		text := strings.Join(append([]string{"PIPELINING is no keyword here"}, e.Keywords()...), "\n")
		if got := ParseExtensions(strings.ToLower(text)); !reflect.DeepEqual(got, e) {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
	odd := "mx\n\nSIZE=5\nSIZE x\nAUTH cram-md5 x@y CRAM-MD5 MUCH-TOO-LONG-FOR-A-NAME\nAUTH\nAUTH LOGIN\nLIMITS RCPTMAX=-1 MAILMAX=x RCPTMAX\n8BITMIME 1"
	if got, want := ParseExtensions(odd), (Extensions{HasSize: true, EightBitMIME: true, Auth: Mechanisms{"CRAM-MD5", "LOGIN"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("odd lines are read as %+v, want %+v", got, want)
	}
}

// FuzzMail also holds FormatMail to what ParseMail reads.
func FuzzMail(f *testing.F) {
	for _, seed := range []string{
		"FROM:<>", "FROM:<joe@example.com> SIZE=1 BODY=8BITMIME RET=FULL ENVID=a+2Bb",
		`FROM:<"a b"@[IPv6:::1]> SMTPUTF8`, "from: <@a,@b:jörg@exämple.com> SMTPUTF8",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, args string) {
		m, err := ParseMail(args, allExtensions)
		if err != nil {
			checkErrorReply(t, err)
			return
		}
		line := FormatMail(m.Envelope, m.Size, allExtensions)
		again, err := ParseMail(strings.TrimPrefix(line, "MAIL "), allExtensions)
		if err != nil || again != m {
			t.Fatalf("%q: %+v goes out as %q, which is read as %+v, %v", args, m, line, again, err)
		}
	})
}

func FuzzRcpt(f *testing.F) {
	for _, seed := range []string{
		"TO:<joe@example.com>", "TO:<postmaster> NOTIFY=NEVER", "TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@x",
		`TO:<jörg@x> ORCPT=utf-8;j\x{F6}rg\x{2B}@x`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, args string) {
		r, err := ParseRcpt(args, allExtensions)
		if err != nil {
			checkErrorReply(t, err)
			return
		}
		line := FormatRcpt(r.Recipient, allExtensions)
		again, err := ParseRcpt(strings.TrimPrefix(line, "RCPT "), allExtensions)
		if err != nil && len(line) > maxOriginal {
			return // ORCPT has become too long: it came in a shorter encoding
		}
		if err != nil || again != r {
			t.Fatalf("%q: %+v goes out as %q, which is read as %+v, %v", args, r, line, again, err)
		}
	})
}

func checkErrorReply(t *testing.T, err *mail.Error) {
	t.Helper()
	switch err.Reply.Code {
	case 501, 553, 555:
	default:
		t.Fatalf("refused with %v", err)
	}
}
