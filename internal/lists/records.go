package lists

import (
	"errors"
	"fmt"
	"strings"

	"postern/internal/config"
)

// Records are the entries of a list in the directory, each as a line of a file has it.
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
	list, err := Parse(r.Kind, "list:"+l.config.Name, []byte(strings.Join(r.Entries, "\n")))
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
