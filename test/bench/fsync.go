package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
)

// tracedShare is the part of the messages, as one in so many, for which
// fsyncs are counted.
const tracedShare = 4

// underStrace runs a program so that its calls of fsync and fdatasync, and
// those of its children, are written to a file, a line each. The program has
// the process id that strace had (-D), and stops at no other call
// (--seccomp-bpf): it does as it does alone, nearly as quickly.
func underStrace(trace string) []string {
	return []string{"strace", "-D", "-f", "-qq", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o", trace}
}

// trace counts a relay's calls under a workload. No time is taken here.
func (b *bench) trace(ctx context.Context, r relay, w workload) (f figures, err error) {
	trace := filepath.Join(b.dir, "trace")
	defer func() { err = errors.Join(err, os.Remove(trace)) }()
	line, err := b.set(ctx, r, w, underStrace(trace))
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, line.close()) }()
	if err := line.push(ctx, w.warmUp()); err != nil {
		return f, err
	}
	before, err := countSyncs(trace)
	if err != nil {
		return f, err
	}
	f.Messages = w.messages
	if err := line.push(ctx, f.Messages); err != nil {
		return f, err
	}
	after, err := countSyncs(trace)
	f.Fsyncs = after - before
	return f, err
}

// countSyncs counts the calls in a trace. One that another process
// interrupted has two lines, of which only the first has the parenthesis.
func countSyncs(trace string) (int, error) {
	text, err := os.ReadFile(trace)
	return bytes.Count(text, []byte("sync(")), err
}
