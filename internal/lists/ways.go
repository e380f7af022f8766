package lists

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"postern/internal/mail"
)

// ways are the lines of a map, by what they are for: "joe@example.com", "example.com",
// ".example.com" or "*", with local parts in lower case and domains as DNS knows them.
type ways map[string]way

// way is where a line leads.
type way struct {
	key  mail.RouteKey
	line int
}

const wayHint = `write an address, a domain, or a domain behind a dot for all below it, and behind it the way: "example.com  relay.example.net:587"`

func (w ways) add(text string, line int) *fault {
	end := endOfKey(text)
	rest := strings.TrimLeftFunc(text[end:], unicode.IsSpace)
	at := len(text) - len(rest)
	if rest == "" {
		return faultAt(at, wayHint, "has no way behind it")
	}
	if second := strings.IndexFunc(rest, unicode.IsSpace); second >= 0 {
		return faultAt(at+second+1, `write one way, and "#" before a comment`, "goes on behind the way")
	}
	key, wrong := recipientKey(text[:end])
	if wrong != nil {
		return wrong
	}
	to, wrong := parseWay(rest)
	if wrong != nil {
		wrong.at += at
		return wrong
	}
	if before, twice := w[key]; twice && before.key != to {
		return faultAt(0, "leave out one of the two", "%q has another way in line %d", clip(text[:end]), before.line)
	} else if !twice {
		w[key] = way{to, line}
	}
	return nil
}

// endOfKey returns where a recipient ends: at the first space that is not in quotes.
func endOfKey(text string) int {
	quoted, escaped := false, false
	for i, c := range text {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && unicode.IsSpace(c):
			return i
		}
	}
	return len(text)
}

// recipientKey is for whom a line is, as it is looked up.
func recipientKey(text string) (string, *fault) {
	if text == "*" {
		return text, nil
	}
	if strings.Contains(text, "*") {
		return "", faultAt(strings.IndexByte(text, '*'), `write ".example.com" for all below a domain, "*" alone for all`, "%q has a * in it", clip(text))
	}
	if strings.Contains(text, "@") {
		a, err := mail.ParseAddress(text)
		if err != nil {
			return "", faultAt(0, wayHint, "%q: %v", clip(text), err)
		}
		domain, err := wayDomain(a.Domain)
		if err != nil {
			return "", faultAt(0, wayHint, "%q: %v", clip(text), err)
		}
		return string(lowerASCII(nil, a.Local)) + "@" + domain, nil
	}
	name, below := strings.CutPrefix(text, ".")
	domain, err := wayDomain(name)
	if err == nil && below && strings.HasPrefix(name, "[") {
		err = mail.ErrDomain
	}
	if err != nil {
		return "", faultAt(0, wayHint, "%q is not a domain: %v", clip(text), err)
	}
	return text[:len(text)-len(name)] + domain, nil
}

// wayDomain is a domain or address literal as it is looked up.
func wayDomain(domain string) (string, error) {
	if strings.HasPrefix(domain, "[") {
		return strings.ToLower(domain), mail.CheckDomain(domain)
	}
	return domainOf(domain)
}

// parseWay reads where a line leads: a transport, a server, or a server as Postfix has it
// in its transport maps: "smtp:[host]:587" and "relay:[host]".
func parseWay(text string) (mail.RouteKey, *fault) {
	prefix, rest, found := strings.Cut(text, ":")
	isPort := rest != "" && strings.Trim(rest, "0123456789") == ""
	if found && !isPort && (prefix == "smtp" || prefix == "relay" || prefix == "") {
		return parsePostfixWay(text, rest)
	}
	key, err := mail.ParseRouteKey(text)
	if err != nil {
		return "", faultAt(0, `write the name of a transport, or host:port`, "%q is no way: %v", clip(text), err)
	}
	return key, nil
}

// services are the ports that maps of Postfix call by their names.
var services = map[string]string{"": "", ":smtp": ":25", ":submission": ":587"}

// parsePostfixWay reads what stands behind "smtp:" or "relay:". Postfix looks up the MX
// records of a name that is not in brackets, which is a matter of a transport here.
func parsePostfixWay(text, rest string) (mail.RouteKey, *fault) {
	inside, bracket := strings.CutPrefix(rest, "[")
	host, port, closed := strings.Cut(inside, "]")
	at := len(text) - len(rest)
	switch {
	case !bracket:
		return "", faultAt(at, `write "[`+rest+`]" for that server; for the servers of a domain, name a transport with lookup_mx`,
			"%q is a domain, not a server", clip(rest))
	case !closed:
		return "", faultAt(at, "", "the bracket of %q is not closed", clip(rest))
	case port != "" && port[0] != ':':
		return "", faultAt(at, `write it as "smtp:[relay.example.com]:587"`, "%q has something else than a port behind the bracket", clip(rest))
	}
	if number, known := services[port]; known {
		port = number
	}
	if ip, isIPv6 := strings.CutPrefix(strings.ToLower(host), "ipv6:"); isIPv6 || strings.Contains(host, ":") {
		host = "[" + cmp.Or(ip, host) + "]"
	}
	h, err := mail.ParseHostPort(host+port, 25)
	if err != nil {
		return "", faultAt(at, `write it as "smtp:[relay.example.com]:587"`, "%q: %v", clip(rest), err)
	}
	return mail.RouteKey(h.String()), nil
}

func (w ways) len() int { return len(w) }

func (w ways) find(q query, steps *int) int {
	*steps++
	found, _ := w.way(q.address)
	return found.line
}

// way finds the line for an address; that for everybody is not one.
func (w ways) way(a mail.Address) (found way, ok bool) {
	domain := a.Domain
	if !isASCII(domain) {
		var err error
		if domain, err = domainOf(domain); err != nil {
			return way{}, false
		}
	}
	if domain == "" { // it is of this host, or nobody's
		return way{}, false
	}
	var space [mail.MaxAddress + 1]byte
	key := append(lowerASCII(space[:0], a.Local), '@')
	at := len(key)
	key = lowerASCII(key, domain)
	if found, ok = w[string(key)]; ok {
		return found, true
	}
	name := key[at:]
	if found, ok = w[string(name)]; ok {
		return found, true
	}
	for i := range name {
		if found, ok = w[string(name[i:])]; name[i] == '.' && ok {
			return found, true
		}
	}
	return way{}, false
}

// firsts are the lines that lead somewhere else than all before, in their order.
func (w ways) firsts() []way {
	first := make(map[mail.RouteKey]int)
	for _, x := range w {
		if line, known := first[x.key]; !known || x.line < line {
			first[x.key] = x.line
		}
	}
	list := make([]way, 0, len(first))
	for key, line := range first {
		list = append(list, way{key, line})
	}
	slices.SortFunc(list, func(a, b way) int { return cmp.Compare(a.line, b.line) })
	return list
}

// lowerASCII appends a text with its letters of ASCII in lower case.
func lowerASCII(to []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		to = append(to, c)
	}
	return to
}
