package mail

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"unicode"
)

// FuzzASCIIDomain: what DNS is asked for is ASCII, is the same domain, and stays
// as it is (RFC 5891 4).
func FuzzASCIIDomain(f *testing.F) {
	for _, seed := range []string{"", "example.com", "bücher.example", "xn--bcher-kva.example", "ＥＸＡＭＰＬＥ.com", "a。b", "xn--a", "\u200d.example", "_x.ö", "\xff", "ß.de", "xn--\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, domain string) {
		ascii, err := ASCIIDomain(domain)
		if err != nil {
			return
		}
		if !isASCII(ascii) || len(ascii) > MaxDomain || !SameDomain(domain, ascii) {
			t.Errorf("%q becomes %q", domain, ascii)
		}
		if again, err := ASCIIDomain(ascii); again != ascii || err != nil {
			t.Errorf("%q becomes %q and then %q, %v", domain, ascii, again, err)
		}
	})
}

// FuzzPlainJSON: a program reads the same, and a terminal nothing but text
// (RFC 8259 7).
func FuzzPlainJSON(f *testing.F) {
	for _, seed := range []string{`{"a":"b"}`, "[\"\u009b31m\u202e\x7f\"]", `"\u001b\ud800"`, "\"\U000e0001\"", "null", "\"a\"\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var was, is any
		var compact bytes.Buffer
		if json.Unmarshal(text, &was) != nil || json.Compact(&compact, text) != nil {
			return
		}
		plain := PlainJSON(compact.Bytes())
		if err := json.Unmarshal(plain, &is); err != nil || !reflect.DeepEqual(was, is) {
			t.Errorf("%q becomes %q: %v", text, plain, err)
		}
		if bytes.ContainsFunc(plain, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("%q becomes %q, which a terminal would obey", text, plain)
		}
	})
}
