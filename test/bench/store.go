package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
	"postern/test/harness"
)

// storeCommand makes the bench the process that measures a store.
const storeCommand = "measure-store"

// storeJob is what such a process is told.
type storeJob struct {
	Dir      string
	Inline   int64 // embedded.Options.InlineSize
	Size     int   // of a content
	Writers  int
	Messages int
}

// storeChild does the job in argument, and writes the figures to out.
func storeChild(ctx context.Context, argument string, out io.Writer) error {
	var job storeJob
	if err := json.Unmarshal([]byte(argument), &job); err != nil {
		return err
	}
	f, err := job.measure(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(f)
}

// measure accepts the messages in a new store. The time ends with the last of
// them. The CPU time ends when the store is closed: what is compacted until
// then belongs to the messages too.
func (j *storeJob) measure(ctx context.Context) (f figures, err error) {
	s, err := embedded.Open(j.Dir, embedded.Options{InlineSize: j.Inline})
	if err != nil {
		return f, err
	}
	a := accepting{store: s, content: append(harness.Header("bench", from, to), harness.Text(j.Size)...)}
	if err := a.all(ctx, j.Messages/20+j.Writers, j.Writers); err != nil { // to warm up
		return f, errors.Join(err, s.Close())
	}
	before, began := ownCPU(), time.Now()
	err = a.all(ctx, j.Messages, j.Writers)
	f = figures{Messages: j.Messages, Elapsed: time.Since(began)}
	err = errors.Join(err, s.Close())
	f.CPU = ownCPU() - before
	return f, err
}

// accepting accepts one content again and again.
type accepting struct {
	store   queue.Store
	content []byte
	ids     mail.IDs
}

// all accepts n messages from a number of goroutines.
func (a *accepting) all(ctx context.Context, n, writers int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var left atomic.Int64
	left.Store(int64(n))
	var running sync.WaitGroup
	for range writers {
		running.Go(func() {
			for left.Add(-1) >= 0 {
				if err := a.one(ctx); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// one accepts one message, as intake does.
func (a *accepting) one(ctx context.Context) error {
	draft, err := a.store.Create(ctx)
	if err != nil {
		return err
	}
	if _, err := draft.Write(a.content); err != nil {
		return err
	}
	e := a.entry(time.Now())
	fact := mail.Fact{
		Time: e.Accepted, Reason: mail.ReasonAccepted, Message: e.ID, Session: e.Origin.Session,
		From: e.Envelope.From.Path(), To: e.Addresses(), Size: int64(len(a.content)), Origin: &e.Origin,
	}
	err = a.store.Accept(ctx, queue.Group{Submissions: []queue.Submission{{Entry: e, Draft: draft}}, Facts: []mail.Fact{fact}})
	if err != nil {
		draft.Discard()
	}
	return err
}

// entry is a new entry with one recipient.
func (a *accepting) entry(now time.Time) queue.Entry {
	id := a.ids.New(now)
	recipient := queue.Recipient{State: mail.Queued, Recipient: mail.Recipient{Address: mail.Address{Local: "sink", Domain: "example.net"}}}
	return queue.Entry{
		ID: id, Message: id, Accepted: now,
		Envelope: mail.Envelope{From: mail.Address{Local: "source", Domain: "example.org"}},
		Origin: mail.Origin{
			Listener: "smtp", Session: id, Client: netip.MustParseAddrPort("127.0.0.1:40000"), Local: netip.MustParseAddrPort("127.0.0.1:25"),
			Hello: "source.example", Protocol: "ESMTP",
		},
		Deliveries: queue.Deliveries([]queue.Recipient{recipient}, now),
	}
}

// ownCPU is the time that this process has computed.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0 // cannot be: it knows this process
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
