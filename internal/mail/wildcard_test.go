package mail

import (
	"errors"
	"strings"
	"testing"
)

func TestWildcard(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "", false}, {"a", "A", true}, {"a", "b", false}, {"ab", "a", false}, {"a", "ab", false},
		{"*", "", false}, {"*", "a", true}, {"*", "any text", true}, {"**", "a", false}, {"**", "ab", true},
		{"?", "", false}, {"?", "a", true}, {"?", "ab", false}, {"?*", "a", false}, {"*?", "ab", true},
		{"*.exe", ".exe", false}, {"*.exe", "a.EXE", true}, {"*.exe", "a.exe.exe", true}, {"*.exe", "a.exe ", false}, {"*.ex?", "a.exe", true},
		{"*free*", "free", false}, {"*free*", "a FREE b", true}, {"*a*a*", "xaxax", true}, {"*a*a*", "aa", false}, {"*aab", "aaaab", true},
		{`\*`, "*", true}, {`\*`, "a", false}, {`\?`, "?", true}, {`\?`, "a", false}, {`\\`, `\`, true}, {`a\b`, "ab", true},
		{"*@joe.example", "x@joe.example", true}, {"*@joe.example", "@joe.example", false},
		{"größe", "GRÖSSE", false}, {"größe", "GRÖßE", true}, {"STRAẞE", "straße", true}, {"σίσυφος", "ΣΊΣΥΦΟΣ", true},
		{"\u212a", "k", true}, {"\u017fale", "SALE", true}, {"é", "e\u0301", true}, {"e\u0301", "É", true}, {"?", "e\u0301", true},
		{"??", "\xff\xfe", true}, {"*x", "\xffx", true},
		{"*\n*", "a\nb", true}, {"*", "\n", true}, {"*\x00*", "a\x00b", true},
		{strings.Repeat("a", 64) + "*", strings.Repeat("a", 65), true}, {strings.Repeat("a", 64) + "*", strings.Repeat("a", 64), false},
		{strings.Repeat("?", 63) + "b*c", strings.Repeat("a", 63) + "bxc", true}, {strings.Repeat("?", 128), strings.Repeat("a", 128), true},
		{strings.Repeat("?", 128), strings.Repeat("a", 127), false},
	} {
		w, err := ParseWildcard(test.pattern)
		if err != nil {
			t.Errorf("%q: %v", test.pattern, err)
		}
		if got := w.Match(test.text); got != test.want {
			t.Errorf("%q has the form of %q: %v", test.text, test.pattern, got)
		}
		if w.String() != test.pattern {
			t.Errorf("%q is written as %q", test.pattern, w)
		}
	}
}

func TestZeroWildcard(t *testing.T) {
	var w Wildcard
	if !w.Match("") || w.Match("a") {
		t.Error("the zero value must match the empty text, and nothing else")
	}
}

func TestParseWildcardRefuses(t *testing.T) {
	for pattern, want := range map[string]error{
		`a\`:                                   ErrWildcardEscape,
		`\\\`:                                  ErrWildcardEscape,
		strings.Repeat("a", MaxWildcard+1):     ErrWildcardLength,
		strings.Repeat("é", MaxWildcard) + "*": ErrWildcardLength,
	} {
		if _, err := ParseWildcard(pattern); !errors.Is(err, want) {
			t.Errorf("%.20q: %v, want %v", pattern, err, want)
		}
	}
	if _, err := ParseWildcard(strings.Repeat("é", MaxWildcard)); err != nil {
		t.Errorf("the longest pattern: %v", err)
	}
}

// naiveWildcard does what the documentation of Wildcard says, without any thought
// of how long it takes.
func naiveWildcard(pattern, text []rune) bool {
	if len(pattern) == 0 {
		return len(text) == 0
	}
	if len(text) == 0 {
		return false
	}
	switch c := pattern[0]; c {
	case '*':
		for n := 1; n <= len(text); n++ {
			if naiveWildcard(pattern[1:], text[n:]) {
				return true
			}
		}
		return false
	case '?':
		return naiveWildcard(pattern[1:], text[1:])
	case '\\':
		pattern = pattern[1:]
	}
	return pattern[0] == text[0] && naiveWildcard(pattern[1:], text[1:])
}

func FuzzWildcard(f *testing.F) {
	for _, pattern := range []string{"", "*", "?", "a*b?c", `\*\?\\`, "**", "*é*", "*.exe"} {
		f.Add(pattern, "aXbYc")
		f.Add(pattern, "e\u0301.EXE")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		w, err := ParseWildcard(pattern)
		if err != nil {
			return
		}
		if strings.Count(pattern, "*") > 4 || len(text) > 40 {
			w.Match(text) // the naive one would take too long
			return
		}
		if got, want := w.Match(text), naiveWildcard(foldRunes(pattern), foldRunes(text)); got != want {
			t.Errorf("%q has the form of %q: %v, want %v", text, pattern, got, want)
		}
	})
}
