package message

import (
	"strings"
)

// maxParameters is how many parameters of one field are looked at.
const maxParameters = 200

// parameter is one of a field such as Content-Type (RFC 2045 5.1).
type parameter struct {
	name string // in lower case, with the "*" of RFC 2231
	// readings are the values that readers of mail may see, the one that the
	// RFC wants first.
	readings []string
	// sure says that it is written as the RFC has it, or nearly so.
	sure bool
}

// structured is a field of the form of Content-Type in one reading.
type structured struct {
	// kind is what stands before the parameters, in lower case; all of it up to
	// the ";", and the first word.
	whole, kind string

	params []parameter
	// malformed says that something in it is not as the RFC has it.
	malformed bool
	// many says that there are more than maxParameters.
	many bool
}

// parseStructured reads a field of the form of Content-Type or
// Content-Disposition in all the ways in which readers of mail do. The first
// is that of the RFC. The others differ from it where a line is folded within
// a word, where a comment stands, which some do not know, and where an encoded
// word does, which some decode before they look for parameters.
func parseStructured(raw string) []structured {
	values := []string{unfold(raw, true)}
	if strings.ContainsAny(strings.Trim(raw, " \t\r\n"), "\r\n") {
		values = append(values, unfold(raw, false))
	}
	if strings.Contains(raw, "=?") {
		decoded, _ := DecodeText(values[0])
		values = append(values, decoded)
	}
	var list []structured
	for _, value := range values {
		bare, comments, closed := stripComments(value)
		s := parseParameters(bare)
		s.malformed = s.malformed || !closed
		list = append(list, s)
		if comments {
			list = append(list, parseParameters(value))
		}
	}
	return list
}

// unfold makes one line of a field's value. blank keeps the white space at
// which it was folded (RFC 5322 2.2.3); some readers of mail do not.
func unfold(raw string, blank bool) string {
	raw = strings.Trim(raw, " \t\r\n")
	if blank {
		return strings.NewReplacer("\r", "", "\n", "").Replace(raw)
	}
	var b strings.Builder
	for line := range strings.Lines(raw) {
		b.WriteString(strings.Trim(line, " \t\r\n"))
	}
	return b.String()
}

// stripComments puts a space in the place of each comment (RFC 5322 3.2.2).
func stripComments(s string) (out string, found, closed bool) {
	if !strings.Contains(s, "(") {
		return s, false, true
	}
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && (quoted || depth > 0) && i+1 < len(s):
			if i++; depth == 0 {
				b.WriteString(s[i-1 : i+1])
			}
			continue
		case depth > 0 && c == ')':
			if depth--; depth == 0 {
				b.WriteByte(' ')
			}
			continue
		case c == '(' && !quoted:
			depth++
			found = true
		case c == '"' && depth == 0:
			quoted = !quoted
		}
		if depth == 0 {
			b.WriteByte(c)
		}
	}
	return strings.TrimSpace(b.String()), found, depth == 0
}

// parseParameters reads a value without comments, as leniently as it can.
func parseParameters(s string) structured {
	kind, rest, _ := strings.Cut(s, ";")
	var out structured
	kind = strings.Trim(kind, " \t")
	out.whole = strings.ToLower(kind)
	out.kind = out.whole
	if end := strings.IndexAny(kind, " \t,"); end >= 0 { // a ";" is missing
		out.kind, out.malformed = out.kind[:end], true
		rest = kind[end+1:] + ";" + rest
	}
	for rest != "" {
		if len(out.params) == maxParameters {
			out.many = true
			break
		}
		var p parameter
		var is bool
		if p, rest, is = cutParameter(rest); is {
			out.params = append(out.params, p)
			out.malformed = out.malformed || !p.sure
		}
	}
	return out
}

// cutParameter reads one parameter up to its ";". It is none where nothing
// stands, as between two ";".
func cutParameter(s string) (p parameter, rest string, is bool) {
	s = strings.TrimLeft(s, " \t")
	end := strings.IndexAny(s, "=;")
	if end < 0 {
		end = len(s)
	}
	p.name = strings.ToLower(strings.Trim(s[:end], " \t"))
	if end == len(s) || s[end] == ';' {
		return p, strings.TrimPrefix(s[end:], ";"), p.name != ""
	}
	s = strings.TrimLeft(s[end+1:], " \t")
	if strings.HasPrefix(s, `"`) {
		p.readings, p.sure, rest = cutQuotedValue(s[1:])
	} else {
		p.readings, p.sure, rest = cutValue(s)
	}
	p.sure = p.sure && p.name != "" && !strings.ContainsAny(p.name, " \t\"()<>@,:\\/[]?")
	return p, rest, true
}

// cutValue reads a value without quotes. Some readers of mail end it at a
// space or where it should have quotes, some at the ";".
func cutValue(s string) (readings []string, sure bool, rest string) {
	value, rest, _ := strings.Cut(s, ";")
	value = strings.Trim(value, " \t")
	readings = []string{value}
	if end := strings.IndexAny(value, " \t"); end >= 0 {
		readings = append(readings, value[:end])
	}
	if end := strings.IndexAny(value, "()<>@,:/[]?="); end > 0 { // needs quotes
		readings = append(readings, strings.TrimRight(value[:end], " \t"))
	}
	sure = value != ""
	if strings.Contains(value, `"`) { // for some, a quote opens here
		readings, sure = append(readings, strings.ReplaceAll(value, `"`, "")), false
	}
	return readings, sure, rest
}

// cutQuotedValue reads a value behind its opening quote.
func cutQuotedValue(s string) (readings []string, sure bool, rest string) {
	var b strings.Builder
	i, escaped := 0, false
	for ; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' && i+1 < len(s) {
			escaped = true
			i++
		}
		b.WriteByte(s[i])
	}
	readings = []string{b.String()}
	if escaped { // for many a backslash is nothing special
		readings = append(readings, s[:i])
		if end := strings.IndexByte(s, '"'); end >= 0 && end < i {
			readings = append(readings, s[:end])
		}
	}
	if i == len(s) { // not closed
		value, behind, cut := strings.Cut(s, ";")
		if cut {
			return append(readings, strings.Trim(value, " \t")), false, behind
		}
		return readings, false, ""
	}
	junk, rest, _ := strings.Cut(s[i+1:], ";")
	if junk = strings.Trim(junk, " \t"); junk != "" {
		return append(readings, readings[0]+junk), false, rest
	}
	return readings, true, rest
}
