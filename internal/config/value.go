package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// value is how a setting gets from the file to its field, and back.
type value struct {
	kind    string // as the reference calls its type: "duration"
	limits  string // its range in words; may be empty
	advised string // the part of the range that is wise; may be empty
	options []option
	// read sets the field from n. It reports each fault with its place.
	read func(n node, f fields, report reportFunc)
	// reset sets the field to its default; show writes the field as TOML.
	reset func(f fields)
	show  func(f fields) Value
	// names are the lists that a setting names beside its values, of the kind namesOf;
	// nil for one that cannot.
	names   func(fields) *[]Text
	namesOf ListKind
	// copy gives the field of to the value that it has in from.
	copy func(from, to fields)
}

// Value is the value of a setting as TOML. In JSON it is the same value, as far
// as JSON has it.
type Value string

// MarshalJSON returns the value itself: TOML writes text, numbers, booleans and
// lists as JSON does, but for rare escapes.
func (v Value) MarshalJSON() ([]byte, error) {
	if json.Valid([]byte(v)) {
		return []byte(v), nil
	}
	return json.Marshal(string(v))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *Value) UnmarshalJSON(text []byte) error {
	*v = Value(text)
	return nil
}

// option is one of the words that a setting can be.
type option struct{ word, text string }

// reportFunc takes a fault in a value, with the offset at which it is.
type reportFunc func(at int, f *fault)

// fault is what is wrong with a value, and what would be right.
type fault struct {
	message, hint string
	// advice faults are of what is allowed but unwise.
	advice bool
}

func faultf(hint, format string, args ...any) *fault {
	return &fault{message: fmt.Sprintf(format, args...), hint: hint}
}

// advicef returns a fault of what is allowed but unwise.
func advicef(hint, format string, args ...any) *fault {
	f := faultf(hint, format, args...)
	f.advice = true
	return f
}

// scalar is a type of value: how one is read from a node, and written as TOML.
type scalar[T any] struct {
	kind, kinds string // "duration", "durations"
	limits      string
	advised     string
	options     []option
	read        func(n node) (T, *fault)
	show        func(T) string
	// unwise returns the advice about a value that is not wise, or nil; it may
	// be missing.
	unwise func(T) *fault
}

// readInto reads a value, and reports what is wrong or unwise about it.
func (s scalar[T]) readInto(to *T, n node, report reportFunc) (ok bool) {
	v, wrong := s.read(n)
	if wrong != nil {
		report(n.at, wrong)
		return false
	}
	if s.unwise != nil {
		if advice := s.unwise(v); advice != nil {
			report(n.at, advice)
		}
	}
	*to = v
	return true
}

// one is a setting that has one value.
func one[T any](s scalar[T], field func(fields) *T, byDefault T) value {
	return value{
		kind:    s.kind,
		limits:  s.limits,
		advised: s.advised,
		options: s.options,
		read:    func(n node, f fields, report reportFunc) { s.readInto(field(f), n, report) },
		reset:   func(f fields) { *field(f) = byDefault },
		show:    func(f fields) Value { return Value(s.show(*field(f))) },
		copy:    func(from, to fields) { *field(to) = *field(from) },
	}
}

// list is a setting that has any number of values.
func list[T any](s scalar[T], field func(fields) *[]T, byDefault ...T) value {
	return value{
		kind:   "list of " + s.kinds,
		limits: s.limits,
		read: func(n node, f fields, report reportFunc) {
			if n.kind != nodeList {
				report(n.at, faultf("write it in brackets, also when it is one: [...]", "is %s, not a list", n.describe()))
				return
			}
			values := make([]T, 0, len(n.items))
			for _, item := range n.items {
				var v T
				if s.readInto(&v, item, report) {
					values = append(values, v)
				}
			}
			*field(f) = values
		},
		reset: func(f fields) { *field(f) = slices.Clone(byDefault) },
		show: func(f fields) Value {
			var items []string
			for _, v := range *field(f) {
				items = append(items, s.show(v))
			}
			return Value("[" + strings.Join(items, ", ") + "]")
		},
		copy: func(from, to fields) { *field(to) = slices.Clone(*field(from)) },
	}
}

// sum is a list to which every file adds.
func sum[T any](s scalar[T], field func(fields) *[]T) value {
	v := list(s, field)
	read := v.read
	v.read = func(n node, f fields, report reportFunc) {
		before := *field(f)
		*field(f) = nil
		read(n, f, report)
		*field(f) = append(before, *field(f)...)
	}
	return v
}

// describe names the value as it stands in the file, for a message.
func (n node) describe() string {
	switch n.kind {
	case nodeText:
		return fmt.Sprintf("the text %q", clip(n.text))
	case nodeInteger:
		return "the integer " + clip(n.text)
	case nodeFloat:
		return "the number " + clip(n.text)
	case nodeBoolean:
		return "the boolean " + n.text
	case nodeTime:
		return "the time " + clip(n.text)
	case nodeList:
		return "a list"
	}
	return "a table"
}

// clip keeps a message readable whatever the file holds.
func clip(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}
