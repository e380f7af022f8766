package policy

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"postern/internal/config"
)

const page = "../../docs/policy.md"

// generated is a part of the page that is made of a table.
var generated = regexp.MustCompile(`(?s)<!-- (functions|steps|attributes) -->\n.*?<!-- end -->\n`)

// TestReference compares the tables of docs/policy.md with those of the package: go
// test ./internal/policy -update writes them.
func TestReference(t *testing.T) {
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	parts := Reference()
	written := 0
	want := generated.ReplaceAllStringFunc(string(have), func(part string) string {
		written++
		name := generated.FindStringSubmatch(part)[1]
		return "<!-- " + name + " -->\n" + parts[name] + "<!-- end -->\n"
	})
	if written != len(parts) {
		t.Errorf("%d of %d tables are on the page", written, len(parts))
	}
	compareWith(t, page, want)
}

// TestTables: each row of the tables says what it must.
func TestTables(t *testing.T) {
	for _, k := range kinds() {
		if k.text == "" || !strings.HasSuffix(k.text, ".") || !k.word && k.value == "" || k.compile == nil {
			t.Errorf("step %s: %+v", k.name, k)
		}
	}
	for i := range attributes {
		a := &attributes[i]
		if a.text == "" || !strings.HasSuffix(a.text, ".") || rank(a.from) < 0 || a.get == nil {
			t.Errorf("attribute %s", a.name)
		}
	}
}

// TestExamplesOfThePage compiles each example of docs/policy.md.
func TestExamplesOfThePage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(text), "```toml\n")[1:]
	if len(examples) == 0 {
		t.Fatal("no examples")
	}
	for _, example := range examples {
		example, _, _ = strings.Cut(example, "```")
		compile(t, example)
	}
	for _, f := range functions {
		x, err := newExpressions(testLists{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, wrong := x.compile(config.AtData, f.form, true); len(wrong) > 0 {
			t.Errorf("%s: %v", f.form, wrong)
		}
	}
}
