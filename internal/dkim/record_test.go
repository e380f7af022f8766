package dkim

import (
	"errors"
	"strings"
	"testing"
)

func TestParseRecord(t *testing.T) {
	ed := "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	for _, c := range []struct {
		text    string
		err     error
		revoked bool
		testing bool
	}{
		{text: "v=DKIM1; k=ed25519; " + ed},
		{text: " v = DKIM1 ; k = ed25519 ; t = y : s ; p = 11qYAYKxCrfVS/7TyWQHOg7h cvPapiMlrwIaaPcHURo= ; ", testing: true},
		{text: "k=ed25519; " + ed},
		{text: "v=DKIM1; k=ed25519; h=sha1:sha256; s=*; n=a note; " + ed},
		{text: "v=DKIM1; p=", revoked: true},
		{text: "v=DKIM1; k=ed25519; t=; " + ed},
		{text: "k=ed25519; v=DKIM1; " + ed, err: errVersion},
		{text: "v=DKIM2; " + ed, err: errVersion},
		{text: "v=spf1 -all", err: errVersion},
		{text: "v=DKIM1; k=dsa; " + ed, err: errAlgorithm},
		{text: "v=DKIM1", err: errNoPublic},
		{text: "v=DKIM1; " + ed, err: errPublic},
		{text: "v=DKIM1; k=ed25519; p=AAAA", err: errPublic},
		{text: "v=DKIM1; " + ed + "; " + ed, err: errTwice},
		{text: "hello", err: errTag},
		{text: strings.Repeat("a", 10) + strings.Repeat(";b=1", 2), err: errTag},
	} {
		r, err := ParseRecord(c.text)
		if !errors.Is(err, c.err) || err == nil != (c.err == nil) {
			t.Errorf("%s: %v, not %v", c.text, err, c.err)
		}
		if err == nil && (r.Public == nil != c.revoked || r.Testing != c.testing || !r.SHA256 || !r.Email) {
			t.Errorf("%s: %+v", c.text, r)
		}
	}
	r, err := ParseRecord("v=DKIM1; h=sha1; s=other; p=")
	if err != nil || r.SHA256 || r.Email {
		t.Errorf("for another hash and service: %+v, %v", r, err)
	}
}

// TestRecordOfKey: the record that is shown is the one that matches.
func TestRecordOfKey(t *testing.T) {
	keys := testKeys()
	for i := range keys {
		text, err := RecordText(&keys[i])
		if err != nil {
			t.Fatal(err)
		}
		r, err := ParseRecord(text)
		if err != nil || !r.Matches(&keys[i]) || r.Matches(&keys[1-i]) {
			t.Errorf("%s: %+v, %v", text, r, err)
		}
	}
	if r := (&Record{Algorithm: RSA}); r.Matches(&keys[0]) {
		t.Error("a record that was revoked matches")
	}
}

func TestZoneLine(t *testing.T) {
	text := strings.Repeat("0123456789", 30) + `"\`
	want := `s._domainkey.example.org. IN TXT ( "` + text[:255] + `" "` + text[255:300] + `\"\\" )`
	if got := ZoneLine(RecordName("example.org", "s"), text); got != want {
		t.Errorf("%s\nnot %s", got, want)
	}
}

func TestNames(t *testing.T) {
	for s, good := range map[string]bool{"2026a": true, "a.b": true, "A-1": true, "": false, "a..b": false, "-a": false, "a_b": false, "a b": false, strings.Repeat("a", 64): false} {
		if err := CheckSelector(s); err == nil != good {
			t.Errorf("selector %q: %v", s, err)
		}
	}
	for s, want := range map[string]string{"Example.ORG": "example.org", "bücher.example": "xn--bcher-kva.example", "[192.0.2.1]": "", "": "", "a b": ""} {
		if got, err := Domain(s); got != want || err == nil != (want != "") {
			t.Errorf("domain %q: %q, %v", s, got, err)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
	f.Add("v=DKIM1; p=; t=y:s")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRecord(text)
		if (err == nil) != (r != nil) {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	})
}
