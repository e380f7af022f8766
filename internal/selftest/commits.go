package selftest

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// Commits is how many messages of 4 KiB the store made durable.
type Commits struct {
	Writers   int     `json:"writers"` // each waits for one message before the next
	Messages  int     `json:"messages"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
	PerSync   float64 `json:"per_sync"` // messages that shared a sync, on average
}

// maxMessages ends a measurement early: the disk is not to be filled.
const maxMessages = 40_000

// measureCommits commits messages for a time to a store of its own, which it
// removes.
func measureCommits(ctx context.Context, dir string, writers int, load time.Duration) (c Commits, err error) {
	files := &syncCounter{FS: vfs.Default}
	store, err := embedded.Open(dir, embedded.Options{FS: files})
	if err != nil {
		return c, err
	}
	before, start := files.syncs.Load(), time.Now()
	n, err := commitAll(ctx, store, writers, load)
	elapsed, syncs := time.Since(start).Seconds(), files.syncs.Load()-before
	if err = errors.Join(err, store.Close(), os.RemoveAll(dir)); err != nil {
		return c, err
	}
	return Commits{
		Writers: writers, Messages: n, Seconds: elapsed,
		PerSecond: float64(n) / elapsed, PerSync: float64(n) / float64(max(1, syncs)),
	}, ctx.Err()
}

// commitAll has writers commit messages for a time, and counts them.
func commitAll(ctx context.Context, store queue.Accepter, writers int, load time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, load)
	defer cancel()
	content := make([]byte, piece)
	var ids mail.IDs
	var messages atomic.Int64
	var mu sync.Mutex
	var failed error
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for ctx.Err() == nil && messages.Load() < maxMessages {
				now := time.Now()
				if err := accept(ctx, store, entry(ids.New(now), "bench.example", now), content); err != nil {
					mu.Lock()
					failed = errors.Join(failed, unlessEnded(ctx, err))
					mu.Unlock()
					cancel()
					return
				}
				messages.Add(1)
			}
		})
	}
	all.Wait()
	return int(messages.Load()), failed
}

// unlessEnded leaves out an error that is only that of the context's end.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// entry is a message to one recipient, due at a time.
func entry(id mail.ID, domain string, due time.Time) queue.Entry {
	to := queue.Recipient{Recipient: mail.Recipient{Address: mail.Address{Local: "to", Domain: domain}}, State: mail.Queued}
	return queue.Entry{
		ID: id, Message: id, Accepted: time.Now(),
		Envelope:   mail.Envelope{From: mail.Address{Local: "from", Domain: "selftest.example"}},
		Deliveries: queue.Deliveries([]queue.Recipient{to}, due),
	}
}

// accept stores an entry with its content, and the fact that goes with it.
func accept(ctx context.Context, store queue.Accepter, e queue.Entry, content []byte) error {
	draft, err := store.Create(ctx)
	if err != nil {
		return err
	}
	defer draft.Discard()
	if _, err := draft.Write(content); err != nil {
		return err
	}
	return store.Accept(ctx, queue.Group{
		Submissions: []queue.Submission{{Entry: e, Draft: draft}},
		Facts:       []mail.Fact{{Time: e.Accepted, Reason: mail.ReasonAccepted, Message: e.ID}},
	})
}

// syncCounter counts the syncs of the store's write-ahead log, which are those
// that a message waits for.
type syncCounter struct {
	vfs.FS
	syncs atomic.Int64
}

// Create opens a file whose syncs are counted.
func (s *syncCounter) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	return s.counted(name, f, err)
}

// ReuseForWrite does the same with a file that was used before.
func (s *syncCounter) ReuseForWrite(oldName, newName string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.ReuseForWrite(oldName, newName, c)
	return s.counted(newName, f, err)
}

func (s *syncCounter) counted(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return countedFile{f, &s.syncs}, nil
}

type countedFile struct {
	vfs.File
	syncs *atomic.Int64
}

func (f countedFile) Sync() error {
	f.syncs.Add(1)
	return f.File.Sync()
}

func (f countedFile) SyncData() error {
	f.syncs.Add(1)
	return f.File.SyncData()
}
