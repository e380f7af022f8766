package config

import (
	"strconv"
	"strings"

	"postern/internal/mail"
)

// Handler is one table [[handler]], as it is written: what patterns, condition and
// steps mean, package policy says.
type Handler struct {
	Placed

	Name              string // empty for none; use Title
	At                Command
	Listeners         []Text // none: all
	Sender, Recipient []Text // patterns
	When              Text   // empty: always
	Priority          int
	Steps             []Step // at least one
	Default           Ending
}

// Ending is what a handler decides when none of its steps does.
type Ending string

// The endings.
const (
	EndAccept Ending = "accept"
	EndReject Ending = "reject"
	EndDefer  Ending = "defer"
)

// Command is a command of SMTP at which handlers run, or the connection itself.
type Command string

// The commands, in the order in which they come.
const (
	AtConnect Command = "connect"
	AtHelo    Command = "helo"
	AtAuth    Command = "auth"
	AtMail    Command = "mail"
	AtRcpt    Command = "rcpt"
	AtData    Command = "data"
)

// Commands are all of them, in that order.
var Commands = []Command{AtConnect, AtHelo, AtAuth, AtMail, AtRcpt, AtData}

// Title names the handler: by its name, or by its place when it has none.
func (h *Handler) Title() string {
	if h.Name != "" {
		return h.Name
	}
	return "handler at " + mail.Place{File: h.Place.File, Line: h.Place.Line}.String()
}

// Step is a step of a handler: a word, or a table whose first key is the step.
type Step struct {
	Name Text
	// Argument is the value of the first key; nil for a word.
	Argument *Argument
	// Options are the other keys, in order, each once.
	Options []StepOption
}

// StepOption is an option of a step.
type StepOption struct {
	Name     Text
	Argument Argument
}

// ArgumentKind is the type of an argument.
type ArgumentKind int

// The types of arguments.
const (
	TextArgument ArgumentKind = iota
	IntegerArgument
	BooleanArgument
	ListArgument
)

// Argument is a value in a step.
type Argument struct {
	Kind    ArgumentKind
	Text    Text // of text; of others Text.Place alone
	Integer int64
	Boolean bool
	Items   []Argument // of a list
}

// String returns the argument as TOML.
func (a *Argument) String() string {
	switch a.Kind {
	case IntegerArgument:
		return strconv.FormatInt(a.Integer, 10)
	case BooleanArgument:
		return strconv.FormatBool(a.Boolean)
	case ListArgument:
		items := make([]string, len(a.Items))
		for i := range a.Items {
			items[i] = a.Items[i].String()
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return quote(a.Text.Text)
}

// String returns the step as TOML.
func (s *Step) String() string {
	if s.Argument == nil {
		return quote(s.Name.Text)
	}
	pairs := []string{bareKey(s.Name.Text) + " = " + s.Argument.String()}
	for i := range s.Options {
		o := &s.Options[i]
		pairs = append(pairs, bareKey(o.Name.Text)+" = "+o.Argument.String())
	}
	return "{ " + strings.Join(pairs, ", ") + " }"
}

// bareKey writes a key, in quotes where it needs them.
func bareKey(s string) string {
	other := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	}
	if s == "" || strings.ContainsFunc(s, other) {
		return quote(s)
	}
	return s
}

// maxSteps bounds the steps of a handler.
const maxSteps = 100

// steps is a setting that is a list of steps.
func steps(field func(fields) *[]Step) value {
	return value{
		kind: "list of steps",
		read: func(n node, f fields, report reportFunc) {
			switch {
			case n.kind != nodeList:
				report(n.at, faultf(`write it in brackets: ["accept"]`, "is %s, not a list of steps", n.describe()))
			case len(n.items) == 0:
				report(n.at, faultf(`write at least one step: ["accept"]`, "has no steps"))
			case len(n.items) > maxSteps:
				report(n.at, faultf("", "has %d steps; the limit is %d", len(n.items), maxSteps))
			default:
				r := stepReader{fields: f, report: report}
				for _, item := range n.items {
					*field(f) = append(*field(f), r.step(item))
				}
			}
		},
		reset: func(f fields) { *field(f) = nil },
		show: func(f fields) Value {
			var items []string
			for i := range *field(f) {
				items = append(items, (*field(f))[i].String())
			}
			return Value("[" + strings.Join(items, ", ") + "]")
		},
		copy: func(from, to fields) { *field(to) = append([]Step(nil), *field(from)...) },
	}
}

// stepReader reads the steps of one handler.
type stepReader struct {
	fields
	report reportFunc
}

func (r *stepReader) step(n node) Step {
	const hint = `write a word, or a table whose first key is the step: { reject = "550 5.7.1 No" }`
	switch {
	case n.kind == nodeText:
		return Step{Name: r.source.textAt(n)}
	case n.kind != nodeTable:
		r.report(n.at, faultf(hint, "a step is %s", n.describe()))
		return Step{}
	case len(n.pairs) == 0:
		r.report(n.at, faultf(hint, "a step is an empty table"))
		return Step{}
	}
	first := n.pairs[0]
	argument := r.argument(first.value)
	s := Step{Name: r.key(first), Argument: &argument}
	seen := map[string]bool{s.Name.Text: true}
	for _, p := range n.pairs[1:] {
		name := r.key(p)
		if seen[name.Text] {
			r.report(p.key[0].at, faultf("keep one of them", "%s is set again in this step", clip(name.Text)))
			continue
		}
		seen[name.Text] = true
		s.Options = append(s.Options, StepOption{Name: name, Argument: r.argument(p.value)})
	}
	return s
}

// key returns the key of a pair; one with dots is the name of nothing.
func (r *stepReader) key(p pair) Text {
	t := Text{Text: p.key[0].text, Place: r.source.place(p.key[0].at)}
	if len(p.key) > 1 {
		t.Text = join(p.key)
	}
	return t
}

func (r *stepReader) argument(n node) Argument {
	a := Argument{Text: Text{Place: r.source.place(n.at)}}
	switch n.kind {
	case nodeText:
		a.Text, _ = passage(n, r.fields, r.report)
	case nodeInteger:
		a.Kind = IntegerArgument
		i, err := strconv.ParseInt(n.text, 0, 64)
		if err != nil {
			r.report(n.at, faultf("write a smaller number", "is %s, which cannot be read", n.describe()))
		}
		a.Integer = i
	case nodeBoolean:
		a.Kind, a.Boolean = BooleanArgument, n.text == "true"
	case nodeList:
		a.Kind = ListArgument
		for _, item := range n.items {
			if item.kind == nodeList {
				r.report(item.at, faultf("", "is a list within a list"))
				continue
			}
			a.Items = append(a.Items, r.argument(item))
		}
	default:
		r.report(n.at, faultf("write text, a number, true or false, or a list of these", "is %s", n.describe()))
	}
	return a
}
