package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/queue/embedded"
)

// groupOf makes all that policy may make of one message: three contents, most
// often on both sides of the thresholds, an entry that is held, and one that
// shares a content. What is released or delivered meanwhile is not of interest.
func groupOf(ctx context.Context, s queue.Store, ids *mail.IDs) (queue.Group, error) {
	message := ids.New(time.Now())
	var g queue.Group
	for i := range 4 {
		e := entryTo(message, fmt.Sprintf("d%d.example", i))
		e.Tags, e.TLS = []string{"policy"}, mail.TLSRequired
		if i > 0 {
			e.ID = ids.New(time.Now())
		}
		if i == 1 {
			r := &e.Deliveries[0].Recipients[0]
			r.State, r.Hold, r.Why = mail.Held, mail.HoldQuarantine, "because"
		}
		submission := queue.Submission{Entry: e}
		if i == 3 {
			submission.Entry.Body = message
		} else {
			draft, err := s.Create(ctx)
			if err == nil {
				_, err = draft.Write(contentOf(e.ID))
			}
			if err != nil {
				discardAll(&g)
				return g, err
			}
			submission.Draft = draft
		}
		g.Submissions = append(g.Submissions, submission)
		g.Facts = append(g.Facts, mail.Fact{Time: noon, Reason: mail.ReasonAccepted, Message: e.ID})
	}
	return g, nil
}

func discardAll(g *queue.Group) {
	for _, s := range g.Submissions {
		if s.Draft != nil {
			s.Draft.Discard()
		}
	}
}

// entriesOfGroup is how many entries groupOf makes.
const entriesOfGroup = 4

// TestGroupsUnderPowerCuts: of a message that became several entries with
// several contents, after a power cut at any moment all is there or nothing,
// and all of those that were acknowledged.
func TestGroupsUnderPowerCuts(t *testing.T) {
	cuts := mailtest.Number(t, "CUTS", 60)
	random := rand.New(rand.NewPCG(5, uint64(cuts)))
	disk := newDisk()
	known := groups{promised: make(map[mail.ID]bool)}
	for cut := range cuts + 1 {
		store, err := embedded.Open("queue", embedded.Options{
			FS: disk, Clock: mail.NewManualClock(noon), InlineSize: 1000, SegmentSize: 64 << 10,
		})
		mailtest.Must(t, err)
		if checkGroups(t, store, known.promised); t.Failed() {
			t.Fatalf("after cut %d", cut)
		}
		if cut == cuts {
			mailtest.Must(t, store.Close())
			break
		}
		if len(known.promised) > 100 { // there is enough of it: begin anew
			mailtest.Must(t, store.Close())
			disk, known.promised = newDisk(), make(map[mail.ID]bool)
			continue
		}
		disk = known.accept(t, store, disk, random)
	}
}

// groups are those that a store has promised.
type groups struct {
	ids      mail.IDs
	promised map[mail.ID]bool
}

// accept accepts groups until the power is cut, and returns what is left of
// the disk. What was acknowledged before is promised.
func (gs *groups) accept(t *testing.T, s *embedded.Store, d *disk, random *rand.Rand) *disk {
	ids, promised := &gs.ids, gs.promised
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	acks := make(chan struct{})
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				g, err := groupOf(ctx, s, ids)
				mu.Unlock()
				if err == nil {
					err = s.Accept(ctx, g)
				}
				switch {
				case err == nil:
					mu.Lock()
					promised[g.Submissions[0].Entry.ID] = true
					mu.Unlock()
					select {
					case acks <- struct{}{}:
					case <-ctx.Done():
					}
				case !errors.Is(err, context.Canceled):
					t.Errorf("accept: %v", err)
					cancel()
				default:
					discardAll(&g)
				}
			}
		})
	}
	for range 1 + random.IntN(8) {
		select {
		case <-acks:
		case <-ctx.Done():
		}
	}
	mu.Lock()
	left := d.cut(random, random.IntN(101))
	kept := make(map[mail.ID]bool)
	for id := range promised {
		kept[id] = true
	}
	mu.Unlock()
	cancel()
	workers.Wait()
	mailtest.Must(t, s.Close())
	for id := range promised {
		if !kept[id] { // it came after the cut, and is no promise
			delete(promised, id)
		}
	}
	return left
}

func checkGroups(t *testing.T, s *embedded.Store, promised map[mail.ID]bool) {
	t.Helper()
	entries, err := s.List(t.Context(), queue.Filter{}, queue.Page{Limit: queue.MaxPage})
	mailtest.Must(t, err)
	facts, err := s.NextFacts(t.Context(), 0, 1<<20)
	mailtest.Must(t, err)
	found := make(map[mail.ID][]queue.Entry)
	for _, e := range entries {
		found[e.Message] = append(found[e.Message], e)
		if content, err := readBody(s, e.Body); err != nil || !bytes.Equal(content, contentOf(e.Body)) {
			t.Errorf("entry %s is stored, but of its content %d octets: %v", e.ID, len(content), err)
		}
		if !slices.ContainsFunc(facts, func(f mail.Fact) bool { return f.Message == e.ID }) {
			t.Errorf("entry %s is stored without its fact", e.ID)
		}
		if e.TLS != mail.TLSRequired || !slices.Equal(e.Tags, []string{"policy"}) {
			t.Errorf("entry %s has lost what it demands: %q %v", e.ID, e.TLS, e.Tags)
		}
	}
	for id, group := range found {
		if len(group) != entriesOfGroup {
			t.Errorf("of message %s there are %d entries, not %d", id, len(group), entriesOfGroup)
		}
		heldOnes := 0
		for _, e := range group {
			if r := e.Deliveries[0].Recipients[0]; r.State == mail.Held && r.Why == "because" {
				heldOnes++
			}
		}
		if heldOnes != 1 {
			t.Errorf("of message %s %d entries are held, not one", id, heldOnes)
		}
		promised[id] = true // the cut may have kept more than was promised
	}
	if len(facts) != len(entries) {
		t.Errorf("%d entries with %d facts", len(entries), len(facts))
	}
	for id := range promised {
		if len(found[id]) == 0 {
			t.Errorf("message %s was acknowledged and is lost", id)
		}
	}
	if damaged, err := s.Damaged(t.Context(), queue.Page{}); err != nil || len(damaged) > 0 {
		t.Errorf("set aside as damaged: %+v, %v", damaged, err)
	}
}
