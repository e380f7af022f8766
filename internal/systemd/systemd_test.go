package systemd

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// listen hears what is said to systemd.
func listen(t *testing.T) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // a short path: it is that of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return socket
}

func TestSayings(t *testing.T) {
	socket := listen(t)
	for _, c := range []struct {
		say  func() error
		want string
	}{
		{func() error { return Ready("well") }, `^READY=1\nSTATUS=well$`},
		{Reloading, `^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]+$`},
		{Stopping, `^STOPPING=1$`},
		{Alive, `^WATCHDOG=1$`},
	} {
		if err := c.say(); err != nil {
			t.Fatal(err)
		}
		var b [1024]byte
		n, err := socket.Read(b[:])
		if err != nil || !regexp.MustCompile(c.want).Match(b[:n]) {
			t.Errorf("said %q, %v; want %s", b[:n], err, c.want)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Ready(""); err != nil {
		t.Errorf("without systemd: %v", err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	if err := Ready(""); err == nil {
		t.Error("what nobody heard is no error")
	}
}

func TestWatchdog(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
		fails     bool
	}{
		{"", "", 0, false},
		{"120000000", "", 2 * time.Minute, false},
		{"120000000", fmt.Sprint(os.Getpid()), 2 * time.Minute, false},
		{"120000000", "1", 0, false}, // that of another process
		{"soon", "", 0, true},
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		if got, err := Watchdog(); got != c.want || (err != nil) != c.fails {
			t.Errorf("%q for %q: %s, %v", c.usec, c.pid, got, err)
		}
	}
}

// Sockets that are for another process are left alone; those that are for this
// one, test/running passes.
func TestSocketsOfAnotherProcess(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	if sockets, err := Sockets(); len(sockets) != 0 || err != nil {
		t.Errorf("%v, %v", sockets, err)
	}
}

func TestReadsJournal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[string]bool{
		"":                                       false,
		fmt.Sprintf("%d:%d", stat.Dev, stat.Ino): true,
		fmt.Sprintf("%d:%d", stat.Dev, stat.Ino+1): false,
		fmt.Sprintf("%d:%d", stat.Dev+1, stat.Ino): false,
	} {
		t.Setenv("JOURNAL_STREAM", stream)
		if got := ReadsJournal(f); got != want {
			t.Errorf("JOURNAL_STREAM=%q: %t", stream, got)
		}
	}
}
