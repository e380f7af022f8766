package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"postern/internal/mail"
)

// Problem is one thing that is wrong with a configuration, or unwise in it.
type Problem struct {
	Place mail.Place
	// Key is the setting or table, such as "listener.address"; empty when the
	// text is not TOML there.
	Key string
	// Message is what was wrong; Hint is what would be right, and may be empty.
	Message string
	Hint    string
}

// String returns "file:line:column: key: message (hint)".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Place.String())
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (")
		b.WriteString(p.Hint)
		b.WriteString(")")
	}
	return b.String()
}

// Errors is all that is wrong with a configuration, in the order of its files
// and in them; there is at least one Problem.
type Errors struct {
	Problems []Problem
}

// Error returns the problems, each on a line of its own.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sortProblems puts problems into the order of the files.
func sortProblems(problems []Problem, files []string) {
	order := make(map[string]int, len(files))
	for i, f := range files {
		order[f] = i
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(order[a.Place.File], order[b.Place.File]),
			cmp.Compare(a.Place.Line, b.Place.Line), cmp.Compare(a.Place.Column, b.Place.Column))
	})
}

// whence says where a place is, as seen from another: its line is enough in
// the same file.
func whence(at, from mail.Place) string {
	if at.File == from.File {
		return fmt.Sprintf("in line %d", at.Line)
	}
	return "at " + at.String()
}
