// Command bench compares Postern with Postfix on this machine, end to end:
// source, relay, sink. README.md beside it says how it measures, and what the
// figures do and do not mean.
//
//	go run ./test/bench [-quick] [-pairs 5] [-postern bin/postern] [-fsync]
//
// It needs root, who alone may start Postfix. It prints a table in Markdown,
// its progress to the standard error, and ends with 1 when it could not
// measure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// settings are what the command line says.
type settings struct {
	postern string
	dir     string
	pairs   int
	shrink  int // divides the number of messages
	fsync   bool
}

func parseFlags() settings {
	var s settings
	flag.StringVar(&s.postern, "postern", "bin/postern", "Postern's `binary`; empty measures Postfix alone")
	flag.StringVar(&s.dir, "dir", os.TempDir(), "`directory`, on the disk to measure, for the queues")
	flag.IntVar(&s.pairs, "pairs", 5, "how often each row is measured")
	flag.BoolVar(&s.fsync, "fsync", false, "also count the fsyncs of each relay, with strace")
	quick := flag.Bool("quick", false, "a rough figure in two minutes: 2 pairs and a fifth of the messages")
	flag.Parse()
	s.shrink = 1
	if *quick {
		s.pairs, s.shrink = 2, 5
	}
	return s
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, parseFlags()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// bench measures and prints.
func bench(ctx context.Context, s settings) error {
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
	b := &runner{dir: dir, settings: s, relays: relaysToCompare(s.postern), results: map[resultKey][]figures{}}
	began := time.Now()
	loadBefore := loadAverage()
	for pair := range s.pairs {
		if err := b.round(ctx, pair); err != nil {
			return err
		}
	}
	fmt.Printf("%s, load %s before and %s after, %d pairs in %v", machine(), loadBefore, loadAverage(), s.pairs, time.Since(began).Round(time.Second))
	if s.shrink > 1 {
		fmt.Printf(", 1/%d of the messages", s.shrink)
	}
	fmt.Print("\n\n")
	b.report(os.Stdout)
	if !s.fsync {
		return nil
	}
	return b.countFsyncs(ctx, os.Stdout)
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
