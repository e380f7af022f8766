package smtp

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"postern/internal/mail"
)

func TestParseCommand(t *testing.T) {
	for _, c := range []struct {
		line string
		want Command
		code int // of the error; 0 for none
	}{
		{"NOOP", Command{"NOOP", ""}, 0},
		{"noop", Command{"NOOP", ""}, 0},
		{"xYzzy a  b ", Command{"XYZZY", "a  b "}, 0},
		{"mail FROM:<joe@example.com>", Command{"MAIL", "FROM:<joe@example.com>"}, 0},
		{"EHLO  two.spaces", Command{"EHLO", " two.spaces"}, 0},
		{"ehlo", Command{"EHLO", ""}, 0},
		{"ehlo\tJ\xf6rg\x00 ", Command{"EHLO", "J\xf6rg\x00 "}, 0},
		{"helo \x7f", Command{"HELO", "\x7f"}, 0},
		{"ehlo\x00a", Command{}, 500},
		{"RSET \t ", Command{"RSET", "\t "}, 0},
		{"RSET\t", Command{"RSET", ""}, 0},
		{"NOOP\ta", Command{"NOOP", ""}, 500},
		{"VRFY jöran", Command{"VRFY", "jöran"}, 0},
		{"", Command{}, 500},
		{" NOOP", Command{}, 500},
		{"250 ok", Command{}, 500},
		{"NO-OP", Command{}, 500},
		{"Subject: hi", Command{}, 500},
		{"NOOP\x00", Command{}, 500},
		{"NOOP a\tb", Command{"NOOP", ""}, 500},
		{"NOOP a\rb", Command{"NOOP", ""}, 500},
		{"NOOP \x7f", Command{"NOOP", ""}, 500},
		{"NOOP \xff", Command{"NOOP", ""}, 500},
		{"\x16\x03\x01", Command{}, 500},
	} {
		got, err := ParseCommand([]byte(c.line))
		if got != c.want || (err == nil) != (c.code == 0) || mail.ReplyOf(err).Code != c.code {
			t.Errorf("ParseCommand(%q) = %+v, %v; want %+v, code %d", c.line, got, err, c.want, c.code)
		}
	}
}

func TestParseHello(t *testing.T) {
	for _, c := range []struct {
		args, want string // want "" stands for 501
	}{
		{"mx.example.com", "mx.example.com"},
		{" mx.example.com ", "mx.example.com"},
		{"[192.0.2.1]", "[192.0.2.1]"},
		{"[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"},
		{"My_PC.", "My_PC."},
		{strings.Repeat("a", 255), strings.Repeat("a", 255)},
		{strings.Repeat("a", 256), strings.Repeat("a", 255)},
		{"", ""},
		{" \t ", ""},
		{"two words", "two?words"},
		{"a(comment)", "a?comment?"},
		{`<a\b;"c">`, "?a?b??c??"},
		{"jöran.example", "j??ran.example"},
		{"j\xf6ran\x00\x7f\r", "j?ran???"},
		{"a\nb", "a?b"},
	} {
		for _, verb := range []string{"EHLO", "HELO"} {
			got, err := ParseHello(Command{verb, c.args})
			if c.want == "" {
				if err == nil || err.Reply.Code != 501 || err.Reply.Enhanced != "5.5.4" {
					t.Errorf("ParseHello(%s %q) = %+v, %v; want 501 5.5.4", verb, c.args, got, err)
				}
				continue
			}
			if err != nil || got != (Hello{verb, c.want}) {
				t.Errorf("ParseHello(%s %q) = %+v, %v; want %q", verb, c.args, got, err, c.want)
			}
		}
	}
}

func TestUTF8Protocol(t *testing.T) {
	for with, want := range map[string]string{
		ProtocolSMTP: "SMTP", ProtocolESMTP: "UTF8SMTP", ESMTPProtocol(true, false): "UTF8SMTPS", ESMTPProtocol(false, true): "UTF8SMTPA", ESMTPProtocol(true, true): "UTF8SMTPSA",
	} {
		if got := UTF8Protocol(with); got != want {
			t.Errorf("UTF8Protocol(%s) = %s, want %s", with, got, want)
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, seed := range []string{"", "NOOP", "ehlo [192.0.2.1]", "MAIL FROM:<>", "X\x00", "HELO \t", "HELO two\x00\xff words", "VRFY \xc3\xb6"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := ParseCommand(line)
		if err != nil {
			if _, ok := errors.AsType[*mail.Error](err); !ok {
				t.Fatalf("error %v has no reply", err)
			}
			return
		}
		isHello := c.Verb == "EHLO" || c.Verb == "HELO"
		if c.Verb == "" || c.Verb != strings.ToUpper(c.Verb) || !isHello && !utf8.ValidString(c.Args) {
			t.Fatalf("%q: command %+v", line, c)
		}
		if !isHello && strings.ContainsFunc(strings.TrimRight(c.Args, " \t"), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatalf("%q: control character in %q", line, c.Args)
		}
		again, err := ParseCommand([]byte(c.Verb + " " + c.Args))
		if err != nil || again != c {
			t.Fatalf("%q: %+v read again is %+v, %v", line, c, again, err)
		}
		h, refusal := ParseHello(c)
		if isBlank := strings.Trim(c.Args, " \t") == ""; isBlank != (refusal != nil) {
			t.Fatalf("%q: hello %+v, %v", line, h, refusal)
		}
		if len(h.Domain) > maxHello || strings.ContainsFunc(h.Domain, breaksReceived) {
			t.Fatalf("%q: name %q would break a Received field", line, h.Domain)
		}
	})
}

func breaksReceived(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`()<>"\;`, r) }

func TestIsVerb(t *testing.T) {
	for verb, want := range map[string]bool{"MAIL": true, "AUTH": true, "SAML": true, "mail": false, "XYZZY": false, "": false, "MAI": false} {
		if got := IsVerb(verb); got != want {
			t.Errorf("%q: %v", verb, got)
		}
	}
}
