// Package selftest finds out what a disk's word is worth: how long a sync
// takes, how many messages a second the real store commits, and whether
// everything that was acknowledged is there after a process was killed. It
// says what it found in plain words.
//
// It works in a directory of its own inside the one it is given, and removes
// that at the end. It can show what the program does when it is killed, and
// not what the disk does when the power goes: it can only suspect a disk
// whose syncs cost nothing.
//
// It fails when the directory cannot be used, when the context ends, and when
// something cannot be measured. That mail was lost is no error of Run, but a
// finding.
package selftest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Options say where and how much is tested. A zero number means its default.
type Options struct {
	// Dir is the directory whose disk is tested. It must exist, be writable,
	// and have room for MinRoom octets.
	Dir string
	// Child returns the command that runs Accept with a directory, its
	// standard output being what Accept writes to. It is not started yet.
	Child func(dir string) *exec.Cmd
	// Progress is told what is being done; nil: nobody.
	Progress func(string)
	// Syncs is how many syncs are measured in each way (300), Load how long
	// messages are committed (2 s) from each number of writers, and Kills how
	// often the process is killed (20).
	Syncs int
	Load  time.Duration
	Kills int
}

func (o Options) withDefaults() Options {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Syncs == 0 {
		o.Syncs = 300
	}
	if o.Load == 0 {
		o.Load = 2 * time.Second
	}
	if o.Kills == 0 {
		o.Kills = 20
	}
	return o
}

// Report is what was measured, and what it means.
type Report struct {
	Dir        string     `json:"dir"`
	FileSystem FileSystem `json:"file_system"`
	// Overwrite are the syncs of writes within a file, Append those of writes
	// that make a file longer.
	Overwrite Syncs     `json:"overwrite"`
	Append    Syncs     `json:"append"`
	Commits   []Commits `json:"commits"`
	Kills     Kills     `json:"kills"`
	Findings  []Finding `json:"findings"`
}

// writers are the numbers of writers whose commits are measured.
var writers = []int{1, 20, 100}

// Run tests a directory. It removes what it wrote, also when it fails.
func Run(ctx context.Context, o Options) (r Report, err error) {
	o = o.withDefaults()
	r = Report{Dir: o.Dir}
	if r.FileSystem, err = examine(o.Dir); err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp(o.Dir, "postern-selftest-")
	if err != nil {
		return r, fmt.Errorf("%s cannot be written to: %w", o.Dir, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := r.measure(ctx, o, dir); err != nil {
		return r, err
	}
	r.Findings = r.judge()
	return r, nil
}

// measure does the work in a directory of its own.
func (r *Report) measure(ctx context.Context, o Options, dir string) (err error) {
	o.Progress("syncs of writes within a file")
	if r.Overwrite, err = measureSyncs(ctx, filepath.Join(dir, "overwrite"), o.Syncs, true); err != nil {
		return fmt.Errorf("cannot measure syncs: %w", err)
	}
	o.Progress("syncs of writes that make a file longer")
	if r.Append, err = measureSyncs(ctx, filepath.Join(dir, "append"), o.Syncs, false); err != nil {
		return fmt.Errorf("cannot measure syncs: %w", err)
	}
	for _, n := range writers {
		o.Progress(fmt.Sprintf("messages committed from %d at once", n))
		c, err := measureCommits(ctx, filepath.Join(dir, "commits"), n, o.Load)
		if err != nil {
			return fmt.Errorf("cannot measure commits: %w", err)
		}
		r.Commits = append(r.Commits, c)
	}
	t := newTorture(filepath.Join(dir, "killed"), o.Child)
	for i := range o.Kills {
		o.Progress(fmt.Sprintf("kill %d of %d", i+1, o.Kills))
		if err := t.killOnce(ctx); err != nil {
			return fmt.Errorf("cannot test kills: %w", err)
		}
	}
	r.Kills = t.result
	return nil
}
