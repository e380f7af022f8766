package daemon

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"postern/internal/config"
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
