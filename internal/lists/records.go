package lists

import (
	"errors"
	"fmt"

	"postern/internal/config"
)

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
	list := o.Records(l.config.Name)
	switch {
	case list == nil:
		c.record = nil
		e := c.fail(errNoRecord, o.Clock.Now())
		if c.current.Load().Len() > 0 {
			c.replace(empty(l.config.Kind))
		}
		return e
	case list == c.record:
		return nil
	}
	c.record = list
	err := o.Check(l.config.Name, list)
	if list.Kind() != l.config.Kind {
		err = fmt.Errorf("in the directory it is one of %s, and the configuration wants %s", list.Kind(), l.config.Kind)
	}
	if err != nil {
		return c.fail(err, o.Clock.Now())
	}
	e := &Event{Before: c.current.Load().Len(), Entries: list.Len()}
	c.replace(list)
	if !c.trouble.End() {
		return nil // the fact of the change tells of it
	}
	return e
}
