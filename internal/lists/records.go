package lists

import (
	"errors"
	"fmt"
	"strings"

	"postern/internal/config"
)

// Records are the entries of a list in the directory.
type Records struct {
	Kind    Kind
	Entries []string
}

// same reports whether these are the same entries in memory.
func (r Records) same(other Records) bool {
	if r.Kind != other.Kind || len(r.Entries) != len(other.Entries) {
		return false
	}
	return len(r.Entries) == 0 || &r.Entries[0] == &other.Entries[0]
}

// errNoRecord says that the directory has no list.
var errNoRecord = errors.New("the directory has no such list, so it is empty: `postern list add` makes it")

// ParseEntries reads entries that are not in a file; name is what stands in its place in
// problems, the number of an entry, from 1, for the line. It fails as Parse does.
func ParseEntries(kind Kind, name string, entries []string) (*List, error) {
	p := parser{file: name, kind: kind, entries: newEntries(kind)}
	for i, entry := range entries {
		if i == MaxLines {
			p.wrong(i+1, 1, faultAt(0, "make two lists of it", "is one entry too many; there can be %d", MaxLines))
			break
		}
		if wrong, column := p.entry(entry, i+1); wrong != nil {
			p.wrong(i+1, column, wrong)
		}
	}
	if err := p.failed(); err != nil {
		return nil, err
	}
	return &List{kind: kind, file: name, index: p.entries, size: p.entries.len()}, nil
}

// entry takes an entry in, of which nothing is a comment.
func (p *parser) entry(text string, number int) (wrong *fault, column int) {
	bad := strings.IndexFunc(text, notText)
	switch {
	case strings.TrimSpace(text) == "":
		return faultAt(0, "", "is empty"), 1
	case len(text) > MaxLine:
		return faultAt(0, "", "has %d octets; the limit is %d", len(text), MaxLine), 1
	case bad >= 0:
		return faultAt(0, "", "has a character that is no text"), columnOf(text, bad)
	}
	if wrong = p.spaced(text); wrong == nil {
		wrong = p.entries.add(text, number)
	}
	if wrong == nil {
		return nil, 0
	}
	return wrong, columnOf(text, wrong.at)
}

func empty(kind Kind) *List {
	return &List{kind: kind, index: newEntries(kind)}
}

func (l *Live) inDirectory() bool { return l.config.Source == config.ListInDirectory }

// lookInDirectory reads the list in the directory if it has changed. One that is not
// there is empty; one that cannot be used stays as it was. mu is held.
func (l *Live) lookInDirectory(o *Options) *Event {
	c := l.content
	r, found := o.Records(l.config.Name)
	if !found {
		c.records = Records{}
		e := c.fail(errNoRecord, o.Clock.Now())
		c.current.Store(empty(l.config.Kind))
		return e
	}
	if r.same(c.records) {
		return nil
	}
	c.records = r
	if r.Kind != l.config.Kind {
		return c.fail(fmt.Errorf("in the directory it is one of %s, and the configuration wants %s", r.Kind, l.config.Kind), o.Clock.Now())
	}
	list, err := ParseEntries(r.Kind, "list:"+l.config.Name, r.Entries)
	if err == nil {
		err = o.Check(l.config.Name, list)
	}
	if err != nil {
		return c.fail(err, o.Clock.Now())
	}
	e := &Event{Before: c.current.Load().Len(), Entries: list.Len()}
	wasWrong := c.wrong != nil
	c.current.Store(list)
	c.wrong = nil
	if !wasWrong {
		return nil // the fact of the change tells of it
	}
	return e
}
