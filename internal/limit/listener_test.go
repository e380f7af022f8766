package limit

import (
	"net"
	"net/netip"
	"testing"
)

func TestNetwork(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"::ffff:192.0.2.1", "192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8:0:1::1", "2001:db8::1", false},
		{"fe80::1%eth0", "fe80::2", true},
	} {
		if same := Network(netip.MustParseAddr(c.a)) == Network(netip.MustParseAddr(c.b)); same != c.same {
			t.Errorf("%s and %s: one client %v", c.a, c.b, same)
		}
	}
	if n := Network(netip.Addr{}); n != (netip.Prefix{}) {
		t.Errorf("no address is %v", n)
	}
}

// TestPerClient: a client that has its connections gets no more until it
// closes one, and others do not notice.
func TestPerClient(t *testing.T) {
	raw, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := PerClient(raw, 2)
	accepted := make(chan net.Conn, 10)
	done := make(chan error, 1)
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				done <- err
				return
			}
			accepted <- nc
		}
	}()
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		nc, err := d.Dial("tcp4", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		return nc
	}
	refused := func(nc net.Conn) {
		t.Helper()
		if _, err := nc.Read(make([]byte, 1)); err == nil {
			t.Error("nothing was sent, and something was read")
		}
	}
	dial("127.0.0.2")
	dial("127.0.0.2")
	first := <-accepted
	<-accepted
	refused(dial("127.0.0.2"))
	dial("127.0.0.3")
	<-accepted
	first.Close()
	first.Close() // frees nothing twice
	dial("127.0.0.2")
	<-accepted
	refused(dial("127.0.0.2"))
	l.Close()
	<-done
}

// TestTotal: who comes when all places are taken waits for one; the end of the
// listener ends the wait.
func TestTotal(t *testing.T) {
	raw, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Total(raw, 1)
	for range 2 {
		if nc, err := net.Dial("tcp4", raw.Addr().String()); err == nil {
			defer nc.Close()
		} else {
			t.Fatal(err)
		}
	}
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, is := first.(*Conn).NetConn().(*net.TCPConn); !is {
		t.Error("the connection below is hidden")
	}
	next := make(chan error)
	accept := func() {
		_, err := l.Accept()
		next <- err
	}
	go accept()
	select {
	case <-next:
		t.Fatal("there were two connections at a time")
	default:
	}
	first.Close()
	first.Close() // frees nothing twice
	if err := <-next; err != nil {
		t.Fatal(err)
	}
	go accept()
	l.Close()
	if err := <-next; err == nil {
		t.Error("accepted after the end")
	}
}
