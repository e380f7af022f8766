package embedded_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// accepting accepts b.N messages of a size, from a number of goroutines, on
// a real directory.
func accepting(b *testing.B, size, writers int, o embedded.Options) {
	s := open(b, filepath.Join(b.TempDir(), "queue"), o)
	content := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
	var ids mail.IDs
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := w; i < b.N; i += writers {
				if err := acceptOne(b.Context(), s, ids.New(noon), content); err != nil {
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

// cpu is the time that the process has computed.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func acceptOne(ctx context.Context, s *embedded.Store, id mail.ID, content []byte) error {
	d, err := s.Create(ctx)
	if err != nil {
		return err
	}
	if _, err := d.Write(content); err != nil {
		return err
	}
	e := entryTo(id, "one.example")
	return s.Accept(ctx, queue.Group{
		Submissions: []queue.Submission{{Entry: e, Draft: d}},
		Facts:       []mail.Fact{{Time: noon, Reason: mail.ReasonAccepted, Message: id, From: "<ann@source.example>", To: []string{"<joe@one.example>"}}},
	})
}

// BenchmarkAccept compares a content in the database with one in the body log.
func BenchmarkAccept(b *testing.B) {
	for _, kib := range []int{4, 8, 16, 32, 64} {
		for _, writers := range []int{1, 20, 100} {
			for home, inline := range map[string]int64{"database": 1 << 20, "log": -1} {
				b.Run(fmt.Sprintf("%dKiB/writers=%d/%s", kib, writers, home), func(b *testing.B) {
					accepting(b, kib<<10, writers, embedded.Options{InlineSize: inline})
				})
			}
		}
	}
}

// BenchmarkDeliver claims and settles what is queued; copying the facts is
// part of it, as it is in life.
func BenchmarkDeliver(b *testing.B) {
	for _, workers := range []int{1, 20} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "queue"), embedded.Options{})
			var ids mail.IDs
			var filling sync.WaitGroup
			for w := range 20 {
				filling.Go(func() {
					for i := w; i < b.N; i += 20 {
						if err := acceptOne(b.Context(), s, ids.New(noon), make([]byte, 4096)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			filling.Wait()
			b.ReportAllocs()
			b.ResetTimer()
			var group sync.WaitGroup
			for range workers {
				group.Go(func() { deliverAll(b, s) })
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func deliverAll(b *testing.B, s *embedded.Store) {
	for {
		now := time.Now()
		leases, err := s.Claim(b.Context(), "one.example", 1, now, now.Add(time.Hour))
		if err != nil {
			b.Error(err)
			return
		}
		if len(leases) == 0 {
			return
		}
		body, err := s.Body(b.Context(), leases[0].Entry.Body)
		if err == nil {
			err = body.Close()
		}
		if err == nil {
			err = settleAs(b.Context(), s, leases[0], mail.Delivered)
		}
		if err != nil {
			b.Error(err)
			return
		}
	}
}
