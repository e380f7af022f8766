// Package container tells whether the process runs in a container, and by which
// addresses clients may appear that have others.
//
// Behind address translation, as before most containers, every client can appear with
// the address of the gateway, strangers from the Internet as well: to trust that
// address is to trust everybody. This package knows what the files of the machine say;
// what follows from that is its caller's. A file that cannot be read says nothing; no
// function here fails.
package container

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Surroundings are what is known of where the process runs. The zero value knows
// nothing, and masks nobody.
type Surroundings struct {
	// Sign is what shows that it is a container; empty if nothing does.
	Sign string
	// Gateways are the default gateways, at most 64.
	Gateways []netip.Addr
	// Own are the addresses of the machine. In a container, some ways to forward
	// ports let every client appear with one of them.
	Own []netip.Addr
}

// Bounds of what is read.
const (
	maxFile     = 1 << 20
	maxGateways = 64
)

// Look looks at the files of the machine below root, which is os.DirFS("/"), at the
// environment, and at the machine's own addresses.
func Look(root fs.FS, getenv func(string) string, own []netip.Addr) Surroundings {
	s := Surroundings{Sign: sign(root, getenv)}
	s.Gateways = append(gateways4(read(root, "proc/net/route")), gateways6(read(root, "proc/net/ipv6_route"))...)
	s.Gateways = s.Gateways[:min(len(s.Gateways), maxGateways)]
	for _, ip := range own {
		if ip = plain(ip); !ip.IsLoopback() {
			s.Own = append(s.Own, ip)
		}
	}
	return s
}

// signFiles are files that the software of containers makes, and that are nowhere else.
var signFiles = []string{".dockerenv", "run/.containerenv", "run/systemd/container"}

// controlGroups are words in the names of the control groups of containers.
var controlGroups = []string{"docker", "libpod", "kubepods", "containerd", "lxc"}

// sign returns what shows that this is a container, or "".
func sign(root fs.FS, getenv func(string) string) string {
	for _, name := range signFiles {
		if _, err := fs.Stat(root, name); err == nil {
			return "/" + name
		}
	}
	for _, name := range []string{"container", "KUBERNETES_SERVICE_HOST"} {
		if getenv(name) != "" {
			return "the variable " + name
		}
	}
	for _, name := range []string{"proc/self/cgroup", "proc/1/cgroup"} {
		groups := read(root, name)
		if slices.ContainsFunc(controlGroups, func(word string) bool { return strings.Contains(groups, word) }) {
			return "/" + name
		}
	}
	return ""
}

// read returns the beginning of a file, "" for one that cannot be read.
func read(root fs.FS, name string) string {
	f, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return ""
	}
	return string(data)
}

// throughGateway is the flag of a route that leads to a gateway (RTF_GATEWAY of
// route(7)).
const throughGateway = 2

// gateways4 reads /proc/net/route (proc_pid_net(5)): numbers as the machine has them.
func gateways4(table string) []netip.Addr {
	var list []netip.Addr
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" || !flagged(f[3]) {
			continue
		}
		n, err := strconv.ParseUint(f[2], 16, 32)
		if err != nil || n == 0 {
			continue
		}
		var ip [4]byte
		binary.NativeEndian.PutUint32(ip[:], uint32(n))
		list = add(list, netip.AddrFrom4(ip))
	}
	return list
}

// gateways6 reads /proc/net/ipv6_route.
func gateways6(table string) []netip.Addr {
	var list []netip.Addr
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || strings.Trim(f[0], "0") != "" || f[1] != "00" || !flagged(f[8]) {
			continue
		}
		octets, err := hex.DecodeString(f[4])
		if ip, ok := netip.AddrFromSlice(octets); err == nil && ok && !ip.IsUnspecified() {
			list = add(list, ip)
		}
	}
	return list
}

func flagged(flags string) bool {
	n, err := strconv.ParseUint(flags, 16, 32)
	return err == nil && n&throughGateway != 0
}

func add(list []netip.Addr, ip netip.Addr) []netip.Addr {
	if slices.Contains(list, ip) {
		return list
	}
	return append(list, ip)
}

func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// Masks says why nobody can be told by an address: every client may appear with it. It
// is "" for an address that is its client's own, as far as can be seen.
func (s Surroundings) Masks(client netip.Addr) string {
	client = plain(client)
	here := "this host"
	if s.Sign != "" {
		here = "this container"
	}
	switch {
	case client.IsLoopback():
		return ""
	case slices.Contains(s.Gateways, client):
		return fmt.Sprintf("%s is the gateway of %s, and everybody may appear with its address", client, here)
	case s.Sign != "" && slices.Contains(s.Own, client):
		return fmt.Sprintf("%s is the address of this container itself, and everybody may appear with it", client)
	}
	return ""
}

// Masked returns the addresses of a network that Masks speaks of.
func (s Surroundings) Masked(p netip.Prefix) []netip.Addr {
	var list []netip.Addr
	for _, ip := range slices.Concat(s.Gateways, s.Own) {
		if p.Contains(ip) && s.Masks(ip) != "" {
			list = add(list, ip)
		}
	}
	return list
}
