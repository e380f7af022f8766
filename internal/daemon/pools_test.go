package daemon

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/config"
	"postern/internal/pool"
	"postern/internal/route"
)

// TestProbeIsAsMail: a probe comes from the address and under the name of the mail for
// which it asks. A server that takes nothing from another would not be used else.
func TestProbeIsAsMail(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	came := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			came <- err.Error()
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "220 hub ESMTP\r\n")
		hello, _ := bufio.NewReader(conn).ReadString('\n')
		fmt.Fprint(conn, "250 hub\r\n")
		came <- strings.TrimSpace(hello) + " from " + conn.RemoteAddr().(*net.TCPAddr).IP.String()
	}()
	c := config.Default()
	c.Hostname = "gateway.example"
	from := route.Identity{Hostname: "out.company.example", IPv4: netip.MustParseAddr("127.0.0.2")}
	d := &Daemon{}
	if _, err := d.prober(&graph{config: c})(t.Context(), route.Lane{Host: "hub", From: from}, listener.Addr().(*net.TCPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	if got := <-came; got != "EHLO out.company.example from 127.0.0.2" {
		t.Error(got)
	}
}

// TestPoolWarnings: status tells of every pool to whose servers mail does not go, and why.
func TestPoolWarnings(t *testing.T) {
	at := func(n byte) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 25) }
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	day := since.Format(time.RFC3339)
	good := pool.Server{Pool: "hubs", Address: at(1), State: pool.Active}
	down := pool.Server{Pool: "hubs", Address: at(2), State: pool.NotUsable, Since: since, Reason: "connect: refused"}
	drained := pool.Server{Pool: "hubs", Address: at(3), State: pool.Active, Drained: "joe"}
	faulty := pool.Server{Pool: "hubs", Address: at(4), State: pool.Active, Faults: []pool.TLSFault{{TLS: "verify", Since: since, Reason: "expired"}}}
	for what, test := range map[string]struct {
		view pool.View
		want string
	}{
		"all are good":   {pool.View{Usable: 1, Servers: []pool.Server{good}}, ""},
		"one is down":    {pool.View{Usable: 1, Servers: []pool.Server{good, down}}, "pool hubs: hubs/192.0.2.2:25 is not usable since " + day + ": connect: refused"},
		"one is drained": {pool.View{Usable: 1, Servers: []pool.Server{good, drained}}, "pool hubs: hubs/192.0.2.3:25 was drained by joe, until postern target drain --undo hubs/192.0.2.3:25"},
		"TLS is faulty":  {pool.View{Usable: 1, Servers: []pool.Server{faulty}}, "pool hubs: hubs/192.0.2.4:25 gets no mail that demands TLS verify since " + day + ": expired"},
		"none is good": {pool.View{Servers: []pool.Server{down, drained, down}},
			"pool hubs: NO SERVER CAN BE USED, and its mail waits: hubs/192.0.2.2:25 is not usable since " + day + ": connect: refused; and 2 more, see postern target list"},
		"none is known": {pool.View{Warnings: []string{"hub.example has no address"}},
			"pool hubs: NO SERVER CAN BE USED, and its mail waits: hub.example has no address"},
		"nothing is heard": {pool.View{}, "pool hubs: NO SERVER CAN BE USED, and its mail waits: none of its targets has an address"},
	} {
		test.view.Name = "hubs"
		if got := strings.Join(poolWarnings([]pool.View{test.view}), "\n"); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", what, got, test.want)
		}
	}
}
