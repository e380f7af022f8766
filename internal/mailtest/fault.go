package mailtest

import (
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Fault is a file system of which one operation fails, once. Make it with
// NewFault; until Arm it does what the file system below it does.
type Fault struct {
	vfs.FS

	mu    sync.Mutex
	left  int // operations until it happens; 0 is never
	err   error
	short bool
	hit   *errorfs.Op
}

// NewFault returns a Fault over a file system.
func NewFault(files vfs.FS) *Fault {
	f := &Fault{}
	f.FS = errorfs.Wrap(halving{files, f}, errorfs.InjectorFunc(f.inject))
	return f
}

// Arm makes the nth operation from now fail with err. When short is set and
// the operation is a write, half of it is written before, and err may be nil:
// the write then tells only by its count.
func (f *Fault) Arm(n int, err error, short bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.err, f.short, f.hit = n, err, short, nil
}

// Hit returns the operation that failed; nil while none has.
func (f *Fault) Hit() *errorfs.Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

func (f *Fault) inject(op errorfs.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 {
		return nil
	}
	if f.left--; f.left > 0 {
		return nil
	}
	f.hit = &op
	if f.short && isWrite(op.Kind) {
		f.left = halfNow // the write comes next, by the same goroutine
		return nil
	}
	return f.err
}

func isWrite(k errorfs.OpKind) bool {
	return k == errorfs.OpFileWrite || k == errorfs.OpFileWriteAt
}

// halfNow as the number of operations that are left says that the operation
// that failed is a write of which half is to be written.
const halfNow = -1

// cut returns how much of a write is to be written, and the error that
// follows.
func (f *Fault) cut(name string, p []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left != halfNow || f.hit.Path != name {
		return p, nil
	}
	f.left = 0
	return p[:len(p)/2], f.err
}

// halving is the file system below the one that counts.
type halving struct {
	vfs.FS
	fault *Fault
}

func (h halving) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return h.file(name)(h.FS.Create(name, c))
}

func (h halving) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return h.file(name)(h.FS.OpenReadWrite(name, c, o...))
}

func (h halving) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return h.file(to)(h.FS.ReuseForWrite(from, to, c))
}

func (h halving) file(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		return halvingFile{f, name, h.fault}, nil
	}
}

type halvingFile struct {
	vfs.File
	name  string
	fault *Fault
}

// Close fails too when its turn has come; the file is closed all the same.
func (f halvingFile) Close() error {
	err := f.fault.inject(errorfs.Op{Kind: errorfs.OpFileClose, Path: f.name})
	return errors.Join(f.File.Close(), err)
}

func (f halvingFile) Write(p []byte) (int, error) {
	part, cut := f.fault.cut(f.name, p)
	n, err := f.File.Write(part)
	if err == nil {
		err = cut
	}
	return n, err
}

func (f halvingFile) WriteAt(p []byte, off int64) (int, error) {
	part, cut := f.fault.cut(f.name, p)
	n, err := f.File.WriteAt(part, off)
	if err == nil {
		err = cut
	}
	return n, err
}
