package lists

import (
	"fmt"
	"iter"
	"maps"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/mail"
)

// networks are the lines of networks. A look-up takes a step for each length of
// prefix that the list has: 33 at most for IPv4, 129 for IPv6.
type networks struct {
	lines map[netip.Prefix]int
	// lengths are those that there are, the longest first; of IPv4 and IPv6.
	lengths [2][]int
}

func newNetworks() *networks { return &networks{lines: make(map[netip.Prefix]int)} }

func family(ip netip.Addr) int {
	if ip.Is4() {
		return 0
	}
	return 1
}

func (n *networks) add(text string, line int) *fault {
	p, wrong := parseNetwork(text)
	if wrong != nil {
		return wrong
	}
	if _, twice := n.lines[p]; twice {
		return nil
	}
	n.lines[p] = line
	lengths := &n.lengths[family(p.Addr())]
	if !slices.Contains(*lengths, p.Bits()) {
		*lengths = append(*lengths, p.Bits())
		slices.SortFunc(*lengths, func(a, b int) int { return b - a })
	}
	return nil
}

// Networks yields the networks of a list with the lines where they stand, in the order of
// these; nothing of a list of another kind.
func (l *List) Networks() iter.Seq2[netip.Prefix, mail.Place] {
	n, is := l.index.(*networks)
	return func(yield func(netip.Prefix, mail.Place) bool) {
		if !is {
			return
		}
		for _, p := range slices.SortedFunc(maps.Keys(n.lines), func(a, b netip.Prefix) int { return n.lines[a] - n.lines[b] }) {
			if !yield(p, mail.Place{File: l.file, Line: n.lines[p], Column: 1}) {
				return
			}
		}
	}
}

func (n *networks) len() int { return len(n.lines) }

func (n *networks) find(q query, steps *int) int {
	if !q.ip.IsValid() {
		return 0
	}
	for _, length := range n.lengths[family(q.ip)] {
		*steps++
		p, _ := q.ip.Prefix(length) // its length is one of the family
		if line := n.lines[p]; line > 0 {
			return line
		}
	}
	return 0
}

const networkHint = `write an address, a network such as "192.0.2.0/24", or an address and its mask: "192.0.2.0 255.255.255.0"`

// parseNetwork reads an address alone, a prefix, or an address with a mask, which
// may lie anywhere in its network: that is how other systems write it.
func parseNetwork(text string) (netip.Prefix, *fault) {
	fields := strings.Fields(text)
	switch {
	case len(fields) > 2:
		return netip.Prefix{}, faultAt(strings.Index(text, fields[2]), networkHint, "is more than an address and a mask")
	case len(fields) == 2:
		return parseMasked(text, fields[0], fields[1])
	case strings.Contains(text, "/"):
		return parsePrefix(text)
	}
	ip, wrong := parseIP(text)
	if wrong != nil {
		return netip.Prefix{}, wrong
	}
	return netip.PrefixFrom(ip, ip.BitLen()), nil
}

func parseIP(text string) (netip.Addr, *fault) {
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" {
		return netip.Addr{}, faultAt(0, networkHint, "%q is not an IP address", clip(text))
	}
	return ip.Unmap(), nil
}

func parsePrefix(text string) (netip.Prefix, *fault) {
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, faultAt(0, networkHint, "%q is not a network", clip(text))
	}
	if p != p.Masked() {
		return netip.Prefix{}, faultAt(0, fmt.Sprintf("write %q for the network, or the address alone", p.Masked()),
			"%q is an address within a network", text)
	}
	return p, nil
}

func parseMasked(text, address, mask string) (netip.Prefix, *fault) {
	ip, wrong := parseIP(address)
	if wrong != nil {
		return netip.Prefix{}, wrong
	}
	at := len(address) + strings.Index(text[len(address):], mask)
	m, err := netip.ParseAddr(mask)
	if err != nil || m.BitLen() != ip.BitLen() || m.Zone() != "" {
		return netip.Prefix{}, faultAt(at, networkHint, "%q is not the mask of %s", clip(mask), ip)
	}
	length, gaps := maskLength(m.AsSlice())
	if gaps {
		return netip.Prefix{}, faultAt(at, `ones come first in a mask: "255.255.255.0"`, "the mask %s has gaps", m)
	}
	p, _ := ip.Prefix(length) // a length of the same family
	return p, nil
}

// maskLength counts the ones of a mask; gaps says that they do not all come first.
func maskLength(mask []byte) (length int, gaps bool) {
	for i, b := range mask {
		ones := bits.LeadingZeros8(^b)
		if b<<ones != 0 || b != 0 && length < 8*i {
			return 0, true
		}
		length += ones
	}
	return length, false
}
