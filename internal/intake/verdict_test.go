package intake

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/policy"
	"postern/internal/queue"
	"postern/internal/smtp"
)

// ruling is policy for a test: what is done for each recipient, by its address,
// at RCPT; and what is said at the commands, by name.
type ruling struct {
	treat map[string]policy.Treatment
	say   map[string]policy.Decision
	// data, if set, is asked about the content.
	data func(to []policy.Addressee, m policy.Message) policy.Disposition
	// resets counts the transactions that were ended, withdrawn the recipients that
	// were accepted and then refused.
	resets, withdrawn int
	// source is what is chosen for a user, known who was said to be there.
	source map[string]string
	known  mail.Principal
}

func (r *ruling) Connect(context.Context) policy.Decision { return r.say["connect"] }

func (r *ruling) Helo(context.Context, mail.Origin) policy.Decision { return r.say["helo"] }

func (r *ruling) Auth(context.Context, mail.Principal) policy.Decision { return r.say["auth"] }

func (r *ruling) Know(p mail.Principal) { r.known = p }

func (r *ruling) Source(_ context.Context, user, _ string) (string, policy.Decision) {
	return r.source[user], r.say["source"]
}

func (r *ruling) MaxSize() int64 { return 0 }

func (r *ruling) Mail(context.Context, mail.Address, int64) policy.Decision { return r.say["mail"] }

func (r *ruling) Rcpt(_ context.Context, to mail.Recipient) (policy.Decision, policy.Treatment) {
	return r.say[to.Address.String()], r.treat[to.Address.String()]
}

func (r *ruling) Withdraw() { r.withdrawn++ }

// AtData reports that there is something to ask about the content.
func (r *ruling) AtData() bool { return r.data != nil || len(r.say["data"].Trail) > 0 }

func (r *ruling) Data(_ context.Context, to []policy.Addressee, m policy.Message) policy.Disposition {
	if r.data != nil {
		return r.data(to, m)
	}
	return policy.Disposition{Decision: r.say["data"], Recipients: to}
}

func (r *ruling) Reset() { r.resets++ }

// under opens a session of a trusted client under some rules.
func (d *door) under(r *ruling) *Session {
	s := d.session(inside)
	s.ruled = &ruled{rules: r}
	return s
}

const plainText = "Subject: x\r\n\r\n.body\r\n"

// sendUnder sends a message under rules to some addresses.
func (d *door) sendUnder(r *ruling, text string, to ...string) mail.Reply {
	d.t.Helper()
	s := d.under(r)
	s.Mail(d.t.Context(), smtp.Mail{Envelope: mail.Envelope{From: address(d.t, "joe@sender.example"), EnvelopeID: "e7", Return: mail.ReturnHeaders}})
	for _, a := range to {
		if reply := s.Rcpt(d.t.Context(), rcpt(d.t, a)); !reply.IsZero() {
			d.t.Fatal(a, reply)
		}
	}
	return s.Content(d.t.Context(), content(text))
}

// lines writes entries as they lie in the queue, a line for each, with its
// recipients; the ids are numbered as they come.
func (d *door) lines() []string {
	d.t.Helper()
	var lines []string
	number := map[mail.ID]string{}
	for _, e := range d.entries() {
		number[e.ID] = fmt.Sprint(len(number) + 1)
	}
	for _, e := range d.entries() {
		line := fmt.Sprintf("%s of %s with %s: %s to", number[e.ID], number[e.Message], number[e.Body], e.Envelope.From.Path())
		for _, x := range e.Deliveries {
			for _, r := range x.Recipients {
				line += " " + r.Address.String() + " (" + string(x.Destination)
				if wait := x.Next.Sub(now); wait > 0 {
					line += " in " + wait.String()
				}
				if r.State != mail.Queued {
					line += " " + strings.Join([]string{string(r.State), string(r.Hold), r.Why}, " ")
				}
				if r.Original != "" {
					line += " was " + r.Original
				}
				if r.Notify != 0 {
					line += " " + r.Notify.String()
				}
				line += ")"
			}
		}
		for _, extra := range []string{strings.Join(e.Tags, "+"), string(e.TLS), e.Envelope.EnvelopeID} {
			if extra != "" {
				line += ", " + extra
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// factLines writes the facts, with the ids numbered as those of lines; that of
// a message that has no entry is 0.
func (d *door) factLines() []string {
	d.t.Helper()
	number := map[mail.ID]string{}
	for _, e := range d.entries() {
		number[e.ID] = fmt.Sprint(len(number) + 1)
	}
	name := func(id mail.ID) string {
		if n, known := number[id]; known {
			return n
		}
		return "0"
	}
	var lines []string
	for _, f := range d.facts() {
		line := fmt.Sprintf("%s %s", f.Reason, name(f.Message))
		if f.About != "" {
			line += " about " + name(f.About)
		}
		line += ": " + f.From + " to " + strings.Join(f.To, " ")
		for _, extra := range []string{string(f.Hold), f.Text} {
			if extra != "" {
				line += ", " + extra
			}
		}
		if !f.Next.IsZero() {
			line += ", in " + f.Next.Sub(now).String()
		}
		for _, step := range f.Trail {
			line += " | " + step.String()
		}
		lines = append(lines, line)
	}
	return lines
}

// content returns the content of an entry, without the Received field that is
// ours.
func (d *door) bodyOf(id mail.ID) string {
	d.t.Helper()
	b, err := d.store.Body(context.Background(), id)
	if err != nil {
		d.t.Fatal(err)
	}
	defer b.Close()
	text, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		d.t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(text), "Received: ")
	if !found {
		d.t.Fatalf("no Received field in %q", text)
	}
	_, rest = cutField("Received: " + rest)
	return head + rest
}

// TestEffects: what becomes of a message under each effect of policy.
func TestEffects(t *testing.T) {
	null, other := mail.Address{}, address(t, "other@sender.example")
	via := address(t, "ann@new.example")
	for _, c := range []struct {
		name    string
		treat   map[string]policy.Treatment
		to      []string
		entries []string
		facts   []string
	}{
		{"nothing", nil, []string{"a@x.example", "b@y.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to a@x.example (x.example) b@y.example (y.example), e7"},
			[]string{"accepted 1: <joe@sender.example> to a@x.example b@y.example"}},
		{"the same recipient twice", nil, []string{"a@x.example", "a@x.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to a@x.example (x.example), e7"},
			[]string{"accepted 1: <joe@sender.example> to a@x.example"}},
		{"hold one", map[string]policy.Treatment{"a@x.example": {Hold: mail.HoldQuarantine, Note: "bad words"}}, []string{"a@x.example", "b@x.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to a@x.example (x.example held quarantine bad words) b@x.example (x.example), e7"},
			[]string{"accepted 1: <joe@sender.example> to a@x.example b@x.example", "held 1: <joe@sender.example> to a@x.example, quarantine, bad words"}},
		{"hold for two causes", map[string]policy.Treatment{"a@x.example": {Hold: mail.HoldPolicy, Note: "n"}, "b@x.example": {Hold: mail.HoldPolicy}}, []string{"a@x.example", "b@x.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to a@x.example (x.example held policy n) b@x.example (x.example held policy ), e7"},
			[]string{"accepted 1: <joe@sender.example> to a@x.example b@x.example", "held 1: <joe@sender.example> to a@x.example, policy, n", "held 1: <joe@sender.example> to b@x.example, policy"}},
		{"discard one", map[string]policy.Treatment{"a@x.example": {Discard: true}}, []string{"a@x.example", "b@x.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to b@x.example (x.example), e7"},
			[]string{"accepted 1: <joe@sender.example> to b@x.example a@x.example", "discarded 1: <joe@sender.example> to a@x.example"}},
		{"discard all", map[string]policy.Treatment{"a@x.example": {Discard: true}, "b@x.example": {Discard: true}}, []string{"a@x.example", "b@x.example"},
			nil, []string{"accepted 0: <joe@sender.example> to a@x.example b@x.example", "discarded 0: <joe@sender.example> to a@x.example b@x.example"}},
		{"release in time", map[string]policy.Treatment{"a@x.example": {NotBefore: now.Add(time.Hour)}}, []string{"a@x.example", "b@x.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to a@x.example (x.example in 1h0m0s), e7", "2 of 1 with 1: <joe@sender.example> to b@x.example (x.example), e7"},
			[]string{"accepted 1: <joe@sender.example> to a@x.example, in 1h0m0s", "accepted 2 about 1: <joe@sender.example> to b@x.example"}},
		{"a time that has passed", map[string]policy.Treatment{"a@x.example": {NotBefore: now.Add(-time.Hour)}}, []string{"a@x.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to a@x.example (x.example), e7"},
			[]string{"accepted 1: <joe@sender.example> to a@x.example"}},
		{"routes of one domain", map[string]policy.Treatment{"a@x.example": {Route: "r.example:25"}}, []string{"a@x.example", "b@x.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to b@x.example (x.example) a@x.example (x.example/r.example:25), e7"},
			[]string{"accepted 1: <joe@sender.example> to a@x.example b@x.example"}},
		{"TLS and tags", map[string]policy.Treatment{"a@x.example": {TLS: mail.TLSRequired, Tags: []string{"t", "u"}}}, []string{"a@x.example", "b@x.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to a@x.example (x.example), t+u, required, e7", "2 of 1 with 1: <joe@sender.example> to b@x.example (x.example), e7"},
			[]string{"accepted 1: <joe@sender.example> to a@x.example", "accepted 2 about 1: <joe@sender.example> to b@x.example"}},
		{"redirect", map[string]policy.Treatment{"a@x.example": {Address: via}, "b@x.example": {Address: via}}, []string{"a@x.example", "b@x.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to ann@new.example (new.example was rfc822;a@x.example) ann@new.example (new.example was rfc822;b@x.example), e7"},
			[]string{"accepted 1: <joe@sender.example> to a@x.example b@x.example", "readdressed 1: <joe@sender.example> to a@x.example b@x.example, to <ann@new.example>"}},
		{"redirect to the postmaster here", map[string]policy.Treatment{"a@x.example": {Address: address(t, "postmaster@gate.example")}}, []string{"a@x.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to admin@example.com (example.com was rfc822;a@x.example), e7"},
			[]string{"accepted 1: <joe@sender.example> to a@x.example", "readdressed 1: <joe@sender.example> to a@x.example, to <admin@example.com>"}},
		{"senders", map[string]policy.Treatment{"a@x.example": {Sender: &other}, "b@x.example": {Sender: &null}}, []string{"a@x.example", "b@x.example", "c@x.example"},
			[]string{"1 of 1 with 1: <other@sender.example> to a@x.example (x.example), e7", "2 of 1 with 1: <> to b@x.example (x.example), e7", "3 of 1 with 1: <joe@sender.example> to c@x.example (x.example), e7"},
			[]string{"accepted 1: <other@sender.example> to a@x.example, the client gave the sender <joe@sender.example>",
				"accepted 2 about 1: <> to b@x.example, the client gave the sender <joe@sender.example>", "accepted 3 about 1: <joe@sender.example> to c@x.example"}},
		{"add recipients", map[string]policy.Treatment{
			"a@x.example": {Added: []mail.Address{via, address(t, "b@x.example")}, Hold: mail.HoldPolicy}, "b@x.example": {Added: []mail.Address{via}}},
			[]string{"a@x.example", "b@x.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to ann@new.example (new.example held policy  NEVER) a@x.example (x.example held policy ) b@x.example (x.example), e7"},
			[]string{"accepted 1: <joe@sender.example> to a@x.example b@x.example ann@new.example", "held 1: <joe@sender.example> to a@x.example ann@new.example, policy"}},
		{"copies", map[string]policy.Treatment{"a@x.example": {Copies: []mail.Address{via}, TLS: mail.TLSRequired}, "b@x.example": {Copies: []mail.Address{via}, Discard: true}}, []string{"a@x.example", "b@x.example"},
			[]string{"1 of 1 with 1: <joe@sender.example> to a@x.example (x.example), required, e7", "2 of 1 with 1: <> to ann@new.example (new.example NEVER), required"},
			[]string{"accepted 1: <joe@sender.example> to a@x.example b@x.example", "accepted 2 about 1: <> to ann@new.example, copy", "discarded 1: <joe@sender.example> to b@x.example"}},
		{"a copy, and discard", map[string]policy.Treatment{"a@x.example": {Copies: []mail.Address{via}, Discard: true}}, []string{"a@x.example"},
			[]string{"1 of  with 1: <> to ann@new.example (new.example NEVER)"},
			[]string{"accepted 1 about 0: <> to ann@new.example, copy", "accepted 0: <joe@sender.example> to a@x.example", "discarded 0: <joe@sender.example> to a@x.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoor(t, Options{})
			if reply := d.sendUnder(&ruling{treat: c.treat}, plainText, c.to...); reply.Code != 250 {
				t.Fatal(reply)
			}
			if diff := cmp.Diff(c.entries, d.lines()); diff != "" {
				t.Errorf("entries (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(c.facts, d.factLines()); diff != "" {
				t.Errorf("facts (-want +got)\n%s", diff)
			}
			for i, e := range d.entries() {
				if got := d.bodyOf(e.Body); got != plainText || e.Size == 0 {
					t.Errorf("content %d, of %d octets: %q", i, e.Size, got)
				}
			}
		})
	}
}

// TestVariants: whoever gets other bytes has an entry with a content of its own,
// whoever gets the same shares it; what is not changed is as it came.
func TestVariants(t *testing.T) {
	add := func(value string) message.Edit {
		return message.Edit{Op: message.AddField, Name: "X-Via", Value: value}
	}
	ann := address(t, "ann@new.example")
	treat := map[string]policy.Treatment{
		"a@x.example": {Edits: []message.Edit{add("one")}},
		"b@x.example": {},
		"c@x.example": {Edits: []message.Edit{add("one")}, TLS: mail.TLSRequired},
		"d@x.example": {Edits: []message.Edit{{Op: message.RemoveFields, Name: "subject"}, add("gr\u00fc\u00dfe")}, Copies: []mail.Address{ann}},
		"e@x.example": {Edits: []message.Edit{{Op: message.ReplaceField, Name: "Subject", Value: "y z"}}},
	}
	d := newDoor(t, Options{})
	long := "Subject: gr\xfc\xdfe\r\nSubject: again\r\n\r\n" + strings.Repeat("..body\r\n", 100_000)
	if reply := d.sendUnder(&ruling{treat: treat}, long, slices.Sorted(maps.Keys(treat))...); reply.Code != 250 {
		t.Fatal(reply)
	}
	want := []string{
		"1 of 1 with 1: <joe@sender.example> to a@x.example (x.example), e7",
		"2 of 1 with 2: <joe@sender.example> to b@x.example (x.example), e7",
		"3 of 1 with 1: <joe@sender.example> to c@x.example (x.example), required, e7",
		"4 of 1 with 4: <joe@sender.example> to d@x.example (x.example), e7",
		"5 of 1 with 5: <joe@sender.example> to e@x.example (x.example), e7",
		"6 of 1 with 4: <> to ann@new.example (new.example NEVER)",
	}
	if diff := cmp.Diff(want, d.lines()); diff != "" {
		t.Error(diff)
	}
	_, body, _ := strings.Cut(long, "again\r\n")
	both := "Subject: gr\xfc\xdfe\r\nSubject: again\r\n"
	heads := []string{"X-Via: one\r\n" + both, both, "", "X-Via: =?utf-8?b?Z3LDvMOfZQ==?=\r\n", "Subject: y z\r\n", ""}
	for i, e := range d.entries() {
		if e.Body != e.ID {
			continue
		}
		if got := d.bodyOf(e.Body); got != heads[i]+body {
			t.Errorf("the content of %d begins with %.80q, want %q", i+1, got, heads[i])
		}
		if want := map[bool]mail.BodyType{true: mail.Body8BitMIME, false: mail.Body7Bit}[strings.Contains(heads[i], both)]; e.Envelope.Body != want {
			t.Errorf("the content of %d is said to be %s", i+1, e.Envelope.Body)
		}
	}
	for _, draft := range d.store.drafts[1:] {
		if draft.discarded {
			t.Error("a draft that was stored was discarded")
		}
	}
}

// TestContentOfNobody: when all get another content, or none, the one that came
// is not kept.
func TestContentOfNobody(t *testing.T) {
	for _, treatment := range []policy.Treatment{{Discard: true}, {Edits: []message.Edit{{Op: message.AddField, Name: "X", Value: "1"}}}} {
		d := newDoor(t, Options{})
		d.sendUnder(&ruling{treat: map[string]policy.Treatment{"a@x.example": treatment}}, plainText, "a@x.example")
		if !d.store.drafts[0].discarded {
			t.Errorf("%+v: the content that came is kept", treatment)
		}
	}
}

// TestAllOrNothing: whatever fails on the way, nothing of a message is stored,
// and none of its drafts is left.
func TestAllOrNothing(t *testing.T) {
	edits := func(value string) policy.Treatment {
		return policy.Treatment{Edits: []message.Edit{{Op: message.AddField, Name: "X", Value: value}}}
	}
	treat := map[string]policy.Treatment{"a@x.example": edits("1"), "b@x.example": edits("2"), "c@x.example": {Hold: mail.HoldPolicy}}
	for _, c := range []struct {
		name  string
		treat map[string]policy.Treatment
		fail  string
		room  func(int64) error
		code  int
	}{
		{"the commit", treat, "accept", nil, 452},
		{"no room for a second content", treat, "", func(n int64) error {
			if n > 0 {
				return queue.ErrFull
			}
			return nil
		}, 452},
		{"an edit that is no field", map[string]policy.Treatment{"a@x.example": edits("1"), "b@x.example": edits("2\r\nBcc: x@y.example"), "c@x.example": {}}, "", nil, 451},
		{"another recipient that is nobody here", map[string]policy.Treatment{"a@x.example": edits("1"), "b@x.example": {Added: []mail.Address{address(t, "nobody@gate.example")}}, "c@x.example": {}}, "", nil, 451},
		{"a copy to nobody here", map[string]policy.Treatment{"a@x.example": edits("1"), "b@x.example": {Copies: []mail.Address{address(t, "nobody@gate.example")}}, "c@x.example": {}}, "", nil, 451},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoor(t, Options{Room: c.room})
			if c.fail != "" {
				d.store.fail[c.fail] = queue.ErrFull
			}
			if reply := d.sendUnder(&ruling{treat: c.treat}, plainText, "a@x.example", "b@x.example", "c@x.example"); reply.Code != c.code {
				t.Errorf("%s, want %d", reply, c.code)
			}
			d.wantNothing()
		})
	}
}

// TestNobodyAtData: mail that policy sends to nobody at this host when it has the content
// is not accepted; for good, when the address is made of what the client wrote.
func TestNobodyAtData(t *testing.T) {
	for rewritten, code := range map[bool]int{false: 451, true: 550} {
		d := newDoor(t, Options{})
		reply := d.sendUnder(&ruling{data: func(to []policy.Addressee, _ policy.Message) policy.Disposition {
			to[1].Treatment = policy.Treatment{Address: address(t, "nobody@gate.example"), Rewritten: rewritten}
			return policy.Disposition{Recipients: to}
		}}, plainText, "a@x.example", "b@x.example")
		if reply.Code != code {
			t.Errorf("rewritten %t: %s, want %d", rewritten, reply, code)
		}
		d.wantNothing()
	}
}

// TestTooManyContents: one message does not become hundreds.
func TestTooManyContents(t *testing.T) {
	for n, code := range map[int]int{maxContents: 250, maxContents + 1: 452} {
		d := newDoor(t, Options{})
		r := &ruling{treat: map[string]policy.Treatment{}}
		var to []string
		for i := range n {
			to = append(to, fmt.Sprintf("u%d@x.example", i))
			r.treat[to[i]] = policy.Treatment{Edits: []message.Edit{{Op: message.AddField, Name: "X-To", Value: to[i]}}}
		}
		if reply := d.sendUnder(r, plainText, to...); reply.Code != code {
			t.Errorf("%d contents: %s", n, reply)
		}
		if code != 250 {
			d.wantNothing()
		}
	}
}

// TestEveryRecipientHasItsFact is promise 2, for what random rules may do: each
// recipient that the client named is in one fact "accepted", under the address
// that it named, and then in one entry, or in one fact "discarded".
func TestEveryRecipientHasItsFact(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 7))
		d := newDoor(t, Options{})
		r := &ruling{treat: map[string]policy.Treatment{}}
		var to []string
		for i := range 1 + random.IntN(8) {
			a := fmt.Sprintf("u%d@d%d.example", i, random.IntN(3))
			to, r.treat[a] = append(to, a), randomTreatment(t, random)
		}
		if reply := d.sendUnder(r, plainText, to...); reply.Code != 250 {
			t.Fatalf("seed %d: %s", seed, reply)
		}
		told := map[mail.Reason]map[string]int{mail.ReasonAccepted: {}, mail.ReasonDiscarded: {}, mail.ReasonHeld: {}}
		for _, f := range d.facts() {
			for _, a := range f.To {
				if counts := told[f.Reason]; counts != nil {
					counts[a]++
				}
			}
		}
		stored, held := map[string]int{}, 0
		for _, e := range d.entries() {
			for _, x := range e.Deliveries {
				for _, q := range x.Recipients {
					_, was, _ := strings.Cut(q.Original, ";")
					if was == "" {
						was = q.Address.String()
					}
					stored[was]++
					if q.State == mail.Held {
						held++
					}
				}
			}
		}
		for _, a := range to {
			if told[mail.ReasonAccepted][a] != 1 || stored[a]+told[mail.ReasonDiscarded][a] != 1 {
				t.Errorf("seed %d: %s is in %d facts of acceptance, %d entries and %d facts of discard", seed, a, told[mail.ReasonAccepted][a], stored[a], told[mail.ReasonDiscarded][a])
			}
		}
		sum := 0
		for _, n := range told[mail.ReasonHeld] {
			sum += n
		}
		if sum != held {
			t.Errorf("seed %d: %d are held, and facts tell of %d", seed, held, sum)
		}
	}
}

func randomTreatment(t *testing.T, r *rand.Rand) policy.Treatment {
	var x policy.Treatment
	some := func(n int) bool { return r.IntN(n) == 0 }
	if some(4) {
		x.Discard = true
	}
	if some(3) {
		x.Hold, x.Note = mail.HoldPolicy, []string{"", "why"}[r.IntN(2)]
	}
	if some(3) {
		x.Edits = []message.Edit{{Op: message.AddField, Name: "X", Value: fmt.Sprint(r.IntN(2))}}
	}
	if some(4) {
		x.NotBefore = now.Add(time.Hour)
	}
	if some(4) {
		x.Address = address(t, "elsewhere@new.example")
	}
	if some(5) {
		x.Copies = []mail.Address{address(t, "archive@copy.example")}
	}
	if some(5) {
		x.Added = []mail.Address{address(t, "extra@added.example")}
	}
	if some(5) {
		x.Route = "r.example:25"
	}
	if some(5) {
		x.TLS = mail.TLSRequired
	}
	return x
}
