package seglog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
)

// preallocating reserves the space of a segment when its file is made.
type preallocating struct{ vfs.FS }

func (p preallocating) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	if err := f.Preallocate(0, Options{}.withDefaults().SegmentSize); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// BenchmarkAppend compares the files that segments can be written to: new
// ones, new ones whose space is reserved, and those of segments that are not
// needed any more.
func BenchmarkAppend(b *testing.B) {
	for _, kib := range []int{4, 32} {
		for _, writers := range []int{1, 20} {
			for _, way := range []struct {
				name string
				fs   vfs.FS
				free bool
			}{{"new", vfs.Default, false}, {"preallocated", preallocating{vfs.Default}, false}, {"spare", vfs.Default, true}} {
				b.Run(fmt.Sprintf("%dKiB/writers=%d/%s", kib, writers, way.name), func(b *testing.B) {
					l, err := Open(b.TempDir(), Options{FS: way.fs})
					if err != nil {
						b.Fatal(err)
					}
					a := appending{log: l, size: kib << 10, writers: writers, free: way.free}
					a.run(b)
					if err := l.Close(); err != nil {
						b.Fatal(err)
					}
				})
			}
		}
	}
}

// appending has a number of goroutines append contents. With free, each is
// not needed any more as soon as it is stored.
type appending struct {
	log           *Log
	size, writers int
	free          bool
	ids           mail.IDs
}

func (a *appending) run(b *testing.B) {
	content := contentOf("0000000000000001", a.size)
	b.SetBytes(int64(a.size))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	var group sync.WaitGroup
	for w := range a.writers {
		group.Go(func() {
			for i := w; i < b.N; i += a.writers {
				if err := a.one(b.Context(), content); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/msg")
}

func (a *appending) one(ctx context.Context, content []byte) error {
	r := Record{ID: a.ids.New(noon), Head: content[:300], Content: bytes.NewReader(content), Size: int64(a.size)}
	p, err := a.log.Append(ctx, r)
	if err == nil && a.free {
		a.log.Free(r.ID, p)
	}
	return err
}

// cpu is the time that the process has computed.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
