package internal_test

import (
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/queue"
)

func TestReasonsAreDocumented(t *testing.T) {
	var sections []mail.Reason
	for _, match := range regexp.MustCompile("(?m)^### `([a-z-]+)`$").FindAllStringSubmatch(readDoc(t, "reasons.md"), -1) {
		sections = append(sections, mail.Reason(match[1]))
	}
	if diff := cmp.Diff(mail.Reasons, sections); diff != "" {
		t.Errorf("docs/reasons.md must have one section for each of mail.Reasons, in that order (- mail.Reasons, + the page):\n%s", diff)
	}
}

// TestReasonsSayWhatToDo: an operator who looks a reason up wants to know that.
func TestReasonsSayWhatToDo(t *testing.T) {
	for section := range strings.SplitSeq("\n"+readDoc(t, "reasons.md"), "\n### ") {
		reason, text, _ := strings.Cut(section, "\n")
		if strings.HasPrefix(reason, "`") && !regexp.MustCompile(`(?m)^\*Do:\* \S`).MatchString(text) {
			t.Errorf("docs/reasons.md does not say what to do about %s: end its section with a line that begins with *Do:*", reason)
		}
	}
}

// docs/states.md has a table: a row for each state that has successors, a
// column for each that can be one, and "yes" or nothing where they meet.
func TestStatesPageShowsTheTable(t *testing.T) {
	rows := tableRows(readDoc(t, "states.md"), "from \\ to")
	if rows == nil {
		t.Fatal(`docs/states.md has no table whose first cell is "from \ to"`)
	}
	columns := rows[0][1:]
	shown := map[string]bool{}
	for _, row := range rows[1:] {
		for i, cell := range row[1:] {
			shown[row[0]+" → "+columns[i]] = cell == "yes"
		}
	}
	actual := map[string]bool{}
	for _, from := range append([]mail.State{""}, mail.States...) {
		if from.Final() {
			for _, to := range mail.States {
				if queue.CanFollow(from, to) {
					t.Errorf("%s may follow the final state %s", to, from)
				}
			}
			continue
		}
		for _, to := range mail.States {
			actual[stateName(from)+" → "+stateName(to)] = queue.CanFollow(from, to)
		}
	}
	if diff := cmp.Diff(actual, shown); diff != "" {
		t.Errorf("docs/states.md does not show the table of internal/queue/state.go (- code, + page):\n%s", diff)
	}
}

func stateName(s mail.State) string {
	if s == "" {
		return "(new)"
	}
	return string(s)
}

// tableRows returns the cells of the Markdown table whose first cell is
// corner, without the line under its head.
func tableRows(page, corner string) [][]string {
	var rows [][]string
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `")
		}
		inTable := strings.HasPrefix(line, "|") && (rows != nil || cells[0] == corner)
		switch {
		case !inTable && rows != nil:
			return rows
		case inTable && !strings.HasPrefix(line, "|-"):
			rows = append(rows, cells)
		}
	}
	return rows
}

// statusPart finds the part for programs of a report.
var statusPart = regexp.MustCompile(`(?s)Content-Type: message/[a-z-]*delivery-status\n.*?\n\n(.*?)\n--=_`)

// docs/rfc.md tells which fields reports have. The golden files of package dsn
// are reports of every form.
func TestFieldsOfReportsAreDocumented(t *testing.T) {
	files, err := filepath.Glob("dsn/testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files of reports: %v", err)
	}
	count := map[string]int{} // of files that have a field
	for _, file := range files {
		report, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		part := statusPart.FindSubmatch(report)
		if part == nil {
			t.Fatalf("%s has no part for programs", file)
		}
		names := map[string]bool{}
		for _, match := range regexp.MustCompile(`(?m)^([A-Za-z-]+): `).FindAllSubmatch(part[1], -1) {
			names[string(match[1])] = true
		}
		for name := range names {
			count[name]++
		}
	}
	for _, row := range tableRows(readDoc(t, "rfc.md"), "field")[1:] {
		field, says, n := row[0], row[2], count[row[0]]
		delete(count, field)
		if says == "always" && n != len(files) || says == "never" && n != 0 || n == 0 && says != "never" {
			t.Errorf("docs/rfc.md says %q of the field %s, which %d of %d reports have", says, field, n, len(files))
		}
	}
	if len(count) > 0 {
		t.Errorf("docs/rfc.md does not list these fields: %v", slices.Collect(maps.Keys(count)))
	}
}

func TestQuirksAreListed(t *testing.T) {
	page := readDoc(t, "quirks.md")
	for _, f := range readTree(t).files {
		for _, group := range f.syntax.Comments {
			if strings.Contains(group.Text(), "QUIRK:") && !strings.Contains(page, "`"+f.path+"`") {
				t.Errorf("%s has a comment with QUIRK:, but docs/quirks.md has no row that names the file", f.path)
			}
		}
	}
}

// namedTest finds a test that a page names by its package.
var namedTest = regexp.MustCompile("`([a-z]+)\\.((?:Test|Fuzz)[A-Za-z0-9_]+)`")

// docs/security.md says which test shows that an attack is stopped.
func TestTestsThatPagesNameExist(t *testing.T) {
	tests := map[string]bool{}
	for _, f := range readTree(t).files {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.isTest && fn.Recv == nil {
				tests[strings.TrimSuffix(f.syntax.Name.Name, "_test")+"."+fn.Name.Name] = true
			}
		}
	}
	count := 0
	for _, page := range pages(t) {
		for _, match := range namedTest.FindAllStringSubmatch(page.text, -1) {
			if count++; !tests[match[1]+"."+match[2]] {
				t.Errorf("%s names the test %s of package %s, which does not exist", page.path, match[2], match[1])
			}
		}
	}
	if count == 0 {
		t.Error("no page names a test")
	}
	for line := range strings.Lines(readDoc(t, "security.md")) {
		if row := strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| attack |") && !strings.HasPrefix(line, "| danger |"); row && !namedTest.MatchString(line) {
			t.Errorf("docs/security.md: no test shows that this is stopped: %s", line)
		}
	}
}

// linked finds the links of a page to files of this repository.
var linked = regexp.MustCompile(`\]\(([^):#]+)(#[^)]*)?\)`)

func TestLinksOfPagesLeadSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		for _, match := range linked.FindAllStringSubmatch(page.text, -1) {
			if !page.exists(match[1]) {
				t.Errorf("%s links to %s, which does not exist", page.path, match[1])
			}
		}
	}
}

// named finds the Go and Markdown files that a page names by their path.
var named = regexp.MustCompile("`((?:internal|cmd|test|docs)/[A-Za-z0-9_./-]*)`")

func TestFilesThatPagesNameExist(t *testing.T) {
	for _, page := range pages(t) {
		for _, match := range named.FindAllStringSubmatch(page.text, -1) {
			if !exists(match[1]) {
				t.Errorf("%s names %s, which does not exist", page.path, match[1])
			}
		}
	}
}
