package peers

import (
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"postern/test/harness"
)

// TestEximStops: an Exim is stopped with what it started, also the process of a
// connection that stays open; and it may be started again.
func TestEximStops(t *testing.T) {
	ctx := bounded(t)
	sink := startSink(t, nil)
	exim, err := harness.NewExim(harness.EximOptions{
		Dir: filepath.Join(directory(t), "exim"), Hostname: "exim.test.example", NextHop: sink.Addr(),
	})
	if errors.Is(err, harness.ErrNoExim) {
		lack(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := exim.Start(ctx); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp4", exim.Addr())
		if err == nil {
			_, err = conn.Read(make([]byte, 1)) // of the greeting: there is a process for it
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := exim.Stop(); err != nil {
			t.Error(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(limit / 2)); err != nil {
			t.Fatal(err)
		}
		for buf := make([]byte, 512); err == nil; {
			_, err = conn.Read(buf)
		}
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Error("the connection is still served")
		}
		conn.Close()
	}
}
