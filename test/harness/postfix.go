package harness

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/template"
)

// Postfix is an instance of Debian's Postfix with its own configuration,
// queue, log and port. It shares nothing but the programs with an instance
// that the system may have.
type Postfix struct {
	dir     string
	port    int
	daemons string // where Postfix keeps its daemons
	under   []string
	process *process
}

// PostfixOptions say what distinguishes an instance.
type PostfixOptions struct {
	// Dir is where the instance keeps everything. It must not exist, and
	// must lie where any user may look a file up by name.
	Dir string
	// Hostname is how the instance names itself; different for each, or mail
	// seems to loop.
	Hostname string
	// NextHop gets all mail, as host:port.
	NextHop string
	// Certificate and Key are the files with which the instance offers
	// STARTTLS to its clients; empty: it does not.
	Certificate, Key string
	// Under is a command with its arguments that runs the program, and whose
	// process becomes the program's, such as strace -D; nil: none.
	Under []string
	// Settings are further lines of main.cf.
	Settings string
	// SASL is smtpd.conf, with which Cyrus SASL checks the passwords that the
	// instance is shown; empty: there is none. Debian's Postfix looks for it
	// beside main.cf.
	SASL string
}

// Templates of the two configuration files. They say only what makes an
// instance of its own and a relay of it; all else is as Postfix has it.
var (
	//go:embed postfix_main.cf
	mainText string
	//go:embed postfix_master.cf
	masterText string
)

// ErrNoPostfix says that Postfix cannot be used here.
var ErrNoPostfix = errors.New("no Postfix to test with")

// NewPostfix makes an instance that can be started. It fails with
// ErrNoPostfix when the programs are missing or the user is not root, who
// alone may start Postfix.
func NewPostfix(o PostfixOptions) (*Postfix, error) {
	daemons, err := postfixDaemons()
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	p := &Postfix{dir: o.Dir, port: port, daemons: daemons, under: o.Under}
	if err := p.makeDirectories(); err != nil {
		return nil, err
	}
	host, nextPort, err := net.SplitHostPort(o.NextHop)
	if err != nil {
		return nil, err
	}
	values := struct {
		PostfixOptions
		Port      int
		RelayHost string
	}{o, port, "[" + host + "]:" + nextPort}
	if err := writeTemplate(filepath.Join(p.config(), "main.cf"), mainText, values); err != nil {
		return nil, err
	}
	if o.SASL != "" {
		if err := os.WriteFile(filepath.Join(p.config(), "sasl", "smtpd.conf"), []byte(o.SASL), 0o644); err != nil {
			return nil, err
		}
	}
	return p, writeTemplate(filepath.Join(p.config(), "master.cf"), masterText, values)
}

// postfixDaemons returns the directory of Postfix's daemons.
func postfixDaemons() (string, error) {
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%w: only root can start it", ErrNoPostfix)
	}
	out, err := exec.Command("postconf", "-dh", "daemon_directory").Output()
	if err != nil {
		return "", fmt.Errorf("%w: %w; install the package postfix", ErrNoPostfix, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Each directory of an instance that a daemon of the user postfix writes to.
var postfixDirectories = []string{
	"data", "queue/active", "queue/bounce", "queue/corrupt", "queue/defer", "queue/deferred", "queue/flush",
	"queue/hold", "queue/incoming", "queue/private", "queue/saved", "queue/trace",
}

func (p *Postfix) makeDirectories() error {
	for _, dir := range []string{"config/sasl", "queue/pid"} {
		if err := os.MkdirAll(filepath.Join(p.dir, dir), 0o755); err != nil {
			return err
		}
	}
	if err := makeDirectoriesOf("postfix", p.dir, append([]string{"queue/public", "queue/maildrop"}, postfixDirectories...)); err != nil {
		return fmt.Errorf("%w: %w", ErrNoPostfix, err)
	}
	return nil
}

// makeDirectoriesOf makes directories below dir, which a user owns.
func makeDirectoriesOf(name, dir string, paths []string) error {
	owner, err := credentialOf(name)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := os.MkdirAll(filepath.Join(dir, path), 0o755); err != nil {
			return err
		}
		if err := os.Chown(filepath.Join(dir, path), int(owner.Uid), -1); err != nil {
			return err
		}
	}
	return nil
}

// credentialOf is what a process of a user runs with.
func credentialOf(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func writeTemplate(path, text string, values any) error {
	t, err := template.New(filepath.Base(path)).Parse(text)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := t.Execute(&b, values); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func (p *Postfix) config() string { return filepath.Join(p.dir, "config") }

// Log is the file that the instance logs to.
func (p *Postfix) Log() string { return filepath.Join(p.dir, "log") }

// Start starts the instance. It ends by itself after an hour.
func (p *Postfix) Start(ctx context.Context) (err error) {
	argv := append(slices.Clone(p.under), filepath.Join(p.daemons, "master"), "-c", p.config(), "-d", "-e", "3600")
	if p.process, err = startProcess(filepath.Join(p.dir, "output"), nil, argv...); err != nil {
		return err
	}
	if err := p.process.untilGreets(ctx, p.Addr()); err != nil {
		p.process.kill()
		return fmt.Errorf("postfix: %w; its log is %s", err, p.Log())
	}
	return nil
}

// Stop ends the instance.
func (p *Postfix) Stop() error { return p.process.terminate() }

// Addr is where the instance takes mail.
func (p *Postfix) Addr() string { return Loopback(p.port) }

// PID is the id of the master process.
func (p *Postfix) PID() int { return p.process.pid() }

// Queued counts the messages, corrupt ones too. What waits for another attempt goes to and
// fro between two of the queues, and keeps its name: they are looked at twice.
func (p *Postfix) Queued(context.Context) (int, error) {
	return p.files("maildrop", "incoming", "active", "deferred", "active", "deferred", "hold", "corrupt")
}

// Deferred counts the messages that wait for another attempt.
func (p *Postfix) Deferred(context.Context) (int, error) { return p.files("deferred") }

// files counts the files of some of the queues, each name once.
func (p *Postfix) files(queues ...string) (int, error) {
	names := make(map[string]bool)
	for _, dir := range queues {
		err := filepath.WalkDir(filepath.Join(p.dir, "queue", dir), func(_ string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // moved on or delivered while we look
			}
			if err == nil && !d.IsDir() {
				names[d.Name()] = true
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return len(names), nil
}
