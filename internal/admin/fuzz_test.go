package admin

import (
	"strings"
	"testing"
)

// FuzzParseTokens: each token has a name of its own and is long enough, and what
// is wrong is said without showing any.
func FuzzParseTokens(f *testing.F) {
	for _, seed := range []string{"", "# x\n", "a 0123456789abcdef0123\n", "a 0123456789abcdef0123\r\nb\tx0123456789abcdef0123", "a short", "a 0123456789abcdef0123\na 1123456789abcdef0123\n", "\x00 \xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := ParseTokens(text)
		if (err == nil) != (len(tokens) > 0) {
			t.Fatalf("%d tokens and %v", len(tokens), err)
		}
		names := map[string]bool{}
		for _, token := range tokens {
			if names[token.Name] || token.Name == "" || len(token.Value) < minToken || strings.ContainsAny(token.Name+string(token.Value), " \t\r\n") {
				t.Errorf("name %q with a token of %d octets", token.Name, len(token.Value))
			}
			names[token.Name] = true
		}
		if err != nil && len(err.Error()) > 100 {
			t.Errorf("the error shows what was read: %v", err)
		}
	})
}
