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
	"path/filepath"

	"postern/internal/mail"
)

// Postern is the real binary with a configuration and data of its own.
type Postern struct {
	binary  string
	dir     string
	port    int
	process *process
}

// PosternOptions say what distinguishes an instance.
type PosternOptions struct {
	// Binary is the program; see BuildPostern.
	Binary string
	// Dir is where the instance keeps everything. It is made when needed.
	Dir string
	// NextHop gets all mail, as host:port.
	NextHop string
}

//go:embed postern.toml
var posternText string

// BuildPostern builds the binary into dir and returns its path.
func BuildPostern(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "postern")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, "postern/cmd/postern")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building postern: %w\n%s", err, out)
	}
	return binary, nil
}

// NewPostern writes the configuration of an instance that can be started.
func NewPostern(o PosternOptions) (*Postern, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	p := &Postern{binary: o.Binary, dir: o.Dir, port: port}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, err
	}
	values := struct {
		PosternOptions
		Port int
	}{o, port}
	return p, writeTemplate(p.config(), posternText, values)
}

func (p *Postern) config() string { return filepath.Join(p.dir, "postern.toml") }

// Log is the file with what the instance printed.
func (p *Postern) Log() string { return filepath.Join(p.dir, "output") }

// Journal is the directory of the instance's journal.
func (p *Postern) Journal() string { return filepath.Join(p.dir, "data", "journal") }

// Start starts the instance.
func (p *Postern) Start(ctx context.Context) (err error) {
	if p.process, err = startProcess(p.Log(), p.binary, "serve", "--config", p.config()); err != nil {
		return err
	}
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

// Addr is where the instance takes mail.
func (p *Postern) Addr() string { return Loopback(p.port) }

// PID is the id of the process.
func (p *Postern) PID() int { return p.process.pid() }

// Queued counts the entries that `postern queue list` shows.
func (p *Postern) Queued(ctx context.Context) (int, error) {
	list := exec.CommandContext(ctx, p.binary, "queue", "list", "--json", "--config", p.config())
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
