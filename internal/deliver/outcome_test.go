package deliver

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/dsn"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/route"
)

// TestJudge: what becomes of each outcome, by sender, NOTIFY and age.
func TestJudge(t *testing.T) {
	const old, late = 6 * 24 * time.Hour, 4 * time.Hour
	schedule := mail.Schedule{Waits: []time.Duration{time.Minute, time.Hour}, Every: 2 * time.Hour, Until: 5 * 24 * time.Hour}
	reports := mail.Schedule{Every: 7 * time.Minute, Until: 24 * time.Hour}
	type want struct {
		state mail.State
		told  dsn.Action
		dead  bool
		wait  time.Duration
	}
	for _, c := range []struct {
		name    string
		from    string
		outcome mail.State
		notify  mail.Notify
		attempt int
		age     time.Duration
		warned  bool
		want    want
	}{
		{name: "delivered", from: "joe@x.example", outcome: mail.Delivered, want: want{state: mail.Delivered}},
		{name: "bounced", from: "joe@x.example", outcome: mail.Bounced, want: want{state: mail.Bounced, told: dsn.Failed}},
		{name: "bounced, to be told", from: "joe@x.example", outcome: mail.Bounced, notify: mail.NotifySuccess | mail.NotifyFailure, want: want{state: mail.Bounced, told: dsn.Failed}},
		{name: "bounced, never to be told", from: "joe@x.example", outcome: mail.Bounced, notify: mail.NotifyNever, want: want{state: mail.Bounced}},
		{name: "bounced, success only", from: "joe@x.example", outcome: mail.Bounced, notify: mail.NotifySuccess, want: want{state: mail.Bounced}},
		{name: "first deferral", from: "joe@x.example", outcome: mail.Deferred, attempt: 1, want: want{state: mail.Deferred, wait: time.Minute}},
		{name: "second deferral", from: "joe@x.example", outcome: mail.Deferred, attempt: 2, want: want{state: mail.Deferred, wait: time.Hour}},
		{name: "later deferral", from: "joe@x.example", outcome: mail.Deferred, attempt: 9, want: want{state: mail.Deferred, wait: 2 * time.Hour}},
		{name: "expired", from: "joe@x.example", outcome: mail.Deferred, attempt: 9, age: old, want: want{state: mail.Expired, told: dsn.Failed}},
		{name: "expired, never to be told", from: "joe@x.example", outcome: mail.Deferred, notify: mail.NotifyNever, age: old, want: want{state: mail.Expired}},
		{name: "delivered at last", from: "joe@x.example", outcome: mail.Delivered, age: old, want: want{state: mail.Delivered}},
		{name: "bounced at last", from: "joe@x.example", outcome: mail.Bounced, age: old, want: want{state: mail.Bounced, told: dsn.Failed}},
		{name: "relayed", from: "joe@x.example", outcome: mail.Relayed, notify: mail.NotifySuccess, want: want{state: mail.Relayed, told: dsn.Relayed}},
		{name: "relayed, nobody to tell", outcome: mail.Relayed, notify: mail.NotifySuccess, want: want{state: mail.Relayed}},
		{name: "late", from: "joe@x.example", outcome: mail.Deferred, attempt: 1, age: late, want: want{state: mail.Deferred, told: dsn.Delayed, wait: time.Minute}},
		{name: "not yet late", from: "joe@x.example", outcome: mail.Deferred, attempt: 1, age: late - 1, want: want{state: mail.Deferred, wait: time.Minute}},
		{name: "late, and known to be", from: "joe@x.example", outcome: mail.Deferred, attempt: 1, age: late, warned: true, want: want{state: mail.Deferred, wait: time.Minute}},
		{name: "late, failures only", from: "joe@x.example", outcome: mail.Deferred, notify: mail.NotifyFailure, attempt: 1, age: late, want: want{state: mail.Deferred, wait: time.Minute}},
		{name: "late, nobody to tell", from: "gone@here.example", outcome: mail.Deferred, attempt: 1, age: late, want: want{state: mail.Deferred, wait: time.Minute}},
		{name: "late, but there", from: "joe@x.example", outcome: mail.Delivered, age: late, want: want{state: mail.Delivered}},
		{name: "late report", outcome: mail.Deferred, attempt: 1, age: late, want: want{state: mail.Deferred, wait: 7 * time.Minute}},
		{name: "expired, and known to be late", from: "joe@x.example", outcome: mail.Deferred, attempt: 9, age: old, warned: true, want: want{state: mail.Expired, told: dsn.Failed}},
		{name: "report deferred", outcome: mail.Deferred, attempt: 1, want: want{state: mail.Deferred, wait: 7 * time.Minute}},
		{name: "report bounced", outcome: mail.Bounced, want: want{state: mail.Dead, dead: true}},
		{name: "report expired", outcome: mail.Deferred, age: 25 * time.Hour, want: want{state: mail.Dead, dead: true}},
		{name: "nobody to tell", from: "gone@here.example", outcome: mail.Bounced, want: want{state: mail.Dead, dead: true}},
		{name: "nobody to tell, not yet", from: "gone@here.example", outcome: mail.Deferred, attempt: 1, want: want{state: mail.Deferred, wait: time.Minute}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := New(Options{Settings: Settings{Retry: schedule, RetryReports: reports, DelayWarning: late, ReportTo: butNotHere}, Jitter: noJitter})
			recipient := queue.Recipient{Recipient: mail.Recipient{Address: address(t, "a@one.example"), Notify: c.notify}}
			if c.warned {
				recipient.Warned = begin
			}
			tx := newTransaction(d.settings.Load(), []queue.Lease{{Entry: queue.Entry{
				Accepted:   begin.Add(-c.age),
				Envelope:   mail.Envelope{From: address(t, c.from)},
				Deliveries: []queue.Delivery{{Attempts: c.attempt, Recipients: []queue.Recipient{recipient}}},
			}}})
			v := d.judge(tx, []mail.Outcome{{State: c.outcome}}, begin)
			got := want{state: v.outcomes[0].State, dead: len(v.dead) == 1}
			for action := range v.told {
				got.told = action
			}
			if got.state == mail.Deferred {
				got.wait = v.next[0].Sub(begin)
			}
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if o := v.outcomes[0]; o.Attempt != c.attempt || !o.At.Equal(begin) {
				t.Errorf("attempt %d at %v", o.Attempt, o.At)
			}
		})
	}
}

// TestDefaultSchedules: without settings, mail does not expire at its first
// failure.
func TestDefaultSchedules(t *testing.T) {
	o := New(Options{}).settings.Load()
	if diff := cmp.Diff(mail.DefaultSchedule, o.Retry); diff != "" {
		t.Error(diff)
	}
	if o.RetryReports.Until != 24*time.Hour || o.RetryReports.Every == 0 {
		t.Errorf("reports are tried %s", o.RetryReports)
	}
}

// body reads stored content.
func (h *harness) body(id mail.ID) string {
	h.Helper()
	b, err := h.store.Body(h.Context(), id)
	if err != nil {
		h.Fatal(err)
	}
	defer b.Close()
	text, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		h.Fatal(err)
	}
	return string(text)
}

func wantContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

// TestBounce: the failure, its report and all facts are one commit, and the
// report goes to the sender from the null sender.
func TestBounce(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"a": "550 5.1.1 no such user"}))
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": to("site", peer.Addr()), "sender.example": to("home", sink.Addr())}, Options{})
	id := h.submit("joe@sender.example", "a@one.example")
	accepted := h.awaitFacts(id, mail.ReasonAccepted, 1)[0]
	h.awaitFacts(accepted.Message, mail.ReasonDelivered, 1)
	h.finish()

	h.wantFacts(id, "routed 1 ", "attempted 1 ",
		"bounced 1 a@one.example: RCPT: 550 5.1.1 no such user", "accepted 0 joe@sender.example")
	if accepted.About != id || accepted.From != "<>" || accepted.Size == 0 || accepted.Origin.Listener != "postern" {
		t.Errorf("the report is accepted as %+v", accepted)
	}
	for i, f := range h.facts(id) {
		if f.N != uint64(i+1) {
			t.Errorf("fact %d of the commit has the number %d", i, f.N)
		}
	}
	report := sink.Received()[0]
	if report.From() != "" || report.To()[0] != "joe@sender.example" || int64(len(report.Content)) != accepted.Size {
		t.Errorf("the report: %s %s, %d octets", report.Mail, report.Rcpts, len(report.Content))
	}
	wantContains(t, string(report.Content), "Final-Recipient: rfc822; a@one.example", "Action: failed", "Status: 5.1.1", "Subject: Test")
	h.wantOnly()
}

// TestPartialFailure: each recipient of a transaction has its own fate.
func TestPartialFailure(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"b": "550 5.1.1 no such user", "d": "550 5.1.1 no such user", "c": "451 4.2.1 greylisted"}))
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": to("site", peer.Addr()), "sender.example": to("home", sink.Addr())}, Options{})
	id := h.submit("joe@sender.example", "a@one.example", "b@one.example", "c@one.example", "d@one.example")
	accepted := h.awaitFacts(id, mail.ReasonAccepted, 1)[0]
	h.awaitFacts(accepted.Message, mail.ReasonDelivered, 1)

	h.wantFacts(id, "routed 1 ", "attempted 1 ",
		"delivered 1 a@one.example: end of data: 250 2.0.0 Taken",
		"bounced 1 b@one.example,d@one.example: RCPT: 550 5.1.1 no such user",
		"deferred 1 c@one.example: RCPT: 451 4.2.1 greylisted",
		"accepted 0 joe@sender.example")
	entry := h.wantStates(id, "c@one.example deferred 1")
	if next := entry.Deliveries[0].Next; !next.Equal(begin.Add(time.Minute)) || !h.facts(id)[4].Next.Equal(next) {
		t.Errorf("the next attempt is at %v, by the fact at %v", next, h.facts(id)[4].Next)
	}
	report := string(sink.Received()[0].Content)
	wantContains(t, report, "Final-Recipient: rfc822; b@one.example", "Final-Recipient: rfc822; d@one.example")
	if strings.Contains(report, "rfc822; a@") || strings.Contains(report, "rfc822; c@") {
		t.Errorf("the report speaks of recipients that have not failed:\n%s", report)
	}
}

// TestSameWordsAboutAnotherCommand: recipients share a fact only if the same
// was said to the same command.
func TestSameWordsAboutAnotherCommand(t *testing.T) {
	peer := answering(t, func(line string) string {
		if strings.HasPrefix(line, "RCPT TO:<a@") || line == "." {
			return "550 5.7.1 no"
		}
		return ""
	})
	h := start(t, routes{"": to("site", peer.Addr()), "sender.example": to("nowhere")}, Options{})
	id := h.submit("joe@sender.example", "a@one.example", "b@one.example")
	want := []string{"bounced 1 a@one.example: RCPT: 550 5.7.1 no", "bounced 1 b@one.example: end of data: 550 5.7.1 no"}
	if diff := cmp.Diff(want, briefs(h.awaitFacts(id, mail.ReasonBounced, 2))); diff != "" {
		t.Error(diff)
	}
}

func TestRetries(t *testing.T) {
	replies := make(chan string, 3)
	replies <- "451 4.2.1 greylisted"
	replies <- "452 4.2.2 full"
	replies <- ""
	peer := answering(t, func(line string) string {
		if strings.HasPrefix(line, "RCPT") {
			return <-replies
		}
		return ""
	})
	h := start(t, routes{"": to("site", peer.Addr())}, Options{})
	id := h.submit("joe@sender.example", "a@one.example")
	for attempt, wait := range []time.Duration{time.Minute, 5 * time.Minute} {
		f := h.awaitFacts(id, mail.ReasonDeferred, attempt+1)[attempt]
		if f.Attempt != attempt+1 || !f.Next.Equal(h.clock.Now().Add(wait)) {
			t.Errorf("attempt %d, want %d; next at %v, now %v", f.Attempt, attempt+1, f.Next, h.clock.Now())
		}
		h.advance(wait)
	}
	if f := h.awaitFacts(id, mail.ReasonDelivered, 1)[0]; f.Attempt != 3 {
		t.Errorf("delivered at attempt %d", f.Attempt)
	}
}

// TestOwnScheduleOfEachDelivery: deliveries in one transaction may have
// different attempts behind them; each waits as its own number says.
func TestOwnScheduleOfEachDelivery(t *testing.T) {
	peer := answering(t, func(line string) string {
		if strings.HasPrefix(line, "MAIL") {
			return "451 4.3.2 later"
		}
		return ""
	})
	h := start(t, routes{"": to("site", peer.Addr())}, Options{})
	id := h.submitWith("joe@sender.example", func(e *queue.Entry) { e.Deliveries[1].Attempts = 2 }, "a@one.example", "b@two.example")
	deferred := h.awaitFacts(id, mail.ReasonDeferred, 2)
	entry := h.wantStates(id, "a@one.example deferred 1", "b@two.example deferred 3")
	for _, f := range deferred {
		wait := map[string]time.Duration{"a@one.example": time.Minute, "b@two.example": 15 * time.Minute}[f.To[0]]
		if !f.Next.Equal(begin.Add(wait)) {
			t.Errorf("%s, next at %v, want %v", brief(f), f.Next, begin.Add(wait))
		}
	}
	for i, wait := range []time.Duration{time.Minute, 15 * time.Minute} {
		if d := entry.Deliveries[i]; !d.Next.Equal(begin.Add(wait)) {
			t.Errorf("%s: next at %v, want %v", d.Destination, d.Next, begin.Add(wait))
		}
	}
}

func TestExpiry(t *testing.T) {
	peer := answering(t, func(line string) string {
		if strings.HasPrefix(line, "MAIL FROM:<joe@") {
			return "451 4.3.2 later"
		}
		return ""
	})
	h := start(t, routes{"": to("site", peer.Addr())}, Options{})
	id := h.submit("joe@sender.example", "a@one.example")
	h.awaitFacts(id, mail.ReasonDeferred, 1)
	h.advance(mail.DefaultSchedule.Until)
	expired := h.awaitFacts(id, mail.ReasonExpired, 1)[0]
	if got := brief(expired); got != "expired 2 a@one.example: MAIL: 451 4.3.2 later" {
		t.Errorf("%q", got)
	}
	h.awaitFacts(h.awaitFacts(id, mail.ReasonAccepted, 1)[0].Message, mail.ReasonDelivered, 1)
	wantContains(t, string(peer.Contents()[0]), "Final-Recipient: rfc822; a@one.example", "Action: failed")
	h.wantOnly()
}

// TestNobodyToTell: the failure of a report, or of mail whose sender cannot be
// told, leaves a dead letter that shares the content.
func TestNobodyToTell(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"a": "550 5.1.1 no", "b": "550 5.1.1 no"}))
	for _, from := range []string{"", "gone@here.example"} {
		h := start(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{ReportTo: butNotHere}})
		id := h.submit(from, "a@one.example", "ok@one.example", "b@two.example")
		held := h.awaitFacts(id, mail.ReasonHeld, 1)[0]
		h.finish()
		if held.About != id || held.Hold != mail.HoldDeadLetter || held.Message == id {
			t.Errorf("held: %+v", held)
		}
		if n := len(h.awaitFacts(id, mail.ReasonDead, 2)); n != 2 {
			t.Errorf("%d facts of death", n)
		}
		letter := h.wantOnly(held.Message)[0]
		h.wantStates(letter.ID, "a@one.example held 0", "b@two.example held 0")
		if letter.Message != id || letter.Body != id || !letter.Envelope.From.IsNull() != (from != "") {
			t.Errorf("the dead letter: %+v", letter)
		}
		if last := letter.Deliveries[0].Recipients[0].Last; last == nil || last.State != mail.Dead || last.Reply.Code != 550 {
			t.Errorf("the dead letter does not say what happened: %+v", last)
		}
		if got := h.body(letter.Body); got != content {
			t.Errorf("content %q", got)
		}
		if reports := h.awaitFacts(id, mail.ReasonAccepted, 0); len(reports) > 0 {
			t.Errorf("a report was sent: %q", briefs(reports))
		}
	}
}

// butNotHere tells everybody but those of this host.
func butNotHere(a mail.Address) []mail.Address {
	if a.Domain == "here.example" {
		return nil
	}
	return []mail.Address{a}
}

func TestReportElsewhere(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"a": "550 5.1.1 no"}))
	h := start(t, routes{"": to("site", peer.Addr())}, Options{Settings: Settings{ReportTo: func(mail.Address) []mail.Address {
		return []mail.Address{{Local: "admin", Domain: "sender.example"}, {Local: "second", Domain: "sender.example"}}
	}}})
	id := h.submit("postmaster@gate.example", "a@one.example")
	if to := h.awaitFacts(id, mail.ReasonAccepted, 1)[0].To; !slices.Equal(to, []string{"admin@sender.example", "second@sender.example"}) {
		t.Errorf("the report goes to %q", to)
	}
}

// TestNotify: no report for those of whom the sender wants to hear nothing;
// and one report, not several, for all the others.
func TestNotify(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"a": "550 5.1.1 no", "b": "550 5.1.1 no", "c": "550 5.1.1 no"}))
	sink := mailtest.NewSink(t)
	h := start(t, routes{"": to("site", peer.Addr()), "sender.example": to("home", sink.Addr())}, Options{})

	never := h.submit("joe@sender.example", "a@one.example NEVER", "b@one.example SUCCESS")
	h.awaitFacts(never, mail.ReasonBounced, 1)
	h.wantFacts(never, "routed 1 ", "attempted 1 ", "bounced 1 a@one.example,b@one.example: RCPT: 550 5.1.1 no")

	mixed := h.submit("joe@sender.example", "a@one.example", "b@two.example NEVER", "c@three.example FAILURE,DELAY")
	h.awaitFacts(mixed, mail.ReasonBounced, 3)
	accepted := h.awaitFacts(mixed, mail.ReasonAccepted, 1)[0]
	h.awaitFacts(accepted.Message, mail.ReasonDelivered, 1)
	report := string(sink.Received()[0].Content)
	wantContains(t, report, "rfc822; a@one.example", "rfc822; c@three.example")
	if strings.Contains(report, "rfc822; b@") {
		t.Errorf("the report speaks of a recipient of NOTIFY=NEVER:\n%s", report)
	}
	h.finish()
	h.wantOnly()
	if n := len(sink.Received()); n != 1 {
		t.Errorf("%d reports", n)
	}
}

func TestRouteErrors(t *testing.T) {
	sink := mailtest.NewSink(t)
	broken := errors.New("lookup failed: dial tcp 192.0.2.53:53")
	h := start(t, routes{
		"temporary.example": mail.Refuse(451, "4.4.3", "Name server did not answer").Because(broken),
		"permanent.example": mail.Refuse(550, "5.1.2", "No such domain"),
		"unknown.example":   broken,
		"":                  to("site", sink.Addr()),
	}, Options{})
	id := h.submit("joe@sender.example", "a@temporary.example", "b@permanent.example", "c@unknown.example", "d@fine.example")
	h.awaitFacts(id, mail.ReasonDeferred, 2)
	h.awaitFacts(id, mail.ReasonDelivered, 1)
	h.awaitFacts(h.awaitFacts(id, mail.ReasonAccepted, 1)[0].Message, mail.ReasonDelivered, 1)
	h.awaitFacts(id, mail.ReasonRouted, 1)
	h.awaitFacts(id, mail.ReasonAttempted, 1)
	h.wantStates(id, "a@temporary.example deferred 1", "c@unknown.example deferred 1")

	byRecipient := map[string]mail.Fact{}
	for _, f := range h.facts(id) {
		byRecipient[strings.Join(f.To, ",")] = f
	}
	for to, want := range map[string]struct{ brief, text string }{
		"a@temporary.example": {"deferred 1 a@temporary.example: route: 451 4.4.3 Name server did not answer", broken.Error()},
		"b@permanent.example": {"bounced 1 b@permanent.example: route: 550 5.1.2 No such domain", ""},
		"c@unknown.example":   {"deferred 1 c@unknown.example: route: " + mail.LocalError.String(), broken.Error()},
	} {
		f := byRecipient[to]
		if brief(f) != want.brief || !strings.HasSuffix(f.Text, want.text) || (want.text == "") != (f.Text == "") {
			t.Errorf("%q with the text %q, want %q with %q", brief(f), f.Text, want.brief, want.text)
		}
	}
}

// TestSameRouteError: what failed for one reason is reported once.
func TestSameRouteError(t *testing.T) {
	h := start(t, routes{
		"one.example": mail.Refuse(550, "5.1.2", "No such domain"),
		"two.example": mail.Refuse(550, "5.1.2", "No such domain"),
		"":            to("nowhere"),
	}, Options{})
	id := h.submit("joe@sender.example", "a@one.example", "b@two.example")
	h.awaitFacts(id, mail.ReasonBounced, 2)
	report := h.body(h.awaitFacts(id, mail.ReasonAccepted, 1)[0].Message)
	wantContains(t, report, "rfc822; a@one.example", "rfc822; b@two.example")
}

// TestSitesApart: a message for two sites goes to each on its own, and counts
// one attempt there.
func TestSitesApart(t *testing.T) {
	first, second := mailtest.NewSink(t), mailtest.NewSink(t)
	h := start(t, routes{
		"one.example": to("first", first.Addr()), "three.example": to("first", first.Addr()),
		"two.example": to("second", second.Addr()), "four.example": to("second", second.Addr()),
	}, Options{})
	id := h.submit("joe@sender.example", "a@one.example", "b@two.example", "c@three.example", "d@four.example")
	for _, f := range h.awaitFacts(id, mail.ReasonDelivered, 4) {
		if f.Attempt != 1 {
			t.Errorf("%s at attempt %d", f.To, f.Attempt)
		}
	}
	h.finish()
	for name, sink := range map[string]*mailtest.Sink{"a@one.example c@three.example": first, "b@two.example d@four.example": second} {
		received := sink.Received()
		if len(received) != 1 {
			t.Fatalf("%s: %d messages", name, len(received))
		}
		if to := received[0].To(); strings.Join(slices.Sorted(slices.Values(to)), " ") != name {
			t.Errorf("%s: sent to %s", name, to)
		}
	}
	h.wantOnly()
}

// TestWireFactsTimes: a story tells when the attempt began and when it ended.
func TestWireFactsTimes(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ended := began.Add(time.Minute)
	leases := []queue.Lease{{Entry: queue.Entry{ID: "x", Deliveries: []queue.Delivery{{Attempts: 1}}}}}
	tr := &transaction{entry: &leases[0].Entry, leases: leases, route: route.Route{Name: "smarthost"}, routed: began}
	outcome := mail.Outcome{Address: netip.MustParseAddrPort("192.0.2.1:25")}
	facts := wireFacts(tr, &verdict{outcomes: []mail.Outcome{outcome}}, ended)
	if len(facts) != 2 || facts[0].Reason != mail.ReasonRouted || !facts[0].Time.Equal(began) ||
		facts[1].Reason != mail.ReasonAttempted || !facts[1].Time.Equal(ended) {
		t.Errorf("facts: %+v", facts)
	}
}

// TestExcuse: that nothing was told does not hide why it failed.
func TestExcuse(t *testing.T) {
	v := &verdict{outcomes: []mail.Outcome{{Cause: "connection refused"}, {}, {Cause: "kept"}}}
	v.excuse([]int{0, 1}, queue.ErrFull)
	why := "cannot report: " + queue.ErrFull.Error()
	for i, want := range []string{"connection refused; " + why, why, "kept"} {
		if got := v.outcomes[i].Cause; got != want {
			t.Errorf("%d: %q, want %q", i, got, want)
		}
	}
}

// TestJitter: a wait is prolonged by up to a tenth, but the last attempt is made
// when the time is over.
func TestJitter(t *testing.T) {
	d := New(Options{})
	last := begin.Add(24 * time.Hour)
	seen := make(map[time.Time]bool)
	for range 100 {
		next := prolonged(begin.Add(time.Hour), begin, last, d.Jitter())
		if late := next.Sub(begin.Add(time.Hour)); late < 0 || late > 6*time.Minute {
			t.Fatalf("an hour is prolonged by %v", late)
		}
		seen[next] = true
		if next := prolonged(last, begin, last, d.Jitter()); !next.Equal(last) {
			t.Fatalf("the last attempt is at %v, want %v", next, last)
		}
	}
	if len(seen) < 50 {
		t.Errorf("%d different times of 100", len(seen))
	}
}
