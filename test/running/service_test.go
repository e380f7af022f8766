package running

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/test/harness"
)

const terminate = syscall.SIGTERM

// manager hears what a service says, as systemd does.
type manager struct {
	t      *testing.T
	path   string
	socket *net.UnixConn
	said   []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // a short path: it is that of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &manager{t: t, path: filepath.Join(dir, "s")}
	m.socket, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.socket.Close() })
	return m
}

// hears waits until the service says something that begins so.
func (m *manager) hears(begin string) {
	m.t.Helper()
	var b [4096]byte
	m.socket.SetReadDeadline(time.Now().Add(patience))
	for {
		n, err := m.socket.Read(b[:])
		if err != nil {
			m.t.Fatalf("the service does not say %s: %v; it said %q", begin, err, m.said)
		}
		m.said = append(m.said, string(b[:n]))
		if strings.HasPrefix(m.said[len(m.said)-1], begin) {
			return
		}
	}
}

// passed makes a socket as systemd passes it.
func passed(t *testing.T) (*os.File, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, l.Addr().String()
}

// TestService starts the server as systemd does: with sockets, a watchdog, and
// somebody who listens.
func TestService(t *testing.T) {
	m := newManager(t)
	dir := t.TempDir()
	port, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	configured := harness.Loopback(port)
	file := write(t, dir, configuration(configured, filepath.Join(dir, "data")))
	smtp, address := passed(t)
	other, unused := passed(t)
	// A shell that becomes the server, so that its id is known.
	c := exec.Command("sh", "-c", `LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$@"`, "sh", binary(t), "serve", "--user", me(), "--config", file)
	c.ExtraFiles = []*os.File{smtp, other}
	c.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=900000", "LISTEN_FDS=2", "LISTEN_FDNAMES=smtp:other")
	server := launch(t, c)
	m.hears("READY=1\nSTATUS=Serving smtp at " + address)
	m.hears("WATCHDOG=1")
	m.hears("WATCHDOG=1")
	smtp.Close()
	other.Close()
	server.greeted(address)
	for _, nobody := range []string{configured, unused} {
		if _, err := net.DialTimeout("tcp", nobody, patience); err == nil {
			t.Errorf("somebody answers at %s", nobody)
		}
	}
	log := server.end()
	m.hears("STOPPING=1")
	for _, once := range []string{"READY=1", "STOPPING=1"} {
		if n := strings.Count(strings.Join(m.said, "\n"), once); n != 1 {
			t.Errorf("it said %s %d times: %q", once, n, m.said)
		}
	}
	for _, line := range []string{
		`listener=smtp address=` + address + ` configured=` + configured,
		`name=other address=` + unused,
	} {
		if !strings.Contains(log, line) {
			t.Errorf("the log does not say %s:\n%s", line, log)
		}
	}
}

// TestServiceWithSocketTwice: which of the two would be the listener's?
func TestServiceWithSocketTwice(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, configuration("127.0.0.1:0", filepath.Join(dir, "data")))
	first, _ := passed(t)
	second, _ := passed(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", binary(t), "serve", "--user", me(), "--config", file)
	c.ExtraFiles = []*os.File{first, second}
	c.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=smtp:smtp")
	out, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(out), `postern: systemd passed several sockets named "smtp": give each a FileDescriptorName= of its own`) {
		t.Errorf("%v: %s", err, out)
	}
}

// exposure is the most that `systemd-analyze security` may say of the unit, in
// tenths of its figure from 0 to 10, of which less is better.
const exposure = "20"

func TestUnitIsHardened(t *testing.T) {
	output(t, need(t, "systemd-analyze"), "security", "--offline=true", "--threshold="+exposure, filepath.Join(root, "dist/systemd/postern.service"))
}

// TestUnitsAreGood has systemd read the units. The program must be where they
// say, so that they are read in a root of their own.
func TestUnitsAreGood(t *testing.T) {
	analyze := need(t, "systemd-analyze")
	dir := t.TempDir()
	for _, name := range []string{"postern.service", "postern.socket"} {
		text, err := os.ReadFile(filepath.Join(root, "dist/systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		here := strings.ReplaceAll(string(text), "/usr/bin/postern", binary(t))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(here), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := output(t, analyze, "verify", "--man=no", filepath.Join(dir, "postern.service"), filepath.Join(dir, "postern.socket"))
	if strings.Contains(out, "postern.s") {
		t.Errorf("systemd says of the units:\n%s", out)
	}
}

func TestUserAndDirectoriesAreGood(t *testing.T) {
	users, err := filepath.Abs(filepath.Join(root, "dist/systemd/sysusers.conf"))
	if err != nil {
		t.Fatal(err)
	}
	out := output(t, need(t, "systemd-sysusers"), "--dry-run", users)
	if strings.Contains(out, "rror") {
		t.Error(out)
	}
	dir := t.TempDir()
	passwd := "postern:x:4711:4712::/:/bin/false\n"
	group := "postern:x:4712:\n"
	for name, text := range map[string]string{"etc/passwd": passwd, "etc/group": group, "etc/tmpfiles.d/postern.conf": ""} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".conf") {
			conf, err := os.ReadFile(filepath.Join(root, "dist/systemd/tmpfiles.conf"))
			if err != nil {
				t.Fatal(err)
			}
			text = string(conf)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	needRoot(t)
	output(t, need(t, "systemd-tmpfiles"), "--create", "--root="+dir, "postern.conf")
	info, err := os.Stat(filepath.Join(dir, "var/lib/postern"))
	if err != nil || info.Mode().Perm() != 0o700 || info.Sys().(*syscall.Stat_t).Uid != 4711 {
		t.Errorf("the directory is %v, %v", info, err)
	}
}
