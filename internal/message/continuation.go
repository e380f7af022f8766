package message

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what is made of the parameters of a part.
const (
	maxReadings = 64  // of one parameter
	maxSections = 100 // of one value
)

// values are what readers of mail may take for the value of a parameter.
type values struct {
	list []string
	// literal says that nothing is to be decoded.
	literal bool
	// extended says that it was given as RFC 2231 has it, which not all of
	// them know.
	extended bool
	// unsure says that what is listed may not be all, or not right.
	unsure bool
}

func (v *values) add(text string, sure bool) {
	v.unsure = v.unsure || !sure
	switch {
	case slices.Contains(v.list, text):
	case len(v.list) == maxReadings:
		v.unsure = true
	default:
		v.list = append(v.list, text)
	}
}

// collect adds the values of the parameter with the name to v: those that stand
// there, and those that RFC 2231 continues and encodes.
func (s *structured) collect(name string, v *values) {
	var sections []section
	for _, p := range s.params {
		suffix, is := strings.CutPrefix(p.name, name)
		switch {
		case !is || suffix != "" && suffix[0] != '*':
		case suffix == "":
			for _, reading := range p.readings {
				v.addText(reading)
			}
		case len(p.readings) > 0:
			v.extended = true
			sections = append(sections, newSection(suffix[1:], p.readings[0]))
		}
	}
	v.addSections(sections)
}

// addText adds a value as it stands. Encoded words are decoded, which should not
// be there (RFC 2047 5) and usually are.
func (v *values) addText(text string) {
	if v.literal {
		v.add(text, true)
		return
	}
	v.add(DecodeText(text))
}

// section is a piece of a value (RFC 2231 3).
type section struct {
	number  int // -1 for the whole
	encoded bool
	text    string
	sure    bool
}

// newSection makes one of what stands behind the name and its "*".
func newSection(suffix, text string) section {
	s := section{number: -1, encoded: suffix == "" || strings.HasSuffix(suffix, "*"), text: text, sure: true}
	digits := strings.TrimSuffix(suffix, "*")
	if digits == "" {
		return s
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n >= maxSections || strconv.Itoa(n) != digits {
		s.sure, n = false, maxSections
	}
	s.number = n
	return s
}

// addSections adds the values that sections make.
func (v *values) addSections(sections []section) {
	var rows []section
	for _, s := range sections {
		v.unsure = v.unsure || !s.sure
		if s.number < 0 {
			v.addJoined([]section{s})
			continue
		}
		rows = append(rows, s)
	}
	if len(rows) == 0 {
		return
	}
	v.addJoined(rows) // as they stand
	sorted := slices.Clone(rows)
	slices.SortStableFunc(sorted, func(a, b section) int { return cmp.Compare(a.number, b.number) })
	first := slices.CompactFunc(slices.Clone(sorted), func(a, b section) bool { return a.number == b.number })
	if len(first) < len(sorted) || !slices.IsSortedFunc(rows, func(a, b section) int { return cmp.Compare(a.number, b.number) }) ||
		first[0].number != 0 || first[len(first)-1].number != len(first)-1 {
		v.unsure = true
	}
	v.addJoined(first)
	slices.Reverse(sorted)
	last := slices.CompactFunc(sorted, func(a, b section) bool { return a.number == b.number })
	slices.Reverse(last)
	v.addJoined(last)
}

// addJoined adds the value of sections in their order: as RFC 2231 4.1 has it,
// and if some are encoded and some are not, as if all were.
func (v *values) addJoined(sections []section) {
	mixed := false
	for _, s := range sections {
		mixed = mixed || s.encoded != sections[0].encoded && strings.Contains(s.text, "%")
	}
	charset, octets, sure := join(sections, false)
	v.addOctets(charset, octets, sure)
	if mixed || !sections[0].encoded && strings.Count(sections[0].text, "'") >= 2 {
		charset, octets, _ = join(sections, true)
		v.addOctets(charset, octets, true)
	}
}

func (v *values) addOctets(charset string, octets []byte, sure bool) {
	if charset == "" {
		v.addText(string(octets))
		v.unsure = v.unsure || !sure
		return
	}
	text, fits := decodeCharset(charset, octets)
	v.add(text, sure && fits)
	if strings.Contains(text, "=?") { // encoded twice
		v.addText(text)
	}
}

// join puts the octets of sections together. all takes each for encoded.
func join(sections []section, all bool) (charset string, octets []byte, sure bool) {
	var b bytes.Buffer
	sure = true
	for i, s := range sections {
		if !s.encoded && !all {
			b.WriteString(s.text)
			continue
		}
		text := s.text
		if i == 0 {
			name, rest, found := strings.Cut(text, "'")
			_, value, found2 := strings.Cut(rest, "'")
			if found && found2 {
				charset, text = name, value
			} else {
				sure = false
			}
		}
		decoded, exact := decodePercent([]byte(text), '%')
		b.Write(decoded)
		sure = sure && exact
	}
	return charset, b.Bytes(), sure
}
