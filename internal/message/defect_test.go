package message

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDefects: the list has all defects, each has its line in docs/mime.md at the
// same place, and a message in the tests that has it.
func TestDefects(t *testing.T) {
	source, err := os.ReadFile("defect.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared []Defect
	for _, found := range regexp.MustCompile(`Defect\w+ +Defect = "(.+)"`).FindAllSubmatch(source, -1) {
		declared = append(declared, Defect(found[1]))
	}
	if !slices.Equal(declared, Defects) || len(declared) == 0 {
		t.Errorf("Defects are %q, declared are %q", Defects, declared)
	}
	page, err := os.ReadFile("../../docs/mime.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| what is found |")
	var listed []Defect
	for _, found := range regexp.MustCompile(`(?m)^\| ([^|]+) \| [^|]+ \|$`).FindAllStringSubmatch(table, -1) {
		listed = append(listed, Defect(found[1]))
	}
	if !slices.Equal(listed, Defects) {
		t.Errorf("docs/mime.md lists %q, want %q", listed, Defects)
	}
	var shown []Defect
	for _, group := range nastyGroups {
		for _, n := range group {
			shown = append(shown, n.defects...)
		}
	}
	inOtherTests := []Defect{DefectSize, DefectDepth, DefectParts, DefectSubject, DefectAddress, DefectDuplicate}
	for _, d := range Defects {
		if !slices.Contains(shown, d) && !slices.Contains(inOtherTests, d) {
			t.Errorf("no message has the defect %q", d)
		}
	}
}
