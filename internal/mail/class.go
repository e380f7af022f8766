package mail

import (
	"fmt"
	"strconv"
	"strings"
)

// Class is a priority class; higher goes first.
type Class int8

// The classes.
const (
	Bulk   Class = -1
	Normal Class = 0 // of mail for which nothing else was said
	Urgent Class = 1
)

// Classes are all classes, the lowest first.
var Classes = []Class{Bulk, Normal, Urgent}

// classNames are the names of Classes.
var classNames = []string{"bulk", "normal", "urgent"}

// String returns the name of the class, or its number if it has none.
func (c Class) String() string {
	if i := int(c - Bulk); i >= 0 && i < len(classNames) {
		return classNames[i]
	}
	return strconv.Itoa(int(c))
}

// ParseClass reads the name of a class, in any case.
func ParseClass(s string) (Class, error) {
	for i, name := range classNames {
		if strings.EqualFold(s, name) {
			return Classes[i], nil
		}
	}
	return Normal, fmt.Errorf("%q is not a priority class; these are %s", s, strings.Join(classNames, ", "))
}

// ClassOfHeader returns the class that a message gives itself, by the fields of its
// header; get returns the value of the first field of a name, "" for none. The fields are
// asked in this order, and the first that has a known word says it: Priority (RFC 2156),
// Precedence (which sendmail reads; RFC 2076), X-Priority (of mail programs, 1 to 5), and
// Importance (RFC 2156). told is false when none has.
func ClassOfHeader(get func(name string) string) (class Class, told bool) {
	for _, f := range priorityFields {
		word := strings.TrimSpace(get(f.name))
		if end := strings.IndexAny(word, " \t\r\n("); end >= 0 { // "1 (Highest)"
			word = word[:end]
		}
		if class, told = f.words[strings.ToLower(word)]; told {
			return class, true
		}
	}
	return Normal, false
}

// priorityFields are the fields by which messages give themselves a class.
var priorityFields = []struct {
	name  string
	words map[string]Class
}{
	{"Priority", map[string]Class{"urgent": Urgent, "normal": Normal, "non-urgent": Bulk}},
	{"Precedence", map[string]Class{"special-delivery": Urgent, "first-class": Normal, "list": Bulk, "bulk": Bulk, "junk": Bulk}},
	{"X-Priority", map[string]Class{"1": Urgent, "2": Urgent, "3": Normal, "4": Bulk, "5": Bulk}},
	{"Importance", map[string]Class{"high": Urgent, "normal": Normal, "low": Bulk}},
}
