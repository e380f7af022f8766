package embedded

import (
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guard stands between Pebble and the file system, for the sake of the log and
// of the manifest.
//
// QUIRK: an operation on the log that fails never returns. Pebble would panic
// over it, in a place where that unlocks what is not locked: the process
// would die with a stack trace, before anybody could end it in good order.
// So the store becomes a failed one, its callers are told, and the goroutine
// of Pebble that wrote waits for the end of the process.
type guard struct {
	vfs.FS
	failure *failure
	// spared is a directory in which errors are returned: what is written
	// there is a copy.
	spared string
	armed  atomic.Bool // not while the store opens or closes: then errors are returned
}

// Create makes names durable before a marker says which of them is in force.
//
// QUIRK: Pebble syncs the name of a new manifest together with that of the
// marker. A power cut could keep the marker and not the manifest.
func (g *guard) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(g.PathBase(name), "marker.") {
		if err := syncDirectory(g.FS, g.PathDir(name)); err != nil {
			return nil, err
		}
	}
	f, err := g.FS.Create(name, c)
	return g.file(name, f, err)
}

func (g *guard) ReuseForWrite(oldName, newName string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.ReuseForWrite(oldName, newName, c)
	return g.file(newName, f, err)
}

// OpenDir is guarded too: the name of a new log must be durable.
func (g *guard) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if g.isSpared(name) {
		return f, err
	}
	return g.guarded(f, err)
}

func (g *guard) file(name string, f vfs.File, err error) (vfs.File, error) {
	if !strings.HasSuffix(name, ".log") || g.isSpared(name) {
		return f, err
	}
	return g.guarded(f, err)
}

func (g *guard) isSpared(name string) bool {
	return g.spared != "" && strings.HasPrefix(name, g.spared)
}

func (g *guard) guarded(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		g.check(err)
		return nil, err
	}
	return &guarded{f, g}, nil
}

// check does not return when there is an error.
func (g *guard) check(err error) {
	if err == nil || !g.armed.Load() {
		return
	}
	_ = g.failure.happen(err)
	select {}
}

// guarded is a file of the log, or a directory.
type guarded struct {
	vfs.File
	guard *guard
}

func (f *guarded) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.guard.check(err)
	return n, err
}

func (f *guarded) Sync() error {
	err := f.File.Sync()
	f.guard.check(err)
	return err
}

func (f *guarded) SyncData() error {
	err := f.File.SyncData()
	f.guard.check(err)
	return err
}

func (f *guarded) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	f.guard.check(err)
	return full, err
}
