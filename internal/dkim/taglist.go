package dkim

import (
	"errors"
	"fmt"
	"strings"
)

// Tag is one tag of a list such as the records of DKIM and DMARC are (RFC 6376 3.2).
type Tag struct{ Name, Value string }

// maxTags bounds the tags of a list.
const maxTags = 100

// Errors of lists of tags.
var (
	errTag      = errors.New("is no tag: a tag is a name, an equals sign, and a value")
	errTwice    = errors.New("is there twice")
	errManyTags = fmt.Errorf("there are more than %d tags", maxTags)
)

// ParseTags reads a list of tags: "v=DKIM1; k=rsa". White space around names and values is
// left out. It fails when a tag has no name or no value, or is there twice.
func ParseTags(s string) ([]Tag, error) {
	var list []Tag
	seen := make(map[string]bool)
	for part := range strings.SplitSeq(s, ";") {
		part = trim(part)
		if part == "" {
			continue
		}
		name, value, is := strings.Cut(part, "=")
		name = trim(name)
		switch {
		case !is || !isTagName(name):
			return nil, fmt.Errorf("%.40q %w", part, errTag)
		case seen[name]:
			return nil, fmt.Errorf("the tag %.40q %w", name, errTwice)
		case len(list) == maxTags:
			return nil, errManyTags
		}
		seen[name] = true
		list = append(list, Tag{name, trim(value)})
	}
	return list, nil
}

func trim(s string) string { return strings.Trim(s, " \t\r\n") }

// isTagName: a letter, then letters, digits and underscores.
func isTagName(s string) bool {
	for i, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// Values returns the values of a list by name.
func Values(list []Tag) map[string]string {
	values := make(map[string]string, len(list))
	for _, t := range list {
		values[t.Name] = t.Value
	}
	return values
}
