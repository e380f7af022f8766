package lists

import (
	"crypto/sha256"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/stamp"
)

// Options are what a Book needs; none is required.
type Options struct {
	// Tell is told what became of a file that has changed, once for each change. It
	// is called by whoever calls Look or Follow.
	Tell func(Event)
	// Check says what is wrong with what a list holds, though each line is right: a
	// list with an error is like one whose file is wrong. Nil: nothing is.
	Check func(name string, l *List) error
	// Records returns a list that is in the directory, another one when it has changed;
	// nil if there is none. Without it the directory is not known, and these lists are
	// empty.
	Records func(name string) *List
	Clock   mail.Clock
	Metrics *Metrics
}

// Event is that the file of a list has changed; or that a list in the directory cannot be
// used, or can again.
type Event struct {
	Name string
	// File is empty for a list in the directory.
	File string
	// Before and Entries are how many entries there were and are.
	Before, Entries int
	// Err is why the file cannot be used: then its list is as before. Nil: it is in
	// force.
	Err error
}

// Book has the lists of a configuration, as their files are. It is safe for use by
// several goroutines.
type Book struct {
	options Options
	lists   []*Live
}

// Live is a list that is read again when its file changes.
type Live struct {
	config config.List
	// content is shared with the Live that this one has followed.
	content *content
}

// content is what the file of a list says.
type content struct {
	current atomic.Pointer[List]
	// changes counts how often current was replaced.
	changes atomic.Uint64

	mu    sync.Mutex  // held while the file is looked at
	stamp stamp.Stamp // of the file, when it was read last
	sum   [sha256.Size]byte
	// trouble is why current is not what the file, or the directory, says.
	trouble stamp.Trouble
	// record is what the directory had last.
	record *List
}

// Open reads the lists of a configuration. It fails with config.Problems, joined:
// those of the files, and of settings whose file cannot be read. The Book then knows names
// and kinds of its lists, and no more.
func Open(c []config.List, o Options) (*Book, error) {
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	if o.Check == nil {
		o.Check = func(string, *List) error { return nil }
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Records == nil {
		o.Records = func(string) *List { return nil }
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	b := &Book{options: o}
	var errs []error
	for i := range c {
		l := &Live{config: c[i], content: &content{}}
		if err := l.open(&o); err != nil {
			errs = append(errs, err)
		}
		b.lists = append(b.lists, l)
	}
	return b, errors.Join(errs...)
}

func (l *Live) open(o *Options) error {
	if l.inDirectory() {
		l.content.current.Store(empty(l.config.Kind))
		return nil
	}
	data, at, err := stamp.Read(l.config.File, MaxFile, o.Clock.Now())
	if err != nil {
		return l.config.Wrong("list.file", err)
	}
	list, err := l.parse(data, o)
	if err != nil {
		return err
	}
	l.content.current.Store(list)
	l.content.stamp, l.content.sum = at, sha256.Sum256(data)
	return nil
}

// parse reads what stands in the file, and checks it.
func (l *Live) parse(data []byte, o *Options) (*List, error) {
	list, err := Parse(l.config.Kind, l.config.File, data)
	if err != nil {
		return nil, err
	}
	if err := o.Check(l.config.Name, list); err != nil {
		return nil, err
	}
	return list, nil
}

// List returns what the file says, or what it said before it was wrong; nil if Open
// failed with it.
func (l *Live) List() *List { return l.content.current.Load() }

// Changes counts how often what List returns has become another.
func (l *Live) Changes() uint64 { return l.content.changes.Load() }

// replace puts what the file says now in force.
func (c *content) replace(list *List) {
	c.current.Store(list)
	c.changes.Add(1)
}

// List returns the list of that name, or nil.
func (b *Book) List(name string) *Live {
	for _, l := range b.lists {
		if l.config.Name == name {
			return l
		}
	}
	return nil
}

// Kind returns what the entries of a list are, "" if there is no such list.
func (b *Book) Kind(name string) string {
	if l := b.List(name); l != nil {
		return string(l.config.Kind)
	}
	return ""
}

// Contains reports whether a text is in a list, as List.Find has it; it is in no list
// that is not there.
func (b *Book) Contains(name, text string) bool {
	l := b.List(name)
	if l == nil {
		return false
	}
	_, found := l.List().Find(text)
	return found
}

// Names returns the names of all lists.
func (b *Book) Names() []string {
	var names []string
	for _, l := range b.lists {
		names = append(names, l.config.Name)
	}
	return names
}

// Stale is a list whose file is not what is in force.
type Stale struct {
	Name, File string
	Since      time.Time
	Err        error
}

// Stale returns the lists whose files could not be used when they were looked at
// last.
func (b *Book) Stale() []Stale {
	var list []Stale
	for _, l := range b.lists {
		l.content.mu.Lock()
		if t := l.content.trouble; t.Err != nil {
			list = append(list, Stale{Name: l.config.Name, File: l.config.File, Since: t.Since, Err: t.Err})
		}
		l.content.mu.Unlock()
	}
	return list
}

// Follow makes the Book the one after another: a list that is the same, of the same
// file, is one with the other's, so that whoever still asks that sees the same, unless the
// other's Check would not have it. It must be called before the Book is used by anybody.
func (b *Book) Follow(before *Book) {
	for _, l := range b.lists {
		old := before.List(l.config.Name)
		if old == nil || old.config.Kind != l.config.Kind || old.config.Source != l.config.Source || old.config.File != l.config.File {
			continue
		}
		fresh := l.content
		if before.options.Check(l.config.Name, fresh.current.Load()) != nil {
			continue
		}
		l.content = old.content
		b.tell(l, l.content.take(fresh))
	}
}

// take makes what was just read the content, and returns what there is to tell, if
// anything.
func (c *content) take(fresh *content) *Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	same := c.sum == fresh.sum
	c.stamp, c.sum = fresh.stamp, fresh.sum
	if ended := c.trouble.End(); !ended && same {
		return nil
	}
	e := &Event{Before: c.current.Load().Len(), Entries: fresh.current.Load().Len()}
	c.replace(fresh.current.Load())
	return e
}

// Look looks at every file and at the directory, and reads what has changed. What it says is in
// force at once, and as a whole; if it is wrong, what it said before stays so. It does
// not fail: what went wrong is told.
func (b *Book) Look() {
	for _, l := range b.lists {
		b.tell(l, l.look(&b.options))
	}
}

// LookInDirectory looks at the lists in the directory alone.
func (b *Book) LookInDirectory() {
	for _, l := range b.lists {
		if l.inDirectory() {
			b.tell(l, l.look(&b.options))
		}
	}
}

func (b *Book) tell(l *Live, e *Event) {
	if e == nil {
		return
	}
	e.Name, e.File = l.config.Name, l.config.File
	b.options.Metrics.read(e.Err)
	b.options.Tell(*e)
}

// look reads the file if it has changed, and returns what there is to tell.
func (l *Live) look(o *Options) *Event {
	c, now := l.content, o.Clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.inDirectory() {
		return l.lookInDirectory(o)
	}
	if c.stamp.Stands(l.config.File) {
		return nil
	}
	data, at, err := stamp.Read(l.config.File, MaxFile, now)
	if errors.Is(err, stamp.ErrWriting) {
		return nil // it is looked at again
	}
	c.stamp = at
	if err != nil {
		return c.fail(err, now)
	}
	if sum := sha256.Sum256(data); sum == c.sum && c.trouble.Err == nil {
		return nil
	}
	list, err := l.parse(data, o)
	if err != nil {
		return c.fail(err, now)
	}
	e := &Event{Before: c.current.Load().Len(), Entries: list.Len()}
	c.replace(list)
	c.sum = sha256.Sum256(data)
	c.trouble.End()
	return e
}

// fail notes why the file cannot be used, and tells of it unless it has. mu is held.
func (c *content) fail(err error, now time.Time) *Event {
	if !c.trouble.Note(err, now) {
		return nil
	}
	n := c.current.Load().Len()
	return &Event{Before: n, Entries: n, Err: err}
}
