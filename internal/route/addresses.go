package route

import (
	"errors"
	"strings"

	"postern/internal/config"
	"postern/internal/lists"
	"postern/internal/mail"
)

// listPrefix begins the name of a list where it stands among other values.
const listPrefix = "list:"

// entries are what a setting names: values of its own, and lists.
type entries struct {
	texts []config.Text // of own, by their number
	own   *lists.List   // nil: none
	named []namedList
}

// namedList is a list that a setting names.
type namedList struct {
	name string
	live *lists.Live
}

// isEmpty reports whether the setting names nothing.
func (e *entries) isEmpty() bool { return e.own == nil && len(e.named) == 0 }

// address returns what a mail address fits, as it is written in the setting.
func (e *entries) address(a mail.Address) (what string, fits bool) {
	return e.find(func(l *lists.List) (mail.Place, bool) { return l.FindAddress(a) })
}

// domain is likewise for a domain.
func (e *entries) domain(domain string) (what string, fits bool) {
	return e.find(func(l *lists.List) (mail.Place, bool) { return l.FindDomain(domain) })
}

func (e *entries) find(in func(*lists.List) (mail.Place, bool)) (what string, fits bool) {
	if e.own != nil {
		if at, found := in(e.own); found {
			return e.texts[at.Line-1].Text, true
		}
	}
	for _, l := range e.named {
		if at, found := in(l.live.List()); found {
			return listPrefix + l.name + " at " + at.String(), true
		}
	}
	return "", false
}

// reader reads what settings name, and keeps what is wrong with it.
type reader struct {
	book     *lists.Book
	problems []error
}

func (r *reader) wrong(key string, at mail.Place, message, hint string) {
	r.problems = append(r.problems, config.Problem{Place: at, Key: key, Message: message, Hint: hint})
}

// read reads the values of a setting: those of a kind, and lists of some kinds.
func (r *reader) read(key string, values []config.Text, kind lists.Kind, named ...lists.Kind) entries {
	var e entries
	var own []string
	for _, t := range values {
		name, is := strings.CutPrefix(t.Text, listPrefix)
		switch {
		case is:
			r.list(&e, key, t, name, named)
		case kind == lists.Patterns && isBare(t.Text):
			r.wrong(key, t.Place, "matches no address: it has neither @ nor *", `write "*@`+t.Text+`" for all at a domain`)
		default:
			e.texts, own = append(e.texts, t), append(own, t.Text)
		}
	}
	if len(own) == 0 {
		return e
	}
	var err error
	if e.own, err = lists.Of(kind, own); err != nil {
		r.place(key, e.texts, err)
	}
	return e
}

// isBare reports whether a pattern fits no address.
func isBare(text string) bool {
	return !strings.ContainsAny(text, "@*") && text != "<>" && !strings.EqualFold(text, "postmaster")
}

// list adds a list that is named.
func (r *reader) list(e *entries, key string, t config.Text, name string, kinds []lists.Kind) {
	live, kind := r.book.List(name), r.book.Kind(name)
	if live == nil {
		r.wrong(key, t.Place, "there is no list \""+name+"\"", config.DidYouMean(name, r.book.Names()))
		return
	}
	for _, k := range kinds {
		if string(k) == kind {
			e.named = append(e.named, namedList{name, live})
			return
		}
	}
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k)
	}
	r.wrong(key, t.Place, "the list \""+name+"\" is one of "+kind, "name one of "+strings.Join(words, " or "))
}

// place gives problems with values, which have their numbers for lines, their places.
func (r *reader) place(key string, values []config.Text, err error) {
	joined, _ := err.(interface{ Unwrap() []error })
	for _, e := range joined.Unwrap() {
		p, _ := errors.AsType[config.Problem](e)
		p.Key, p.Place = key, values[p.Place.Line-1].PlaceAt(p.Place.Column-1)
		r.problems = append(r.problems, p)
	}
}
