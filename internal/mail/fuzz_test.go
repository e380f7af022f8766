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

// FuzzParsePin: what is read as a pin is the same when it is written and read again.
func FuzzParsePin(f *testing.F) {
	f.Add("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
	f.Add("e3:b0:c4:42:98:fc:1c:14:9a:fb:f4:c8:99:6f:b9:24:27:ae:41:e4:64:9b:93:4c:a4:95:99:1b:78:52:b8:55")
	f.Fuzz(func(t *testing.T, text string) {
		pin, err := ParsePin(text)
		if err != nil {
			return
		}
		if again, err := ParsePin(pin.String()); err != nil || again != pin {
			t.Errorf("%q is %s, and that is %s, error %v", text, pin, again, err)
		}
	})
}
