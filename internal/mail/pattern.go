package mail

import "strings"

// Like reports whether a text has the form of a pattern, in which "*" stands
// for anything, also for nothing; upper and lower case are the same.
func Like(pattern, text string) bool {
	text = strings.ToLower(text)
	parts := strings.Split(strings.ToLower(pattern), "*")
	if len(parts) == 1 {
		return parts[0] == text
	}
	first, last := parts[0], parts[len(parts)-1]
	text, begins := strings.CutPrefix(text, first)
	if !begins {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, behind, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = behind
	}
	return strings.HasSuffix(text, last)
}
