package harness

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Exim is an instance of Debian's Exim, as test/install unpacks it, with its own
// configuration, spool, log and port.
type Exim struct {
	dir     string
	port    int
	process *process
}

// EximOptions say what distinguishes an instance.
type EximOptions struct {
	// Dir is where the instance keeps everything. It must not exist, and
	// must lie where any user may look a file up by name.
	Dir string
	// Hostname is how the instance names itself; different for each, or mail
	// seems to loop.
	Hostname string
	// NextHop gets all mail, as host:port.
	NextHop string
	// Settings are further lines of the main part of the configuration.
	Settings string
	// Rcpt and Data are statements of the access control lists at RCPT and at
	// the end of data, before all is accepted.
	Rcpt, Data string
}

//go:embed exim.conf
var eximText string

// eximUser is the user that Debian's Exim takes for itself.
const eximUser = "Debian-exim"

// ErrNoExim says that Exim cannot be used here.
var ErrNoExim = errors.New("no Exim to test with")

// NewExim makes an instance that can be started. It fails with ErrNoExim when
// the program or its user is missing or this user is not root, who alone may
// make it run as that user.
func NewExim(o EximOptions) (*Exim, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: only root can start it as %s", ErrNoExim, eximUser)
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	host, nextPort, err := net.SplitHostPort(o.NextHop)
	if err != nil {
		return nil, err
	}
	e := &Exim{dir: o.Dir, port: port}
	if err := os.MkdirAll(e.dir, 0o755); err != nil {
		return nil, err
	}
	if err := makeDirectoriesOf(eximUser, e.dir, []string{"spool", "spool/input", "log"}); err != nil {
		return nil, fmt.Errorf("%w: %w; run test/install", ErrNoExim, err)
	}
	if err := e.copyProgram(); err != nil {
		return nil, fmt.Errorf("%w: %w; run test/install", ErrNoExim, err)
	}
	values := struct {
		EximOptions
		Program, Host, NextPort string
		Port                    int
	}{o, e.program(), host, nextPort, port}
	return e, writeTemplate(e.config(), eximText, values)
}

// copyProgram copies the program to where its user can start it again: the
// repository may lie where only its owner can look.
func (e *Exim) copyProgram() error {
	root, err := repository()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(filepath.Join(root, ".peers/usr/sbin/exim4"))
	if err != nil {
		return err
	}
	return os.WriteFile(e.program(), program, 0o755)
}

// repository returns the root of the repository, which holds the directory
// that the tests run in.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("not in the repository: no go.mod above the working directory")
}

func (e *Exim) program() string { return filepath.Join(e.dir, "exim4") }

func (e *Exim) config() string { return filepath.Join(e.dir, "exim.conf") }

// Log is the file that the instance logs to.
func (e *Exim) Log() string { return filepath.Join(e.dir, "log", "mainlog") }

// Start starts the instance. It looks every second for what it has to try
// again.
func (e *Exim) Start(ctx context.Context) (err error) {
	owner, err := credentialOf(eximUser)
	if err != nil {
		return err
	}
	if e.process, err = startProcessAs(owner, filepath.Join(e.dir, "output"), nil, e.program(), "-C", e.config(), "-bdf", "-q1s"); err != nil {
		return err
	}
	if err := e.process.untilGreets(ctx, e.Addr()); err != nil {
		e.process.kill()
		return fmt.Errorf("exim: %w; its log is %s", err, e.Log())
	}
	return nil
}

// Stop ends the instance with everything it started: its children do not end
// with it.
func (e *Exim) Stop() error { return e.process.terminateGroup() }

// Addr is where the instance takes mail.
func (e *Exim) Addr() string { return Loopback(e.port) }

// PID is the id of the daemon.
func (e *Exim) PID() int { return e.process.pid() }

// Queued counts the messages in the spool, those too that just come in.
func (e *Exim) Queued(context.Context) (int, error) {
	files, err := os.ReadDir(filepath.Join(e.dir, "spool", "input"))
	n := 0
	for _, file := range files {
		if strings.HasSuffix(file.Name(), "-D") { // its content
			n++
		}
	}
	return n, err
}
