package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"postern/test/harness"
)

// countFsyncs runs each relay once more, traced, and prints its calls of
// fsync and its like per message. Tracing slows a relay, so that more
// messages may share a call than usual: no time is taken here.
func (b *bench) countFsyncs(ctx context.Context, relays []relay, out io.Writer) error {
	w := kept
	w.messages /= b.settings.shrink
	fmt.Fprintf(out, "\n| %s | fsync calls per message |\n|---|---|\n", w.name)
	for _, r := range relays {
		if r.start == nil {
			continue
		}
		calls, err := b.traced(ctx, r, w)
		if err != nil {
			return fmt.Errorf("%s, traced: %w", r.name, err)
		}
		fmt.Fprintf(out, "| %s | %.2f |\n", r.name, float64(calls)/float64(w.messages))
	}
	return nil
}

// traced counts a relay's calls under a workload.
func (b *bench) traced(ctx context.Context, r relay, w workload) (calls int, err error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	line, err := b.set(ctx, r, w)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, line.close()) }()
	trace := filepath.Join(b.dir, "trace")
	detach, err := attach(ctx, line.relay.PID(), trace)
	if err != nil {
		return 0, err
	}
	err = line.push(ctx, w.messages)
	if err := errors.Join(err, detach()); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(trace)
	return strings.Count(string(text), "sync("), err
}

// attach begins to trace a process tree. The function it returns ends that.
func attach(ctx context.Context, root int, trace string) (detach func() error, err error) {
	family, err := harness.Tree(root)
	if err != nil {
		return nil, err
	}
	args := []string{"-f", "-o", trace, "-e", "trace=fsync,fdatasync"}
	for pid := range family {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	strace := exec.CommandContext(ctx, "strace", args...)
	messages, err := strace.StderrPipe()
	if err == nil {
		err = strace.Start()
	}
	if err != nil {
		return nil, err
	}
	// strace says "strace: Process 123 attached" for each process.
	attached := bufio.NewScanner(messages)
	for range family {
		if !attached.Scan() || !strings.Contains(attached.Text(), "attached") {
			return nil, errors.Join(fmt.Errorf("strace: %q", attached.Text()), strace.Process.Kill(), strace.Wait())
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		io.Copy(io.Discard, messages)
	}()
	return func() error {
		err := strace.Process.Signal(os.Interrupt)
		<-drained
		strace.Wait() // it was interrupted: the error says so
		return err
	}, nil
}
