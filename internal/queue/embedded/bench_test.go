package embedded_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
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
	content := contentOfSize(size)
	var ids mail.IDs
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	forEach(b, writers, func() error { return acceptOne(b.Context(), s, ids.New(noon), content) })
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/msg")
}

// contentOfSize is a content as large attachments are: Pebble, which
// compresses, would have little to write of a text that repeats itself.
func contentOfSize(size int) []byte {
	random := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(random)
	return base64.StdEncoding.AppendEncode(nil, random)[:size]
}

// forEach has f run b.N times in all, from a number of goroutines.
func forEach(b *testing.B, goroutines int, f func() error) {
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			for i := g; i < b.N; i += goroutines {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
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
			content := contentOfSize(4 << 10)
			forEach(b, 20, func() error { return acceptOne(b.Context(), s, ids.New(noon), content) })
			b.ReportAllocs()
			b.ResetTimer()
			forEach(b, workers, func() error { return deliverOne(b.Context(), s) })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// deliverOne delivers one message of those that are due.
func deliverOne(ctx context.Context, s *embedded.Store) error {
	now := time.Now()
	leases, err := s.Claim(ctx, "one.example", 1, now, now.Add(time.Hour))
	if err != nil || len(leases) != 1 {
		return fmt.Errorf("%d leases of one: %w", len(leases), err)
	}
	body, err := s.Body(ctx, leases[0].Entry.Body)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.NewSectionReader(body, 0, body.Size()))
	if err := errors.Join(err, body.Close()); err != nil {
		return err
	}
	return settleAs(ctx, s, leases[0], mail.Delivered)
}

// BenchmarkLife compares the homes of a content over its whole life: it is
// accepted, delivered at once or when all the others have come, and removed;
// what the database must compact until it is at rest belongs to it. Facts are
// copied and forgotten meanwhile, as the journal does.
func BenchmarkLife(b *testing.B) {
	for _, kib := range []int{4, 8, 16, 32, 64} {
		for _, later := range []bool{false, true} {
			for home, inline := range map[string]int64{"database": 1 << 20, "log": -1} {
				b.Run(fmt.Sprintf("%dKiB/later=%v/%s", kib, later, home), func(b *testing.B) {
					living(b, kib<<10, later, embedded.Options{InlineSize: inline})
				})
			}
		}
	}
}

func living(b *testing.B, size int, later bool, o embedded.Options) {
	const workers = 20
	s := open(b, filepath.Join(b.TempDir(), "queue"), o)
	content := contentOfSize(size)
	var ids mail.IDs
	accept := func() error { return acceptOne(b.Context(), s, ids.New(noon), content) }
	deliver := func() error { return deliverOne(b.Context(), s) }
	copied := copyFacts(b, s)
	b.ResetTimer()
	before, written := cpu(b), writtenBytes(b)
	if later {
		forEach(b, workers, accept)
		forEach(b, workers, deliver)
	} else {
		forEach(b, workers, func() error { return errors.Join(accept(), deliver()) })
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	copied()
	embedded.Rest(b, s)
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/msg")
	b.ReportMetric(float64(writtenBytes(b)-written)/float64(b.N*size), "written/octet")
}

// copyFacts reads and forgets facts until the function it returns is called.
func copyFacts(b *testing.B, s *embedded.Store) (stop func()) {
	end := make(chan struct{})
	var copying sync.WaitGroup
	copying.Go(func() {
		last := uint64(0)
		for {
			facts, err := s.NextFacts(b.Context(), last, 1000)
			if err == nil && len(facts) > 0 {
				last = facts[len(facts)-1].N
				err = s.ForgetFacts(b.Context(), last)
			}
			if err != nil {
				b.Error(err)
				return
			}
			if len(facts) > 0 {
				continue
			}
			select {
			case <-s.FactsWake():
			case <-end:
				return
			}
		}
	})
	return func() { close(end); copying.Wait() }
}

// writtenBytes is what the process has written to files (proc(5)).
func writtenBytes(b *testing.B) (n int64) {
	text, err := os.ReadFile("/proc/self/io")
	if err == nil {
		_, rest, _ := strings.Cut(string(text), "wchar: ")
		_, err = fmt.Sscan(rest, &n)
	}
	if err != nil {
		b.Fatal(err)
	}
	return n
}
