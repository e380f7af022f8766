package message

import "strings"

// rawParameter is a parameter of a field as it stands there.
type rawParameter struct {
	name, value string // in lower case; without quotes
	from, to    int    // all of it
	valueFrom   int
}

// rawParameters finds the parameters of a field of the form of Content-Type (RFC 2045 5.1). What is
// malformed is passed over.
func rawParameters(raw string) (list []rawParameter) {
	s := parameterScanner{raw: raw, at: strings.IndexByte(raw, ':') + 1}
	s.toSemicolon()
	for s.at < len(raw) && len(list) < maxParameters {
		s.at++ // the ";"
		s.blanks()
		if p, is := s.parameter(); is {
			list = append(list, p)
		}
		s.toSemicolon()
	}
	return list
}

// parameterScanner reads a field.
type parameterScanner struct {
	raw string
	at  int
}

// parameter reads one up to its ";".
func (s *parameterScanner) parameter() (p rawParameter, is bool) {
	p.from = s.at
	p.name = strings.ToLower(s.token())
	p.to = s.at
	s.blanks()
	if p.name == "" || s.at == len(s.raw) || s.raw[s.at] != '=' {
		return p, false
	}
	s.at++
	s.blanks()
	p.valueFrom = s.at
	closed := true
	if p.value = s.token(); p.value == "" {
		p.value, closed = s.quoted()
	}
	p.to = s.at
	s.blanks()
	return p, closed && (s.at == len(s.raw) || s.raw[s.at] == ';')
}

// token reads a token (RFC 2045 5.1); "" is none.
func (s *parameterScanner) token() string {
	from := s.at
	for s.at < len(s.raw) && isToken(s.raw[s.at:s.at+1]) {
		s.at++
	}
	return s.raw[from:s.at]
}

// quoted reads a quoted string (RFC 5322 3.2.4).
func (s *parameterScanner) quoted() (value string, closed bool) {
	if s.at == len(s.raw) || s.raw[s.at] != '"' {
		return "", false
	}
	var b strings.Builder
	for s.at++; s.at < len(s.raw); s.at++ {
		switch c := s.raw[s.at]; {
		case c == '"':
			s.at++
			return b.String(), true
		case c == '\\' && s.at+1 < len(s.raw):
			s.at++
			b.WriteByte(s.raw[s.at])
		case c != '\r' && c != '\n':
			b.WriteByte(c)
		}
	}
	return "", false
}

// blanks passes over white space and comments.
func (s *parameterScanner) blanks() {
	depth := 0
	for ; s.at < len(s.raw); s.at++ {
		switch c := s.raw[s.at]; {
		case c == '\\' && depth > 0:
			s.at++
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0 && strings.IndexByte(" \t\r\n", c) < 0:
			return
		}
	}
	s.at = min(s.at, len(s.raw))
}

// toSemicolon passes over what stands before the next ";" that is in neither quotes nor comments.
func (s *parameterScanner) toSemicolon() {
	for s.blanks(); s.at < len(s.raw) && s.raw[s.at] != ';'; s.blanks() {
		if _, quoted := s.quoted(); !quoted && s.at < len(s.raw) {
			s.at++
		}
	}
}

// charsetOf returns the charset that a Content-Type declares which stands at an offset. One that is given more
// than once, or continued (RFC 2231), is none: what readers of mail take for it is not certain.
func charsetOf(raw string, at int64) declaredCharset {
	list := rawParameters(raw)
	var found []rawParameter
	for _, p := range list {
		if name, _, _ := strings.Cut(p.name, "*"); name == "charset" {
			found = append(found, p)
		}
	}
	if len(found) != 1 || found[0].name != "charset" {
		return declaredCharset{}
	}
	return declaredCharset{found[0].value, at + int64(found[0].valueFrom), at + int64(found[0].to)}
}
