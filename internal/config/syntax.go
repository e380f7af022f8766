package config

import (
	"bytes"
	"errors"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// nodeKind is the TOML type of a value.
type nodeKind int

const (
	nodeText nodeKind = iota
	nodeInteger
	nodeFloat
	nodeBoolean
	nodeTime
	nodeList
	nodeTable
)

// node is one value of the file.
type node struct {
	kind  nodeKind
	text  string // decoded text; a number, boolean or time as it is written
	at    int    // offset in the file
	items []node // of a list
	pairs []pair // of an inline table
}

// word is one part of a dotted key.
type word struct {
	text string
	at   int
}

// pair is a key and its value.
type pair struct {
	key   []word
	value node
}

// entry is one expression of the file: key = value, [key] or [[key]]. One
// with brackets and no key is a header that could not be read.
type entry struct {
	pair
	brackets int // 0, 1 or 2
}

// syntaxFault is a place where the file is not TOML.
type syntaxFault struct {
	at            int
	message, hint string
}

// parse takes the file apart. After a fault it goes on at the next line that
// begins like an expression, so that one slip does not hide the others.
func parse(data []byte) (entries []entry, faults []syntaxFault) {
	for base := 0; base < len(data); {
		p := parser{base: base, data: data[base:]}
		p.Reset(p.data)
		last := base
		for p.NextExpression() {
			e := p.entry(p.Expression())
			entries = append(entries, e)
			last = p.end(e, p.Expression())
		}
		if p.Error() == nil {
			break
		}
		at, message := p.fault()
		start := min(nextExpression(data, last), at) // a comment can be at fault as well
		if bytes.HasPrefix(bytes.TrimLeft(data[start:], " \t"), []byte("[")) {
			entries = append(entries, entry{brackets: 1})
		}
		base = resume(data, start, at)
		if at == len(data)-1 && at >= lineEnd(data, start) {
			at = start // something was never closed: name where it began
		}
		faults = append(faults, syntaxFault{at: at, message: message, hint: syntaxHint(message)})
	}
	return entries, faults
}

// parser reads the rest of a file from offset base.
type parser struct {
	unstable.Parser
	base int
	data []byte
}

// fault returns the place and the text of the error at which it stopped.
func (p *parser) fault() (at int, message string) {
	err, ok := errors.AsType[*unstable.ParserError](p.Error())
	if !ok {
		return p.base, p.Error().Error()
	}
	// The highlight is a part of data, so their capacities tell its offset.
	offset := min(max(cap(p.data)-cap(err.Highlight), 0), len(p.data)-1)
	return p.base + offset, err.Message
}

// syntaxHint says what is right for the slips that people make.
func syntaxHint(message string) string {
	switch {
	case strings.Contains(message, "at start of value"), strings.Contains(message, "must be quoted"):
		return `text stands in double quotes: key = "text"`
	case strings.Contains(message, "'=' after key"):
		return "a setting is written: key = value"
	case strings.Contains(message, "incomplete"):
		return "close the bracket"
	case strings.Contains(message, "new lines"), strings.Contains(message, "not terminated"):
		return "close the quote"
	case strings.Contains(message, "expected newline"):
		return "each setting and each [table] has a line of its own"
	case strings.Contains(message, "leading zero"):
		return "leave the zero out"
	}
	return ""
}

func (p *parser) entry(n *unstable.Node) entry {
	switch n.Kind {
	case unstable.Table:
		return entry{brackets: 1, pair: pair{key: p.key(n)}}
	case unstable.ArrayTable:
		return entry{brackets: 2, pair: pair{key: p.key(n)}}
	}
	return entry{pair: p.pair(n)}
}

// end returns an offset in the last line of the expression n.
func (p *parser) end(e entry, n *unstable.Node) int {
	if n.Kind == unstable.KeyValue {
		return p.base + int(n.Raw.Offset+n.Raw.Length)
	}
	return e.key[len(e.key)-1].at
}

func (p *parser) key(n *unstable.Node) []word {
	var words []word
	for it := n.Key(); it.Next(); {
		part := it.Node()
		words = append(words, word{text: string(part.Data), at: p.base + int(part.Raw.Offset)})
	}
	return words
}

func (p *parser) pair(n *unstable.Node) pair {
	var end int // of the key, as an offset in p.data
	for it := n.Key(); it.Next(); {
		raw := it.Node().Raw
		end = int(raw.Offset + raw.Length)
	}
	// Lists carry no place of their own; they begin after the equals sign.
	end += bytes.IndexByte(p.data[end:], '=') + 1
	end += len(p.data[end:]) - len(bytes.TrimLeft(p.data[end:], " \t"))
	return pair{key: p.key(n), value: p.value(n.Value(), p.base+end)}
}

// nodeKinds gives the TOML types their kinds; lists and tables are apart.
var nodeKinds = map[unstable.Kind]nodeKind{
	unstable.String:  nodeText,
	unstable.Integer: nodeInteger,
	unstable.Float:   nodeFloat,
	unstable.Bool:    nodeBoolean,
}

// value reads the value n, which begins at offset at unless it says better.
func (p *parser) value(n *unstable.Node, at int) node {
	switch n.Kind {
	case unstable.Array:
		v := node{kind: nodeList, at: at}
		for it := n.Children(); it.Next(); {
			v.items = append(v.items, p.value(it.Node(), at))
		}
		return v
	case unstable.InlineTable:
		v := node{kind: nodeTable, at: p.base + int(n.Raw.Offset)}
		for it := n.Children(); it.Next(); {
			v.pairs = append(v.pairs, p.pair(it.Node()))
		}
		return v
	}
	kind, known := nodeKinds[n.Kind]
	if !known {
		kind = nodeTime
	}
	return node{kind: kind, text: string(n.Data), at: p.base + int(n.Raw.Offset)}
}

// lineEnd returns the offset after the line that at is in.
func lineEnd(data []byte, at int) int {
	if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(data)
}

// nextExpression returns the offset of the first line, after that of an
// expression that ends at last, which is neither blank nor a comment. At the
// very beginning of the file that line may be the first.
func nextExpression(data []byte, last int) int {
	at := last
	if at > 0 && data[at-1] != '\n' {
		at = lineEnd(data, at)
	}
	for at < len(data) {
		end := lineEnd(data, at)
		line := bytes.TrimSpace(data[at:end])
		if len(line) > 0 && line[0] != '#' {
			return at
		}
		at = end
	}
	return last
}

// resume returns the offset at which to go on after a fault at offset at, in
// an expression that begins at start: the next line that begins like an
// expression. It may be the line of the fault itself, when a list before it
// was not closed.
func resume(data []byte, start, at int) int {
	line := lineEnd(data, start)
	for line < len(data) {
		end := lineEnd(data, line)
		if end > at && beginsExpression(data[line:end]) {
			return line
		}
		line = end
	}
	return len(data)
}

// beginsExpression reports whether a line looks like [key], [[key]] or
// key = value.
func beginsExpression(line []byte) bool {
	s := strings.TrimSpace(string(line))
	closing := "="
	if inside := strings.TrimLeft(s, "["); inside != s {
		s, closing = inside, "]"
	}
	key, _, found := strings.Cut(s, closing)
	key = strings.TrimSpace(key)
	notKey := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.", r))
	}
	return found && key != "" && !strings.ContainsFunc(key, notKey)
}
