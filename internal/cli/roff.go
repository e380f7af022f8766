package cli

import (
	"fmt"
	"strings"
)

// roff is a manual page as it is written, in the language of man(7).
type roff struct{ b strings.Builder }

// newRoff begins a page: its name, the section of the manual, and what it is in
// one line.
func newRoff(name, section, short string) *roff {
	r := &roff{}
	fmt.Fprintf(&r.b, ".TH %s %s \"\" \"postern %s\" \"Postern\"\n", strings.ToUpper(name), section, version)
	r.section("NAME")
	// What stands before the dash is what man -k finds the page by.
	fmt.Fprintf(&r.b, "%s \\- %s\n", roffText(name), roffText(lowerFirst(short)))
	return r
}

// lowerFirst is a sentence as it stands behind a name. What begins with two
// capitals is an abbreviation.
func lowerFirst(s string) string {
	if len(s) > 1 && s[1] >= 'A' && s[1] <= 'Z' {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// section begins a section.
func (r *roff) section(title string) { fmt.Fprintf(&r.b, ".SH %s\n", title) }

// prose writes paragraphs, which empty lines part. A paragraph whose lines are
// indented is printed as it is.
func (r *roff) prose(text string) {
	for i, paragraph := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		if i > 0 {
			r.b.WriteString(".PP\n")
		}
		r.paragraph(paragraph)
	}
}

func (r *roff) paragraph(text string) {
	verbatim := false
	for line := range strings.SplitSeq(text, "\n") {
		if indented := strings.HasPrefix(line, "  "); indented != verbatim {
			r.b.WriteString(map[bool]string{true: ".RS 4\n.nf\n", false: ".fi\n.RE\n"}[indented])
			verbatim = indented
		}
		r.b.WriteString(roffLine(strings.TrimPrefix(line, "  ")) + "\n")
	}
	if verbatim {
		r.b.WriteString(".fi\n.RE\n")
	}
}

// entry writes what something is called, in bold, and then what it is.
func (r *roff) entry(term, text string) {
	fmt.Fprintf(&r.b, ".TP\n.B %s\n", roffText(term))
	r.paragraph(text)
}

// seeAlso names other pages.
func (r *roff) seeAlso(pages ...string) {
	r.section("SEE ALSO")
	for i, p := range pages {
		name, section, _ := strings.Cut(p, "(")
		end := ","
		if i == len(pages)-1 {
			end = ""
		}
		fmt.Fprintf(&r.b, ".BR %s (%s%s\n", roffText(name), section, end)
	}
}

// roffText is text within a line. A minus sign stays one, so that what is copied
// from a page works.
func roffText(s string) string {
	return strings.NewReplacer(`\`, `\e`, `-`, `\-`, `"`, `\(dq`).Replace(s)
}

// roffLine is text that is a line by itself: it begins with no request.
func roffLine(s string) string {
	s = roffText(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		return `\&` + s
	}
	return s
}
