package mail

import "testing"

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
