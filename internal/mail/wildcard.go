package mail

import (
	"errors"
	"fmt"
	"slices"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Wildcard is a pattern of filters: "*" stands for one or more characters, "?"
// for exactly one, a backslash takes the character behind it as it is, and all
// else stands for itself. (In the patterns of Like "*" is also none.)
//
// A pattern is compared with the whole of a text. Upper and lower case are the
// same, by Unicode's simple case folding, so that a letter is one character in
// either; and so are the composed and the decomposed form of a letter (NFC).
// A text that is not UTF-8 has a character for each octet that is none.
//
// Match takes time that grows with the length of the text and not faster, for
// any pattern. The zero value matches the empty text only.
type Wildcard struct {
	text string
	// A set of places in the pattern is kept as bits: place i is behind its
	// first i characters. accept has for each character of the pattern the
	// places from which it leads on; others is that of any other character.
	accept map[rune][]uint64
	others []uint64
	stay   []uint64 // the places behind a "*", which takes more characters
	end    int
}

// MaxWildcard is how many characters a pattern may have.
const MaxWildcard = 1000

// What is wrong with a pattern.
var (
	ErrWildcardEscape = errors.New(`a pattern cannot end in a backslash: for a backslash itself write \\`)
	ErrWildcardLength = fmt.Errorf("a pattern can have at most %d characters", MaxWildcard)
)

// ParseWildcard reads a pattern. It fails with ErrWildcardEscape or
// ErrWildcardLength.
func ParseWildcard(pattern string) (Wildcard, error) {
	runes := foldRunes(pattern)
	if len(runes) > MaxWildcard {
		return Wildcard{}, ErrWildcardLength
	}
	words := len(runes)/64 + 1
	w := Wildcard{text: pattern, accept: map[rune][]uint64{}, others: make([]uint64, words), stay: make([]uint64, words)}
	literals := map[rune][]int{}
	for i := 0; i < len(runes); i++ {
		c, literal := runes[i], true
		switch {
		case c == '\\' && i+1 == len(runes):
			return Wildcard{}, ErrWildcardEscape
		case c == '\\':
			i++
			c = runes[i]
		case c == '*':
			literal = false
			setBit(w.stay, w.end+1)
		case c == '?':
			literal = false
		}
		if literal {
			literals[c] = append(literals[c], w.end)
		} else {
			setBit(w.others, w.end)
		}
		w.end++
	}
	for c, places := range literals {
		w.accept[c] = slices.Clone(w.others)
		for _, place := range places {
			setBit(w.accept[c], place)
		}
	}
	return w, nil
}

func setBit(set []uint64, i int) { set[i/64] |= 1 << (i % 64) }

// String returns the pattern as it was written.
func (w Wildcard) String() string { return w.text }

// Match reports whether a text has the form of the pattern.
func (w Wildcard) Match(text string) bool {
	at := make([]uint64, max(len(w.others), 1))
	at[0] = 1
	for _, c := range foldRunes(text) {
		accept, literal := w.accept[c]
		if !literal {
			accept = w.others
		}
		if !w.step(at, accept) {
			return false
		}
	}
	return at[w.end/64]&(1<<(w.end%64)) != 0
}

// step leads the places in at on over a character. It reports whether there is
// any left.
func (w Wildcard) step(at, accept []uint64) bool {
	carry, left := uint64(0), uint64(0)
	for i := range accept {
		moved := at[i] & accept[i]
		at[i] = moved<<1 | carry | at[i]&w.stay[i]
		carry = moved >> 63
		left |= at[i]
	}
	return left != 0
}

// foldRunes returns the characters of a text in the form in which they are
// compared.
func foldRunes(text string) []rune {
	runes := []rune(norm.NFC.String(text))
	for i, c := range runes {
		runes[i] = foldRune(c)
	}
	return runes
}

// foldRune returns the first of all characters that are c in some case.
func foldRune(c rune) rune {
	if c < unicode.MaxASCII {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		return c
	}
	first := c
	for other := unicode.SimpleFold(c); other != c; other = unicode.SimpleFold(other) {
		first = min(first, other)
	}
	return first
}
