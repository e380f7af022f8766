package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/internal/mailtest"
	"postern/test/harness"
)

// TestBackupUnderLoad: while mail comes, goes, and is moved about, backups are
// made, some by a client and some of a server that is killed in the middle.
// Each that is made is restored elsewhere, by a program that is killed in the
// middle too, and everything that was acknowledged before the backup is there:
// delivered by then, or delivered now, octet by octet.
func TestBackupUnderLoad(t *testing.T) {
	backups := mailtest.Number(t, "BACKUPS", 2)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+time.Duration(backups)*2*time.Minute)
	defer cancel()
	load := newLoad()
	sink := &harness.Sink{Rcpt: load.rcpt, Take: load.take}
	mailtest.Must(t, sink.Listen())
	t.Cleanup(func() { sink.Close() })
	postern, tagged := newPostern(ctx, t, sink.Addr(), "")
	if out, err := postern.Command(ctx, "dkim", "key", "add", "waits.example", "--algorithm", "ed25519").CombinedOutput(); err != nil {
		t.Fatalf("a key for signatures: %v: %s", err, out)
	}
	mailtest.Must(t, postern.StartAs(ctx, tagged, smallSegment, smallInline))
	source := harness.Source{Addr: postern.Addr(), Sessions: 4, Keep: true, Redial: true,
		Next: func() *harness.Message { return load.next(ctx) }, Done: load.done}
	sourceEnd := make(chan error, 1)
	go func() { sourceEnd <- source.Run(ctx) }()

	b := backupRun{t: t, ctx: ctx, postern: postern, tagged: tagged, load: load, dir: t.TempDir()}
	for n := range backups {
		b.wait(150)
		b.clientKilled(20 + 60*n)
		b.restored(n)
		if n == 0 {
			b.serverKilled()
		}
	}
	load.stop()
	if err := <-sourceEnd; err != nil {
		t.Error(err)
	}
	mailtest.Must(t, harness.UntilEmpty(ctx, postern))
	mailtest.Must(t, postern.Stop())
	load.mu.Lock()
	defer load.mu.Unlock()
	for _, fault := range load.faults {
		t.Error(fault)
	}
	t.Logf("%d backups of a queue that took %d messages", backups, load.acked)
}

// backupRun makes backups for a test.
type backupRun struct {
	t       *testing.T
	ctx     context.Context
	postern *harness.Postern
	tagged  string
	load    *load
	dir     string
}

// wait waits until so many more messages are acknowledged.
func (b *backupRun) wait(more int) {
	b.t.Helper()
	until := b.load.acknowledged() + more
	mailtest.Must(b.t, harness.Until(b.ctx, "more mail has come", func() (bool, error) { return b.load.acknowledged() >= until, nil }))
}

// run runs a command with the binary that ends itself, at the nth step of all.
func (b *backupRun) run(p *harness.Postern, at int, args ...string) error {
	command := p.Command(b.ctx, args...)
	command.Path = b.tagged
	command.Env = append(os.Environ(), fmt.Sprintf("%sany:%d", crashAt, at))
	out, err := command.CombinedOutput()
	ended, exited := errors.AsType[*exec.ExitError](err)
	if exited {
		if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
			return errKilled
		}
	}
	if err != nil {
		return fmt.Errorf("%v: %w: %s", args, err, out)
	}
	return nil
}

var errKilled = errors.New("killed")

// clientKilled kills a client that makes a backup. Nothing of the name is
// there then, and the server keeps nothing for it.
func (b *backupRun) clientKilled(at int) {
	b.t.Helper()
	target := filepath.Join(b.dir, fmt.Sprintf("killed-%d", at))
	if err := b.run(b.postern, at, "backup", target); !errors.Is(err, errKilled) {
		b.t.Fatalf("a backup that was to be killed at step %d: %v", at, err)
	}
	if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
		b.t.Errorf("a backup that was killed at step %d is there: %v", at, err)
	}
	for _, kept := range []string{b.postern.Queue(), b.postern.Journal(), b.postern.Data()} {
		mailtest.Must(b.t, harness.Until(b.ctx, "the server has let go", func() (bool, error) {
			_, err := os.Stat(filepath.Join(kept, "snapshot"))
			return errors.Is(err, fs.ErrNotExist), nil
		}))
	}
}

// serverKilled kills the server while it makes a snapshot. The client says so,
// and the next start clears up.
func (b *backupRun) serverKilled() {
	b.t.Helper()
	mailtest.Must(b.t, b.postern.Stop())
	mailtest.Must(b.t, b.postern.StartAs(b.ctx, b.tagged, crashAt+"before segment link:1", smallSegment, smallInline))
	b.load.nextLife()
	b.wait(20)
	target := filepath.Join(b.dir, "server-killed")
	if out, err := b.postern.Command(b.ctx, "backup", target).CombinedOutput(); err == nil {
		b.t.Errorf("the server was killed, and the backup went well: %s", out)
	}
	mailtest.Must(b.t, harness.Until(b.ctx, "the server was killed", func() (bool, error) { return b.postern.State() != nil, nil }))
	b.load.nextLife()
	mailtest.Must(b.t, b.postern.StartAs(b.ctx, b.tagged, smallSegment, smallInline))
	if _, err := os.Stat(filepath.Join(b.postern.Queue(), "snapshot")); !errors.Is(err, fs.ErrNotExist) {
		b.t.Errorf("the snapshot is still there after a start: %v", err)
	}
}

// restored makes a backup, restores it elsewhere, and compares.
func (b *backupRun) restored(n int) {
	b.t.Helper()
	before := b.acknowledgedIDs()
	target := filepath.Join(b.dir, fmt.Sprintf("backup-%d", n))
	if out, err := b.postern.Command(b.ctx, "backup", target).CombinedOutput(); err != nil {
		b.t.Fatalf("backup: %v: %s", err, out)
	}
	var mu sync.Mutex
	arrived := map[string]bool{}
	sink := &harness.Sink{Take: func(a *harness.Arrival) string {
		b.load.mu.Lock()
		defer b.load.mu.Unlock()
		if a.From != "" && b.load.asSent(harness.IDOf(a.Content), a) {
			mu.Lock()
			defer mu.Unlock()
			for _, to := range a.To {
				arrived[to] = true
			}
		}
		return ""
	}}
	mailtest.Must(b.t, sink.Listen())
	defer sink.Close()
	other, err := harness.NewPostern(harness.PosternOptions{
		Binary: b.postern.Binary(), Dir: filepath.Join(b.dir, fmt.Sprintf("other-%d", n)), NextHop: sink.Addr(),
	})
	mailtest.Must(b.t, err)
	b.restore(other, target)
	b.sameKeys(other)
	mailtest.Must(b.t, other.Start(b.ctx))
	if out, err := other.Command(b.ctx, "status").CombinedOutput(); err != nil || !strings.Contains(string(out), "restored from a backup of ") {
		b.t.Errorf("status says %s, %v", out, err)
	}
	if len(arrived) > 0 {
		b.t.Errorf("delivered although delivery is suspended: %v", arrived)
	}
	if out, err := other.Command(b.ctx, "resume", "delivery").CombinedOutput(); err != nil {
		b.t.Fatalf("resume: %v: %s", err, out)
	}
	mailtest.Must(b.t, harness.UntilEmpty(b.ctx, other))
	mailtest.Must(b.t, other.Stop())
	b.compare(other, before, arrived)
}

// restore restores a backup, with a program that is killed on the way.
func (b *backupRun) restore(other *harness.Postern, from string) {
	b.t.Helper()
	kills := 0
	for at := 3; ; at *= 3 {
		err := b.run(other, at, "restore", from)
		if err == nil {
			break
		}
		if !errors.Is(err, errKilled) {
			b.t.Fatalf("restore to be killed at step %d: %v", at, err)
		}
		kills++
		if err := other.Start(b.ctx); err == nil {
			b.t.Errorf("a server starts on a restore that was killed at step %d", at)
			mailtest.Must(b.t, other.Stop())
		}
	}
	if kills < 3 {
		b.t.Errorf("the restore was killed %d times only", kills)
	}
	if out, err := other.Command(b.ctx, "store", "verify").CombinedOutput(); err != nil {
		b.t.Errorf("what was restored: %v: %s", err, out)
	}
}

// sameKeys sees to it that what was restored has the keys for signatures.
func (b *backupRun) sameKeys(other *harness.Postern) {
	b.t.Helper()
	keys, err := filepath.Glob(filepath.Join(b.postern.Data(), "dkim", "*[mn]"))
	mailtest.Must(b.t, err)
	if len(keys) != 2 {
		b.t.Fatalf("the keys and what is known of them: %v", keys)
	}
	for _, path := range keys {
		want, err := os.ReadFile(path)
		mailtest.Must(b.t, err)
		got, err := os.ReadFile(filepath.Join(other.Data(), "dkim", filepath.Base(path)))
		if err != nil || !bytes.Equal(got, want) {
			b.t.Errorf("%s was not restored as it was: %v", path, err)
		}
	}
}

// acknowledgedIDs are the messages that are acknowledged by now.
func (b *backupRun) acknowledgedIDs() []string {
	b.load.mu.Lock()
	defer b.load.mu.Unlock()
	var ids []string
	for id, outcome := range b.load.outcomes {
		if outcome == harness.Accepted {
			ids = append(ids, id)
		}
	}
	return ids
}

// compare sees to it that each message that was acknowledged is in the journal
// of what was restored, with an end for every recipient; and that what ended
// there after the restore has arrived.
func (b *backupRun) compare(other *harness.Postern, acknowledged []string, arrived map[string]bool) {
	b.t.Helper()
	facts, err := harness.ReadJournal(other.Journal())
	mailtest.Must(b.t, err)
	byID := map[string]*story{}
	for _, s := range stories(facts) {
		if s.id != "" {
			byID[s.id] = s
		}
	}
	now := 0
	for _, id := range acknowledged {
		s := byID[id]
		if s == nil || s.accepted != 1 {
			b.t.Errorf("%s was acknowledged before the backup, and is not in it: %+v", id, s)
			continue
		}
		for _, to := range s.to {
			if len(s.final[bare(to)]) == 0 {
				b.t.Errorf("%s to %s was neither delivered before the backup nor is it in it", id, to)
			}
			if arrived[bare(to)] {
				now++
			}
		}
	}
	b.t.Logf("of %d messages acknowledged before the backup %d recipients were left to the restored queue, which delivered to %d", len(acknowledged), now, len(slices.Collect(maps.Keys(arrived))))
	if now == 0 {
		b.t.Error("nothing of the backup was left to be delivered: it shows nothing")
	}
}
