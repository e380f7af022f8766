package queuetest

import (
	"fmt"
	"io"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
)

var readTests = []test{
	{"list: order and pages", listPages},
	{"list and count: every field of the filter", listFilters},
	{"list refuses what breaks the contract", listInvalid},
	{"an open body outlives its entry", bodyOutlives},
	{"body: reading at the edges", bodyEdges},
	{"unknown ids are not found", readUnknown},
}

func listPages(w *world) {
	var want []mail.ID
	for range 25 {
		e := w.entry("a@one.example")
		w.accept(e)
		want = append(want, e.ID)
	}
	var got []mail.ID
	page := queue.Page{Limit: 10}
	for {
		entries, err := w.Store.List(w.ctx, queue.Filter{}, page)
		w.ok(err)
		if len(entries) == 0 {
			break
		}
		got = append(got, entryIDs(entries)...)
		page.After = got[len(got)-1]
	}
	w.same("pages of 10", got, want)
	looked := 0
	all, err := w.Store.List(w.ctx, queue.Filter{Where: "age < 1h"}, queue.Page{Looked: func(more int) { looked += more }})
	w.ok(err)
	w.same("one page", entryIDs(all), want)
	w.same("looked at", looked, len(want))
	w.same("entries", w.Store.Entries(), len(want))
}

func listFilters(w *world) {
	early := w.entry("a@one.example", "b@two.example")
	w.accept(early)
	w.settle(w.claim("one.example", 1)[0], mail.Deferred)
	w.clock.Advance(time.Hour)
	late := held(w.entry("A@one.example"), mail.HoldQuarantine)
	late.Envelope.From = mail.Address{}
	w.accept(late)

	for i, c := range []struct {
		filter queue.Filter
		want   []mail.ID
		counts map[mail.State]int
	}{
		{queue.Filter{}, []mail.ID{early.ID, late.ID}, map[mail.State]int{mail.Deferred: 1, mail.Queued: 1, mail.Held: 1}},
		{queue.Filter{IDs: []mail.ID{late.ID, late.ID, w.ids.New(w.now())}}, []mail.ID{late.ID}, map[mail.State]int{mail.Held: 1}},
		{queue.Filter{Destination: "two.example"}, []mail.ID{early.ID}, map[mail.State]int{mail.Queued: 1}},
		{queue.Filter{Recipient: "a@ONE.example"}, []mail.ID{early.ID, late.ID}, map[mail.State]int{mail.Deferred: 1, mail.Held: 1}},
		{queue.Filter{Sender: "SENDER@source.example"}, []mail.ID{early.ID}, map[mail.State]int{mail.Deferred: 1, mail.Queued: 1}},
		{queue.Filter{Sender: "<>"}, []mail.ID{late.ID}, map[mail.State]int{mail.Held: 1}},
		{queue.Filter{States: []mail.State{mail.Held, mail.Queued}}, []mail.ID{early.ID, late.ID}, map[mail.State]int{mail.Queued: 1, mail.Held: 1}},
		{queue.Filter{Hold: mail.HoldQuarantine}, []mail.ID{late.ID}, map[mail.State]int{mail.Held: 1}},
		{queue.Filter{Hold: mail.HoldPolicy}, nil, nil},
		{queue.Filter{Where: "age > 1s"}, []mail.ID{early.ID}, map[mail.State]int{mail.Deferred: 1, mail.Queued: 1}},
		{queue.Filter{Where: "all"}, []mail.ID{early.ID, late.ID}, map[mail.State]int{mail.Deferred: 1, mail.Queued: 1, mail.Held: 1}},
		{queue.Filter{Where: "state = held"}, []mail.ID{late.ID}, map[mail.State]int{mail.Held: 1}},
		{queue.Filter{Where: "destination = two.example and state = queued"}, []mail.ID{early.ID}, map[mail.State]int{mail.Queued: 1}},
		{queue.Filter{Where: "destination = two.example and state = deferred"}, nil, nil},
		{queue.Filter{Where: "state = held or reason ~ *wants"}, []mail.ID{early.ID, late.ID}, map[mail.State]int{mail.Deferred: 1, mail.Held: 1}},
		{queue.Filter{Where: "id = " + string(early.ID), States: []mail.State{mail.Queued}, IDs: []mail.ID{late.ID, early.ID}}, []mail.ID{early.ID}, map[mail.State]int{mail.Queued: 1}},
		{queue.Filter{Where: "id = " + string(early.ID), IDs: []mail.ID{late.ID}}, nil, nil},
		{queue.Filter{Before: w.now()}, []mail.ID{early.ID}, map[mail.State]int{mail.Deferred: 1, mail.Queued: 1}},
		{queue.Filter{Recipient: "a@one.example", States: []mail.State{mail.Queued}}, nil, nil}, // both at one recipient
	} {
		w.Logf("filter %d: %+v", i, c.filter)
		entries, err := w.Store.List(w.ctx, c.filter, queue.Page{})
		w.ok(err)
		w.same("entries", entryIDs(entries), c.want)
		_, err = w.Store.List(w.ctx, c.filter, queue.Page{After: late.ID, Looked: func(more int) { w.same("entries behind the last", more, 0) }})
		w.ok(err)
		counts, err := w.Store.Count(w.ctx, c.filter)
		w.ok(err)
		w.same("counts", counts, c.counts)
		for _, e := range entries {
			w.same("whole entry", e, w.get(e.ID))
		}
	}
}

func listInvalid(w *world) {
	for _, limit := range []int{-1, queue.MaxPage + 1} {
		_, err := w.Store.List(w.ctx, queue.Filter{}, queue.Page{Limit: limit})
		w.fails(err, queue.ErrInvalid)
	}
	_, err := w.Store.List(w.ctx, queue.Filter{Sender: "x"}, queue.Page{})
	w.fails(err, queue.ErrInvalid)
	_, err = w.Store.Count(w.ctx, queue.Filter{Where: "size > x"})
	w.fails(err, queue.ErrInvalid)
	_, err = w.Store.Count(w.ctx, queue.Filter{States: []mail.State{""}})
	w.fails(err, queue.ErrInvalid)
}

func bodyOutlives(w *world) {
	for _, size := range []int{100, 700_000} {
		e := w.entry("a@one.example")
		w.ok(w.Store.Accept(w.ctx, queue.Group{Submissions: []queue.Submission{{Entry: e, Draft: w.draft(largeContent(size))}}}))
		body, err := w.Store.Body(w.ctx, e.ID)
		w.ok(err)
		w.settle(w.claimOne("one.example"), mail.Delivered)
		_, err = w.Store.Body(w.ctx, e.ID)
		w.fails(err, queue.ErrNotFound)
		got, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
		w.ok(err)
		w.sameBytes("open body", got, largeContent(size))
		w.ok(body.Close())
	}
}

func bodyEdges(w *world) {
	const size = 700_000
	content := largeContent(size)
	e := w.entry("a@one.example")
	w.ok(w.Store.Accept(w.ctx, queue.Group{Submissions: []queue.Submission{{Entry: e, Draft: w.draft(content)}}}))
	body, err := w.Store.Body(w.ctx, e.ID)
	w.ok(err)
	defer body.Close()
	for _, at := range []int{0, 1, 256<<10 - 1, 256 << 10, 256<<10 + 1, 512<<10 - 5, size - 1} {
		for _, n := range []int{0, 1, 10, 300_000} {
			p := make([]byte, n)
			want := content[at:min(at+n, size)]
			got, err := body.ReadAt(p, int64(at))
			w.sameBytes(fmt.Sprintf("%d octets at %d", n, at), p[:got], want)
			if (err == io.EOF) != (len(want) < n) || err != nil && err != io.EOF {
				w.Fatalf("%d octets at %d: error %v", n, at, err)
			}
		}
	}
	for _, at := range []int64{size, size + 1} {
		if n, err := body.ReadAt(make([]byte, 1), at); n != 0 || err != io.EOF {
			w.Fatalf("read behind the end: %d, %v", n, err)
		}
	}
	if _, err := body.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF {
		w.Fatalf("read before the beginning: %v", err)
	}
}

func readUnknown(w *world) {
	for _, id := range []mail.ID{"", "x", w.ids.New(w.now())} {
		w.gone(id)
		_, err := w.Store.Body(w.ctx, id)
		w.fails(err, queue.ErrNotFound)
	}
}

var factTests = []test{
	{"facts: numbered in order, from 1", factOrder},
	{"facts: forgotten ones are not numbered again", factForget},
	{"facts: numbering goes on behind what was never given out", factJump},
	{"facts: wake", factWake},
	{"marks: put, get, list and lift", marks},
}

func (w *world) record(n int) {
	w.Helper()
	var facts []mail.Fact
	for range n {
		facts = append(facts, w.fact(mail.ReasonRefused, ""))
	}
	w.ok(w.Store.Accept(w.ctx, queue.Group{Facts: facts}))
}

func numbers(facts []mail.Fact) []uint64 {
	var all []uint64
	for _, f := range facts {
		all = append(all, f.N)
	}
	return all
}

func (w *world) nextFacts(after uint64, limit int) []uint64 {
	w.Helper()
	facts, err := w.Store.NextFacts(w.ctx, after, limit)
	w.ok(err)
	return numbers(facts)
}

func factOrder(w *world) {
	w.same("no facts", w.nextFacts(0, 10), []uint64(nil))
	w.record(3)
	w.record(2)
	w.same("numbers", w.nextFacts(0, 10), []uint64{1, 2, 3, 4, 5})
	w.same("behind 2, at most 2", w.nextFacts(2, 2), []uint64{3, 4})
	w.same("behind the last", w.nextFacts(5, 10), []uint64(nil))
	w.same("none", w.nextFacts(0, 0), []uint64(nil))
	f := w.fact(mail.ReasonRefused, "")
	f.Source, f.N = queue.FactSource, 1
	w.same("a fact", w.facts()[0], f)
	w.reopen()
	w.same("numbers after reopening", w.nextFacts(0, 10), []uint64{1, 2, 3, 4, 5})
}

func factForget(w *world) {
	w.record(5)
	w.ok(w.Store.ForgetFacts(w.ctx, 3))
	w.same("left", w.nextFacts(0, 10), []uint64{4, 5})
	w.ok(w.Store.ForgetFacts(w.ctx, 2)) // long forgotten
	w.ok(w.Store.ForgetFacts(w.ctx, 5))
	w.same("left", w.nextFacts(0, 10), []uint64(nil))
	w.record(1)
	w.same("numbers", w.nextFacts(0, 10), []uint64{6})
	w.ok(w.Store.ForgetFacts(w.ctx, 6))
	w.ok(w.Store.ForgetFacts(w.ctx, 1))
	w.reopen()
	w.record(1)
	w.same("numbers after reopening", w.nextFacts(0, 10), []uint64{7})
}

func factJump(w *world) {
	w.record(2)
	w.ok(w.Store.ForgetFacts(w.ctx, 100))
	w.record(1)
	w.reopen()
	w.record(1)
	w.same("numbers", w.nextFacts(0, 10), []uint64{101, 102})
}

func factWake(w *world) {
	woken := func() bool {
		select {
		case <-w.Store.FactsWake():
			return true
		default:
			return false
		}
	}
	w.same("woken by nothing", woken(), false)
	w.record(1)
	w.record(1)
	w.same("woken by facts", woken(), true)
	w.same("woken twice", woken(), false)
}

func marks(w *world) {
	put := func(kind queue.MarkKind, key, value string) queue.Mark {
		w.Helper()
		m := queue.Mark{Kind: kind, Key: key, Value: value, At: w.now(), Actor: "operator"}
		w.ok(w.Store.PutMark(w.ctx, m, w.fact(mail.ReasonMarked, "")))
		return m
	}
	b, a := put("reroute", "b", "1"), put("reroute", "a", "2")
	other := put("checkpoint", "a", "3")
	b = put("reroute", "b", "4")
	put("reroute", "c", "5")
	put("reroute", "c", "")
	check := func() {
		w.Helper()
		list, err := w.Store.ListMarks(w.ctx, "reroute")
		w.ok(err)
		w.same("marks", list, []queue.Mark{a, b})
		got, err := w.Store.Mark(w.ctx, "checkpoint", "a")
		w.ok(err)
		w.same("mark", got, other)
		_, err = w.Store.Mark(w.ctx, "reroute", "c")
		w.fails(err, queue.ErrNotFound)
		_, err = w.Store.Mark(w.ctx, "rerout", "ea")
		w.fails(err, queue.ErrNotFound)
		w.same("facts", len(w.facts()), 6)
	}
	check()
	w.reopen()
	check()
	err := w.Store.PutMark(w.ctx, queue.Mark{Kind: "reroute", Value: "x"}, w.fact(mail.ReasonMarked, ""))
	w.fails(err, queue.ErrInvalid)
	err = w.Store.PutMark(w.ctx, queue.Mark{Kind: "reroute", Key: "x", Value: "x"}, mail.Fact{})
	w.fails(err, queue.ErrInvalid)
	if facts := w.facts(); !slices.IsSorted(numbers(facts)) {
		w.Fatalf("facts are out of order: %v", numbers(facts))
	}
}
