package admin_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"postern/internal/admin"
	"postern/internal/mail"
	"postern/internal/quarantine"
	"postern/internal/queue"
)

const suspect = "Subject: =?utf-8?q?f=C3=BCr_Sie?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\n\r\nplain\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC!\r\n--b--\r\n"

// suspects stores a message of which the first recipient is in quarantine.
func (r *rig) suspects(t *testing.T, ids *mail.IDs, content string, to ...string) mail.ID {
	t.Helper()
	draft, err := r.queue.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(draft, content); err != nil {
		t.Fatal(err)
	}
	var recipients []queue.Recipient
	for i, text := range to {
		a, err := mail.ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		recipients = append(recipients, queue.Recipient{Recipient: mail.Recipient{Address: a}, State: mail.Queued})
		if i == 0 {
			recipients[0].State, recipients[0].Hold, recipients[0].Why = mail.Held, mail.HoldQuarantine, "it has a PDF"
		}
	}
	now := mail.SystemClock{}.Now()
	id := ids.New(now)
	e := queue.Entry{ID: id, Message: id, Accepted: now, Deliveries: queue.Deliveries(recipients, now)}
	if err := r.queue.Accept(t.Context(), queue.Group{Submissions: []queue.Submission{{Entry: e, Draft: draft}}}); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestQuarantine(t *testing.T) {
	r := newRig(t)
	r.accept(t, new(mail.IDs), "free@x.example")
	var ids mail.IDs
	id := r.suspects(t, &ids, suspect, "a@x.example", "b@x.example")
	second := r.suspects(t, &ids, "no header\r\n", "c@y.example")
	list := func(l admin.Listing) (items []quarantine.Item) {
		t.Helper()
		if err := r.Quarantine(t.Context(), l, noProgress, func(i *quarantine.Item) error { items = append(items, *i); return nil }); err != nil {
			t.Fatal(err)
		}
		return items
	}
	all := list(admin.Listing{})
	if len(all) != 2 || all[0].ID != id || strings.Join(all[0].To, " ") != "a@x.example" || all[0].Subject != "für Sie" || all[0].Why != "it has a PDF" || all[0].Since.IsZero() {
		t.Errorf("all: %+v", all)
	}
	if some := list(admin.Listing{Filter: "domain = y.example or recipient = b@x.example"}); len(some) != 1 || some[0].ID != second || some[0].Subject != "" {
		t.Errorf("some: %+v", some)
	}
	if first := list(admin.Listing{Limit: 1}); len(first) != 1 {
		t.Errorf("the first: %+v", first)
	}
	err := r.Quarantine(t.Context(), admin.Listing{Filter: "colour = red"}, noProgress, func(*quarantine.Item) error { return nil })
	if problem, ok := errors.AsType[*admin.Problem](err); !ok || problem.Status != http.StatusBadRequest {
		t.Errorf("a wrong filter: %v", err)
	}
}

func TestHeaderAndParts(t *testing.T) {
	r := newRig(t)
	id := r.suspects(t, new(mail.IDs), suspect, "a@x.example")
	h, err := r.Header(t.Context(), id)
	if err != nil || len(h.Fields) != 2 || h.Cut || h.Fields[0] != (admin.HeaderField{Name: "Subject", Value: "=?utf-8?q?f=C3=BCr_Sie?=", Decoded: "für Sie"}) || h.Fields[1].Decoded != "" {
		t.Errorf("header %+v, %v", h, err)
	}
	p, err := r.Parts(t.Context(), id)
	if err != nil || p.Readable || len(p.Parts) != 3 || p.Parts[2].Path != "1.2" || p.Parts[2].Names[0] != "a.pdf" || len(p.Parts[2].Defects) != 1 || len(p.Parts[1].Defects) != 0 {
		t.Errorf("parts %+v, %v", p, err)
	}
	for part, want := range map[string]string{"1": "", "1.1": "plain", "1.2": "\x00\x01\x02"} {
		content, err := r.Part(t.Context(), id, part)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(content)
		content.Close()
		if err != nil || string(text) != want {
			t.Errorf("part %s: %q, %v", part, text, err)
		}
	}
	for _, part := range []string{"1.3", "../content", "x"} {
		_, err := r.Part(t.Context(), id, part)
		if problem, ok := errors.AsType[*admin.Problem](err); !ok || problem.Status != http.StatusNotFound {
			t.Errorf("part %q: %v", part, err)
		}
	}
	if _, err := r.Parts(t.Context(), new(mail.IDs).New(mail.SystemClock{}.Now())); err == nil {
		t.Error("a message that is not there has parts")
	}
}

// TestHeaderIsCut: of a header that is made to be long, people see the begin.
func TestHeaderIsCut(t *testing.T) {
	r := newRig(t)
	id := r.suspects(t, new(mail.IDs), "Subject: short\r\n"+strings.Repeat("X-Long: "+strings.Repeat("y", 990)+"\r\n", 200)+"Last: z\r\n\r\n", "a@x.example")
	h, err := r.Header(t.Context(), id)
	if err != nil || !h.Cut || len(h.Fields) < 60 || len(h.Fields) > 67 || h.Fields[0].Value != "short" {
		t.Errorf("%d fields, cut %v, %v", len(h.Fields), h.Cut, err)
	}
	for _, f := range h.Fields[1:] {
		if len(f.Value) != 990 {
			t.Errorf("a field is cut in its midst: %d octets", len(f.Value))
		}
	}
}

func TestHoldInQuarantine(t *testing.T) {
	r := newRig(t)
	ids := r.accept(t, new(mail.IDs), "a@x.example")
	hold := admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeHold, Hold: mail.HoldQuarantine}}
	if done, err := r.Edit(t.Context(), hold, func(queue.Edited) {}); err != nil || done.Changed != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	m, err := r.Message(t.Context(), ids[0])
	if err != nil || m.Deliveries[0].Recipients[0].Hold != mail.HoldQuarantine || m.Deliveries[0].Recipients[0].HeldAt.IsZero() {
		t.Errorf("%+v, %v", m, err)
	}
	hold.Change.Hold = mail.HoldDamage
	if _, err := r.Edit(t.Context(), hold, func(queue.Edited) {}); err == nil {
		t.Error("an operator holds for the reason of a program")
	}
}
