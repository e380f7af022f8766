// Package proxyproto reads the header by which a proxy tells a server whose
// connection it passes on: versions 1 and 2 of the PROXY protocol of HAProxy
// (proxy-protocol.txt, cited by its sections).
//
// It decides nothing about who may say such a thing: whoever reads a header
// believes it, so that it must come from a proxy that is known.
//
// A header is refused whole when anything in it is not as it must be. The
// connection is of no use then: nobody knows where the client's own octets
// begin.
package proxyproto

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
)

// MaxHeader is the length of the longest header that is read, in octets. Version 2
// allows 64 KiB, of which proxies use some hundred, or with a certificate of the
// client some thousand. A reader must have a buffer at least as large.
const MaxHeader = 4096

// ErrHeader says that there is no header, or a wrong one.
var ErrHeader = errors.New("no PROXY header")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrHeader}, args...)...)
}

// Header is what a proxy says of a connection.
type Header struct {
	// Client is the client's end of the connection to the proxy, and Local the
	// proxy's. Both are zero when the proxy speaks for itself, to see whether the
	// server is there (LOCAL), or does not know them (UNKNOWN, a Unix socket).
	Client, Local netip.AddrPort
}

// Read takes a header from br, and nothing behind it. It fails with ErrHeader, or
// with the error of the connection.
func Read(br *bufio.Reader) (Header, error) {
	first, err := br.Peek(1)
	switch {
	case err != nil:
		return Header{}, err
	case first[0] == 'P':
		return readText(br)
	case first[0] == signature[0]:
		return readBinary(br)
	}
	return Header{}, wrong("it begins with neither PROXY nor the signature of version 2")
}

// maxText is the length of the longest header of version 1 (section 2.1).
const maxText = 107

// readText reads version 1, which is one line.
func readText(br *bufio.Reader) (Header, error) {
	line, err := br.ReadSlice('\n')
	switch {
	case len(line) > maxText:
		return Header{}, wrong("its line has more than %d octets", maxText)
	case err != nil:
		return Header{}, err
	}
	text, ended := strings.CutSuffix(string(line), "\r\n")
	words := strings.Split(text, " ")
	switch {
	case !ended:
		return Header{}, wrong("its line does not end with CRLF")
	case words[0] != "PROXY" || len(words) < 2:
		return Header{}, wrong("its line is no PROXY line")
	case words[1] == "UNKNOWN": // the rest is to be ignored (section 2.1)
		return Header{}, nil
	case words[1] != "TCP4" && words[1] != "TCP6" || len(words) != 6:
		return Header{}, wrong("its line is neither TCP4 nor TCP6 with two addresses and two ports")
	}
	four := words[1] == "TCP4"
	var h Header
	if h.Client, err = parseEnd(words[2], words[4], four); err == nil {
		h.Local, err = parseEnd(words[3], words[5], four)
	}
	if err != nil {
		return Header{}, err
	}
	return h, nil
}

// parseEnd reads one end of a connection in version 1.
func parseEnd(address, port string, four bool) (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Is4() != four || ip.Zone() != "" {
		return netip.AddrPort{}, wrong("an address is not of its family")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port { // no zeros before it
		return netip.AddrPort{}, wrong("a port is not a number from 0 to 65535")
	}
	return end(ip, uint16(n))
}

// end returns one end of a connection, which must be somewhere.
func end(ip netip.Addr, port uint16) (netip.AddrPort, error) {
	ip = ip.Unmap()
	if ip.IsUnspecified() || ip.IsMulticast() {
		return netip.AddrPort{}, wrong("an address is that of nobody")
	}
	return netip.AddrPortFrom(ip, port), nil
}

// signature begins a header of version 2 (section 2.2).
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// What stands behind the signature: version and command, family and transport, and
// the length of the rest.
const (
	fixed = len(signature) + 4

	local   = 0x20 // version 2, LOCAL
	proxied = 0x21 // version 2, PROXY

	unspecified = 0x00
	tcp4        = 0x11
	tcp6        = 0x21
	unix        = 0x31
)

// readBinary reads version 2.
func readBinary(br *bufio.Reader) (Header, error) {
	begin, err := br.Peek(fixed)
	if err != nil {
		return Header{}, err
	}
	if string(begin[:len(signature)]) != signature {
		return Header{}, wrong("it has not the signature of version 2")
	}
	size := fixed + int(binary.BigEndian.Uint16(begin[fixed-2:]))
	if size > MaxHeader {
		return Header{}, wrong("it has %d octets; %d are read", size, MaxHeader)
	}
	all, err := br.Peek(size)
	if err != nil {
		return Header{}, err
	}
	h, err := parseBinary(all)
	if err != nil {
		return Header{}, err
	}
	_, err = br.Discard(size)
	return h, err
}

func parseBinary(all []byte) (Header, error) {
	command, family := all[len(signature)], all[len(signature)+1]
	switch command {
	case local: // whatever follows is to be ignored (section 2.2)
		return Header{}, nil
	case proxied:
	default:
		return Header{}, wrong("its command %#02x is none of version 2", command)
	}
	var h Header
	addresses := 0
	var err error
	switch rest := all[fixed:]; family {
	case unspecified:
	case unix:
		addresses = 2 * 108
	case tcp4:
		addresses = 2*4 + 2*2
		h, err = parseEnds(rest, 4)
	case tcp6:
		addresses = 2*16 + 2*2
		h, err = parseEnds(rest, 16)
	default:
		return Header{}, wrong("its family %#02x is no connection of TCP", family)
	}
	if err != nil {
		return Header{}, err
	}
	if len(all) < fixed+addresses {
		return Header{}, errShort
	}
	return h, checkExtras(all, fixed+addresses)
}

var errShort = wrong("it is shorter than what it must hold")

// parseEnds reads two addresses of so many octets, and two ports.
func parseEnds(b []byte, octets int) (Header, error) {
	if len(b) < 2*octets+4 {
		return Header{}, errShort
	}
	var h Header
	source, _ := netip.AddrFromSlice(b[:octets])
	destination, _ := netip.AddrFromSlice(b[octets : 2*octets])
	ports := b[2*octets:]
	var err error
	if h.Client, err = end(source, binary.BigEndian.Uint16(ports)); err != nil {
		return Header{}, err
	}
	if h.Local, err = end(destination, binary.BigEndian.Uint16(ports[2:])); err != nil {
		return Header{}, err
	}
	return h, nil
}

// checksum is the type of the extra that holds a CRC32c of the header (section
// 2.2.3).
const checksum = 0x03

// checkExtras goes through what stands behind the addresses, each a type, a length
// and a value, and checks the checksum. All else says nothing of interest here.
func checkExtras(all []byte, at int) error {
	for at < len(all) {
		if at+3 > len(all) {
			return errShort
		}
		value := at + 3
		next := value + int(binary.BigEndian.Uint16(all[at+1:]))
		if next > len(all) {
			return errShort
		}
		if all[at] == checksum && !intact(all, value, next) {
			return wrong("its checksum is wrong")
		}
		at = next
	}
	return nil
}

// intact reports whether the checksum that stands from value to next is that of the
// header, with zeros in its place.
func intact(all []byte, value, next int) bool {
	if next-value != crc32.Size {
		return false
	}
	zeroed := bytes.Clone(all)
	clear(zeroed[value:next])
	return crc32.Checksum(zeroed, crc32.MakeTable(crc32.Castagnoli)) == binary.BigEndian.Uint32(all[value:])
}
