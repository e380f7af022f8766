package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// BlockList is one table [[block_list]].
type BlockList struct {
	Placed

	Name    string // empty for none; use Title
	Zone    string // in lower case
	Kind    BlockListKind
	Answers []BlockAnswer // at least one
	Weight  int           // of answers that have none of their own
	Exempt  []netip.Prefix
	Removal string // how to be taken off the list; may be empty
}

// BlockListKind is what a block list is asked about.
type BlockListKind string

// The kinds of block lists.
const (
	BlockAddresses BlockListKind = "addresses"
	BlockDomains   BlockListKind = "domains"
)

// Title names the list in what others are told: by its name, or by its zone when it
// has none.
func (l *BlockList) Title() string {
	if l.Name != "" {
		return l.Name
	}
	return l.Zone
}

// Problem returns one with a setting of the list, which it names, at its place if it was
// set, else at that of the table.
func (l *BlockList) Problem(key, message, hint string) Problem {
	return l.Placed.Problem(key, "block list "+l.Title()+": "+message, hint)
}

// Wrong returns the problem that the value of a setting of the list cannot be used.
func (l *BlockList) Wrong(key string, err error) Problem {
	return l.Problem(key, err.Error(), "").because(err)
}

// BlockAnswer is which answers of a block list count: those from First to Last, or,
// if Bits is set, those that have one of its bits set.
type BlockAnswer struct {
	First, Last netip.Addr
	Bits        uint32
	Weight      int // 0 for that of the list
	text        string
}

// String returns the answer as it is written.
func (a BlockAnswer) String() string { return a.text }

// Counts reports whether an answer of a block list is one of these.
func (a BlockAnswer) Counts(ip netip.Addr) bool {
	if !ip.Is4() {
		return false
	}
	if a.Bits != 0 {
		return bitsOf(ip)&a.Bits != 0
	}
	return a.First.Compare(ip) <= 0 && ip.Compare(a.Last) <= 0
}

func bitsOf(ip netip.Addr) uint32 {
	b := ip.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// The networks in which a block list answers (RFC 5782 2.1), and the one in which
// some say that they do not answer at all.
var (
	blockAnswers  = netip.MustParsePrefix("127.0.0.0/8")
	blockFailures = netip.MustParsePrefix("127.255.255.0/24")
)

// IsBlockAnswer reports whether an address can be the answer of a block list. Others
// say that something is wrong: with the question, who asks, or the name server.
func IsBlockAnswer(ip netip.Addr) bool {
	return blockAnswers.Contains(ip) && !blockFailures.Contains(ip)
}

// maxWeight bounds the weight of a list.
const maxWeight = 1000

// usualAnswers are the answers that count when nothing else is said.
var usualAnswers = BlockAnswer{First: netip.AddrFrom4([4]byte{127, 0, 0, 2}), Last: netip.AddrFrom4([4]byte{127, 0, 0, 255}), text: "127.0.0.2-255"}

var blockAnswer = textType("answer", "answers",
	`write an address "127.0.0.2", a range "127.0.0.2-11", a network "127.0.0.0/28", or bits "&0.0.0.6"; "=3" behind it is its weight`,
	func(s string) (BlockAnswer, *fault) {
		which, weight, weighed := strings.Cut(s, "=")
		a := BlockAnswer{text: s}
		if weighed {
			n, err := strconv.ParseUint(weight, 10, 16)
			if err != nil || n < 1 || n > maxWeight {
				return a, faultf("", "%q is not a weight from 1 to %d", clip(weight), maxWeight)
			}
			a.Weight = int(n)
		}
		if !a.parse(which) {
			return a, faultf("", "%q is not an answer", clip(s))
		}
		if a.Bits == 0 && !(IsBlockAnswer(a.First) && IsBlockAnswer(a.Last)) {
			return a, faultf("name answers in 127.0.0.0/8, without 127.255.255.0/24, by which a list says that it does not answer",
				"%q says that something is wrong, and not that anybody is listed", clip(s))
		}
		return a, nil
	})

// ParseBlockAnswer reads an answer as it is written in a configuration. It fails with
// what was wrong and what would be right.
func ParseBlockAnswer(s string) (BlockAnswer, error) {
	a, wrong := blockAnswer.read(node{kind: nodeText, text: s})
	if wrong != nil {
		return BlockAnswer{}, errors.New(wrong.message + " (" + wrong.hint + ")")
	}
	return a, nil
}

// parse reads which answers are meant.
func (a *BlockAnswer) parse(s string) (ok bool) {
	if mask, found := strings.CutPrefix(s, "&"); found {
		ip, err := netip.ParseAddr(mask)
		if err != nil || !ip.Is4() {
			return false
		}
		a.Bits = bitsOf(ip)
		return a.Bits != 0 && a.Bits>>24 == 0
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		a.First, a.Last = p.Addr(), lastOf(p)
		return p.Addr().Is4() && p == p.Masked()
	}
	first, octet, isRange := strings.Cut(s, "-")
	ip, err := netip.ParseAddr(first)
	if err != nil || !ip.Is4() {
		return false
	}
	a.First, a.Last = ip, ip
	if !isRange {
		return true
	}
	n, err := strconv.ParseUint(octet, 10, 8)
	b := ip.As4()
	if err != nil || byte(n) < b[3] {
		return false
	}
	b[3] = byte(n)
	a.Last = netip.AddrFrom4(b)
	return true
}

// lastOf is the last address of an IPv4 network.
func lastOf(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() {
		return p.Addr()
	}
	n := bitsOf(p.Addr()) | uint32(1<<(32-p.Bits())-1)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// checkBlockLists wants block lists that can list somebody.
func (d *decoder) checkBlockLists() {
	for _, t := range d.tables["block_list"] {
		if at, is := t.given["answers"]; is && at.node.kind == nodeList && len(at.node.items) == 0 {
			d.fault(at.value, "block_list.answers", faultf(`name the answers that count, or leave it out`, "is empty: the list would list nobody"))
		}
	}
}

// maxReplyText keeps what a list says, and this, within a line of a reply.
const maxReplyText = 150

var replyText = textType("text", "texts", fmt.Sprintf("write printable ASCII, at most %d characters", maxReplyText),
	func(s string) (string, *fault) {
		other := func(r rune) bool { return r < ' ' || r > '~' }
		if s == "" || len(s) > maxReplyText || strings.ContainsFunc(s, other) {
			return "", faultf("", "%q cannot stand in a reply", clip(s))
		}
		return s, nil
	})
