// Package lists reads lists of networks, domains, addresses or patterns, and maps of
// addresses to the ways of their mail, from files that a person or a program keeps: one entry
// a line, "#" begins a comment.
//
// A List is what a file says at one time; it never changes, and is asked in steps
// that do not depend on how long it is. A Book has the lists of a configuration, and
// reads them again when their files change. Nothing of what a list means is known
// here.
//
// A file that is wrong gives all its faults, up to a bound, each with file, line
// and column; there is no list then. A Book that finds one keeps what the file said
// before, and tells of it once.
package lists

import (
	"iter"
	"net/netip"
	"strings"

	"postern/internal/config"
	"postern/internal/mail"
)

// Kind is what the entries of a list are.
type Kind = config.ListKind

// The kinds of lists.
const (
	Networks  = config.ListNetworks
	Domains   = config.ListDomains
	Addresses = config.ListAddresses
	Patterns  = config.ListPatterns
	// Ways are the lines of a map: an address, a domain, all domains below one, or "*", and
	// the way of its mail behind it.
	Ways = config.ListWays
)

// Bounds of a file.
const (
	MaxLines = 100_000
	// MaxLine bounds a line, in octets, without its end; a longer one is wrong.
	MaxLine = 1024
	// MaxFile bounds a file, in octets.
	MaxFile = 16 << 20
	// MaxSteps bounds the steps of a look-up among patterns. There is one for each
	// pair of lengths that the text before the first "*" and behind the last one have,
	// and one for each pattern with more than one "*" of those with the same such texts.
	// What would be more is wrong.
	MaxSteps = 1000
)

// List is the entries of a file. It is safe for use by several goroutines.
type List struct {
	kind  Kind
	file  string
	index index
	size  int
}

// index finds entries. Each method returns the line of the entry that fits best,
// 0 for none, and adds to steps how many places it looked at.
type index interface {
	find(q query, steps *int) (line int)
}

// query is what is looked for. Which fields are set depends on who asks; an index
// looks at those that it knows.
type query struct {
	ip      netip.Addr
	domain  string       // as DNS knows it, in lower case
	address mail.Address // with such a domain
	text    string       // in lower case
}

// Kind returns what the entries are.
func (l *List) Kind() Kind { return l.kind }

// Len returns how many entries there are; what is written twice counts once.
func (l *List) Len() int { return l.size }

// Find looks a text up, and returns the place of the entry that it fits; of several,
// of the most specific. For a list of networks the text is an IP address; of domains,
// a domain; of addresses, a mail address; of patterns, anything, but the domain of a
// mail address is the same in all its forms. A text that is none fits no entry.
func (l *List) Find(text string) (at mail.Place, found bool) {
	switch l.kind {
	case Networks:
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return mail.Place{}, false
		}
		return l.FindIP(ip)
	case Domains:
		return l.FindDomain(text)
	case Addresses:
		a, err := mail.ParseAddress(text)
		if err != nil {
			return mail.Place{}, false
		}
		return l.FindAddress(a)
	}
	return l.find(query{text: textOf(text)})
}

// FindWay looks up in a map by which way the mail for an address goes: the address as a
// whole, then its domain, then the domains that this is below, the nearest first, then "*" if
// everybody may be meant.
// Local parts are compared without case, because people write them so in maps. It
// takes a step for each label, and allocates nothing for an address in ASCII.
func (l *List) FindWay(a mail.Address, everybody bool) (key mail.RouteKey, at mail.Place, found bool) {
	lines, is := l.index.(ways)
	if !is {
		return "", mail.Place{}, false
	}
	w, found := lines.way(a)
	if !found && everybody && a.Domain != "" {
		w, found = lines["*"]
	}
	return w.key, mail.Place{File: l.file, Line: w.line}, found
}

// Ways returns what a map leads to, each once, with the first line that has it, in the order
// of the lines.
func (l *List) Ways() iter.Seq2[mail.RouteKey, mail.Place] {
	return func(yield func(mail.RouteKey, mail.Place) bool) {
		lines, _ := l.index.(ways)
		for _, w := range lines.firsts() {
			if !yield(w.key, mail.Place{File: l.file, Line: w.line}) {
				return
			}
		}
	}
}

// FindIP looks an address up in a list of networks. The longest network that has it
// is the most specific.
func (l *List) FindIP(ip netip.Addr) (at mail.Place, found bool) {
	return l.find(query{ip: ip.Unmap().WithZone("")})
}

// FindDomain looks a domain up in a list of domains. The domain itself is more
// specific than one that it lies below.
func (l *List) FindDomain(domain string) (at mail.Place, found bool) {
	domain, err := domainOf(strings.TrimSuffix(domain, "."))
	if err != nil {
		return mail.Place{}, false
	}
	return l.find(query{domain: domain})
}

// FindAddress looks a mail address up: its domain in a list of domains, all of it in
// one of addresses or patterns. The null address is "<>" to patterns, and in no other
// list.
func (l *List) FindAddress(a mail.Address) (at mail.Place, found bool) {
	text := "<>"
	if !a.IsNull() {
		a = addressOf(a)
		text = textOf(a.String())
	}
	return l.find(query{domain: a.Domain, address: a, text: text})
}

func (l *List) find(q query) (at mail.Place, found bool) {
	var steps int
	line := l.index.find(q, &steps)
	return mail.Place{File: l.file, Line: line}, line > 0
}

// domainOf is a domain as all its forms are compared.
func domainOf(domain string) (string, error) {
	ascii, err := mail.ASCIIDomain(domain)
	return strings.ToLower(ascii), err
}

// addressOf is an address as all its forms are compared: its domain as DNS knows it,
// and postmaster in lower case (RFC 5321 4.5.1).
func addressOf(a mail.Address) mail.Address {
	if domain, err := domainOf(a.Domain); err == nil {
		a.Domain = domain
	}
	if a.IsPostmaster() {
		a.Local = strings.ToLower(a.Local)
	}
	return a
}

// textOf is a text as patterns are compared with it: in lower case, and behind its last
// "@" the labels as DNS knows them, as far as it knows them.
func textOf(text string) string {
	at := strings.LastIndexByte(text, '@')
	if at < 0 || isASCII(text[at:]) {
		return strings.ToLower(text)
	}
	labels := strings.Split(text[at+1:], ".")
	for i, label := range labels {
		if ascii, err := domainOf(label); err == nil {
			labels[i] = ascii
		}
	}
	return strings.ToLower(text[:at+1] + strings.Join(labels, "."))
}

func isASCII(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r > '~' }) }
