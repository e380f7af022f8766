package config

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/internal/mail"
)

// The scalar types. Each reads strictly: what could mean two things is a
// fault, whose hint says what to write.

// textType is a type whose values are text. What parse finds wrong gets the
// hint, unless it has one of its own.
func textType[T any](kind, kinds, hint string, parse func(string) (T, *fault)) scalar[T] {
	return scalar[T]{
		kind:  kind,
		kinds: kinds,
		read: func(n node) (v T, wrong *fault) {
			if n.kind != nodeText {
				return v, faultf(hint, "is %s, not text", n.describe())
			}
			if v, wrong = parse(n.text); wrong != nil && wrong.hint == "" {
				wrong.hint = hint
			}
			return v, wrong
		},
		show: func(v T) string { return quote(fmt.Sprint(v)) },
	}
}

var boolean = scalar[bool]{
	kind: "boolean",
	read: func(n node) (bool, *fault) {
		if n.kind != nodeBoolean {
			return false, faultf("write true or false, without quotes", "is %s, not a boolean", n.describe())
		}
		return n.text == "true", nil
	},
	show: strconv.FormatBool,
}

func integer(least, most int) scalar[int] {
	show := strconv.Itoa
	return scalar[int]{
		kind:   "integer",
		limits: limits(least, most, show),
		read: func(n node) (int, *fault) {
			if n.kind != nodeInteger {
				return 0, faultf("write a number without quotes", "is %s, not an integer", n.describe())
			}
			// A number too large for 64 bits is read as the largest or
			// smallest, which is out of every range.
			i, err := strconv.ParseInt(n.text, 0, 64)
			if err != nil && !errors.Is(err, strconv.ErrRange) {
				return 0, faultf("", "is %s, which cannot be read", n.describe())
			}
			if i < int64(least) || i > int64(most) {
				return 0, faultf("", "is %s; it must be %s", clip(n.text), limits(least, most, show))
			}
			return int(i), nil
		},
		show: show,
	}
}

// limits writes a range.
func limits[T cmp.Ordered](least, most T, show func(T) string) string {
	if least == most {
		return show(least)
	}
	return show(least) + " to " + show(most)
}

// unit is a unit of a duration or a size.
type unit[T int64 | time.Duration] struct {
	suffix string
	value  T
}

// The units, the largest first.
var (
	timeUnits = []unit[time.Duration]{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	sizeUnits = []unit[int64]{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
)

// parseUnits reads a whole number with a unit; ok is false for any other
// text. A number too large to be held is the largest.
func parseUnits[T int64 | time.Duration](s string, units []unit[T]) (v T, ok bool) {
	const most = 1<<63 - 1
	for _, u := range units {
		digits, found := strings.CutSuffix(s, u.suffix)
		if !found || digits == "" || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n > most/int64(u.value) {
			return most, true
		}
		return T(n) * u.value, true
	}
	return 0, false
}

func formatUnits[T int64 | time.Duration](v T, units []unit[T]) (text string, ok bool) {
	for _, u := range units {
		if v != 0 && v%u.value == 0 {
			return strconv.FormatInt(int64(v/u.value), 10) + u.suffix, true
		}
	}
	return "", false
}

func formatDuration(d time.Duration) string {
	if text, ok := formatUnits(d, timeUnits); ok {
		return text
	}
	return d.String()
}

func formatSize(octets int64) string {
	if text, ok := formatUnits(octets, sizeUnits); ok {
		return text
	}
	return strconv.FormatInt(octets, 10)
}

func duration(least, most time.Duration) scalar[time.Duration] {
	const hint = `write a whole number and one of the units s, m, h, d: "30s"`
	t := textType("duration", "durations", hint, func(s string) (time.Duration, *fault) {
		d, ok := parseUnits(s, timeUnits)
		if !ok {
			return 0, faultf("", "%q is not a duration", clip(s))
		}
		if d < least || d > most {
			return 0, &fault{message: fmt.Sprintf("is %q; it must be %s", clip(s), limits(least, most, formatDuration))}
		}
		return d, nil
	})
	t.limits = limits(least, most, formatDuration)
	t.show = func(d time.Duration) string { return quote(formatDuration(d)) }
	return t
}

func size(least, most int64) scalar[int64] {
	return scalar[int64]{
		kind:   "size",
		limits: limits(least, most, formatSize),
		read: func(n node) (int64, *fault) {
			octets, wrong := parseSize(n)
			if wrong == nil && (octets < least || octets > most) {
				return 0, faultf("", "is %s; it must be %s", clip(n.text), limits(least, most, formatSize))
			}
			return octets, wrong
		},
		show: func(octets int64) string { return quote(formatSize(octets)) },
	}
}

// ParseSize reads a size as a setting has it: octets, or a number and a unit.
func ParseSize(text string) (int64, error) {
	n := node{kind: nodeText, text: text}
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		n.kind = nodeInteger
	}
	octets, wrong := parseSize(n)
	if wrong == nil && octets < 0 {
		wrong = faultf("", "is less than nothing")
	}
	if wrong != nil {
		return 0, fmt.Errorf("%s; %s", wrong.message, wrong.hint)
	}
	return octets, nil
}

func parseSize(n node) (int64, *fault) {
	const hint = `write octets as a number, or with a unit: "64KiB", "50MiB", "1GiB"`
	switch n.kind {
	case nodeInteger:
		octets, err := strconv.ParseInt(n.text, 0, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, faultf(hint, "is %s, which cannot be read", n.describe())
		}
		return octets, nil
	case nodeText:
		if octets, ok := parseUnits(n.text, sizeUnits); ok {
			return octets, nil
		}
		return 0, faultf(hint, "%q is not a size", clip(n.text))
	}
	return 0, faultf(hint, "is %s, not a size", n.describe())
}

// choice is one of a few values, each with the word for it.
type choice[T comparable] struct {
	word  string
	value T
	text  string // of the reference
}

func oneOf[T comparable](choices ...choice[T]) scalar[T] {
	var words []string
	var options []option
	for _, c := range choices {
		words = append(words, quote(c.word))
		options = append(options, option{word: c.word, text: c.text})
	}
	s := textType("word", "words", "write one of "+strings.Join(words, ", "), func(text string) (v T, wrong *fault) {
		for _, c := range choices {
			if c.word == text {
				return c.value, nil
			}
		}
		return v, faultf("", "%q is not one of its words", clip(text))
	})
	s.options = options
	s.show = func(v T) string {
		for _, c := range choices {
			if c.value == v {
				return quote(c.word)
			}
		}
		return `""`
	}
	return s
}

var schedule = textType("schedule", "schedules", `write it as "1m 5m 15m 30m, every 1h until 5d"`,
	func(s string) (mail.Schedule, *fault) {
		v, err := mail.ParseSchedule(s)
		if err != nil {
			what, _, _ := strings.Cut(err.Error(), ": write it as") // which is the hint
			return mail.Schedule{}, &fault{message: what}
		}
		return v, nil
	})

// maxName bounds the name of a listener: it stands in every log line.
const maxName = 32

var plainName = textType("name", "names", "write up to 32 of the characters a-z, 0-9, hyphen and underscore",
	func(s string) (string, *fault) {
		other := func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		}
		if s == "" || len(s) > maxName || strings.ContainsFunc(s, other) {
			return "", faultf("", "%q is not a name", clip(s))
		}
		return s, nil
	})

// maxRuleName bounds the name of a handler: it stands in facts.
const maxRuleName = 64

var ruleName = textType("name", "names", "write up to 64 characters without control characters, such as \"no-yahoo\"",
	func(s string) (string, *fault) {
		other := func(r rune) bool { return !unicode.IsPrint(r) }
		if s == "" || utf8.RuneCountInString(s) > maxRuleName || strings.ContainsFunc(s, other) || strings.TrimSpace(s) != s {
			return "", faultf("", "%q is not the name of a handler", clip(s))
		}
		return s, nil
	})

var fieldName = textType("header field name", "header field names", `write the name alone, such as "Return-Path"`,
	func(s string) (string, *fault) {
		// RFC 5322 3.6.8: printable ASCII without the colon.
		other := func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }
		if s == "" || strings.ContainsFunc(s, other) {
			return "", faultf("", "%q is not the name of a header field", clip(s))
		}
		return s, nil
	})

var filePath = textType("path", "paths", `write the path of a file, such as "/var/lib/postern"`,
	func(s string) (string, *fault) {
		if s == "" || strings.ContainsRune(s, 0) {
			return "", faultf("", "%q is not a path", clip(s))
		}
		return filepath.Clean(s), nil
	})

// file is a setting that is a path. A relative one is taken from the
// directory of the file it stands in.
func file(field func(fields) *string) value {
	v := one(filePath, field, "")
	read := v.read
	v.read = func(n node, f fields, report reportFunc) {
		read(n, f, report)
		if p := field(f); *p != "" {
			*p = inDir(f.dir, *p)
		}
	}
	return v
}

// patternsHere is a setting that names files by patterns. Relative ones are taken from
// the directory of the file it stands in.
func patternsHere(field func(fields) *[]string) value {
	v := list(pattern, field)
	read := v.read
	v.read = func(n node, f fields, report reportFunc) {
		read(n, f, report)
		for i, p := range *field(f) {
			(*field(f))[i] = inDir(f.dir, p)
		}
	}
	return v
}
