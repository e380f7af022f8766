package journal

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mail"
)

// TestCatchUp: what is durable at a source, or was recorded, is in the journal when CatchUp returns,
// however long facts are gathered; and it is there once, whoever wrote it.
func TestCatchUp(t *testing.T) {
	o := options()
	o.Delay = time.Hour
	dir := t.TempDir()
	j := mustOpen(t, dir, o)
	s := newSource()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	_, moved := j.position()
	s.commit(1)
	go func() { over <- j.Copy(ctx, s) }()
	<-moved // it has begun
	wanted := queueNames(1, 1)
	for round := range uint64(3) {
		first := round*copyLimit + 2
		s.commit(copyLimit)
		j.Record(mail.Fact{Time: noon, Reason: mail.ReasonStarted})
		wanted = append(wanted, queueNames(first, first+copyLimit-1)...)
		wanted = append(wanted, name(mail.Fact{Source: Direct, N: round + 1, Reason: mail.ReasonStarted}))
		if err := j.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := names(t, dir, Query{})
		slices.Sort(got)
		slices.Sort(wanted)
		want(t, got, wanted)
	}
	cancel()
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if n := s.held(); n > 0 {
		t.Errorf("%d facts are not forgotten at the source", n)
	}
	mustClose(t, j)
	got := names(t, dir, Query{})
	slices.Sort(got)
	want(t, got, wanted)
	if len(j.copiers) > 0 {
		t.Error("a source is still known that nobody copies")
	}
	if err := j.CatchUp(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed journal: %v", err)
	}
}

// TestCatchUpFails: it does not wait for a journal that cannot be written, nor for longer than its
// reader.
func TestCatchUpFails(t *testing.T) {
	s := newSource()
	j := mustOpen(t, t.TempDir(), options())
	j.copiers = []*copier{{journal: j, source: s}}
	s.commit(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.CatchUp(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("its reader has gone: %v", err)
	}
	full := errors.New("the disk is full")
	disk := &brokenDisk{}
	broken, err := open(t.TempDir(), options(), disk.create)
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	disk.fail(full)
	broken.copiers = []*copier{{journal: broken, source: s}}
	if err := broken.CatchUp(t.Context()); !errors.Is(err, full) {
		t.Errorf("it cannot be written: %v", err)
	}
}

// TestRecordedStandByTheirTime: what was recorded stands among what is copied with it as it happened.
func TestRecordedStandByTheirTime(t *testing.T) {
	o := options()
	o.Delay = time.Hour
	dir := t.TempDir()
	j := mustOpen(t, dir, o)
	fact := func(n uint64, reason mail.Reason) mail.Fact {
		return mail.Fact{Source: "queue", N: n, Time: noon.Add(time.Duration(n) * time.Second), Reason: reason}
	}
	j.Record(fact(1, mail.ReasonStarted))
	j.Record(fact(3, mail.ReasonRefused))
	j.Record(fact(9, mail.ReasonStopped))
	j.copiers = []*copier{{journal: j, source: sourceOf(fact(2, mail.ReasonAccepted), fact(4, mail.ReasonDelivered))}}
	if err := j.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []mail.Reason
	if err := Read(t.Context(), dir, Query{}, func(f mail.Fact) error {
		got = append(got, f.Reason)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []mail.Reason{mail.ReasonStarted, mail.ReasonAccepted, mail.ReasonRefused, mail.ReasonDelivered, mail.ReasonStopped}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	mustClose(t, j)
}

// TestCatchUpOnStuckDisk: a reader does not wait for a disk that does not answer, neither he whose facts
// are being written nor the next one.
func TestCatchUpOnStuckDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &brokenDisk{gate: make(chan struct{}), syncs: make(chan struct{}, 2)}
		dir := t.TempDir()
		j, err := open(dir, options(), disk.create)
		if err != nil {
			t.Fatal(err)
		}
		j.Record(mail.Fact{Time: noon, Reason: mail.ReasonStarted})
		time.Sleep(time.Second)
		<-disk.syncs // the file has begun
		disk.gate <- struct{}{}
		s := newSource()
		s.commit(1)
		j.copiers = []*copier{{journal: j, source: s}}
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := j.CatchUp(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("while the disk is stuck: %v", err)
			}
			cancel()
		}
		close(disk.gate)
		if err := j.CatchUp(t.Context()); err != nil {
			t.Error(err)
		}
		want(t, names(t, dir, Query{}), append([]string{name(mail.Fact{Source: Direct, N: 1, Reason: mail.ReasonStarted})}, queueNames(1, 1)...))
		mustClose(t, j)
	})
}
