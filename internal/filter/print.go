package filter

import (
	"slices"
	"strings"

	"postern/internal/mail"
)

// binding is how tightly the parts of an expression are bound.
type binding int

const (
	looseOr binding = iota
	looseAnd
	tight
)

type printer struct{ strings.Builder }

// enclosed prints something in parentheses if it binds looser than where it
// stands.
func (p *printer) enclosed(binds, within binding, inside func()) {
	if binds < within {
		p.WriteByte('(')
		defer p.WriteByte(')')
	}
	inside()
}

func (p *printer) list(nodes []node, word string, within binding) {
	for i, n := range nodes {
		if i > 0 {
			p.WriteString(word)
		}
		n.print(p, within)
	}
}

func (n anyOf) print(p *printer, within binding) {
	p.enclosed(looseOr, within, func() { p.list(n, " or ", looseAnd) })
}

func (n allOf) print(p *printer, within binding) {
	p.enclosed(looseAnd, within, func() { p.list(n, " and ", tight) })
}

func (n not) print(p *printer, _ binding) {
	p.WriteString("not ")
	n.of.print(p, tight)
}

func (everything) print(p *printer, _ binding) { p.WriteString("all") }

func (n *test) print(p *printer, _ binding) {
	p.WriteString(n.field.name + " " + string(n.op) + " ")
	if n.op != opIn {
		p.WriteString(n.written(&n.values[0]))
		return
	}
	p.WriteByte('(')
	for i := range n.values {
		if i > 0 {
			p.WriteString(", ")
		}
		p.WriteString(n.written(&n.values[i]))
	}
	p.WriteByte(')')
}

// written is a value as it must be written to be read back.
func (n *test) written(v *value) string {
	isStar := n.op != opLike && strings.Contains(v.text, "*") && slices.Contains(n.field.kind.operators(), opLike)
	if isStar || v.text == "" || strings.ContainsAny(v.text, " \t\n\r(),\"") {
		return Quote(v.text)
	}
	return v.text
}

var quoter = strings.NewReplacer(`"`, `\"`, `\`, `\\`)

// Quote writes a value in quotes, as a filter reads it whatever is in it.
func Quote(s string) string { return `"` + quoter.Replace(s) + `"` }

// ToDestinations returns the text of a filter that selects what goes to one of
// these destinations. There must be at least one.
func ToDestinations(list []mail.Destination) string {
	n := &test{op: opIn}
	for i := range fields {
		if fields[i].name == fieldDestination {
			n.field = &fields[i]
		}
	}
	for _, d := range list {
		n.values = append(n.values, value{text: string(d)})
	}
	return (&Filter{n}).String()
}
