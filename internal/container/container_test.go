package container

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func files(t *testing.T, parts ...string) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	for i := 0; i < len(parts); i += 2 {
		m[parts[i]] = &fstest.MapFile{Data: []byte(parts[i+1])}
	}
	return m
}

func TestSign(t *testing.T) {
	for _, c := range []struct {
		name, want string
		files      []string
		variable   string
	}{
		{"nothing", "", nil, ""},
		{"docker", "/.dockerenv", []string{".dockerenv", ""}, ""},
		{"podman", "/run/.containerenv", []string{"run/.containerenv", "engine=\"podman\""}, ""},
		{"nspawn", "/run/systemd/container", []string{"run/systemd/container", "systemd-nspawn"}, ""},
		{"a variable", "the variable container", nil, "container"},
		{"kubernetes", "the variable KUBERNETES_SERVICE_HOST", nil, "KUBERNETES_SERVICE_HOST"},
		{"a control group", "/proc/self/cgroup", []string{"proc/self/cgroup", "12:pids:/docker/3c0f\n"}, ""},
		{"that of the first process", "/proc/1/cgroup", []string{"proc/self/cgroup", "0::/\n", "proc/1/cgroup", "0::/kubepods/besteffort/pod1\n"}, ""},
		{"a plain machine", "", []string{"proc/self/cgroup", "0::/system.slice/postern.service\n", "proc/1/cgroup", "0::/init.scope\n"}, "HOME"},
	} {
		getenv := func(name string) string {
			if name == c.variable {
				return "yes"
			}
			return ""
		}
		if got := Look(files(t, c.files...), getenv, nil).Sign; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// hexOf writes an address as the kernel of this machine does.
func hexOf(ip string) string {
	a := netip.MustParseAddr(ip).As4()
	return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(a[:]))
}

func routes4() string {
	head := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	row := func(destination, gateway, flags, mask string) string {
		return strings.Join([]string{"eth0", destination, gateway, flags, "0", "0", "0", mask, "0", "0", "0"}, "\t") + "\n"
	}
	const zero = "00000000"
	return head +
		row(zero, hexOf("172.17.0.1"), "0003", zero) +
		row(zero, hexOf("172.17.0.1"), "0003", zero) +
		row(zero, hexOf("192.0.2.254"), "0003", zero) +
		row(hexOf("172.17.0.0"), zero, "0001", hexOf("255.255.0.0")) +
		row(hexOf("10.0.0.0"), hexOf("172.17.0.9"), "0003", hexOf("255.0.0.0")) + // no default
		row(zero, hexOf("172.17.0.8"), "0001", zero) + // to no gateway
		row(zero, zero, "0003", zero) +
		row(zero, "nonsense", "0003", zero) +
		"short\n"
}

const routes6 = `00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
20010db8000000000000000000000000 40 00000000000000000000000000000000 00 20010db8000000000000000000000099 00000100 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 20010db8000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
00000000000000000000000000000000 00 00000000000000000000000000000000 00 nonsense ffffffff 00000001 00000000 00000003       lo
`

func none(string) string { return "" }

func TestGateways(t *testing.T) {
	s := Look(files(t, "proc/net/route", routes4(), "proc/net/ipv6_route", routes6), none, nil)
	if got := fmt.Sprint(s.Gateways); got != "[172.17.0.1 192.0.2.254 fe80::1 2001:db8::1]" {
		t.Errorf("gateways %s", got)
	}
	if s := Look(files(t), none, nil); len(s.Gateways) != 0 || s.Masks(netip.MustParseAddr("0.0.0.0")) != "" {
		t.Errorf("without files: %+v", s)
	}
	many := ""
	for i := range 200 {
		many += strings.Join([]string{"e", "00000000", hexOf(fmt.Sprintf("10.0.0.%d", i+1)), "3", "0", "0", "0", "00000000"}, " ") + "\n"
	}
	if s := Look(files(t, "proc/net/route", many), none, nil); len(s.Gateways) != maxGateways {
		t.Errorf("%d gateways", len(s.Gateways))
	}
}

func TestMasks(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("172.17.0.2"), netip.MustParseAddr("fe80::2%eth0")}
	table := []string{"proc/net/route", routes4(), "proc/net/ipv6_route", routes6}
	host := Look(files(t, table...), none, own)
	inside := Look(files(t, append(table, ".dockerenv", "")...), none, own)
	for ip, want := range map[string][2]string{ // on a host, in a container
		"172.17.0.1":        {"172.17.0.1 is the gateway of this host, and everybody may appear with its address", "172.17.0.1 is the gateway of this container, and everybody may appear with its address"},
		"::ffff:172.17.0.1": {"172.17.0.1 is the gateway of this host, and everybody may appear with its address", "172.17.0.1 is the gateway of this container, and everybody may appear with its address"},
		"fe80::1%eth0":      {"fe80::1 is the gateway of this host, and everybody may appear with its address", "fe80::1 is the gateway of this container, and everybody may appear with its address"},
		"172.17.0.2":        {"", "172.17.0.2 is the address of this container itself, and everybody may appear with it"},
		"fe80::2%eth1":      {"", "fe80::2 is the address of this container itself, and everybody may appear with it"},
		"172.17.0.3":        {},
		"127.0.0.1":         {},
		"::1":               {},
	} {
		for i, s := range []Surroundings{host, inside} {
			if got := s.Masks(netip.MustParseAddr(ip)); got != want[i] {
				t.Errorf("%s, in a container %v: %q, want %q", ip, i == 1, got, want[i])
			}
		}
	}
	if why := (Surroundings{}).Masks(netip.MustParseAddr("172.17.0.1")); why != "" {
		t.Errorf("who knows nothing says %q", why)
	}
	var masked []string
	for _, ip := range inside.Masked(netip.MustParsePrefix("172.16.0.0/12")) {
		masked = append(masked, ip.String())
	}
	if !slices.Equal(masked, []string{"172.17.0.1", "172.17.0.2"}) || len(host.Masked(netip.MustParsePrefix("172.17.0.2/31"))) != 0 {
		t.Errorf("masked: %v", masked)
	}
}
