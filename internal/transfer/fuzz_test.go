package transfer

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzDecode: a file of an export is read as it was written, or the error names
// the file and is one line.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "{", "[]", "null", `{"postern_message":1,"sha256":"x","entry":{"id":"1"}}`, `{"postern_message":"1"}`, `{"x":1}`,
		"{\n\"sha256\": 1}", `{"entry":{"deliveries":[{"recipients":[{"address":"a@b.example"}]}]}}`, `{"entry":{"accepted":"x"}}`, strings.Repeat("[", 20_000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m, again Message
		if err := decode("x.json", data, &m); err != nil {
			if text := err.Error(); !strings.HasPrefix(text, "x.json:") {
				t.Errorf("%q: %s", data, text)
			}
			return
		}
		text, err := encode(m)
		if err != nil {
			return // a time that has no form in JSON
		}
		if err := decode("x.json", text, &again); err != nil {
			t.Fatalf("%q is written as %q: %v", data, text, err)
		}
		one, _ := json.Marshal(m)
		if other, _ := json.Marshal(again); !bytes.Equal(one, other) {
			t.Errorf("%q is written as %q, and read as %q", data, text, other)
		}
	})
}
