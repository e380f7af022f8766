// Command bench measures Postern on this machine, in four parts: whole relays
// end to end beside Postfix, what it takes to store a message, what a large
// backlog costs, and what a large directory does. README.md beside it says how it measures, and what the
// figures do and do not mean.
//
//	go run ./test/bench [-only relay,storage,backlog,directory] [-quick] [-pairs 5] [-rows PATTERN] [-fsync=false] [-postern bin/postern] [-backlog 200000]
//
// It needs root, who alone may start Postfix. It prints tables in Markdown,
// its progress to the standard error, and ends with 1 when it could not
// measure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// settings are what the command line says.
type settings struct {
	postern string
	dir     string
	only    string
	pairs   int
	shrink  int // divides the number of messages
	rows    *regexp.Regexp
	fsync   bool
	backlog int
}

// chosen are the parts with rows that are wanted. It fails when there are none.
func (s *settings) chosen() ([]part, error) {
	only := strings.Split(s.only, ",")
	for _, name := range only {
		if !slices.Contains(partNames(), name) {
			return nil, fmt.Errorf("there is no part %q; the parts are %s", name, strings.Join(partNames(), ", "))
		}
	}
	var chosen []part
	for _, p := range parts() {
		if slices.Contains(only, p.name) && len(s.choose(p.workloads())) > 0 {
			chosen = append(chosen, p)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no row of %s matches -rows %q", s.only, s.rows)
	}
	return chosen, nil
}

// choose picks the workloads whose rows are wanted, with as many messages as
// are wanted of each.
func (s *settings) choose(all []workload) []workload {
	var chosen []workload
	for _, w := range all {
		if s.rows.MatchString(w.name) {
			w.messages /= s.shrink
			chosen = append(chosen, w)
		}
	}
	return chosen
}

func parseFlags() settings {
	var s settings
	flag.StringVar(&s.postern, "postern", "bin/postern", "Postern's `binary`; empty measures Postfix alone")
	flag.StringVar(&s.dir, "dir", os.TempDir(), "`directory`, on the disk to measure, for the queues")
	flag.StringVar(&s.only, "only", strings.Join(partNames(), ","), "the `parts` to run")
	flag.IntVar(&s.pairs, "pairs", 5, "how often each row is measured")
	flag.BoolVar(&s.fsync, "fsync", true, "count the fsyncs of each relay, with strace")
	s.rows = regexp.MustCompile("")
	flag.Func("rows", "measure only workloads whose names match the `pattern`, such as STARTTLS (see README.md)", func(text string) (err error) {
		s.rows, err = regexp.Compile(text)
		return err
	})
	flag.IntVar(&s.backlog, "backlog", 200_000, "how many messages wait in the part about them")
	quick := flag.Bool("quick", false, "rough figures in a few minutes: 2 pairs and a fifth of the messages")
	flag.Parse()
	s.shrink = 1
	if *quick {
		s.pairs, s.shrink = 2, 5
	}
	return s
}

// part is a part of the bench.
type part struct {
	name, title string
	workloads   func() []workload
	run         func(context.Context, *bench) error
}

func parts() []part {
	return []part{
		{"relay", "Relays, end to end", relayWorkloads, compareRelays},
		{"storage", "Storing a message", storageWorkloads, compareStores},
		{"backlog", "With a backlog", backlogWorkloads, compareBacklog},
		{"directory", "A large directory", directoryWorkloads, weighDirectory},
	}
}

func partNames() []string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := func(ctx context.Context) error { return runParts(ctx, parseFlags()) }
	children := map[string]func(ctx context.Context, argument string, out io.Writer) error{
		storeCommand: storeChild, directoryCommand: directoryChild,
	}
	if len(os.Args) == 3 && children[os.Args[1]] != nil {
		run = func(ctx context.Context) error { return children[os.Args[1]](ctx, os.Args[2], os.Stdout) }
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// bench is what its parts share.
type bench struct {
	settings settings
	dir      string
	dirs     int // so far
	identity identity
}

// newDir names a directory that nothing has used.
func (b *bench) newDir() string {
	b.dirs++
	return filepath.Join(b.dir, fmt.Sprint(b.dirs))
}

// runParts measures and prints.
func runParts(ctx context.Context, s settings) error {
	chosen, err := s.chosen()
	if err != nil {
		return err
	}
	if err := checkDisk(s.dir); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.dir, "postern-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Postfix's daemons run as another user.
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	b := &bench{settings: s, dir: dir}
	if b.identity, err = newIdentity(dir); err != nil {
		return err
	}
	for _, p := range chosen {
		fmt.Printf("\n## %s\n\n", p.title)
		if err := p.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// tmpfsMagic is what statfs calls a file system in memory (statfs(2)).
const tmpfsMagic = 0x01021994

// checkDisk refuses a directory where fsync costs nothing.
func checkDisk(dir string) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if fs.Type == tmpfsMagic {
		return errors.New(dir + " lies in memory, where fsync costs nothing: name a directory on a disk with -dir")
	}
	return nil
}
