package internal_test

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what docs/rfc.md says of the tests")

var (
	// citation is an RFC, or a rule of one, as comments name it: "RFC 5321",
	// "RFC 5321 4.1.1.3", "RFC 5321 D.1".
	citation = regexp.MustCompile(`\bRFC (\d{3,5})(?: ((?:\d+|[A-Z]\.\d+)(?:\.\d+)*|[A-Z])\b)?`)
	// commentBreak is where a comment goes on in the next line.
	commentBreak = regexp.MustCompile(`\s*\n[ \t]*(?://|#)?[ \t]*`)
	// rfcRow is a row of docs/rfc.md: number, title, status.
	rfcRow = regexp.MustCompile(`(?m)^\| (\d{3,5}) \| ([^|]+) \| ([a-z]+) \|`)
)

// rfcStatuses are the statuses of docs/rfc.md that the code stands for. A row
// with another one, "no" or "later", needs no citation.
var rfcStatuses = []string{"yes", "part"}

// smtpRFCs are those whose rules are listed one by one.
var smtpRFCs = []string{"1870", "2034", "2920", "3030", "3207", "3461", "3463", "3848", "4954", "5321", "6152", "6409", "6531", "6533", "7505", "9422"}

// rfcPage is what docs/rfc.md says: the status of each RFC.
func rfcPage(t *testing.T) map[string]string {
	t.Helper()
	listed := map[string]string{}
	for _, row := range rfcRow.FindAllStringSubmatch(readDoc(t, "rfc.md"), -1) {
		if listed[row[1]] != "" {
			t.Errorf("docs/rfc.md lists RFC %s twice", row[1])
		}
		listed[row[1]] = row[3]
	}
	return listed
}

// citations are who names which rule: by "5321", and by "5321 4.1.1.3" if a
// section is named. Whoever names a section names its RFC too.
type citations map[string][]string

func (c citations) add(comment, by string) {
	comment = commentBreak.ReplaceAllString(comment, " ")
	for _, m := range citation.FindAllStringSubmatch(comment, -1) {
		rules := []string{m[1]}
		if m[2] != "" {
			rules = append(rules, m[1]+" "+m[2])
		}
		for _, rule := range rules {
			if !slices.Contains(c[rule], by) {
				c[rule] = append(c[rule], by)
			}
		}
	}
}

// readCitations returns the citations in the code, and those in tests: the
// comments of test files, the heads of dialogues and scripts.
func readCitations(t *testing.T) (code, tests citations) {
	t.Helper()
	code, tests = citations{}, citations{}
	for _, f := range readTree(t).files {
		into := code
		if f.isTest {
			into = tests
		}
		if f.path == "internal/rfc_test.go" || !f.isTest && strings.HasPrefix(f.path, "test/") {
			continue // examples here, and what tests are made of
		}
		for _, group := range f.syntax.Comments {
			into.add(group.Text(), f.path)
		}
	}
	for _, name := range testFiles(t) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		tests.add(head(string(text)), name)
	}
	return code, tests
}

// testFiles are the tests that are texts: dialogues and scripts.
func testFiles(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, dir := range []string{"test/dialogue/testdata", "test/script/testdata"} {
		before := len(names)
		err := fs.WalkDir(os.DirFS(root), dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				names = append(names, name)
			}
			return err
		})
		if err != nil || len(names) == before {
			t.Fatalf("no tests in %s: %v", dir, err)
		}
	}
	return names
}

// head returns the comment at the head of a text.
func head(text string) string {
	end := len(text)
	if m := regexp.MustCompile(`(?m)^[^#]|^$`).FindStringIndex(text); m != nil {
		end = m[0]
	}
	return text[:end]
}

func TestRFCsAreListed(t *testing.T) {
	listed := rfcPage(t)
	for number, status := range listed {
		if !slices.Contains(append(rfcStatuses, "no", "later"), status) {
			t.Errorf("docs/rfc.md: the status of RFC %s is %q: write yes, part, later or no", number, status)
		}
	}
	code, tests := readCitations(t)
	for _, c := range []citations{code, tests} {
		for rule, by := range c {
			if number, _, _ := strings.Cut(rule, " "); listed[number] == "" {
				t.Errorf("RFC %s is cited in %s but has no row in docs/rfc.md: add one with its status", rule, by[0])
			}
		}
	}
	for _, number := range slices.Sorted(maps.Keys(listed)) {
		if !slices.Contains(rfcStatuses, listed[number]) {
			continue
		}
		if code[number] == nil {
			t.Errorf("docs/rfc.md says %q of RFC %s, but no comment cites it: cite it at the rule, or correct the status", listed[number], number)
		}
		if tests[number] == nil {
			t.Errorf("docs/rfc.md says %q of RFC %s, but no test names it: cite it in the comment of the test that shows it, or correct the status", listed[number], number)
		}
	}
}

// TestRulesAreTested: a rule of SMTP that the code cites is one that it claims
// to keep, and some test must name it.
func TestRulesAreTested(t *testing.T) {
	code, tests := readCitations(t)
	for _, rule := range slices.Sorted(maps.Keys(code)) {
		if number, section, _ := strings.Cut(rule, " "); section == "" || !slices.Contains(smtpRFCs, number) {
			continue
		}
		if tests[rule] == nil {
			t.Errorf("RFC %s is kept in %s, but no test names it: cite it at the head of a dialogue, or in the comment of the test that shows it", rule, strings.Join(code[rule], ", "))
		}
	}
}

// Between these lines the page is generated.
const rulesBegin, rulesEnd = "<!-- rules: go test ./internal -run TestRulesOfThePage -update -->\n", "<!-- rules end -->\n"

// TestRulesOfThePage: the table of rules in docs/rfc.md is what code and tests
// cite, so that a test named there which is gone is seen.
func TestRulesOfThePage(t *testing.T) {
	page := readDoc(t, "rfc.md")
	before, rest, found := strings.Cut(page, rulesBegin)
	got, after, foundEnd := strings.Cut(rest, rulesEnd)
	if !found || !foundEnd {
		t.Fatalf("docs/rfc.md lacks the line %s or %s", rulesBegin, rulesEnd)
	}
	want := rulesTable(readCitations(t))
	if *update {
		if err := os.WriteFile(filepath.Join(root, "docs/rfc.md"), []byte(before+rulesBegin+want+rulesEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/rfc.md does not say what tests there are (- should be, + is); run go test ./internal -run TestRulesOfThePage -update\n%s", diff)
	}
}

// rulesTable returns a row for each rule of SMTP, and one for each other RFC.
func rulesTable(code, tests citations) string {
	var b strings.Builder
	b.WriteString("\n| rule | kept in | shown by |\n|---|---|---|\n")
	for _, rule := range slices.SortedFunc(maps.Keys(tests), compareRules) {
		number, section, _ := strings.Cut(rule, " ")
		listed := slices.Contains(smtpRFCs, number)
		if listed && section == "" && hasSections(tests, number) || !listed && section != "" {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", rule, places(code[rule]), places(tests[rule]))
	}
	b.WriteString("\n")
	return b.String()
}

func hasSections(c citations, number string) bool {
	for rule := range c {
		if strings.HasPrefix(rule, number+" ") {
			return true
		}
	}
	return false
}

// places names files briefly: a dialogue by its name alone.
func places(files []string) string {
	var short []string
	for _, f := range files {
		f = strings.TrimPrefix(f, "internal/")
		if !strings.HasSuffix(f, "_test.go") && strings.HasPrefix(f, "mailtest/") {
			continue // it is for tests, and keeps nothing of the program's
		}
		if name, is := strings.CutPrefix(f, "test/dialogue/testdata/"); is {
			f = "*" + strings.TrimSuffix(name, ".txt") + "*"
		}
		short = append(short, strings.Replace(f, "test/script/testdata/", "test/script/", 1))
	}
	slices.Sort(short)
	return strings.Join(short, ", ")
}

// compareRules orders rules by their numbers.
func compareRules(a, b string) int {
	split := func(r rune) bool { return r == ' ' || r == '.' }
	return slices.CompareFunc(strings.FieldsFunc(a, split), strings.FieldsFunc(b, split), func(x, y string) int {
		m, errX := strconv.Atoi(x)
		n, errY := strconv.Atoi(y)
		switch {
		case errX == nil && errY == nil:
			return m - n
		case errX == nil:
			return -1 // sections come before appendices
		case errY == nil:
			return 1
		}
		return strings.Compare(x, y)
	})
}

func TestCitations(t *testing.T) {
	c := citations{}
	c.add("RFC 5321 4.1.1.3, RFC\n// 5321 D.1 and RFC 1870. RFC 5321\n# 4.2.4: a rule; RFC 5321 C.", "a")
	c.add("RFC 5321 4.2.4. RFC 6531 Then", "b")
	want := citations{"5321": {"a", "b"}, "5321 4.1.1.3": {"a"}, "5321 D.1": {"a"}, "1870": {"a"}, "5321 4.2.4": {"a", "b"}, "5321 C": {"a"}, "6531": {"b"}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("- want, + got:\n%s", diff)
	}
	if got := head("# one\n# two\n-- client\n# three\n"); got != "# one\n# two\n" {
		t.Errorf("the head is %q", got)
	}
	rules := []string{"5321 D.1", "5321 4.10", "5321", "1870 3", "5321 4.9", "5321 4.9.1"}
	slices.SortFunc(rules, compareRules)
	if diff := cmp.Diff([]string{"1870 3", "5321", "5321 4.9", "5321 4.9.1", "5321 4.10", "5321 D.1"}, rules); diff != "" {
		t.Errorf("- want, + got:\n%s", diff)
	}
}
