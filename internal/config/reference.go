package config

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

// intro is the part of the reference that is not about a single setting.
//
//go:embed intro.md
var intro string

// Reference returns docs/configuration.md: the whole table as Markdown.
func Reference() string {
	defaults := defaultFields()
	var b strings.Builder
	b.WriteString(intro)
	b.WriteString("\n## All settings\n\n| setting | type | default | takes effect at |\n|---|---|---|---|\n")
	for i := range sections {
		for _, s := range sections[i].settings() {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", link(s.key), s.value.kind, s.defaultText(defaults), s.effect)
		}
	}
	for i := range sections {
		s := &sections[i]
		if s.name == "" {
			b.WriteString("\n## At the top\n\n")
		} else {
			fmt.Fprintf(&b, "\n## `%s`\n\n", s.header())
		}
		b.WriteString(s.prose() + "\n")
		for _, row := range s.settings() {
			row.writeReference(&b, defaults)
		}
	}
	return b.String()
}

func (s *setting) writeReference(b *strings.Builder, defaults fields) {
	fmt.Fprintf(b, "\n### `%s`\n\n*%s", s.key, s.value.kind)
	if s.value.limits != "" {
		fmt.Fprintf(b, ", %s", s.value.limits)
	}
	if s.value.advised != "" {
		fmt.Fprintf(b, " · advised: %s", plain(s.value.advised))
	}
	if s.required {
		b.WriteString(" · required")
	} else {
		fmt.Fprintf(b, " · default: %s", s.defaultText(defaults))
	}
	fmt.Fprintf(b, " · takes effect at %s · since %s*\n\n%s\n", s.effect, s.release(), s.prose())
	if len(s.value.options) > 0 {
		b.WriteString("\n")
		for _, o := range s.value.options {
			fmt.Fprintf(b, "- `\"%s\"`: %s\n", o.word, o.text)
		}
	}
	if len(s.see) > 0 {
		links := make([]string, len(s.see))
		for i, key := range s.see {
			links[i] = link(key)
		}
		fmt.Fprintf(b, "\nSee also: %s\n", strings.Join(links, ", "))
	}
}

// link returns a link to the heading of a setting.
func link(key string) string {
	return fmt.Sprintf("[`%s`](#%s)", key, strings.ReplaceAll(key, ".", ""))
}

// defaultText returns the default in Markdown.
func (s *setting) defaultText(defaults fields) string {
	switch {
	case s.required:
		return "required"
	case s.byDefault != "":
		return s.byDefault
	}
	return "`" + string(s.value.show(defaults)) + "`"
}

// defaultFields returns structs in which every field is its default.
func defaultFields() fields {
	f := fields{config: Default()}
	for i := range sections {
		if s := &sections[i]; s.repeated() {
			s.tables.open(&f)
			s.reset(f)
		}
	}
	return f
}

// plain takes the Markdown out of prose: code, and where links lead.
func plain(s string) string { return strings.ReplaceAll(pageLink.ReplaceAllString(s, "$1"), "`", "") }

var pageLink = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// width is how wide lines of prose are in plain text.
const width = 78

// writeWrapped writes text in lines of at most width, each after the indent.
func writeWrapped(b *strings.Builder, indent, text string) {
	line := indent
	for _, word := range strings.Fields(text) {
		if line != indent && len([]rune(line))+len([]rune(word)) > width {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}
