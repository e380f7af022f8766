package admin_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os/user"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/admin"
	"postern/internal/mail"
	"postern/internal/queue"
)

// me is the user that the tests run as, who is at the other end of the socket.
func me(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

func (r *rig) facts(t *testing.T) []mail.Fact {
	t.Helper()
	facts, err := r.queue.NextFacts(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func noProgress(queue.Progress) {}

func TestEdit(t *testing.T) {
	r := newRig(t)
	ids := r.accept(t, new(mail.IDs), "a@x.example", "b@y.example", "c@y.example")
	hold := admin.Edit{Filter: "domain = y.example", Change: admin.Change{Kind: queue.ChangeHold}}
	told := 0
	found, err := r.Count(t.Context(), hold, func(p queue.Progress) {
		if told++; p.Total != 3 {
			t.Errorf("progress %+v", p)
		}
	})
	if err != nil || found.Messages != 2 || found.Changes != 2 || found.Recipients[mail.Queued] != 2 || found.Size != 28 || found.Oldest.IsZero() || told == 0 {
		t.Errorf("count: %+v, %v, progress told %d times", found, err, told)
	}
	if len(r.facts(t)) > 0 {
		t.Error("to count has changed something")
	}
	done, err := r.Edit(t.Context(), hold, func(queue.Edited) {})
	if err != nil || done != (queue.Edited{Changed: 2}) {
		t.Errorf("edit: %+v, %v", done, err)
	}
	if f := r.facts(t); len(f) != 2 || f[0].Actor != me(t) || f[0].Reason != mail.ReasonHeld || f[0].Hold != mail.HoldOperator {
		t.Errorf("facts: %+v", f)
	}
	if found, err = r.Count(t.Context(), hold, noProgress); err != nil || found.Changes != 0 || found.Messages != 2 {
		t.Errorf("count of what is done: %+v, %v", found, err)
	}
	to := admin.Change{Kind: queue.ChangeRecipient, Recipient: "new@z.example"}
	if _, err := r.Edit(t.Context(), admin.Edit{Filter: "id = " + string(ids[0]), Change: to}, func(queue.Edited) {}); err != nil {
		t.Fatal(err)
	}
	class := admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeClass, Class: "bulk"}}
	if done, err := r.Edit(t.Context(), class, func(queue.Edited) {}); err != nil || done.Changed != 3 {
		t.Errorf("another class: %+v, %v", done, err)
	}
	if found, err := r.Count(t.Context(), class, noProgress); err != nil || found.Changes != 0 {
		t.Errorf("count of what is of the class already: %+v, %v", found, err)
	}
	m, err := r.Message(t.Context(), ids[0])
	if err != nil || m.Class != mail.Bulk || m.Deliveries[0].Recipients[0].Original != "rfc822;a@x.example" || m.Deliveries[0].Destination != "z.example" {
		t.Errorf("message: %+v, %v", m, err)
	}
}

func TestEditRefuses(t *testing.T) {
	r := newRig(t)
	r.accept(t, new(mail.IDs), "a@x.example")
	for _, test := range []struct {
		edit   admin.Edit
		status int
		want   string
	}{
		{admin.Edit{Filter: "", Change: admin.Change{Kind: queue.ChangeRemove}}, 422, "body.filter expected length >= 1"},
		{admin.Edit{Filter: "alle", Change: admin.Change{Kind: queue.ChangeRemove}}, 400, "column 1"},
		{admin.Edit{Filter: "all", Change: admin.Change{Kind: "burn"}}, 422, "body.change.kind expected value to be one of"},
		{admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeReroute}}, 400, "destination"},
		{admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeReroute, Destination: "b.example", Via: "partners"}}, 400, "destination"},
		{admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeReroute, Via: "partner"}}, 400, `there is no transport "partner"; there are mx, partners`},
		{admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeReroute, Destination: "b.example/none"}}, 400, `there is no transport "none"`},
		{admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeReroute, Via: "a:0"}}, 400, "port"},
		{admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeReroute, Via: "partners"}}, 409, "cannot be rerouted: <a@x.example> (message "},
		{admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeReroute, Destination: "b.example"}}, 409, "): it may not; nothing was changed"},
		{admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeRecipient, Recipient: "x"}}, 400, "not an address"},
		{admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeClass, Class: "low"}}, 422, "body.change.class expected value to be one of"},
		{admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeClass}}, 400, "not a priority class"},
		{admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeRetry, Class: "urgent"}}, 400, "with class"},
		{admin.Edit{Filter: "sender = x@" + strings.Repeat("x", 1<<20), Change: admin.Change{Kind: queue.ChangeRemove}}, 413, "too large"},
	} {
		_, editErr := r.Edit(t.Context(), test.edit, func(queue.Edited) {})
		_, countErr := r.Count(t.Context(), test.edit, noProgress)
		for _, err := range []error{editErr, countErr} {
			if p, ok := errors.AsType[*admin.Problem](err); !ok || p.Status != test.status || !strings.Contains(p.Error(), test.want) {
				t.Errorf("%.60s: got %v, want %d %s", test.edit.Filter, err, test.status, test.want)
			}
		}
	}
	if len(r.facts(t)) > 0 {
		t.Error("something was changed")
	}
}

// TestReroute: mail goes by a transport that there is, unless it may not.
func TestReroute(t *testing.T) {
	r := newRig(t)
	ids := r.accept(t, new(mail.IDs), "free@x.example")
	edit := admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeReroute, Via: "partners"}}
	if _, err := r.Edit(t.Context(), edit, func(queue.Edited) {}); err != nil {
		t.Fatal(err)
	}
	m, err := r.Message(t.Context(), ids[0])
	if err != nil || m.Deliveries[0].Destination != "x.example/partners" {
		t.Errorf("message: %+v, %v", m, err)
	}
}

// TestListReduces: of a message only the selected recipients are listed.
func TestListReduces(t *testing.T) {
	r := newRig(t)
	draft, err := r.queue.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var to []queue.Recipient
	for _, name := range []string{"a@x.example", "b@x.example", "c@y.example"} {
		address, err := mail.ParseAddress(name)
		if err != nil {
			t.Fatal(err)
		}
		to = append(to, queue.Recipient{Recipient: mail.Recipient{Address: address}, State: mail.Queued})
	}
	now := time.Now()
	id := new(mail.IDs).New(now)
	entry := queue.Entry{ID: id, Message: id, Accepted: now, Deliveries: queue.Deliveries(to, now)}
	if err := r.queue.Accept(t.Context(), queue.Group{Submissions: []queue.Submission{{Entry: entry, Draft: draft}}}); err != nil {
		t.Fatal(err)
	}
	for filter, want := range map[string]string{
		"": "a@x.example b@x.example c@y.example", "recipient = b@x.example": "b@x.example", "recipient ~ a* or domain = y.example": "a@x.example c@y.example",
	} {
		err := r.List(t.Context(), admin.Listing{Filter: filter}, noProgress, func(e *queue.Entry) error {
			if got := strings.Join(e.Addresses(), " "); got != want {
				t.Errorf("%q: got %s, want %s", filter, got, want)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestContent(t *testing.T) {
	r := newRig(t)
	content := bytes.Repeat([]byte("a line\r\n\x00\xff"), 20_000)
	draft, err := r.queue.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	draft.Write(content)
	now := time.Now()
	id := new(mail.IDs).New(now)
	to := []queue.Recipient{{Recipient: mail.Recipient{Address: mail.Address{Local: "a", Domain: "x.example"}}, State: mail.Queued}}
	entry := queue.Entry{ID: id, Message: id, Accepted: now, Deliveries: queue.Deliveries(to, now)}
	if err := r.queue.Accept(t.Context(), queue.Group{Submissions: []queue.Submission{{Entry: entry, Draft: draft}}}); err != nil {
		t.Fatal(err)
	}
	body, err := r.Content(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d octets and %v, want %d", len(got), err, len(content))
	}
	if _, err := r.Content(t.Context(), "0000000000000000"); err == nil {
		t.Error("a message that is not there has content")
	}
}

func TestSuspensions(t *testing.T) {
	r := newRig(t)
	ids := r.accept(t, new(mail.IDs), "a@x.example", "b@y.example")
	for _, s := range []admin.Subject{{What: admin.Delivery}, {What: admin.Destination, Name: "X.example"}, {What: admin.Sender, Name: "<>"}, {What: admin.Intake}} {
		if _, err := r.Suspend(t.Context(), admin.Suspend{Subject: s, Reason: "a test"}); err != nil {
			t.Fatal(err)
		}
	}
	names := func(list []admin.Suspension) (all []string) {
		for _, s := range list {
			if s.Reason != "a test" || s.Actor != me(t) || s.Since.IsZero() {
				t.Errorf("suspension: %+v", s)
			}
			all = append(all, s.Subject.String())
		}
		return all
	}
	status, err := r.Status(t.Context())
	if got := names(status.Suspensions); err != nil || !slices.Equal(got, []string{"intake", "delivery", "destination x.example", "sender <>"}) {
		t.Errorf("status: %v, %v", got, err)
	}
	for id, want := range map[mail.ID][]string{ids[0]: {"delivery", "destination x.example", "sender <>"}, ids[1]: {"delivery", "sender <>"}} {
		m, err := r.Message(t.Context(), id)
		if got := names(m.Suspensions); err != nil || !slices.Equal(got, want) {
			t.Errorf("message waits for %v, %v; want %v", got, err, want)
		}
	}
	if meant, err := r.Resume(t.Context(), admin.Subject{What: admin.Destination, Name: "x.EXAMPLE"}); err != nil || meant.Name != "x.example" {
		t.Errorf("resumed %s, %v", meant, err)
	}
	f := r.facts(t)
	if last := f[len(f)-1]; last.Reason != mail.ReasonMarked || last.Text != "destination x.example resumed" || last.Actor != me(t) {
		t.Errorf("fact: %+v", last)
	}
	for s, status := range map[admin.Subject]int{
		{What: admin.Destination, Name: "x.example"}: 404, {What: admin.Destination}: 400, {What: admin.Intake, Name: "x"}: 400,
		{What: admin.Sender, Name: "@"}: 400, {What: "lunch"}: 422,
	} {
		_, err := r.Resume(t.Context(), s)
		if p, ok := errors.AsType[*admin.Problem](err); !ok || p.Status != status {
			t.Errorf("resume %s: %v, want %d", s, err, status)
		}
	}
	if _, err := r.Suspend(t.Context(), admin.Suspend{Subject: admin.Subject{What: admin.Delivery}}); err == nil {
		t.Error("suspended without a reason")
	}
}

// TestAttemptUnderWay: whoever looks at a message sees that.
func TestAttemptUnderWay(t *testing.T) {
	r := newRig(t)
	ids := r.accept(t, new(mail.IDs), "a@x.example")
	now := time.Now()
	if _, err := r.queue.Claim(t.Context(), "x.example", 1, now, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	m, err := r.Message(t.Context(), ids[0])
	if err != nil || !slices.Equal(m.Attempting, []mail.Destination{"x.example"}) {
		t.Errorf("got %v, %v", m.Attempting, err)
	}
	done, err := r.Edit(t.Context(), admin.Edit{Filter: "all", Change: admin.Change{Kind: queue.ChangeHold}}, func(queue.Edited) {})
	if err != nil || done != (queue.Edited{Pending: 1}) {
		t.Errorf("edit: %+v, %v", done, err)
	}
}

func TestShape(t *testing.T) {
	r := newRig(t)
	r.accept(t, new(mail.IDs), "a@x.example", "b@y.example", "c@y.example", "d@z.example")
	s, err := r.Shape(t.Context(), "not domain = z.example", 1, noProgress)
	if err != nil || len(s.Rows) != 1 || s.Rows[0].Destination != "y.example" || s.Rows[0].Recipients != 2 || s.Rows[0].Ages[0] != 2 ||
		s.Rows[0].States[mail.Queued] != 2 || s.Others.Recipients != 1 || s.Total.Recipients != 3 || s.Destinations != 2 || s.Estimated {
		t.Errorf("got %+v, %v", s, err)
	}
	if len(s.Ages)+1 != len(s.Total.Ages) {
		t.Errorf("%d ends for %d columns", len(s.Ages), len(s.Total.Ages))
	}
}

// TestBodyIsBounded: a body that is too long is not read.
func TestBodyIsBounded(t *testing.T) {
	r := newRig(t)
	response, err := r.plain().Post("http://postern/v1/suspend", "application/json", strings.NewReader(`{"what":"intake","reason":"`+strings.Repeat("x", 1<<20)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestEntityTooLarge || response.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %s %s", response.Status, response.Header.Get("Content-Type"))
	}
}
