package mail

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

// TestPlainJSON: the escapes are those of RFC 8259 7, and a program reads the
// same value.
func TestPlainJSON(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"{\"a\":\"Grüße\"}\n":      "{\"a\":\"Grüße\"}\n",
		"\"\u009b31m\u007f\"":      `"\u009b31m\u007f"`,
		"\"a\u202eb\u2028\"":       `"a\u202eb\u2028"`,
		"\"\U000E0041\U0001F600\"": `"\udb40\udc41` + "\U0001F600\"",
	} {
		got := PlainJSON([]byte(in))
		if string(got) != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
		var before, after any
		if in != "" && (json.Unmarshal([]byte(in), &before) != nil || json.Unmarshal(got, &after) != nil || before != nil && after == nil) {
			t.Errorf("%q is no JSON any more: %q", in, got)
		}
		if x, y := before, after; in != "" && in[0] == '"' && x != y {
			t.Errorf("%q is another value now: %q", x, y)
		}
	}
	if plain := []byte(`{"a":1}`); &PlainJSON(plain)[0] != &plain[0] {
		t.Error("what is plain was copied")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestPlainJSONWriter(t *testing.T) {
	var b bytes.Buffer
	if err := json.NewEncoder(PlainJSONWriter(&b)).Encode("\u0085"); err != nil || b.String() != "\"\\u0085\"\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if n, err := PlainJSONWriter(failing{}).Write([]byte("x")); n != 0 || err == nil {
		t.Errorf("wrote %d, %v to what fails", n, err)
	}
}
