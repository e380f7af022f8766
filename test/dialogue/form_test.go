package dialogue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dialogue is a file: what it is about, and its sections.
type dialogue struct {
	name     string // that of the file, without directory and extension
	sections []section
}

// section is what one connection, or the journal, is to be like.
type section struct {
	kind  string // client, submit, server or journal
	where string // the listener, or the host that is played
	lines []line
}

// line is one line of a section.
type line struct {
	number int // in the file, from 1
	text   string
}

// kinds are the kinds of sections, each with what may stand behind it. The
// first is what it means when nothing does.
var kinds = map[string][]string{
	"client":  {"smtp", "tls", "small", "stranger", "required", "implicit", "certified", "plain", "login", "silent"},
	"submit":  {"smtp"},
	"server":  {"next", "second", "back"},
	"journal": {""},
}

// rule is how a dialogue names what it tests.
var rule = regexp.MustCompile(`^# .*\bRFC \d{3,5}( [A-Z0-9]\d*(\.\d+)*)?\b`)

func readDialogue(path string) (*dialogue, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseDialogue(strings.TrimSuffix(filepath.Base(path), ".txt"), string(text))
}

// parseDialogue reads the text of a file. It fails with the number of the line
// and what would be right there.
func parseDialogue(name, text string) (*dialogue, error) {
	if !rule.MatchString(text) {
		return nil, errors.New("1: the first line must be a comment that cites its rule, as in # RFC 5321 4.1.1.3: what it says")
	}
	d := &dialogue{name: name}
	// In the files the domains of a dialogue have short names.
	text = strings.NewReplacer("next.example", d.domain("next"), "back.example", d.domain("back")).Replace(text)
	n := 0
	for l := range strings.Lines(text) {
		n++
		l = strings.TrimRight(l, "\r\n")
		if title, is := strings.CutPrefix(l, "-- "); is {
			s, err := newSection(title)
			if err != nil {
				return nil, fmt.Errorf("%d: %w", n, err)
			}
			d.sections = append(d.sections, s)
			continue
		}
		if len(d.sections) > 0 {
			s := &d.sections[len(d.sections)-1]
			s.lines = append(s.lines, line{n, l})
		} else if l != "" && l[0] != '#' {
			return nil, fmt.Errorf("%d: a section must begin here, as in -- client", n)
		}
	}
	if len(d.sections) == 0 {
		return nil, fmt.Errorf("%d: there is no section, such as -- client", n)
	}
	return d, nil
}

func newSection(title string) (section, error) {
	kind, where, _ := strings.Cut(title, " ")
	places, known := kinds[kind]
	if !known {
		return section{}, fmt.Errorf("%q is no kind of section: write client, submit, server or journal", kind)
	}
	if where == "" {
		where = places[0]
	}
	if !slices.Contains(places, where) {
		return section{}, fmt.Errorf("%q cannot stand behind %s: one of %q can", where, kind, places)
	}
	return section{kind: kind, where: where}, nil
}

// domain returns the domain of a host that the dialogue plays.
func (d *dialogue) domain(host string) string { return d.name + "." + host + ".example" }

// of returns the sections of one kind; those of one place, unless that is "".
func (d *dialogue) of(kind, where string) []section {
	return slices.DeleteFunc(slices.Clone(d.sections), func(s section) bool {
		return s.kind != kind || where != "" && s.where != where
	})
}

// needs reports whether DNS has to know a host. Where the second server of a
// domain is played, the first is one that nobody may listen at.
func (d *dialogue) needs(host string) bool {
	return len(d.of("server", host)) > 0 || host == "next" && len(d.of("server", "second")) > 0
}

// matches reports whether text is what pattern says: "..." in it stands for any
// text, none included.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "...")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return text == pattern
	}
	text, found := strings.CutPrefix(text, first)
	if !found || !strings.HasSuffix(text, last) {
		return false
	}
	text = strings.TrimSuffix(text, last)
	for _, part := range parts[1 : len(parts)-1] {
		if _, text, found = strings.Cut(text, part); !found {
			return false
		}
	}
	return true
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"250 Ok", "250 Ok", true},
		{"250 Ok", "250 Ok.", false},
		{"250 ...", "250 ", true},
		{"250 ...", "251 Ok", false},
		{"...end", "the end", true},
		{"...end", "the end.", false},
		{"a...b...c", "a-b-c", true},
		{"a...b...c", "a-c", false},
		{"a...a", "a", false},
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.pattern, c.text, got)
		}
	}
}

func TestParseDialogue(t *testing.T) {
	got, err := parseDialogue("a", "# RFC 5321 4.1.1.5: x\n# more\n\n-- client\nC: RSET\n-- server second\nS: 220 next.example\n")
	want := &dialogue{name: "a", sections: []section{
		{"client", "smtp", []line{{5, "C: RSET"}}},
		{"server", "second", []line{{7, "S: 220 a.next.example"}}},
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(dialogue{}, section{}, line{})); diff != "" || err != nil {
		t.Errorf("%v; - want, + got:\n%s", err, diff)
	}
	for text, want := range map[string]string{
		"C: RSET\n":                       "1: the first line must be a comment that cites its rule, as in # RFC 5321 4.1.1.3: what it says",
		"# RFC 5321: x\n":                 "1: there is no section, such as -- client",
		"# RFC 5321: x\nC: RSET\n":        "2: a section must begin here, as in -- client",
		"# RFC 5321: x\n-- clint\n":       `2: "clint" is no kind of section: write client, submit, server or journal`,
		"# RFC 5321: x\n-- client next\n": `2: "next" cannot stand behind client: one of ["smtp" "tls" "small" "stranger" "required" "implicit" "certified" "plain" "login" "silent"] can`,
	} {
		if _, err := parseDialogue("a", text); err == nil || err.Error() != want {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
}
