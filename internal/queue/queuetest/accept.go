package queuetest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

var acceptTests = []test{
	{"accept stores all of an entry", acceptWhole},
	{"accept is all or nothing", acceptAllOrNothing},
	{"accept stores marks and facts of its group", acceptMarks},
	{"entries share a body", acceptShared},
	{"accept refuses what breaks the contract", acceptInvalid},
	{"accept cancelled stores nothing", acceptCancelled},
	{"a draft reads back what was written", draftReads},
	{"a draft is used once", draftOnce},
	{"a discarded draft is not taken", draftDiscarded},
}

// fullEntry has something in every field.
func fullEntry(w *world) queue.Entry {
	e := w.entry("a@one.example", `"b c"@one.example`, "postmaster")
	e.Message = w.ids.New(w.now())
	e.Class = 3
	e.Tags, e.TLS = []string{"bulk", "payroll"}, mail.TLSVerified
	e.Envelope.Body, e.Envelope.Return, e.Envelope.EnvelopeID, e.Envelope.UTF8 = mail.Body8BitMIME, mail.ReturnFull, "x+y", true
	e.Origin.Session, e.Origin.Client = w.ids.New(w.now()), netip.MustParseAddrPort("192.0.2.1:25")
	e.Origin.Protocol, e.Origin.TLS = "ESMTPS", &mail.TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256"}
	r := &e.Deliveries[0].Recipients[0]
	r.Notify, r.Original = mail.NotifyDelay|mail.NotifyFailure, "rfc822;a@one.example"
	r = &e.Deliveries[0].Recipients[1]
	r.State, r.Hold, r.Why = mail.Held, mail.HoldPolicy, "not today"
	r.Last = &mail.Outcome{State: mail.Deferred, Attempt: 2, At: w.now(), Reply: mail.NewReply(451, "4.4.1", "no answer"), Cause: "dial"}
	return e
}

func acceptWhole(w *world) {
	e := fullEntry(w)
	w.accept(e)
	e.Body, e.Size = e.ID, int64(len(contentOf(e.ID)))
	e.Deliveries[0], e.Deliveries[1] = e.Deliveries[1], e.Deliveries[0] // in order of destination
	w.same("entry", w.get(e.ID), e)
	w.same("content", w.content(e.ID), contentOf(e.ID))

	got := w.get(e.ID) // is ours: changing it changes nothing stored
	got.Deliveries[1].Recipients[0].State = mail.Held
	got.Deliveries[1].Recipients[1].Last.Host = "changed"
	got.Origin.TLS.Version = "changed"
	got.Tags[0] = "changed"
	w.same("entry after the copy was changed", w.get(e.ID), e)

	w.reopen()
	w.same("entry after reopening", w.get(e.ID), e)
	w.same("content after reopening", w.content(e.ID), contentOf(e.ID))
}

func acceptAllOrNothing(w *world) {
	good, bad := w.entry("a@one.example"), w.entry("b@two.example")
	draft := w.draft([]byte("content"))
	bad.Body = w.ids.New(w.now()) // that nobody stored
	g := queue.Group{
		Submissions: []queue.Submission{{Entry: good, Draft: draft}, {Entry: bad}},
		Facts:       []mail.Fact{w.fact(mail.ReasonAccepted, good.ID)},
		Marks:       []queue.Mark{{Kind: "checkpoint", Key: "job", Value: "1"}},
	}
	w.fails(w.Store.Accept(w.ctx, g), queue.ErrNotFound)
	w.gone(good.ID)
	_, err := w.Store.Body(w.ctx, good.ID)
	w.fails(err, queue.ErrNotFound)
	_, err = w.Store.Mark(w.ctx, "checkpoint", "job")
	w.fails(err, queue.ErrNotFound)
	w.same("facts", w.facts(), []mail.Fact(nil))
	w.same("destinations due", w.dueNames(), []mail.Destination(nil))

	g.Submissions = g.Submissions[:1] // the draft is still ours
	w.ok(w.Store.Accept(w.ctx, g))
	w.same("content", w.content(good.ID), []byte("content"))
	if facts := w.facts(); len(facts) != 1 {
		w.Fatalf("%d facts, want 1", len(facts))
	}
}

func acceptMarks(w *world) {
	mark := queue.Mark{Kind: "checkpoint", Key: "job", Value: "17", At: w.now(), Actor: "job"}
	w.ok(w.Store.Accept(w.ctx, queue.Group{Marks: []queue.Mark{mark}, Facts: []mail.Fact{w.fact(mail.ReasonMarked, "")}}))
	w.reopen()
	got, err := w.Store.Mark(w.ctx, "checkpoint", "job")
	w.ok(err)
	w.same("mark", got, mark)
	if facts := w.facts(); len(facts) != 1 || facts[0].Reason != mail.ReasonMarked {
		w.Fatalf("facts are %v", facts)
	}
}

func acceptShared(w *world) {
	first, second, later := w.entry("a@one.example"), w.entry("b@two.example"), w.entry("c@zulu.example")
	second.Body, later.Body = first.ID, first.ID
	w.ok(w.Store.Accept(w.ctx, queue.Group{Submissions: []queue.Submission{
		{Entry: first, Draft: w.draft(contentOf(first.ID))}, {Entry: second},
	}}))
	w.ok(w.Store.Accept(w.ctx, queue.Group{Submissions: []queue.Submission{{Entry: later}}}))
	if got := w.get(later.ID).Size; got != int64(len(contentOf(first.ID))) {
		w.Fatalf("size of an entry with a shared body is %d", got)
	}
	w.settle(w.claimOne("one.example"), mail.Delivered)
	w.gone(first.ID)
	w.same("shared content", w.content(first.ID), contentOf(first.ID))
	w.reopen()
	w.settle(w.claimOne("two.example"), mail.Delivered)
	w.same("shared content", w.content(first.ID), contentOf(first.ID))
	w.settle(w.claimOne("zulu.example"), mail.Delivered)
	_, err := w.Store.Body(w.ctx, first.ID)
	w.fails(err, queue.ErrNotFound)
}

// invalidGroups are ways to break the contract of Accept.
var invalidGroups = map[string]func(w *world, s *queue.Submission) []queue.Submission{
	"no id":      func(_ *world, s *queue.Submission) []queue.Submission { s.Entry.ID = ""; return nil },
	"wrong id":   func(_ *world, s *queue.Submission) []queue.Submission { s.Entry.ID = "../x"; return nil },
	"no message": func(_ *world, s *queue.Submission) []queue.Submission { s.Entry.Message = ""; return nil },
	"no content": func(_ *world, s *queue.Submission) []queue.Submission { s.Draft = nil; return nil },
	"no deliveries": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries = nil
		return nil
	},
	"no recipients": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries[0].Recipients = nil
		return nil
	},
	"one destination twice": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries = append(s.Entry.Deliveries, s.Entry.Deliveries[0])
		return nil
	},
	"unknown state": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries[0].Recipients[0].State = "lost"
		return nil
	},
	"final state": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries[0].Recipients[0].State = mail.Delivered
		return nil
	},
	"held without a reason": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries[0].Recipients[0].State = mail.Held
		return nil
	},
	"a reason, but not held": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries[0].Recipients[0].Hold = mail.HoldPolicy
		return nil
	},
	"a time of the hold, but not held": func(w *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries[0].Recipients[0].HeldAt = w.now()
		return nil
	},
	"why it is held, but not held": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries[0].Recipients[0].Why = "because"
		return nil
	},
	"a demand of TLS that is none": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.TLS = "perhaps"
		return nil
	},
	"recipient that cannot be read back": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries[0].Recipients[0].Address = mail.Address{Local: "a\x00b", Domain: "one.example"}
		return nil
	},
	"null recipient": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries[0].Recipients[0].Address = mail.Address{}
		return nil
	},
	"negative attempts": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries[0].Attempts = -1
		return nil
	},
	"NUL in a destination": func(_ *world, s *queue.Submission) []queue.Submission {
		s.Entry.Deliveries[0].Destination = "a\x00b"
		return nil
	},
	"one entry twice": func(_ *world, s *queue.Submission) []queue.Submission {
		return []queue.Submission{*s, {Entry: s.Entry}}
	},
	"one draft twice": func(w *world, s *queue.Submission) []queue.Submission {
		return []queue.Submission{*s, {Entry: w.entry("x@y.example"), Draft: s.Draft}}
	},
	"an id that is stored": func(w *world, s *queue.Submission) []queue.Submission {
		stored := w.entry("x@stored.example")
		w.accept(stored)
		s.Entry.ID = stored.ID
		return nil
	},
}

func acceptInvalid(w *world) {
	for name, spoil := range invalidGroups {
		s := queue.Submission{Entry: w.entry("a@one.example"), Draft: w.draft([]byte("x"))}
		group := queue.Group{Submissions: spoil(w, &s)}
		if group.Submissions == nil {
			group.Submissions = []queue.Submission{s}
		}
		w.Log(name)
		w.fails(w.Store.Accept(w.ctx, group), queue.ErrInvalid)
	}
	w.same("destinations due", w.dueNames(), []mail.Destination{"stored.example"})
	w.fails(w.Store.Accept(w.ctx, queue.Group{}), queue.ErrInvalid)
	w.fails(w.Store.Accept(w.ctx, queue.Group{Facts: []mail.Fact{{Time: w.now()}}}), queue.ErrInvalid)
	w.fails(w.Store.Accept(w.ctx, queue.Group{Marks: []queue.Mark{{Kind: "k", Value: "v"}}}), queue.ErrInvalid)
	w.fails(w.Store.Accept(w.ctx, queue.Group{Marks: []queue.Mark{{Kind: queue.MarkSuspendSender, Key: "<>", Value: "v"}}}), queue.ErrInvalid)
}

func acceptCancelled(w *world) {
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	e := w.entry("a@one.example")
	err := w.Store.Accept(ctx, queue.Group{Submissions: []queue.Submission{{Entry: e, Draft: w.draft([]byte("x"))}}})
	w.fails(err, context.Canceled)
	w.gone(e.ID)
}

// largeContent is larger than any engine keeps in memory or in one piece.
func largeContent(size int) []byte {
	content := make([]byte, size)
	r := rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(content) // never fails
	return content
}

func draftReads(w *world) {
	for _, size := range []int{0, 1, 9_999, 256 << 10, 256<<10 + 1, 700_000, 3<<20 + 17} {
		content := largeContent(size)
		d := w.draft(content)
		if d.Size() != int64(size) {
			w.Fatalf("size of the draft is %d, want %d", d.Size(), size)
		}
		got := make([]byte, size)
		if n, err := d.ReadAt(got, 0); n != size {
			w.Fatalf("read %d octets of %d: %v", n, size, err)
		}
		w.sameBytes("draft", got, content)

		e := w.entry("a@one.example")
		e.Deliveries[0].Next = w.in(time.Hour)
		w.ok(w.Store.Accept(w.ctx, queue.Group{Submissions: []queue.Submission{{Entry: e, Draft: d}}}))
		d.Discard() // does nothing now
		w.sameBytes("content", w.content(e.ID), content)
		if got := w.get(e.ID).Size; got != int64(size) {
			w.Fatalf("size of the entry is %d, want %d", got, size)
		}
		defer func() { w.sameBytes("content after reopening", w.content(e.ID), content) }()
	}
	w.reopen()
}

func (w *world) sameBytes(what string, got, want []byte) {
	w.Helper()
	if !bytes.Equal(got, want) {
		w.Fatalf("%s differs: %d octets, want %d", what, len(got), len(want))
	}
}

func draftOnce(w *world) {
	for _, size := range []int{5, 700_000} {
		d := w.draft(largeContent(size))
		w.ok(w.Store.Accept(w.ctx, queue.Group{Submissions: []queue.Submission{{Entry: w.entry("a@one.example"), Draft: d}}}))
		again := queue.Group{Submissions: []queue.Submission{{Entry: w.entry("a@one.example"), Draft: d}}}
		w.fails(w.Store.Accept(w.ctx, again), queue.ErrInvalid)
		if _, err := d.Write([]byte("more")); err == nil {
			w.Fatal("a draft that was taken can be written")
		}
	}
}

func draftDiscarded(w *world) {
	for _, size := range []int{5, 700_000} {
		d := w.draft(largeContent(size))
		d.Discard()
		d.Discard()
		g := queue.Group{Submissions: []queue.Submission{{Entry: w.entry("a@one.example"), Draft: d}}}
		w.fails(w.Store.Accept(w.ctx, g), queue.ErrInvalid)
		if _, err := d.ReadAt(make([]byte, 1), 0); err == nil {
			w.Fatal("a discarded draft can be read")
		}
	}
}
