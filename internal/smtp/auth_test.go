package smtp

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// TestParseAuth: the names of mechanisms are those of RFC 4422 3.1, responses those of
// RFC 4954 4.
func TestParseAuth(t *testing.T) {
	for _, c := range []struct {
		args, mechanism string
		initial         []byte
	}{
		{"PLAIN", "PLAIN", nil},
		{"plain ", "PLAIN", nil},
		{"PLAIN =", "PLAIN", []byte{}},
		{"PLAIN AGpvZQBzZWNyZXQ=", "PLAIN", []byte("\x00joe\x00secret")},
		{"SCRAM-SHA-256-PLUS biws", "SCRAM-SHA-256-PLUS", []byte("n,,")},
		{"X_1", "X_1", nil},
	} {
		got, err := ParseAuth(c.args)
		if err != nil || got.Mechanism != c.mechanism || !bytes.Equal(got.Initial, c.initial) || (got.Initial == nil) != (c.initial == nil) {
			t.Errorf("%q is read as %+v, %v", c.args, got, err)
		}
	}
	for args, enhanced := range map[string]string{
		"": "5.5.4", " ": "5.5.4", "PL/AIN": "5.5.4", "PLÄIN": "5.5.4", "ABCDEFGHIJKLMNOPQRSTU": "5.5.4", "*": "5.5.4", "=": "5.5.4",
		"PLAIN AA== AA==": "5.5.2", "PLAIN  AA==": "5.5.2", "PLAIN *": "5.5.2", "PLAIN ==": "5.5.2", "PLAIN A": "5.5.2", "PLAIN AA": "5.5.2", "PLAIN AA=\r=": "5.5.2", "PLAIN AA-_": "5.5.2",
	} {
		got, err := ParseAuth(args)
		if err == nil || err.Reply.Code != 501 || err.Reply.Enhanced != enhanced {
			t.Errorf("%q is read as %+v, %v; want 501 %s", args, got, err, enhanced)
		}
	}
}

func TestDecodeResponse(t *testing.T) {
	if got, err := DecodeResponse(nil); err != nil || got == nil || len(got) != 0 {
		t.Errorf("an empty line: %v, %v", got, err)
	}
	for _, line := range []string{"=", "*", " ", "am9l ", "am\r9l", "am9l\n", "am9lam", "\x00", "ä"} {
		if got, err := DecodeResponse([]byte(line)); err == nil || err.Reply.Code != 501 {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
}

func TestAppendChallenge(t *testing.T) {
	if got := string(AppendChallenge([]byte("220 x\r\n"), nil)); got != "220 x\r\n334 \r\n" {
		t.Errorf("%q", got)
	}
	long := AppendChallenge(nil, bytes.Repeat([]byte("x"), 3000))
	if bytes.Count(long, []byte("\n")) != 1 || len(long) != 4+4000+2 {
		t.Errorf("a long challenge has %d octets in %d lines", len(long), bytes.Count(long, []byte("\n")))
	}
}

func TestLineLimit(t *testing.T) {
	for begin, want := range map[string]int{
		"": MaxCommandLine, "AUTH": MaxCommandLine, "AUTHX y": MaxCommandLine, "NOOP x": MaxCommandLine, "AUTH ": MaxAuthLine, "auth\tx": MaxAuthLine,
	} {
		if got := LineLimit([]byte(begin)); got != want {
			t.Errorf("%q: %d, want %d", begin, got, want)
		}
	}
}

// TestSubmitter: the parameter AUTH of MAIL is checked, and nothing comes of it (RFC
// 4954 5).
func TestSubmitter(t *testing.T) {
	plain, err := ParseMail("FROM:<joe@example.com>", allExtensions)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"<>", "joe@example.com", "e+3Dmc2@example.com", strings.Repeat("x", 500)} {
		got, err := ParseMail("FROM:<joe@example.com> AUTH="+value, allExtensions)
		if err != nil || got != plain {
			t.Errorf("AUTH=%s: %+v, %v", value, got, err)
		}
	}
	for _, param := range []string{"AUTH", "AUTH=", "AUTH=+3", "AUTH=+0A", "AUTH=a+", "AUTH=" + strings.Repeat("x", 501)} {
		if _, err := ParseMail("FROM:<joe@example.com> "+param, allExtensions); err == nil || err.Reply.Code != 501 {
			t.Errorf("%.20s: %v, want 501", param, err)
		}
	}
	if _, err := ParseMail("FROM:<joe@example.com> AUTH=<>", Extensions{DSN: true}); err == nil || err.Reply.Code != 555 {
		t.Errorf("where AUTH is not offered: %v, want 555", err)
	}
}

// FuzzAuth: what is read is what was said, and no refusal repeats it.
func FuzzAuth(f *testing.F) {
	for _, seed := range []string{"PLAIN", "PLAIN =", "PLAIN AGpvZQBzZWNyZXQ=", "login am9l", "PLAIN AA= =", "A B C", "X \xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, args string) {
		a, err := ParseAuth(args)
		if err != nil {
			checkErrorReply(t, err)
			return
		}
		if a.Initial == nil {
			return
		}
		_, said, _ := strings.Cut(strings.Trim(args, " \t"), " ")
		if again := base64.StdEncoding.EncodeToString(a.Initial); said != "=" && len(again) != len(said) {
			t.Fatalf("%q: the response is read as %q", args, a.Initial)
		}
	})
}
