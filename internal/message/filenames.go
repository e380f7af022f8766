package message

import (
	"slices"
	"strings"
	"unicode"
)

// maxFileName is how many octets of the name of an attachment are looked at. No
// file system takes a longer one.
const maxFileName = 4096

// fileNames returns the names that a file may get for which a message has
// name: the name as it is, and what systems and readers of mail make of it. They
// leave out directories, cut it at a NUL or line end, at the ":" of a stream, drop
// spaces and dots at its end, quotes around it, and what cannot be seen, such as
// what turns the direction of text.
func fileNames(name string) []string {
	names := []string{name}
	for _, change := range []func(string) string{
		strings.TrimSpace,
		func(s string) string { return strings.Trim(s, `"'`) },
		func(s string) string { return strings.Map(visible, s) },
		func(s string) string { return s[strings.LastIndexAny(s, `/\`)+1:] },
		func(s string) string { return cutAt(s, "\x00\r\n") },
		func(s string) string { return cutAt(s, ":") },
		func(s string) string { return strings.TrimRight(s, " .") },
	} {
		for _, name := range slices.Clone(names) {
			if changed := change(name); changed != "" && !slices.Contains(names, changed) {
				names = append(names, changed)
			}
		}
	}
	return names
}

// cutAt returns what stands before the first of chars.
func cutAt(s, chars string) string {
	if end := strings.IndexAny(s, chars); end >= 0 {
		return s[:end]
	}
	return s
}

// visible drops what cannot be seen: controls, and the characters that turn
// the direction of text or have no width.
func visible(c rune) rune {
	if unicode.IsControl(c) || unicode.Is(unicode.Cf, c) {
		return -1
	}
	return c
}
