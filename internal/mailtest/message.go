package mailtest

import (
	"fmt"
	"math/rand/v2"
)

// Kind is a kind of generated message.
type Kind int

// The kinds of message, each hard in its own way.
const (
	Text      Kind = iota // lines of up to 78 octets of ASCII
	EightBit              // UTF-8, and octets that are no UTF-8
	Dots                  // lines that begin with dots, or are nothing else
	LongLines             // lines of up to 100,000 octets
)

// Message returns a message of exactly size octets: a header, and a body of
// the kind. It depends on nothing but the arguments. All lines end with CRLF.
// A size for which the header alone is too long yields a message as short as
// can be.
func Message(kind Kind, seed uint64, size int) []byte {
	header := fmt.Sprintf("From: <sender@example.com>\r\nTo: <recipient@example.org>\r\n"+
		"Subject: Message %d-%d\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n"+
		"Message-ID: <%d-%d-%d@mailtest.example>\r\n\r\n", kind, seed, kind, seed, size)
	b := append(make([]byte, 0, max(size, len(header)+2)), header...)
	random := rand.New(rand.NewPCG(seed, uint64(kind)))
	for size-len(b) > longestLine(kind)+4 {
		b = appendLine(b, kind, random)
		b = append(b, '\r', '\n')
	}
	for size-len(b) > 2 { // the last line makes the size exact
		b = append(b, byte('a'+len(b)%26))
	}
	return append(b, '\r', '\n')
}

func longestLine(kind Kind) int {
	if kind == LongLines {
		return 100_000
	}
	return 76
}

func appendLine(b []byte, kind Kind, random *rand.Rand) []byte {
	switch kind {
	case EightBit:
		for range random.IntN(38) {
			b = append(b, eightBit[random.IntN(len(eightBit))]...)
		}
	case Dots:
		for range random.IntN(5) {
			b = append(b, '.')
		}
		if random.IntN(2) == 0 {
			b = append(b, "text."...)
		}
	default:
		for range random.IntN(longestLine(kind) + 1) {
			b = append(b, byte(' '+random.IntN('~'-' '+1)))
		}
	}
	return b
}

// eightBit are pieces of at most two octets.
var eightBit = []string{"a", " ", "é", "ß", "Ж", "\xff", "\x80", "\xc3", "=", "."}
