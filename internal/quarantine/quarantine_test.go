package quarantine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"postern/internal/intake"
	words "postern/internal/mail"
	"postern/internal/queue"
)

var begin = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) // a Monday

// place is a quarantine and its keeper.
type place struct {
	t        *testing.T
	clock    *words.ManualClock
	store    *store
	ids      words.IDs
	settings Settings
	keeper   *Keeper
}

// store counts how it is used, and fails where it is told to.
type store struct {
	*queue.Memory
	lists int
	edits []int // the ids that each edit names
	fail  error
}

func (s *store) List(ctx context.Context, f queue.Filter, p queue.Page) ([]queue.Entry, error) {
	s.lists++
	if s.fail != nil {
		return nil, s.fail
	}
	return s.Memory.List(ctx, f, p)
}

func (s *store) Edit(ctx context.Context, f queue.Filter, c queue.Change, actor string) (queue.Edited, error) {
	s.edits = append(s.edits, len(f.IDs))
	return s.Memory.Edit(ctx, f, c, actor)
}

func (s *store) changes() uint64 {
	facts, _ := s.NextFacts(context.Background(), 0, 1<<20) // memory does not fail
	return uint64(len(facts))
}

func newPlace(t *testing.T) *place {
	clock := words.NewManualClock(begin)
	p := &place{t: t, clock: clock, store: &store{Memory: queue.NewMemory(queue.Options{Clock: clock})}}
	p.settings = Settings{
		Hostname: "gate.example", Keep: 30 * 24 * time.Hour, DigestEvery: 24 * time.Hour,
		Door: intake.New(intake.Options{Local: &intake.Local{}, Hostname: "gate.example", Store: p.store, IDs: &p.ids, Clock: clock, MaxHops: 100, AddMessageID: true}),
	}
	p.start()
	return p
}

// start begins a life of the keeper, which knows what is stored.
func (p *place) start() {
	p.keeper = New(Options{Store: p.store, Changes: p.store.changes, Settings: p.settings, Clock: p.clock})
}

func (p *place) look() {
	p.t.Helper()
	p.keeper.rest = time.Time{} // counts may follow each other
	if err := p.keeper.look(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

// puts stores a message with a header for recipients, the first of which is in
// quarantine.
func (p *place) puts(header string, to ...string) words.ID {
	p.t.Helper()
	draft, err := p.store.Create(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := io.WriteString(draft, header+"\r\n\r\nbody\r\n"); err != nil {
		p.t.Fatal(err)
	}
	var recipients []queue.Recipient
	for i, text := range to {
		a, err := words.ParseAddress(text)
		if err != nil {
			p.t.Fatal(err)
		}
		r := queue.Recipient{Recipient: words.Recipient{Address: a}, State: words.Queued}
		if i == 0 {
			r.State, r.Hold = words.Held, words.HoldQuarantine
		}
		recipients = append(recipients, r)
	}
	id := p.ids.New(p.clock.Now())
	e := queue.Entry{ID: id, Message: id, Accepted: p.clock.Now(), Deliveries: queue.Deliveries(recipients, p.clock.Now())}
	e.Envelope.From, _ = words.ParseAddress("joe@evil.example")
	err = p.store.Accept(p.t.Context(), queue.Group{
		Submissions: []queue.Submission{{Entry: e, Draft: draft}},
		Facts:       []words.Fact{{Time: p.clock.Now(), Reason: words.ReasonAccepted, Message: id}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// digests are the digests that were handed in.
func (p *place) digests() (all []string) {
	p.t.Helper()
	entries, err := p.store.Memory.List(p.t.Context(), queue.Filter{Recipient: "secops@corp.example"}, queue.Page{})
	if err != nil {
		p.t.Fatal(err)
	}
	for i := range entries {
		if !entries[i].Envelope.From.IsNull() || entries[i].Origin.Listener != "postern" {
			p.t.Errorf("a digest from %s by %s", entries[i].Envelope.From, entries[i].Origin.Listener)
		}
		body, err := p.store.Body(p.t.Context(), entries[i].Body)
		if err != nil {
			p.t.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, string(text))
	}
	return all
}

func TestWhereKeepsToTheQuarantine(t *testing.T) {
	p := newPlace(t)
	in := p.puts("Subject: a", "a@x.example", "b@x.example")
	for filter, want := range map[string]int{"": 1, "all": 1, "domain = x.example or size > 0": 1, "recipient = b@x.example": 0} {
		counts, err := p.store.Count(t.Context(), queue.Filter{Where: Where(filter)})
		if err != nil || counts[words.Held] != want || counts[words.Queued] != 0 {
			t.Errorf("%q: %v, %v", filter, counts, err)
		}
	}
	if e, err := p.store.Get(t.Context(), in); err != nil || len(e.Addresses()) != 2 {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestCensus(t *testing.T) {
	p := newPlace(t)
	p.puts("Subject: a", "a@x.example", "b@x.example")
	p.clock.Advance(time.Hour)
	p.puts("Subject: b", "c@x.example")
	p.look()
	want := Census{Messages: 2, Recipients: 2, Size: 40, Oldest: begin, Counted: p.clock.Now()}
	if got := p.keeper.Census(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	lists := p.store.lists
	p.look()
	if p.store.lists != lists {
		t.Error("it is counted again although nothing has changed")
	}
	p.puts("Subject: c", "d@x.example")
	p.keeper.rest = time.Now().Add(time.Hour)
	if err := p.keeper.look(t.Context()); err != nil || p.keeper.Census().Messages != 2 {
		t.Errorf("it is counted again without a rest: %+v, %v", p.keeper.Census(), err)
	}
	if p.look(); p.keeper.Census().Messages != 3 {
		t.Errorf("what has changed is not counted: %+v", p.keeper.Census())
	}
}

// TestNobodyIsHeld: a long queue is not read to find nothing.
func TestNobodyIsHeld(t *testing.T) {
	p := newPlace(t)
	p.puts("Subject: a", "a@x.example", "b@x.example")
	if _, err := p.store.Memory.Edit(t.Context(), queue.Filter{Recipient: "a@x.example"}, queue.Change{Kind: queue.ChangeRelease}, "me"); err != nil {
		t.Fatal(err)
	}
	if p.look(); p.store.lists != 0 || p.keeper.Census().Counted.IsZero() {
		t.Errorf("%d pages read, census %+v", p.store.lists, p.keeper.Census())
	}
}

func TestDescribe(t *testing.T) {
	p := newPlace(t)
	id := p.puts("Subject: =?utf-8?b?w7w=?=", "a@x.example")
	e, err := p.store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if i := Describe(t.Context(), p.store, &e); i.Subject != "ü" || i.Unreadable != "" || i.From != "<joe@evil.example>" || !i.Since.Equal(begin) {
		t.Errorf("%+v", i)
	}
	e.Body = "0123456789abcdef"
	if i := Describe(t.Context(), p.store, &e); i.Unreadable != "the message has gone meanwhile" {
		t.Errorf("%+v", i)
	}
}

func TestExpiry(t *testing.T) {
	p := newPlace(t)
	old := p.puts("Subject: a", "a@x.example", "b@x.example")
	p.clock.Advance(p.settings.Keep)
	if p.look(); len(p.store.edits) > 0 {
		t.Error("something is removed before its time")
	}
	late := p.puts("Subject: b", "c@x.example")
	p.clock.Advance(time.Second)
	p.look()
	e, err := p.store.Get(t.Context(), old)
	if err != nil || len(e.Addresses()) != 1 || e.Addresses()[0] != "b@x.example" {
		t.Errorf("left of the old one: %v, %v", e.Addresses(), err)
	}
	if _, err := p.store.Get(t.Context(), late); err != nil {
		t.Error(err)
	}
	facts, err := p.store.NextFacts(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	last := facts[len(facts)-1]
	if last.Reason != words.ReasonRemoved || last.Actor != Actor || last.Message != old || !strings.Contains(last.Text, "longer than 30d (quarantine.keep)") {
		t.Errorf("fact %+v", last)
	}
	edits := len(p.store.edits)
	if p.look(); len(p.store.edits) != edits {
		t.Error("it removes again")
	}
	p.settings.Keep = 0
	p.keeper.Change(p.settings)
	p.clock.Advance(10 * 365 * 24 * time.Hour)
	if p.look(); len(p.store.edits) != edits {
		t.Error("something is removed although all is kept")
	}
}

// TestExpiryGoesByWhenItCame: what an operator puts there late has its time.
func TestExpiryGoesByWhenItCame(t *testing.T) {
	p := newPlace(t)
	id := p.puts("Subject: a", "a@x.example", "b@x.example")
	p.clock.Advance(p.settings.Keep + time.Hour)
	change := queue.Change{Kind: queue.ChangeHold, Hold: words.HoldQuarantine}
	if _, err := p.store.Memory.Edit(t.Context(), queue.Filter{Recipient: "b@x.example"}, change, "me"); err != nil {
		t.Fatal(err)
	}
	p.look()
	if e, err := p.store.Get(t.Context(), id); err != nil || len(e.Addresses()) != 1 || e.Addresses()[0] != "b@x.example" {
		t.Errorf("left: %v, %v", e.Addresses(), err)
	}
}

// TestExpiryInSteps: after a long time without a server, much is too old. One
// look removes a step of an edit.
func TestExpiryInSteps(t *testing.T) {
	p := newPlace(t)
	for i := range 2*queue.EditStep + 1 {
		p.puts("Subject: a", fmt.Sprintf("r%d@x.example", i))
	}
	p.clock.Advance(p.settings.Keep + time.Hour)
	for want := 2; want >= 0; want-- {
		p.look()
		if got := (p.store.Entries() + queue.EditStep - 1) / queue.EditStep; got != want {
			t.Fatalf("%d are left", p.store.Entries())
		}
	}
	if fmt.Sprint(p.store.edits) != "[1000 1000 1]" {
		t.Errorf("edits of %v", p.store.edits)
	}
}

func TestDigest(t *testing.T) {
	p := newPlace(t)
	p.settings.DigestTo = words.Address{Local: "secops", Domain: "corp.example"}
	p.start()
	if p.look(); len(p.digests()) > 0 {
		t.Error("there is a digest of nothing")
	}
	p.clock.Advance(24 * time.Hour)
	id := p.puts("Subject: =?utf-8?q?open_=1B[31m_http://evil.example/x?=\r\nX: y", "a@x.example", "b@x.example")
	if p.look(); len(p.digests()) > 0 {
		t.Error("what may still be being stored is told")
	}
	p.clock.Advance(2 * settling)
	p.start() // what has come is told after a restart
	p.look()
	p.look()
	list := p.digests()
	if len(list) != 1 {
		t.Fatalf("%d digests", len(list))
	}
	p.checkDigest(list[0], id)

	// A restart in the same period sends nothing, though something came.
	second := p.puts("Subject: two", "c@x.example")
	p.clock.Advance(2 * settling)
	p.start()
	if p.look(); len(p.digests()) != 1 {
		t.Fatalf("%d digests in the same period", len(p.digests()))
	}
	// Three days without a server are one digest, with what is new alone.
	p.clock.Advance(72 * time.Hour)
	p.start()
	p.look()
	p.look()
	list = p.digests()
	if len(list) != 2 || !strings.Contains(list[1], string(second)) || strings.Contains(list[1], string(id)) {
		t.Fatalf("after three days: %q", list)
	}
	p.clock.Advance(24 * time.Hour)
	if p.look(); len(p.digests()) != 2 {
		t.Error("there is a digest without anything new")
	}
}

// checkDigest checks the form of a digest: what it says, and that nothing in it
// can be followed.
func (p *place) checkDigest(digest string, id words.ID) {
	p.t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(digest))
	if err != nil {
		p.t.Fatal(err)
	}
	if m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("Subject") != "[gate.example] 1 message came into quarantine" {
		p.t.Errorf("header %v", m.Header)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, want := range []string{"postern quarantine release " + string(id) + "\r\n", "to        a@x[.]example\r\n", "http[:]//evil[.]example/x", "removed"} {
		if !bytes.Contains(text, []byte(want)) {
			p.t.Errorf("the digest lacks %q:\n%s", want, text)
		}
	}
	for _, never := range []string{"http://", "evil.example", "\x1b", "b@x"} {
		if bytes.Contains(text, []byte(never)) {
			p.t.Errorf("the digest has %q:\n%s", never, text)
		}
	}
}

func TestDigestIsBounded(t *testing.T) {
	p := newPlace(t)
	p.settings.DigestTo = words.Address{Local: "secops", Domain: "corp.example"}
	p.start()
	const more = 1234
	for range maxListed + more {
		p.puts("Subject: a", "a@x.example")
	}
	p.clock.Advance(2 * settling)
	p.look()
	list := p.digests()
	if len(list) != 1 || strings.Count(list[0], "  release") != maxListed || !strings.Contains(list[0], "and 1,234 more; `postern quarantine list` has all.") {
		t.Errorf("%d digests, %d messages listed", len(list), strings.Count(strings.Join(list, ""), "  release"))
	}
}

// TestPeriod: the night in which the clock goes back has no period twice.
func TestPeriod(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	night := time.Date(2026, 10, 24, 22, 30, 0, 0, time.UTC) // 00:30 there; at 03:00 it is 02:00
	was := period(night.In(berlin), time.Hour)
	for range 30 {
		night = night.Add(10 * time.Minute)
		is := period(night.In(berlin), 24*time.Hour)
		if !is.Equal(time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC)) {
			t.Fatalf("the day at %v is %v", night, is)
		}
	}
	if hours := period(night.In(berlin), time.Hour).Sub(was); hours != 4*time.Hour {
		t.Errorf("of 5 hours %v are periods", hours)
	}
	if week := period(begin.Add(50*time.Hour), 7*24*time.Hour); !week.Equal(begin.Truncate(24 * time.Hour)) {
		t.Errorf("the week begins at %v", week)
	}
}

func TestKeeperGoesOnAfterAFailure(t *testing.T) {
	p := newPlace(t)
	p.puts("Subject: a", "a@x.example")
	p.store.fail = errors.New("disk")
	if err := p.keeper.look(t.Context()); !errors.Is(err, p.store.fail) {
		t.Errorf("error %v", err)
	}
	p.store.fail = nil
	if p.look(); p.keeper.Census().Messages != 1 {
		t.Errorf("census %+v", p.keeper.Census())
	}
}

func TestInert(t *testing.T) {
	for text, want := range map[string]string{
		"plain, and 1.5 % of it. Yes": "plain, and 1[.]5 % of it. Yes",
		"see www.evil.example":        "see www[.]evil[.]example",
		"https://x/":                  "https[:]//x/",
		"a\u202eb\x1b[2J":             "a\ufffdb\ufffd[2J",
		strings.Repeat("é", 20):       strings.Repeat("é", 9) + "…",
	} {
		width := 100
		if strings.HasPrefix(text, "é") {
			width = 10
		}
		if got := inert(text, width); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
