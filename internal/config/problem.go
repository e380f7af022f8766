package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"postern/internal/mail"
)

// Problem is one thing that is wrong with a configuration, or unwise in it.
// It is an error, for what is found when a configuration is put to use.
type Problem struct {
	// Place is the zero Place for a configuration made in code.
	Place mail.Place `json:"place,omitzero"`
	// Key is the setting or table, such as "listener.address"; empty when the
	// text is not TOML there.
	Key string `json:"key,omitempty"`
	// Message is what was wrong, or unwise and why; Hint is what would be right
	// or better, and may be empty.
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	// Cause is the error behind it; nil for what the file itself shows.
	Cause error `json:"-"`
}

// String returns "file:line:column: key: message (hint)".
func (p Problem) String() string {
	var b strings.Builder
	for _, part := range []string{p.Place.String(), p.Key} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Error returns the problem in a line, as String does.
func (p Problem) Error() string { return p.String() }

// Unwrap returns the cause.
func (p Problem) Unwrap() error { return p.Cause }

// because returns the problem with the error behind it.
func (p Problem) because(err error) Problem {
	p.Cause = err
	return p
}

// Problem returns one with a setting of the listener, which it names, at its place if it was
// set, else at that of the table.
func (l *Listener) Problem(key, message, hint string) Problem {
	return l.Placed.Problem(key, "listener "+l.Name+": "+message, hint)
}

// Wrong returns the problem that the value of a setting of the listener cannot be used.
func (l *Listener) Wrong(key string, err error) Problem {
	return l.Problem(key, err.Error(), "").because(err)
}

// Errors is all that is wrong with a configuration, in the order of its files
// and in them; there is at least one Problem.
type Errors struct {
	Problems []Problem
	// Socket is where the file has the administrative socket, as far as it could
	// be read, else where it is by default: a server that runs with what stood in
	// the file before can be asked there.
	Socket string
}

// Error returns the problems, each on a line of its own.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// SortProblems puts problems into the order of the files, and in them of their
// places; those without a place come first.
func SortProblems(problems []Problem, files []string) {
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
