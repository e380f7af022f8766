package message

import (
	"errors"
	"slices"
	"strings"
)

// Mailbox is an address as a header or a command line names it.
type Mailbox struct {
	Local  string // as it is written, without spaces and comments
	Domain string // empty where there is none
	// Phrase is what stands before the "<": usually a name, as it is written.
	Phrase string
	// LocalEnd is where in the text the local part ends.
	LocalEnd int
}

// String returns the address as it stands in an envelope.
func (m Mailbox) String() string {
	if m.Domain == "" {
		return m.Local
	}
	return m.Local + "@" + m.Domain
}

// What is wrong with a list of addresses.
var (
	errComment = errors.New("a comment, \"(\", is not closed")
	errNesting = errors.New("comments are nested too deeply")
	errQuote   = errors.New("a quote is not closed")
	errLiteral = errors.New("a bracket, \"[\", is not closed")
	errAngle   = errors.New("an angle bracket is not closed, or has no opening one")
	errEmpty   = errors.New("there is no address between < and >")
	errGroup   = errors.New("a colon is where none can be")
	errControl = errors.New("there is a control character in it")
	errAfter   = errors.New("there is something between > and the next comma")
	errWords   = errors.New("two words stand side by side: between addresses there must be a comma, and an address after a name stands in <>")
	errSpec    = errors.New("not of the form local-part@domain")
	errNoParse = errors.New("a backslash or another special character is where none can be")
)

// ErrManyMailboxes says that a list names more addresses than were asked for.
var ErrManyMailboxes = errors.New("too many addresses")

// maxComments is how deep comments may be nested.
const maxComments = 20

// token is a part of a list of addresses.
type token struct {
	kind byte // tokenWord, tokenLiteral, tokenEnd, or the character itself
	text string
	end  int // where it ends in the text
}

const (
	tokenEnd     byte = 0
	tokenWord    byte = 'w' // an atom, or a quoted string with its quotes
	tokenLiteral byte = '[' // an address literal
)

// mailboxParser reads the address lists of RFC 5322 3.4, with the obsolete
// forms of 4.4: comments, groups, source routes, empty places.
//
// QUIRK: a semicolon separates addresses also outside of groups, as programs
// of Microsoft write it, and an address may lack its domain.
type mailboxParser struct {
	s     string
	at    int
	list  []Mailbox
	item  int // where the address, with its name, begins
	words []token
	group bool
	angle bool // an address in <> was read, and its comma was not
	marks int  // what there was of lists, groups and routes, and of addresses as names
}

// ParseMailboxes returns the mailboxes of a list, at most limit. A group that
// names none, such as "undisclosed-recipients:;", has none.
//
// It fails, beside the mailboxes before that place, with what is wrong with the
// list, or with ErrManyMailboxes.
func ParseMailboxes(s string, limit int) ([]Mailbox, error) {
	p := &mailboxParser{s: s}
	for {
		t, err := p.next()
		if err == nil {
			err = p.take(t)
		}
		if err == nil && len(p.list) > limit {
			err = ErrManyMailboxes
		}
		if err != nil || t.kind == tokenEnd {
			return p.list, err
		}
	}
}

// ErrNotOneMailbox says that a text is not one address and nothing else.
var ErrNotOneMailbox = errors.New("not one address: a list, a group, or an address with a route or another address")

// ParseMailbox reads a text that is one address, perhaps with a name: neither a list,
// be it with one entry, nor a group, nor an address with a source route, or with another
// address for a name.
//
// It fails as ParseMailboxes does, or with ErrNotOneMailbox.
func ParseMailbox(s string) (Mailbox, error) {
	p := &mailboxParser{s: s}
	for {
		t, err := p.next()
		if err == nil {
			err = p.take(t)
		}
		if err == nil && (p.marks > 0 || t.kind == tokenEnd && len(p.list) != 1) {
			err = ErrNotOneMailbox
		}
		if err != nil {
			return Mailbox{}, err
		}
		if t.kind == tokenEnd {
			return p.list[0], nil
		}
	}
}

// take takes the next token at the top of the list.
func (p *mailboxParser) take(t token) error {
	switch t.kind {
	case ',', ';':
		p.marks++
		return p.endItem(t)
	case tokenEnd:
		return p.endItem(t)
	case ':':
		p.marks++
		if p.group || p.angle {
			return errGroup
		}
		p.group, p.words, p.item = true, nil, p.at // they were the name of the group
	case '<':
		if p.angle {
			return errAfter
		}
		if slices.ContainsFunc(p.words, func(t token) bool { return t.kind == '@' }) {
			p.marks++ // some take it for an address
		}
		p.angle, p.words = true, nil // they were a name
		phrase, before := p.s[p.item:p.at-len("<")], len(p.list)
		err := p.takeAngle()
		if len(p.list) > before {
			p.list[before].Phrase = phrase
		}
		return err
	case '>':
		return errAngle
	default:
		if p.angle {
			return errAfter
		}
		p.words = append(p.words, t)
	}
	return nil
}

// endItem ends one address of the list, which may be empty.
func (p *mailboxParser) endItem(t token) error {
	if len(p.words) > 0 {
		if err := p.add(p.words); err != nil {
			return err
		}
	}
	p.words, p.angle, p.item = nil, false, p.at
	if t.kind == ';' {
		p.group = false
	}
	return nil
}

// takeAngle reads what stands between < and >. A source route is dropped
// (RFC 5321 appendix C).
func (p *mailboxParser) takeAngle() error {
	var inner []token
	route := false
	for {
		t, err := p.next()
		if err != nil {
			return err
		}
		switch t.kind {
		case tokenEnd, '<':
			return errAngle
		case '>':
			if len(inner) == 0 {
				return errEmpty
			}
			return p.add(inner)
		case ':':
			if route || len(inner) == 0 || inner[0].kind != '@' {
				return errGroup
			}
			p.marks++
			route, inner = true, nil
		default:
			inner = append(inner, t)
		}
	}
}

// add adds the address that the tokens make.
func (p *mailboxParser) add(tokens []token) error {
	var m Mailbox
	var local, domain strings.Builder
	part, at := &local, false
	for i, t := range tokens {
		isWord := t.kind == tokenWord || t.kind == tokenLiteral
		switch {
		case isWord && i > 0 && (tokens[i-1].kind == tokenWord || tokens[i-1].kind == tokenLiteral):
			return errWords
		case t.kind == '@':
			if at || i == 0 {
				return errSpec
			}
			part, at = &domain, true
			continue
		case !isWord && t.kind != '.', t.kind == tokenLiteral && !at:
			return errSpec
		}
		part.WriteString(t.text)
		if !at {
			m.LocalEnd = t.end
		}
	}
	m.Local, m.Domain = local.String(), domain.String()
	if at && m.Domain == "" {
		return errSpec
	}
	p.list = append(p.list, m)
	return nil
}

// next returns the next token, past spaces and comments.
func (p *mailboxParser) next() (token, error) {
	if err := p.skip(); err != nil {
		return token{}, err
	}
	if p.at == len(p.s) {
		return token{end: p.at}, nil
	}
	start := p.at
	switch c := p.s[p.at]; {
	case c == '"':
		return p.enclosed(tokenWord, '"', errQuote)
	case c == '[':
		return p.enclosed(tokenLiteral, ']', errLiteral)
	case strings.IndexByte("<>@,;:.", c) >= 0:
		p.at++
		return token{kind: c, text: string(c), end: p.at}, nil
	case !isAtomChar(c):
		if c < ' ' || c == 0x7f {
			return token{}, errControl
		}
		return token{}, errNoParse
	}
	for p.at < len(p.s) && isAtomChar(p.s[p.at]) {
		p.at++
	}
	return token{kind: tokenWord, text: p.s[start:p.at], end: p.at}, nil
}

// isAtomChar reports whether an octet can stand in an atom (RFC 5322 3.2.3),
// where in names 8-bit octets are common.
func isAtomChar(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte("()<>[]:;@\\,.\"", c) < 0
}

// enclosed reads what ends with last, in which a backslash quotes. Line ends
// in it are those of folding, and do not count (RFC 5322 2.2.3).
func (p *mailboxParser) enclosed(kind, last byte, unclosed error) (token, error) {
	var text strings.Builder
	text.WriteByte(p.s[p.at])
	for i := p.at + 1; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '\r' || c == '\n':
			continue
		case c == '\\' && i+1 < len(p.s):
			text.WriteByte(c)
			i++
		case c == last:
			text.WriteByte(c)
			p.at = i + 1
			return token{kind: kind, text: text.String(), end: p.at}, nil
		}
		text.WriteByte(p.s[i])
	}
	return token{}, unclosed
}

// skip skips spaces, line ends and comments.
func (p *mailboxParser) skip() error {
	depth := 0
	for ; p.at < len(p.s); p.at++ {
		switch c := p.s[p.at]; {
		case c == '(':
			if depth++; depth > maxComments {
				return errNesting
			}
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			p.at++
		case depth == 0 && strings.IndexByte(" \t\r\n", c) < 0:
			return nil
		}
	}
	p.at = min(p.at, len(p.s))
	if depth > 0 {
		return errComment
	}
	return nil
}
