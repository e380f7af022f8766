package mail

import (
	"strings"
	"testing"
)

func TestLike(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a", true}, {"<>", "<>", true},
		{"joe@X.example", "JOE@x.example", true}, {"joe@x.example", "joe@x.example.org", false}, {"joe@x.example", "ajoe@x.example", false},
		{"*@x.example", "joe@x.example", true}, {"*@x.example", "joe@y.x.example", false}, {"joe@*", "joe@x.example", true},
		{"j*@*.example", "joe@x.example", true}, {"j*@*.example", "hoe@x.example", false}, {"a*b*c", "abbc", true}, {"a*b*c", "acb", false},
		{"ab*ba", "aba", false}, {"ab*ba", "abba", true}, {"[a-z]?", "ab", false},
	} {
		if got := Like(test.pattern, test.text); got != test.want {
			t.Errorf("%q is like %q: %v", test.text, test.pattern, got)
		}
	}
}

func TestPattern(t *testing.T) {
	for _, test := range []struct {
		in, out string
		stars   int
	}{{"", "", 0}, {"A", "a", 0}, {"*", "*", 1}, {"**", "*", 1}, {"a***B", "a*b", 1}, {"*a**", "*a*", 2}} {
		p := NewPattern(test.in)
		if p.String() != test.out || p.Stars() != test.stars || p.Exact() != (test.stars == 0) {
			t.Errorf("%q is %q with %d stars", test.in, p, p.Stars())
		}
	}
}

func TestMeets(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {"", "*", true}, {"a", "", false}, {"*", "*", true}, {"a*", "*b", true}, {"a*", "b*", false}, {"*a", "*b", false},
		{"a*c", "ab*", true}, {"ab*", "a", false}, {"a*b*c", "*x*", true}, {"abc", "a*c", true}, {"abc", "a*d", false}, {"s*", "d*", false},
		{"a*a", "a", false}, {"*é*", "e*", true}, {"é", "*e", false},
	} {
		if a, b := NewPattern(test.a), NewPattern(test.b); a.Meets(b) != test.want || b.Meets(a) != test.want {
			t.Errorf("%q and %q meet: %v, %v", test.a, test.b, a.Meets(b), b.Meets(a))
		}
	}
}

// naivePattern is what a pattern means, character by character.
func naivePattern(pattern, text string) bool {
	switch {
	case pattern == "":
		return text == ""
	case pattern[0] == '*':
		return naivePattern(pattern[1:], text) || text != "" && naivePattern(pattern, text[1:])
	}
	return text != "" && pattern[0] == text[0] && naivePattern(pattern[1:], text[1:])
}

// texts are all texts of a, b and c with up to n characters.
func texts(n int) []string {
	all := []string{""}
	for from := 0; n > 0; n-- {
		last := all[from:]
		from = len(all)
		for _, s := range last {
			all = append(all, s+"a", s+"b", s+"c")
		}
	}
	return all
}

// FuzzPattern compares with what a pattern means, and Meets with all short texts: two
// patterns of at most three characters that meet have a text of at most six in common.
func FuzzPattern(f *testing.F) {
	f.Add("a*b", "*ab", "aab")
	f.Add("**", "c*c*", "ccc")
	f.Add("a*a", "a*", "a")
	all := texts(6)
	f.Fuzz(func(t *testing.T, a, b, text string) {
		narrow := func(s string, n int) string {
			s = s[:min(len(s), n)]
			return strings.Map(func(r rune) rune { return rune("abc*"[r%4]) }, s)
		}
		a, b = narrow(a, 3), narrow(b, 3)
		p, q := NewPattern(a), NewPattern(b)
		text = strings.ReplaceAll(narrow(text, 12), "*", "c")
		if p.Match(text) != naivePattern(a, text) {
			t.Fatalf("%q matches %q: %v", a, text, p.Match(text))
		}
		common := false
		for _, s := range all {
			common = common || naivePattern(a, s) && naivePattern(b, s)
		}
		if p.Meets(q) != common {
			t.Fatalf("%q and %q meet: %v, but %v", a, b, p.Meets(q), common)
		}
	})
}
