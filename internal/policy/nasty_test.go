package policy

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestFiltersOfNastyMessages asks filters about each message of package message that is
// made to deceive: what is there is found, what cannot be read is kept, and only what
// is certain not to be there passes. Each is looked through once.
func TestFiltersOfNastyMessages(t *testing.T) {
	text, err := os.ReadFile("../message/testdata/nasty.json")
	if err != nil {
		t.Fatal(err)
	}
	var messages []struct {
		Name     string
		Content  []byte
		Types    []string
		Names    []string
		Readable bool
	}
	if err := json.Unmarshal(text, &messages); err != nil {
		t.Fatal(err)
	}
	e := compile(t, filter("names", `attachment = ["*.exe", "*.vbs"]`, `then = "discard"`)+
		filter("types", `type = ["text/html", "application/*"]`, `then = "discard"`)+
		filter("subject", `subject = ["*free*"]`, `then = "discard"`))
	count := make(map[string]int)
	for _, m := range messages {
		isName := func(s string) bool {
			s = strings.ToLower(s)
			return len(s) > 4 && (strings.HasSuffix(s, ".exe") || strings.HasSuffix(s, ".vbs"))
		}
		isType := func(s string) bool {
			s = strings.ToLower(s)
			return s == "text/html" || strings.HasPrefix(s, "application/") && len(s) > len("application/")
		}
		want := "pass"
		switch {
		case slices.ContainsFunc(m.Names, isName) || slices.ContainsFunc(m.Types, isType):
			want = "discard"
		case !m.Readable:
			want = "quarantine"
		}
		content := &bytesMessage{data: m.Content}
		if got, note, _ := became(t, e, "", content); got != want {
			t.Errorf("%s: %s %q, want %s", m.Name, got, note, want)
		}
		if content.inspected != 1 {
			t.Errorf("%s: looked through %d times", m.Name, content.inspected)
		}
		count[want]++
	}
	if count["pass"] < 10 || count["discard"] < 10 || count["quarantine"] < 10 {
		t.Errorf("of %d messages these are few: %v", len(messages), count)
	}
}
