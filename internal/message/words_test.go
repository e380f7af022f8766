package message

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestDecodeText: encoded words (RFC 2047 2, 4, 6.2), with a language (RFC 2231 5).
func TestDecodeText(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "",
		"plain":                             "plain",
		"=?utf-8?q?a?=":                     "a",
		"=?UTF-8?Q?a_b=5F?=":                "a b_",
		"=?utf-8?b?YQ==?=":                  "a",
		"=?utf-8?b?YQ?=":                    "a", // no padding
		"=?utf-8*en?q?a?=":                  "a",
		"x =?utf-8?q?a?= y":                 "x a y",
		"=?utf-8?q?a?= =?utf-8?q?b?=":       "ab",
		"=?utf-8?q?a?=\t =?us-ascii?q?b?= ": "ab ",
		"=?utf-8?q?a?=  b":                  "a  b",
		"=?utf-8?q?a?= =? =?utf-8?q?b?=":    "a =? b",
		"=?iso-8859-1?q?=E4?=":              "ä",
		"=?windows-1252?q?=80?=":            "€",
		"=?koi8-r?q?=C1?=":                  "а",
		"=?iso-2022-jp?b?GyRCJCIbKEI=?=":    "あ",
		"=?gb2312?b?xOM=?=":                 "你",
		"=?big5?b?p0E=?=":                   "你",
		"=?shift_jis?b?gqA=?=":              "あ",
		"=?euc-kr?b?sKE=?=":                 "가",
		"=?hz-gb-2312?q?~{VP?=":             "中",
		"=?utf-8?q??=":                      "",
		"=?":                                "=?",
		"a=?b?=c":                           "a=?b?=c",
		"=?utf-8?x?a?=":                     "=?utf-8?x?a?=",
		"\u00e4":                            "ä",
	} {
		if got, sure := DecodeText(in); got != want || !sure {
			t.Errorf("%q: %q, sure %v; want %q", in, got, sure, want)
		}
	}
}

func TestDecodeTextUnsure(t *testing.T) {
	for in, want := range map[string]string{
		"=?x-1?q?a?=":        "a",
		"=?us-ascii?q?=E4?=": "ä",
		"=?utf-8?q?=E4?=":    "\ufffd",
		"=?utf-8?q?a=?=":     "a=",
		"=?utf-8?q?a=1?=":    "a=1",
		"=?utf-8?q?a b?=":    "a b",
		"=?utf-8?b?YQ== ?=":  "a",
		"=?utf-8?b?Y?=":      "=?utf-8?b?Y?=",
		"=?utf-8?b?Y!==?=":   "=?utf-8?b?Y!==?=",
		"=?utf-8?q?a?b?=":    "=?utf-8?q?a?b?=",
		"=?utf-8?q?a?":       "=?utf-8?q?a?",
		"=?utf-8?q?a":        "=?utf-8?q?a",
		"=?*en?q?a?=":        "=?*en?q?a?=",
		"\xe4":               "ä",
	} {
		if got, sure := DecodeText(in); got != want || sure {
			t.Errorf("%q: %q, sure %v; want %q, and not sure", in, got, sure, want)
		}
	}
	many := strings.Repeat("=?utf-8?q?a?=", maxWords)
	if got, sure := DecodeText(many); got != strings.Repeat("a", maxWords) || !sure {
		t.Errorf("%d words: sure %v", maxWords, sure)
	}
	if got, sure := DecodeText(many + "=?utf-8?q?b?="); got != strings.Repeat("a", maxWords)+"=?utf-8?q?b?=" || sure {
		t.Errorf("%d words: sure %v", maxWords+1, sure)
	}
}

func FuzzDecodeText(f *testing.F) {
	for _, s := range []string{"=?utf-8?q?a_=C3=A4?= =?UTF-8?B?w7Y=?= c", "=?iso-2022-jp?b?GyRCJCIbKEI=?=", "\xe4 =?", "=?utf-16?q?=00a?=", "=?a*b?q??="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, sure := DecodeText(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q: %q is not UTF-8", s, got)
		}
		if !strings.Contains(s, "=?") && utf8.ValidString(s) && (got != s || !sure) {
			t.Errorf("%q: %q, sure %v", s, got, sure)
		}
		if again, _ := DecodeText(s); again != got {
			t.Errorf("%q: %q, and then %q", s, got, again)
		}
	})
}
