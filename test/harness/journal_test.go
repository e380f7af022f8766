package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadJournal(t *testing.T) {
	const header, first, second = "{\"version\":1}\n", "{\"n\":1}\n", "{\"n\":2}\n"
	for name, c := range map[string]struct {
		files []string
		facts int
		fault string
	}{
		"none":                         {nil, 0, "no journal"},
		"two files":                    {[]string{header + first, header + second}, 2, ""},
		"a line that is being written": {[]string{header + first, header + second + "{\"n\":"}, 2, ""},
		"not even a header":            {[]string{header + first, "{\"vers"}, 1, ""},
		"a torn line in the midst":     {[]string{header + first + "{\"n\":\n", header + second}, 0, "0.jsonl:3:"},
		"a torn file before the last":  {[]string{header + first + "{\"n\":", header + second}, 0, "0.jsonl:3:"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for i, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, string(rune('0'+i))+".jsonl"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			facts, err := ReadJournal(dir)
			if len(facts) != c.facts || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%d facts, %v", len(facts), err)
			}
		})
	}
}
