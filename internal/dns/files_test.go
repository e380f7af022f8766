package dns

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

func TestParseHosts(t *testing.T) {
	got := parseHosts([]byte("127.0.0.1 localhost # the machine\n::1\tlocalhost\n" +
		"192.0.2.1 Relay.test. relay\n# 192.0.2.2 gone.test\nnot.an.address x.test\n192.0.2.3\n\n"))
	want := hostNames{
		"localhost":  {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")},
		"relay.test": {four},
		"relay":      {four},
	}
	if diff := cmp.Diff(want, got, compareAddr); diff != "" {
		t.Error(diff)
	}
}

func TestParseResolvConf(t *testing.T) {
	got := parseResolvConf([]byte("search corp.test\nnameserver 192.0.2.1\nnameserver ::1\nnameserver nonsense\n"))
	want := resolvConf{
		servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[::1]:53")},
		search:  []string{"corp.test"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(resolvConf{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

// TestHostsFile: the file of the machine goes before DNS, and is read again
// when it changes, but not looked at all the time.
func TestHostsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	clock := mail.NewManualClock(time.Unix(1e9, 0))
	c := NewClient(Options{Hosts: path, ResolvConf: none, Clock: clock})
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look := func(want string) {
		t.Helper()
		if got := show(c.LookupAddr(t.Context(), "RELAY.test.")); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	write("192.0.2.1 relay.test\n")
	look("192.0.2.1")
	write("192.0.2.1 relay.test\n2001:db8::1 relay.test\n")
	look("192.0.2.1")
	clock.Advance(recheck)
	look("192.0.2.1 2001:db8::1")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	clock.Advance(recheck)
	look("192.0.2.1 2001:db8::1")
}

// TestServersOfTheMachine: they are read again when they change, and not at
// all when the configuration names others.
func TestServersOfTheMachine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	clock := mail.NewManualClock(time.Unix(1e9, 0))
	c := NewClient(Options{Hosts: none, ResolvConf: path, Clock: clock})
	for _, want := range []string{"192.0.2.1:53", "[2001:db8::1]:53"} {
		server := netip.MustParseAddrPort(want)
		if err := os.WriteFile(path, []byte("nameserver "+server.Addr().String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		clock.Advance(recheck)
		if got := c.servers(); len(got) != 1 || got[0] != server {
			t.Errorf("servers %v, want %s", got, want)
		}
	}
	c.options.Servers = make([]netip.AddrPort, maxServers+1)
	if got := c.servers(); len(got) != maxServers || got[0].IsValid() {
		t.Errorf("servers %v, want the first %d of those configured", got, maxServers)
	}
}

// TestHostsWithoutName: dots alone name nothing.
func TestHostsWithoutName(t *testing.T) {
	if names := parseHosts([]byte("192.0.2.1 . .. a.. b.\n")); len(names) != 1 || len(names["b"]) != 1 {
		t.Errorf("names %v, want b alone", names)
	}
}

func FuzzParseHosts(f *testing.F) {
	f.Add([]byte("127.0.0.1 localhost # the machine\n::1%lo x\n\xff y"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, addresses := range parseHosts(data) {
			if name == "" || name != canonical(name) || len(addresses) == 0 {
				t.Errorf("%q: %v", name, addresses)
			}
		}
	})
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add([]byte("search corp.test\nnameserver 192.0.2.1\noptions ndots:2"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, server := range parseResolvConf(data).servers {
			if !server.IsValid() {
				t.Errorf("server %v", server)
			}
		}
	})
}
