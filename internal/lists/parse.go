package lists

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/internal/config"
	"postern/internal/mail"
)

// maxProblems bounds how many faults of one file are told.
const maxProblems = 100

// entries are an index that is being built.
type entries interface {
	index
	// add takes an entry in, and says what is wrong with it. What is there already
	// keeps its line.
	add(text string, line int) *fault
	len() int
}

func newEntries(kind Kind) entries {
	switch kind {
	case Networks:
		return newNetworks()
	case Domains:
		return newDomains()
	case Addresses:
		return make(addresses)
	case Ways:
		return make(ways)
	}
	return newPatterns()
}

// fault is what is wrong with an entry.
type fault struct {
	at            int // offset in the entry
	message, hint string
}

func faultAt(at int, hint, format string, args ...any) *fault {
	return &fault{at: at, message: fmt.Sprintf(format, args...), hint: hint}
}

// Parse reads what stands in a file; file is its name in problems. Lines end with
// LF or CRLF. It fails with config.Problems, joined, in the order of the file: all
// of them up to 100, and then how many more there are.
func Parse(kind Kind, file string, data []byte) (*List, error) {
	p := parser{file: file, kind: kind, entries: newEntries(kind)}
	p.read(strings.TrimPrefix(string(data), "\ufeff"))
	if err := p.failed(); err != nil {
		return nil, err
	}
	return &List{kind: kind, file: file, index: p.entries, size: p.entries.len()}, nil
}

// Of returns the list of entries that stand in no file of their own. It fails with
// config.Problems, joined, whose line is the number of an entry, from 1, and whose column
// counts its characters from 1.
func Of(kind Kind, texts []string) (*List, error) {
	p := parser{kind: kind, entries: newEntries(kind)}
	for i, text := range texts {
		if wrong := p.spaced(text); wrong != nil {
			p.wrong(i+1, columnOf(text, wrong.at), wrong)
		} else if wrong := p.entries.add(text, i+1); wrong != nil {
			p.wrong(i+1, columnOf(text, wrong.at), wrong)
		}
	}
	if err := p.failed(); err != nil {
		return nil, err
	}
	return &List{kind: kind, index: p.entries, size: p.entries.len()}, nil
}

type parser struct {
	file     string
	kind     Kind
	entries  entries
	problems []error
	more     int // problems that are not told
}

func (p *parser) read(text string) {
	number := 0
	for line := range strings.Lines(text) {
		if number++; number > MaxLines {
			p.wrong(number, 1, faultAt(0, "make two lists of it", "is one line too many; %d can be read", MaxLines))
			return
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if wrong, column := p.line(line, number); wrong != nil {
			p.wrong(number, column, wrong)
		}
	}
}

// line reads one line, and says what is wrong with it and in which column.
func (p *parser) line(line string, number int) (wrong *fault, column int) {
	if len(line) > MaxLine {
		return faultAt(0, "write one entry a line", "has %d octets; the limit is %d", len(line), MaxLine), 1
	}
	if bad := strings.IndexFunc(line, notText); bad >= 0 {
		return faultAt(0, "save the file as plain text in UTF-8", "has a character that is no text"), columnOf(line, bad)
	}
	entry := strings.TrimSpace(withoutComment(line))
	if entry == "" {
		return nil, 0
	}
	start := strings.Index(line, entry)
	if wrong = p.spaced(entry); wrong == nil {
		wrong = p.entries.add(entry, number)
	}
	if wrong == nil {
		return nil, 0
	}
	return wrong, columnOf(line, start+wrong.at)
}

// spaced refuses what was meant as several entries. Only networks and patterns may
// have space within, and a local part in quotes.
func (p *parser) spaced(entry string) *fault {
	at := strings.IndexFunc(entry, unicode.IsSpace)
	if at < 0 || p.kind == Networks || p.kind == Patterns || p.kind == Ways || entry[0] == '"' {
		return nil
	}
	rest := at + len(entry[at:]) - len(strings.TrimSpace(entry[at:]))
	return faultAt(rest, `write one entry a line, and "#" before a comment`, "goes on behind %q", clip(entry[:at]))
}

// notText reports whether a character has no place in a list: a control character,
// or an octet that is not UTF-8.
func notText(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) && r != '\t' }

// withoutComment cuts a comment off: it begins with a "#" at the start of the line
// or behind space. Local parts may have "#" within (RFC 5322 3.2.3), and a quoted
// one after a space as well.
func withoutComment(line string) string {
	quoted := strings.HasPrefix(strings.TrimSpace(line), `"`)
	inside, escaped, space := false, false, true
	for i, c := range line {
		switch {
		case escaped:
			escaped = false
		case c == '\\' && inside:
			escaped = true
		case c == '"' && quoted:
			inside = !inside
		case c == '#' && !inside && space:
			return line[:i]
		}
		space = unicode.IsSpace(c)
	}
	return line
}

// columnOf counts characters from 1.
func columnOf(line string, at int) int { return utf8.RuneCountInString(line[:at]) + 1 }

func (p *parser) wrong(line, column int, f *fault) {
	if len(p.problems) == maxProblems {
		p.more++
		return
	}
	p.problems = append(p.problems, config.Problem{
		Place: mail.Place{File: p.file, Line: line, Column: column}, Message: f.message, Hint: f.hint,
	})
}

func (p *parser) failed() error {
	if p.more > 0 {
		p.problems = append(p.problems, config.Problem{
			Place: mail.Place{File: p.file}, Message: fmt.Sprintf("has %d more that are wrong", p.more),
		})
	}
	return errors.Join(p.problems...)
}

// clip keeps a message readable whatever the file holds.
func clip(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}
