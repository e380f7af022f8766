package dns

import (
	"bytes"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"postern/internal/mail"
)

// recheck is how long a file is believed before it is looked at again.
const recheck = 5 * time.Second

// maxFile bounds the files that are read, in octets; more of one is not.
const maxFile = 1 << 20

// watched is what a file says, read again when it has changed. A file that
// cannot be read says what it said before, at first nothing.
type watched[T any] struct {
	path  string
	clock mail.Clock
	parse func([]byte) T

	mu      sync.Mutex
	value   T
	looked  time.Time
	changed time.Time // of the file, when it was read
	size    int64
}

func watch[T any](path string, clock mail.Clock, parse func([]byte) T) *watched[T] {
	return &watched[T]{path: path, clock: clock, parse: parse}
}

func (w *watched[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := w.clock.Now(); w.looked.IsZero() || now.Sub(w.looked) >= recheck {
		w.looked = now
		w.look()
	}
	return w.value
}

// look reads the file if it is another than before. mu is held.
func (w *watched[T]) look() {
	info, err := os.Stat(w.path)
	if err != nil || info.ModTime().Equal(w.changed) && info.Size() == w.size {
		return
	}
	data, err := os.ReadFile(w.path)
	if err != nil {
		return
	}
	w.value = w.parse(data[:min(len(data), maxFile)])
	w.changed, w.size = info.ModTime(), info.Size()
}

// hostNames are the addresses of names, by name in lower case.
type hostNames map[string][]netip.Addr

// equal reports whether two have the same names with the same addresses.
func (n hostNames) equal(other hostNames) bool {
	return maps.EqualFunc(n, other, slices.Equal[[]netip.Addr])
}

// parseHosts reads a file of host names (hosts(5)): an address and its names a
// line. Lines that are none are passed over, as the system does.
func parseHosts(data []byte) hostNames {
	names := hostNames{}
	for line := range strings.Lines(string(data)) {
		ip, of, _ := hostLine(line)
		for _, name := range of {
			names[name] = append(names[name], ip)
		}
	}
	return names
}

// hostLine reads a line of such a file, and says what is wrong with it; a comment has no
// names.
func hostLine(line string) (ip netip.Addr, names []string, wrong string) {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return netip.Addr{}, nil, ""
	}
	ip, err := netip.ParseAddr(fields[0])
	if err != nil {
		return netip.Addr{}, nil, strconv.Quote(fields[0]) + " is not an IP address"
	}
	if len(fields) == 1 {
		return netip.Addr{}, nil, "has an address and no name"
	}
	for _, name := range fields[1:] {
		if name = canonical(name); name == "" || strings.HasSuffix(name, ".") {
			wrong = strconv.Quote(name) + " is not the name of a host"
			continue // it has an empty label
		}
		names = append(names, name)
	}
	return ip.Unmap(), names, wrong
}

// resolvConf is what /etc/resolv.conf says (resolv.conf(5)).
type resolvConf struct {
	servers []netip.AddrPort
	search  []string
}

func parseResolvConf(data []byte) resolvConf {
	config, err := dns.ClientConfigFromReader(bytes.NewReader(data))
	if err != nil {
		return resolvConf{}
	}
	port, err := strconv.ParseUint(config.Port, 10, 16)
	if err != nil {
		return resolvConf{}
	}
	r := resolvConf{search: config.Search}
	for _, s := range config.Servers {
		if ip, err := netip.ParseAddr(s); err == nil {
			r.servers = append(r.servers, netip.AddrPortFrom(ip, uint16(port)))
		}
	}
	return r
}
