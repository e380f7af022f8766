// Command slowest runs tests, prints what "go test" would, and at the end how
// long everything took and which tests were the slowest.
//
//	go run ./test/slowest [-n 10] [-since SECONDS] -- go test -json ./... [-- go test -json ...]
//
// The commands run one after the other, as one would by hand; the first that
// fails is the last. What they print that is no event of "go test -json" is
// passed on. It ends with 1 when a command failed or could not be started.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	count := flag.Int("n", 10, "how many of the slowest tests are printed")
	since := flag.Int64("since", time.Now().Unix(), "when that began which took so long, in `seconds` since 1970")
	flag.Parse()
	r := newReader(os.Stdout)
	err := runAll(ctx, split(flag.Args()), r)
	r.printSlowest(*count)
	fmt.Printf("total %v\n", time.Since(time.Unix(*since, 0)).Round(time.Second))
	if err != nil {
		fmt.Fprintln(os.Stderr, "slowest:", err)
		stop()
		os.Exit(1)
	}
}

// split returns the commands between the arguments "--".
func split(args []string) [][]string {
	var commands [][]string
	for len(args) > 0 {
		end := slices.Index(args, "--")
		if end < 0 {
			end = len(args)
		}
		if end > 0 {
			commands = append(commands, args[:end])
		}
		args = args[min(end+1, len(args)):]
	}
	return commands
}

// runAll runs commands up to the first that fails.
func runAll(ctx context.Context, commands [][]string, r *reader) error {
	for _, argv := range commands {
		if err := run(ctx, argv, r); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
		}
	}
	return nil
}

// run runs one command to its end. When ctx ends it is told to end, and what
// it still prints is read: "go test" ends its tests first.
func run(ctx context.Context, argv []string, r *reader) error {
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	readErr := r.read(out)
	_, _ = io.Copy(io.Discard, out) // so that the command never waits for a reader
	if err := c.Wait(); err != nil {
		return err
	}
	return readErr
}
