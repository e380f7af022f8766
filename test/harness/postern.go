package harness

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"postern/internal/mail"
)

// Postern is the real binary with a configuration and data of its own.
type Postern struct {
	options PosternOptions
	port    int
	process *process
}

// PosternOptions say what distinguishes an instance.
type PosternOptions struct {
	// Binary is the program; see BuildPostern.
	Binary string
	// Dir is where the instance keeps everything. It is made when needed.
	Dir string
	// NextHop gets all mail, as host:port; empty: it goes directly to its
	// domains. Then Settings must say which name servers are asked.
	NextHop string
	// TLS is the policy for NextHop; empty: none.
	TLS string
	// Certificate and Key are the files with which the instance offers
	// STARTTLS to its clients; empty: it does not.
	Certificate, Key string
	// Under is a command with its arguments that runs the program, and whose
	// process becomes the program's, such as strace -D; nil: none.
	Under []string
	// Settings are more lines of the configuration, behind the others: first
	// those of [delivery], then other tables.
	Settings string
	// Retry and RetryReports are the schedules of those names; empty: one that
	// tries again every few seconds, and the default.
	Retry, RetryReports string
}

//go:embed postern.toml
var posternText string

// NewPostern writes the configuration of an instance that can be started.
func NewPostern(o PosternOptions) (*Postern, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	if o.Retry == "" {
		o.Retry = "1s 1s 1s 1s, every 2s until 10m"
	}
	p := &Postern{options: o, port: port}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	return p, p.configure()
}

// Change writes the configuration anew, with other options than before. It
// holds from the next start on. Binary and Dir must stay.
func (p *Postern) Change(change func(*PosternOptions)) error {
	change(&p.options)
	return p.configure()
}

func (p *Postern) configure() error {
	values := struct {
		PosternOptions
		Port int
	}{p.options, p.port}
	return writeTemplate(p.config(), posternText, values)
}

func (p *Postern) config() string { return filepath.Join(p.options.Dir, "postern.toml") }

// Binary is the program.
func (p *Postern) Binary() string { return p.options.Binary }

// Log is the file with what the instance printed.
func (p *Postern) Log() string { return filepath.Join(p.options.Dir, "output") }

// Data is the instance's data_dir.
func (p *Postern) Data() string { return filepath.Join(p.options.Dir, "data") }

// Journal is the directory of the instance's journal.
func (p *Postern) Journal() string { return filepath.Join(p.Data(), "journal") }

// Command is a command of the program for the instance, such as "status".
func (p *Postern) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, p.options.Binary, append(args, "--config", p.config())...)
}

// SetCredential records a password with which the instance authenticates itself to others, in the
// place of the one of that name.
func (p *Postern) SetCredential(ctx context.Context, name, user, password string) error {
	var out []byte
	var err error
	for _, verb := range []string{"set", "add"} {
		c := p.Command(ctx, "credential", verb, name, "--user", user, "--password-file", "-")
		c.Stdin = strings.NewReader(password + "\n")
		if out, err = c.CombinedOutput(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("credential %s: %w: %s", name, err, out)
}

// Queue is the directory of the instance's queue.
func (p *Postern) Queue() string { return filepath.Join(p.Data(), "queue") }

// Start starts the instance.
func (p *Postern) Start(ctx context.Context) error { return p.StartAs(ctx, p.options.Binary) }

// StartAs starts the instance with another binary, and with variables that
// are added to the environment. Where it fails because the process ended by
// itself, State says how.
func (p *Postern) StartAs(ctx context.Context, binary string, environment ...string) error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	argv := append(slices.Clone(p.options.Under), binary, "serve", "--user", me.Username, "--config", p.config())
	started, err := startProcess(p.Log(), environment, argv...)
	if err != nil {
		return err
	}
	p.process = started
	if err := p.process.untilGreets(ctx, p.Addr()); err != nil {
		p.process.kill()
		return fmt.Errorf("postern: %w; its output is in %s", err, p.Log())
	}
	return nil
}

// Stop ends the instance in good order.
func (p *Postern) Stop() error { return p.process.terminate() }

// Kill ends the instance with SIGKILL.
func (p *Postern) Kill() { p.process.kill() }

// State is how the process of the last start ended; nil while it runs, and
// before the first start.
func (p *Postern) State() *os.ProcessState {
	if p.process == nil {
		return nil
	}
	return p.process.state()
}

// Running reports whether the process of the last start has not ended.
func (p *Postern) Running() bool { return p.process != nil && p.process.state() == nil }

// Addr is where the instance takes mail.
func (p *Postern) Addr() string { return Loopback(p.port) }

// PID is the id of the process.
func (p *Postern) PID() int { return p.process.pid() }

// Recipients counts the recipients in the queue by their state.
func (p *Postern) Recipients(ctx context.Context) (map[mail.State]int, error) {
	status := p.Command(ctx, "status", "--json")
	out, err := status.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", status.Args, err)
	}
	var answer struct{ Recipients map[mail.State]int }
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("%v printed %.200q: %w", status.Args, out, err)
	}
	return answer.Recipients, nil
}

// Queued counts the entries that `postern queue list` shows.
func (p *Postern) Queued(ctx context.Context) (int, error) {
	list := p.Command(ctx, "queue", "list", "--json")
	out, err := list.Output()
	if err != nil {
		return 0, fmt.Errorf("%v: %w", list.Args, err)
	}
	n := 0
	for lines := json.NewDecoder(bytes.NewReader(out)); ; n++ {
		var entry struct{ ID mail.ID }
		err := lines.Decode(&entry)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil || entry.ID == "" {
			return 0, fmt.Errorf("%v printed something else than entries, one a line: %.200q", list.Args, out)
		}
	}
}
