package smtpclient

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// slowServer takes everything, content at a rate in octets a second, and
// returns how much of it there was.
func slowServer(conn net.Conn, rate int) int {
	defer conn.Close()
	lines := bufio.NewReaderSize(conn, 16) // each read takes little
	say := func(reply string) { _, _ = io.WriteString(conn, reply+"\r\n") }
	for {
		line, err := lines.ReadString('\n')
		switch {
		case err != nil:
			return 0
		case line != "DATA\r\n":
			say("250 ok")
			continue
		}
		say("354 go")
		taken := 0
		for end := false; !end; end = line == ".\r\n" {
			if line, err = lines.ReadString('\n'); err != nil {
				return taken
			}
			taken += len(line)
			time.Sleep(time.Duration(len(line)) * time.Second / time.Duration(rate))
		}
		say("250 taken")
		return taken
	}
}

// TestSlowServer: a server that takes content a little at a time is waited for
// while it takes minRate, however long the whole lasts; not if it takes less,
// although it takes each block within its timeout.
func TestSlowServer(t *testing.T) {
	content := strings.Repeat("text\r\n", 100_000)
	for _, tt := range []struct {
		name   string
		rate   int
		want   string
		within time.Duration
	}{
		{"quick enough", minRate + 10, "delivered end of data: remote 250 taken", 30 * time.Minute},
		{"too slow", minRate - 100, "deferred DATA: local 451 4.4.2 Connection to mx.example timed out before the end of the message", 15 * time.Minute},
		{"an octet a second", 1, "deferred DATA: local 451 4.4.2 Connection to mx.example timed out before the end of the message", 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				taken := make(chan int, 1)
				go func() { taken <- slowServer(server, tt.rate) }()
				conn := newConn(client, "mx.example", netip.AddrPort{}, Options{}.withDefaults())
				begun := time.Now()
				outcome := conn.Send(t.Context(), transaction(1, content))[0]
				if got := brief(outcome); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				// The clock is that of synctest: nothing here depends on the machine.
				if lasted := time.Since(begun); lasted > tt.within {
					t.Errorf("it lasted %s", lasted)
				}
				_ = client.Close()
				if n := <-taken; (n == len(content)+len(".\r\n")) != (outcome.State == "delivered") {
					t.Errorf("%d octets were taken, %s", n, outcome.State)
				}
			})
		})
	}
}
