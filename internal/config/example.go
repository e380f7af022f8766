package config

import (
	"fmt"
	"strings"
)

const exampleHead = `# The configuration of Postern, with every setting.
#
# What has to be set is set to an example: change it. Everything else is a
# comment that shows the default: to change it, take the "# " away.
# A table that need not be there, such as #[[handler]], is a comment as a whole.
# docs/configuration.md says more about each. Then: postern check --config FILE
`

// Example returns postern.example.toml: a file that loads, in which what is
// required is set, and every other setting is a comment with its default. Tables
// that need not be there are comments, too.
func Example() string {
	defaults := defaultFields()
	var b strings.Builder
	b.WriteString(exampleHead)
	for i := range sections {
		s := &sections[i]
		if s.name != "" {
			b.WriteString("\n\n")
			writeWrapped(&b, "# ", plain(s.prose()))
			if s.optional() {
				b.WriteString("#")
			}
			b.WriteString(s.header() + "\n")
		}
		for _, row := range s.settings() {
			row.writeExample(&b, defaults)
		}
	}
	return b.String()
}

func (s *setting) writeExample(b *strings.Builder, defaults fields) {
	_, name := s.split()
	b.WriteString("\n")
	writeWrapped(b, "# ", plain(s.prose()))
	for _, o := range s.value.options {
		writeWrapped(b, "#   ", o.word+": "+plain(o.text))
	}
	if s.value.limits != "" && !s.required {
		writeWrapped(b, "# ", "Range: "+s.value.limits)
	}
	mark := "# "
	if s.table().optional() {
		mark = "#"
	}
	switch {
	case s.required && s.table().optional():
		fmt.Fprintf(b, "#%s = %s\n", name, s.example)
	case s.required:
		fmt.Fprintf(b, "%s = %s\n", name, s.example)
	case s.byDefault != "":
		fmt.Fprintf(b, "# Default: %s\n%s%s = %s\n", plain(s.byDefault), mark, name, s.example)
	default:
		fmt.Fprintf(b, "%s%s = %s\n", mark, name, s.value.show(defaults))
	}
}
