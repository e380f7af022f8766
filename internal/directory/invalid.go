package directory

import (
	"errors"
	"fmt"
	"strings"
)

// Invalid says what is wrong in a record. Its texts never have a password or a key.
type Invalid struct {
	Key Key
	// Field is the name that the field has in JSON; empty for the record as a whole.
	Field string
	// Problem is what is wrong, with the value; Hint what would be right.
	Problem, Hint string
}

// Error returns record, field, problem and hint in one line.
func (e *Invalid) Error() string {
	s := e.Key.String() + ": "
	if e.Field != "" {
		s += e.Field + ": "
	}
	s += e.Problem
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Problems are all that is wrong in records; it is not empty.
type Problems []*Invalid

// Error returns them one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, e := range p {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// ProblemsOf returns what is wrong in records by an error, nil if that is something else.
func ProblemsOf(err error) Problems {
	if p, ok := errors.AsType[Problems](err); ok {
		return p
	}
	return nil
}

// check gathers what is wrong in a record.
type check struct {
	key   Key
	found Problems
}

func (c *check) wrong(field, hint, format string, args ...any) {
	c.found = append(c.found, &Invalid{Key: c.key, Field: field, Problem: fmt.Sprintf(format, args...), Hint: hint})
}

// err returns what was found, nil for nothing.
func (c *check) err() error {
	if len(c.found) == 0 {
		return nil
	}
	return c.found
}

// clip shortens what somebody wrote, so that it can be told.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
