package mail

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// HostPort is a server as a person names it: a host name or an IP address,
// and a TCP port; or what is behind a Unix socket.
type HostPort struct {
	Host string // in lower case; an IPv6 address without brackets
	Port uint16
	// Socket is the path of a Unix socket; then there is neither host nor port.
	Socket string
}

// ErrHostPort is what ParseHostPort fails with, wrapped with what was wrong.
var ErrHostPort = errors.New("not a server")

// IP returns the address when the host is one; ok is false for a name.
func (h HostPort) IP() (ip netip.Addr, ok bool) {
	ip, err := netip.ParseAddr(h.Host)
	return ip, err == nil
}

// String returns host:port, with brackets about an IPv6 address; unix:path of a socket.
func (h HostPort) String() string {
	if h.Socket != "" {
		return "unix:" + h.Socket
	}
	return net.JoinHostPort(h.Host, strconv.Itoa(int(h.Port)))
}

// ParseHostPort reads "host", "host:port", "192.0.2.1:port" or
// "[2001:db8::1]:port". Without a port it is port. A name must be ASCII, in
// its xn-- form where it has other letters, because that is what DNS knows.
//
// It fails with ErrHostPort, wrapped with what was wrong.
func ParseHostPort(s string, port uint16) (HostPort, error) {
	host, digits, err := cutPort(s)
	if err != nil {
		return HostPort{}, err
	}
	if digits != "" {
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || n == 0 || digits[0] == '+' {
			return HostPort{}, fmt.Errorf("%w: port %q is not a number from 1 to 65535", ErrHostPort, digits)
		}
		port = uint16(n)
	}
	return HostPort{Host: host, Port: port}, nil
}

// cutPort takes s apart, and checks its host.
func cutPort(s string) (host, digits string, err error) {
	if inside, found := strings.CutPrefix(s, "["); found {
		return cutBrackets(inside)
	}
	if ip, err := netip.ParseAddr(s); err == nil && ip.Is6() {
		return "", "", fmt.Errorf("%w: an IPv6 address stands in brackets, [%s]", ErrHostPort, s)
	}
	host, digits, found := strings.Cut(s, ":")
	if found && digits == "" {
		return "", "", fmt.Errorf("%w: no port after the colon", ErrHostPort)
	}
	host = strings.ToLower(host)
	if err := checkHost(host); err != nil {
		return "", "", err
	}
	return host, digits, nil
}

func cutBrackets(inside string) (host, digits string, err error) {
	literal, rest, found := strings.Cut(inside, "]")
	if !found {
		return "", "", fmt.Errorf("%w: bracket not closed", ErrHostPort)
	}
	ip, err := netip.ParseAddr(literal)
	if err != nil || !ip.Is6() {
		return "", "", fmt.Errorf("%w: brackets are for IPv6 addresses, and %q is none", ErrHostPort, literal)
	}
	if rest == "" {
		return ip.String(), "", nil
	}
	digits, found = strings.CutPrefix(rest, ":")
	if !found || digits == "" {
		return "", "", fmt.Errorf("%w: %q after the bracket is not a colon and a port", ErrHostPort, rest)
	}
	return ip.String(), digits, nil
}

// checkHost checks a name or an IPv4 address. What ends in a number would be
// looked up in vain: it is an address with a slip of the pen.
func checkHost(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		return nil
	}
	if host == "" {
		return fmt.Errorf("%w: no host", ErrHostPort)
	}
	if !isASCII(host) {
		return fmt.Errorf("%w: %q is not ASCII, write its xn-- form", ErrHostPort, host)
	}
	if err := CheckDomain(host); err != nil {
		return fmt.Errorf("%w: %w", ErrHostPort, err)
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("%w: %q is neither an IPv4 address nor a name", ErrHostPort, host)
	}
	return nil
}
