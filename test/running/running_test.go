// Package running tests how the program is run: as a service of systemd, as
// another user than root, and out of the Debian package. It builds the real
// thing, and asks the system's own programs about it.
//
// Only root can become somebody else, or install a package; the package is
// installed into a copy of this machine (an overlay), of which nothing is left.
package running

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/test/harness"
)

// root is the root of the repository.
const root = "../.."

// patience bounds every wait.
const patience = time.Minute

// need returns the path of a program of the system. One that is missing fails the
// test where peers are required.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil && harness.Required() {
		t.Fatalf("%s is missing; test/install installs it", program)
	} else if err != nil {
		t.Skipf("%s is missing", program)
	}
	return path
}

// needRoot skips a test that only root can do, and fails it where peers are
// required.
func needRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case harness.Required():
		t.Fatal("only root can do this; run the tests as root")
	default:
		t.Skip("only root can do this")
	}
}

// output runs a program, which must succeed, and returns what it printed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// built is the binary as `make build` makes it, one for all tests.
var built struct {
	sync.Once
	dir, path string
	deb       string // the package of it
	err       error
}

// version is what the binary is told to be.
const version = "v0.9.1-3-gabcdef0"

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(built.dir)
	os.Exit(code)
}

func binary(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "postern-running-"); built.err != nil {
			return
		}
		built.err = os.Chmod(built.dir, 0o755) // for the user that the server becomes
		built.path = filepath.Join(built.dir, "postern")
		build := exec.Command("make", "-s", "-C", root, "build", "VERSION="+version, "BINARY="+built.path)
		if out, err := build.CombinedOutput(); err != nil {
			built.err = errors.Join(err, errors.New(string(out)))
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// instance is a server that runs.
type instance struct {
	t       *testing.T
	command *exec.Cmd
	out     *bytes.Buffer // read it when the server has ended
	ended   chan error
}

// launch starts a command that becomes the server, and ends it with the test.
func launch(t *testing.T, c *exec.Cmd) *instance {
	t.Helper()
	i := &instance{t: t, command: c, out: &bytes.Buffer{}, ended: make(chan error, 1)}
	c.Stdout, c.Stderr = i.out, i.out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { i.ended <- c.Wait() }()
	t.Cleanup(func() { c.Process.Kill() })
	return i
}

// end sends it SIGTERM, and returns what it has printed.
func (i *instance) end() string {
	i.t.Helper()
	i.command.Process.Signal(os.Signal(terminate))
	select {
	case err := <-i.ended:
		if err != nil {
			i.t.Errorf("the server ended with %v", err)
		}
	case <-time.After(patience):
		i.t.Fatal("the server does not end")
	}
	return i.out.String()
}

// greeted waits until a server greets at an address.
func (i *instance) greeted(address string) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), patience)
	defer cancel()
	err := harness.Until(ctx, "a server greets at "+address, func() (bool, error) {
		select {
		case err := <-i.ended:
			return false, errors.Join(errors.New("the server has ended: "+i.out.String()), err)
		default:
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false, nil
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		var b [3]byte
		n, _ := c.Read(b[:])
		return string(b[:n]) == "220", nil
	})
	if err != nil {
		i.t.Fatal(err)
	}
}

// write writes a configuration and returns its path.
func write(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "postern.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// configuration is one with a listener, and a next server where nobody answers.
func configuration(address, data string) string {
	return `version = 1
hostname = "mail.corp.example"
data_dir = "` + data + `"
postmaster = "admin@else.example"

[[listener]]
address = "` + address + `"

[delivery]
smarthosts = ["127.0.0.1:1"]

[pressure]
min_free_space = "16MiB"
`
}

// me is the user that a server in a test may stay.
func me() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return ""
}
