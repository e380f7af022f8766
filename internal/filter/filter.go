// Package filter is the language in which an operator says which recipients
// in the queue are meant: `age > 2h and domain = example.com`. docs/queue.md
// describes it for people.
//
// Parse reads it, String writes it so that Parse reads it back as the same,
// Matches asks it of one recipient. It does no I/O and knows no store: what it
// can say of that beforehand, so that a store need not read everything, it
// says by MayMatch, IDs, Destinations and States.
//
// It fails, in Parse alone, with a *SyntaxError: the column, what is wrong
// there, and what would be right.
package filter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// Limits of a filter.
const (
	MaxLength = 256 << 10 // octets
	maxDepth  = 100       // parentheses and nots in each other
)

// Subject is one recipient of one message: what a filter is asked about.
type Subject struct {
	ID       mail.ID
	Message  mail.ID
	Accepted time.Time
	Size     int64
	From     mail.Address
	Origin   *mail.Origin
	Class    mail.Class
	Tags     []string
	// To is the recipient; nil when only the message is known.
	To *Recipient
}

// Recipient is what depends on the recipient.
type Recipient struct {
	Address     mail.Address
	Destination mail.Destination
	State       mail.State
	Hold        mail.Hold
	Attempts    int
	Last        *mail.Outcome
}

// Filter is an expression that was parsed. It is safe for use by several
// goroutines.
type Filter struct{ root node }

// SyntaxError is what is wrong with the text of a filter.
type SyntaxError struct {
	Column int // in characters, from 1
	Text   string
}

// Error returns the column and the text.
func (e *SyntaxError) Error() string { return fmt.Sprintf("filter, column %d: %s", e.Column, e.Text) }

// String returns the filter in its usual form.
func (f *Filter) String() string {
	var p printer
	f.root.print(&p, looseOr)
	return p.String()
}

// Matches reports whether the recipient is selected. Ages are counted from
// now. The subject must have a recipient.
func (f *Filter) Matches(s *Subject, now time.Time) bool {
	return f.root.eval(&question{s, now}) == yes
}

// MayMatch reports whether a subject without a recipient can be selected,
// whoever its recipients are.
func (f *Filter) MayMatch(s *Subject, now time.Time) bool {
	return f.root.eval(&question{s, now}) != no
}

// IDs returns the only entries that can match; bounded is false when any can.
func (f *Filter) IDs() (ids []mail.ID, bounded bool) { return boundsOf[mail.ID](f.root, fieldID) }

// Destinations returns the only destinations that can match.
func (f *Filter) Destinations() (list []mail.Destination, bounded bool) {
	return boundsOf[mail.Destination](f.root, fieldDestination)
}

// States returns the only states that can match.
func (f *Filter) States() (list []mail.State, bounded bool) {
	return boundsOf[mail.State](f.root, fieldState)
}

// IsAll reports whether the filter is "all".
func (f *Filter) IsAll() bool {
	_, isAll := f.root.(everything)
	return isAll
}

func boundsOf[T ~string](root node, field string) ([]T, bool) {
	texts, bounded := root.bound(field)
	if !bounded {
		return nil, false
	}
	slices.Sort(texts)
	list := make([]T, 0, len(texts))
	for _, s := range slices.Compact(texts) {
		list = append(list, T(s))
	}
	return list, true
}

// question is a subject, and the time of asking.
type question struct {
	*Subject
	now time.Time
}

// answer is what is known of whether a condition holds.
type answer int8

const (
	no answer = iota
	perhaps
	yes
)

func answerOf(b bool) answer {
	if b {
		return yes
	}
	return no
}

// node is a part of an expression.
type node interface {
	eval(q *question) answer
	print(p *printer, within binding)
	// bound returns the only values of a field with which the node can hold;
	// false when there may be others.
	bound(field string) ([]string, bool)
}

type (
	anyOf []node // or
	allOf []node // and
	not   struct{ of node }
	// everything is the word all.
	everything struct{}
	test       struct {
		field  *field
		op     operator
		values []value
		// set are the values of a long list of texts, in lower case: a list of
		// ten thousand ids is asked about each of them.
		set map[string]bool
	}
)

// longList is from how many values on a list has a set.
const longList = 16

// index makes the set of a long list.
func (n *test) index() {
	if _, isText := n.field.kind.(texts); !isText || len(n.values) < longList {
		return
	}
	n.set = make(map[string]bool, len(n.values))
	for i := range n.values {
		n.set[strings.ToLower(n.values[i].text)] = true
	}
}

func (n anyOf) eval(q *question) answer {
	result := no
	for _, x := range n {
		if result = max(result, x.eval(q)); result == yes {
			break
		}
	}
	return result
}

func (n allOf) eval(q *question) answer {
	result := yes
	for _, x := range n {
		if result = min(result, x.eval(q)); result == no {
			break
		}
	}
	return result
}

func (n not) eval(q *question) answer { return yes - n.of.eval(q) }

func (everything) eval(*question) answer { return yes }

func (n *test) eval(q *question) answer {
	if n.field.ofRecipient && q.To == nil {
		return perhaps
	}
	if n.set != nil {
		return answerOf(n.set[strings.ToLower(n.field.text(q))])
	}
	for i := range n.values {
		if n.field.kind.holds(n.field, q, n.op, &n.values[i]) {
			return yes
		}
	}
	return no
}

func (n anyOf) bound(field string) ([]string, bool) {
	var all []string
	for _, x := range n {
		some, bounded := x.bound(field)
		if !bounded {
			return nil, false
		}
		all = append(all, some...)
	}
	return all, true
}

func (n allOf) bound(field string) (least []string, bounded bool) {
	for _, x := range n {
		some, isBound := x.bound(field)
		switch {
		case !isBound:
		case !bounded:
			least, bounded = some, true
		default:
			least = slices.DeleteFunc(slices.Clone(least), func(s string) bool { return !slices.Contains(some, s) })
		}
	}
	return least, bounded
}

func (n not) bound(string) ([]string, bool) { return nil, false }

func (everything) bound(string) ([]string, bool) { return nil, false }

func (n *test) bound(field string) ([]string, bool) {
	if n.field.name != field || n.op != opEqual && n.op != opIn {
		return nil, false
	}
	texts := make([]string, len(n.values))
	for i := range n.values {
		texts[i] = n.values[i].text
	}
	return texts, true
}
