package daemon

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"postern/internal/admin"
	"postern/internal/config"
)

// TestRenamedListener: a name is no reason to bind a socket again.
func TestRenamedListener(t *testing.T) {
	c := settings(t, nowhere)
	c.Listeners[0] = another("one", freeAddress(t))
	r, s := reloadable(t, c)
	socket := r.listeners[0].socket
	s.set(c, func(next *config.Config) { next.Listeners[0].Name = "two" })
	if _, err := r.Reload("ann"); err != nil {
		t.Fatal(err)
	}
	if r.listeners[0].socket != socket || r.addresses()["two"].State != admin.ListenerOpen {
		t.Errorf("the listeners are %+v", r.addresses())
	}
	r.end(t)
}

// TestStopAndStartListener: one that is stopped takes nobody, over reloads too,
// until it is started; its sessions end between two transactions.
func TestStopAndStartListener(t *testing.T) {
	c := settings(t, nowhere)
	c.Listeners = append(c.Listeners, another("extra", freeAddress(t)))
	address := c.Listeners[1].Address.String()
	r, s := reloadable(t, c)
	idle, busy := connect(t, address), connect(t, address)
	for _, line := range []string{"EHLO client.example", "MAIL FROM:<me@x.example>"} {
		busy.Command(line)
	}
	for range 2 {
		if err := r.StopListener("extra", "ann"); err != nil {
			t.Fatal(err)
		}
	}
	if reply := idle.Reply(); reply.Code != 421 || reply.Enhanced != "4.3.2" {
		t.Errorf("an idle session was told %v", reply)
	}
	if reply := busy.Command("RCPT TO:<you@x.example>"); reply.Code != 250 {
		t.Errorf("a session in its transaction was told %v", reply)
	}
	if reply := busy.Command("RSET"); reply.Code != 250 {
		t.Errorf("at its end: %v", reply)
	}
	if reply := busy.Reply(); reply.Code != 421 {
		t.Errorf("behind its end: %v", reply)
	}
	s.set(c, func(next *config.Config) { next.Hostname = "other.example" })
	if _, err := r.Reload("ann"); err != nil {
		t.Fatal(err)
	}
	if l := r.addresses()["extra"]; !refused(address) || l.State != admin.ListenerStopped || l.Address != address {
		t.Errorf("after a reload: %+v", l)
	}
	taken, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.StartListener("extra", "ann"); err == nil || !strings.Contains(err.Error(), "cannot listen at "+address) {
		t.Errorf("with its address taken: %v", err)
	}
	taken.Close()
	for range 2 {
		if err := r.StartListener("extra", "ann"); err != nil {
			t.Fatal(err)
		}
	}
	if reply := connect(t, address).Command("EHLO client.example"); !strings.HasPrefix(reply.Text, "other.example") {
		t.Errorf("it was started with old settings: %v", reply)
	}
	for _, do := range []func(name, actor string) error{r.StopListener, r.StartListener} {
		if err := do("nobody", "ann"); !errors.Is(err, errNoListener) {
			t.Errorf("a listener that is none: %v", err)
		}
	}
	r.end(t)
	if got := facts(t, c); got != "started closed reloaded opened stopped" {
		t.Errorf("the journal has %q", got)
	}
}

// TestStoppedListenerIsForgotten: when it leaves the configuration, so does the
// stop.
func TestStoppedListenerIsForgotten(t *testing.T) {
	c := settings(t, nowhere)
	c.Listeners = append(c.Listeners, another("extra", freeAddress(t)))
	r, s := reloadable(t, c)
	if err := r.StopListener("extra", "ann"); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*config.Config){func(next *config.Config) { next.Listeners = next.Listeners[:1] }, func(*config.Config) {}} {
		s.set(c, change)
		if _, err := r.Reload("ann"); err != nil {
			t.Fatal(err)
		}
	}
	if l := r.addresses()["extra"]; l.State != admin.ListenerOpen {
		t.Errorf("it is %+v", l)
	}
	r.end(t)
}

// TestWidenedListener: a listener moves from one address to all of them, and
// back, without a moment in which nobody listens. A stranger cannot share the
// port with it.
func TestWidenedListener(t *testing.T) {
	c := settings(t, nowhere)
	at := freeAddress(t)
	c.Listeners = []config.Listener{another("smtp", at)}
	r, s := reloadable(t, c)
	session := connect(t, at.String())
	all := netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
	for _, address := range []netip.AddrPort{all, at} {
		s.set(c, func(next *config.Config) { next.Listeners[0].Address = address })
		if _, err := r.Reload("ann"); err != nil {
			t.Fatal(err)
		}
		connect(t, at.String()).Command("QUIT")
		if got := r.addresses()["smtp"]; got.State != admin.ListenerOpen || netip.MustParseAddrPort(got.Address).Addr().IsUnspecified() != address.Addr().IsUnspecified() {
			t.Errorf("it is %+v", got)
		}
		if _, err := net.Listen("tcp", all.String()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("another program can have a part of it: %v", err)
		}
	}
	if reply := session.Command("EHLO client.example"); reply.Code != 250 {
		t.Errorf("a session of before: %v", reply)
	}
	r.end(t)
}

// TestAddressHeldByItself: a listener that stays is in the way of one for all
// addresses, and the error says so.
func TestAddressHeldByItself(t *testing.T) {
	c := settings(t, nowhere)
	at := freeAddress(t)
	c.Listeners = []config.Listener{another("smtp", at)}
	r, s := reloadable(t, c)
	s.set(c, func(next *config.Config) {
		next.Listeners = append(next.Listeners, another("all", netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())))
	})
	if _, err := r.Reload("ann"); err == nil || !strings.Contains(err.Error(), "listener smtp of this server has "+at.String()+": `postern listener stop smtp` frees it") {
		t.Errorf("got %v", err)
	}
	r.end(t)
}

// TestAllOfIPv4: 0.0.0.0 takes no clients by IPv6, whoever bound it, and a socket
// that is where the configuration has it is nothing to warn of.
func TestAllOfIPv4(t *testing.T) {
	c := settings(t, nowhere)
	port := freeAddress(t).Port()
	c.Listeners[0].Address = netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	for name, bind := range map[string]func() Sockets{
		"by the server": func() Sockets { return nil },
		"while it was root": func() Sockets {
			bound := Sockets{}
			if err := bound.bind(c); err != nil {
				t.Fatal(err)
			}
			return bound
		},
	} {
		r := startWith(t, c, Options{Sockets: bind()})
		if at := r.listeners[0].socket.Addr().String(); at != c.Listeners[0].Address.String() {
			t.Errorf("bound %s it is at %s", name, at)
		}
		if log := r.log.String(); strings.Contains(log, "has a socket already") {
			t.Errorf("bound %s: %s", name, log)
		}
		r.end(t)
	}
}
