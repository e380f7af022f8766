package filter

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Parse reads a filter. It fails with a *SyntaxError.
func Parse(text string) (*Filter, error) {
	if len(text) > MaxLength {
		return nil, &SyntaxError{Column: 1, Text: fmt.Sprintf("it has %d octets, and %d are allowed", len(text), MaxLength)}
	}
	if !utf8.ValidString(text) {
		return nil, &SyntaxError{Column: 1, Text: "it is not valid UTF-8"}
	}
	p := &parser{text: text}
	root, err := p.anyOf()
	if err != nil {
		return nil, err
	}
	if p.skip(); p.at < len(p.text) {
		return nil, p.wrong(p.at, "%s is one too many here; between two conditions stands and, or or", p.shown())
	}
	return &Filter{root}, nil
}

// parser reads a text from its front.
type parser struct {
	text  string
	at    int // the octet that is next
	depth int
}

// wrong is a *SyntaxError at an octet.
func (p *parser) wrong(at int, format string, args ...any) error {
	return &SyntaxError{Column: utf8.RuneCountInString(p.text[:at]) + 1, Text: fmt.Sprintf(format, args...)}
}

// shown is what is next, for an error.
func (p *parser) shown() string {
	if p.at == len(p.text) {
		return "the end"
	}
	next := p.text[p.at:]
	if end := strings.IndexAny(next[1:], " \t\n\r()"); end >= 0 {
		next = next[:end+1]
	}
	if len(next) > 40 {
		next = strings.ToValidUTF8(next[:40], "") + "…"
	}
	return fmt.Sprintf("%q", next)
}

func (p *parser) skip() {
	p.at = len(p.text) - len(strings.TrimLeft(p.text[p.at:], " \t\n\r"))
}

// take takes a sign if it is next.
func (p *parser) take(sign string) bool {
	p.skip()
	found := strings.HasPrefix(p.text[p.at:], sign)
	if found {
		p.at += len(sign)
	}
	return found
}

// peekWord returns the word of letters that is next.
func (p *parser) peekWord() string {
	p.skip()
	rest := p.text[p.at:]
	return rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-"))]
}

// takeWord takes a word of the language if it is next.
func (p *parser) takeWord(word string) bool {
	found := strings.EqualFold(p.peekWord(), word)
	if found {
		p.at += len(word)
	}
	return found
}

func (p *parser) anyOf() (node, error) {
	list, err := p.list("or", p.allOf)
	if err != nil || len(list) == 1 {
		return first(list), err
	}
	return anyOf(list), nil
}

func (p *parser) allOf() (node, error) {
	list, err := p.list("and", p.single)
	if err != nil || len(list) == 1 {
		return first(list), err
	}
	return allOf(list), nil
}

func first(list []node) node {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// list reads one or more of something with a word between them.
func (p *parser) list(word string, one func() (node, error)) ([]node, error) {
	var list []node
	for {
		n, err := one()
		if err != nil {
			return nil, err
		}
		list = append(list, n)
		if !p.takeWord(word) {
			return list, nil
		}
	}
}

func (p *parser) single() (node, error) {
	p.skip()
	if p.depth++; p.depth > maxDepth {
		return nil, p.wrong(p.at, "more than %d parentheses and nots in each other", maxDepth)
	}
	defer func() { p.depth-- }()
	switch opened := p.at; {
	case p.takeWord("all"):
		return everything{}, nil
	case p.takeWord("not"):
		n, err := p.single()
		return not{n}, err
	case p.take("("):
		n, err := p.anyOf()
		if err == nil && !p.take(")") {
			err = p.wrong(p.at, "%s where the parenthesis of column %d should be closed", p.shown(), utf8.RuneCountInString(p.text[:opened])+1)
		}
		return n, err
	}
	return p.test()
}

// test reads a condition: a field, an operator, and what to compare with.
func (p *parser) test() (node, error) {
	f, err := p.field()
	if err != nil {
		return nil, err
	}
	op, err := p.operator(f)
	if err != nil {
		return nil, err
	}
	t := &test{field: f, op: op}
	if op != opIn {
		v, err := p.value(f, op)
		t.values = []value{v}
		return t, err
	}
	t.values, err = p.values(f)
	t.index()
	return t, err
}

// values reads what stands behind in.
func (p *parser) values(f *field) ([]value, error) {
	if !p.take("(") {
		return nil, p.wrong(p.at, "%s behind in; write the list in parentheses: %s in (…, …)", p.shown(), f.name)
	}
	var list []value
	for {
		v, err := p.value(f, opIn)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if p.take(")") {
			return list, nil
		}
		if !p.take(",") {
			return nil, p.wrong(p.at, "%s in a list; between two values stands a comma, and behind the last a parenthesis", p.shown())
		}
	}
}

// instead are words that people try, and what they should write.
var instead = map[string]string{
	"from": "the field is called sender",
	"to":   "the field is called recipient",
	"site": "the queue does not know sites; use destination",
	"user": "the queue does not know users; use client or listener",
}

func (p *parser) field() (*field, error) {
	name := p.peekWord()
	at := p.at
	if i := slices.IndexFunc(fields, func(f field) bool { return strings.EqualFold(f.name, name) }); i >= 0 {
		p.at += len(name)
		return &fields[i], nil
	}
	if why := instead[strings.ToLower(name)]; why != "" {
		return nil, p.wrong(at, "%s", why)
	}
	return nil, p.wrong(at, "%s where a condition should begin; it begins with one of %s; or it is all", p.shown(), strings.Join(Names(), ", "))
}

// signs are the operators but in, longer ones before those that they begin
// with.
var signs = []operator{opNotEqual, opAtMost, opAtLeast, opEqual, opLess, opGreater, opLike}

func (p *parser) operator(f *field) (operator, error) {
	p.skip()
	at, op := p.at, operator("")
	if p.takeWord(string(opIn)) {
		op = opIn
	} else if i := slices.IndexFunc(signs, func(o operator) bool { return p.take(string(o)) }); i >= 0 {
		op = signs[i]
	}
	allowed := f.kind.operators()
	if slices.Contains(allowed, op) {
		return op, nil
	}
	names := make([]string, len(allowed))
	for i, o := range allowed {
		names[i] = string(o)
	}
	p.at = at
	return "", p.wrong(at, "%s behind %s, which is compared by %s", p.shown(), f.name, strings.Join(names, " "))
}

// value reads one value: in quotes, or up to a space, a comma or a parenthesis.
func (p *parser) value(f *field, op operator) (value, error) {
	p.skip()
	at := p.at
	text, isQuoted, err := p.word(f)
	if err != nil {
		return value{}, err
	}
	if op != opLike && !isQuoted && strings.Contains(text, "*") && slices.Contains(f.kind.operators(), opLike) {
		return value{}, p.wrong(at, "* stands for anything only behind ~; write %s ~ %s, or %q for the character itself", f.name, text, text)
	}
	v, err := f.kind.parse(text, op)
	if err != nil {
		return value{}, p.wrong(at, "%s %q: %v", f.name, text, err)
	}
	return v, nil
}

func (p *parser) word(f *field) (text string, isQuoted bool, err error) {
	rest := p.text[p.at:]
	if strings.HasPrefix(rest, `"`) {
		text, err = p.quoted()
		return text, true, err
	}
	if end := strings.IndexAny(rest, " \t\n\r(),\""); end >= 0 {
		rest = rest[:end]
	}
	if rest == "" {
		return "", false, p.wrong(p.at, "%s where a value for %s should be", p.shown(), f.name)
	}
	p.at += len(rest)
	return rest, false, nil
}

// quoted reads a text in quotes, in which a backslash stands before a quote
// or another backslash.
func (p *parser) quoted() (string, error) {
	begin := p.at
	var b strings.Builder
	for i := begin + 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			p.at = i + 1
			return b.String(), nil
		case c == '\\' && i+1 < len(p.text) && (p.text[i+1] == '"' || p.text[i+1] == '\\'):
			i++
			b.WriteByte(p.text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", p.wrong(begin, "the quotes are not closed")
}
