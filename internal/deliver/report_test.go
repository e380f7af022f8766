package deliver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/dsn"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
)

// asked is what a sender may ask of reports, in every combination.
type asked struct {
	null     bool
	notify   mail.Notify
	ret      mail.Return
	envid    string
	original string
}

func combinations() []asked {
	var all []asked
	for _, null := range []bool{false, true} {
		for n := range mail.NotifyDelay << 1 {
			if n&mail.NotifyNever != 0 && n != mail.NotifyNever {
				continue
			}
			for _, ret := range []mail.Return{"", mail.ReturnFull, mail.ReturnHeaders} {
				for _, envid := range []string{"", "QQ 314159+="} {
					for _, original := range []string{"", "rfc822;Joe+Doe@one.example", "utf-8;jörg@one.example"} {
						all = append(all, asked{null, n, ret, envid, original})
					}
				}
			}
		}
	}
	return all
}

// fates are what may become of a recipient, with the report that follows and
// the keyword that asks for it.
var fates = []struct {
	name    string
	outcome mail.State
	age     time.Duration
	warned  bool
	action  dsn.Action
	keyword mail.Notify
}{
	{"refused", mail.Bounced, 0, false, dsn.Failed, mail.NotifyFailure},
	{"expired", mail.Deferred, 6 * 24 * time.Hour, false, dsn.Failed, mail.NotifyFailure},
	{"expired after a warning", mail.Deferred, 6 * 24 * time.Hour, true, dsn.Failed, mail.NotifyFailure},
	{"waits", mail.Deferred, time.Hour, false, "", 0},
	{"waits for long", mail.Deferred, 5 * time.Hour, false, dsn.Delayed, mail.NotifyDelay},
	{"waits for longer", mail.Deferred, 5 * time.Hour, true, "", 0},
	{"delivered, by a server that will tell", mail.Delivered, 5 * time.Hour, false, "", 0},
	{"relayed", mail.Relayed, 5 * time.Hour, true, dsn.Relayed, mail.NotifySuccess},
}

// TestReports: who is told of what, and what the report has in it, in every
// combination of NOTIFY, RET, ENVID and ORCPT (RFC 3461 4).
func TestReports(t *testing.T) {
	h := newHarness(t, routes{}, Options{Settings: Settings{DelayWarning: 4 * time.Hour}})
	for _, fate := range fates {
		for _, ask := range combinations() {
			h.clock.Advance(time.Second) // so that lists of ids stay in order
			id := h.submitWith("joe@sender.example", func(e *queue.Entry) { ask.of(e, fate.age, fate.warned) }, "a@one.example")
			leases, err := h.store.Claim(t.Context(), "one.example", 1, h.clock.Now(), h.clock.Now().Add(lease))
			if err != nil || len(leases) != 1 {
				t.Fatalf("%d leases, %v", len(leases), err)
			}
			h.settle(t.Context(), newTransaction(h.settings.Load(), leases), []mail.Outcome{{State: fate.outcome, Command: "RCPT",
				Reply: mail.Reply{Code: 450, Enhanced: "4.2.0", Text: "as the test wants"}, Remote: true, Host: "mx.one.example"}})
			want := ask.wants(fate.action, fate.keyword)
			reports := slices.DeleteFunc(h.facts(id), func(f mail.Fact) bool { return f.Reason != mail.ReasonAccepted })
			if len(reports) != len(want) {
				t.Fatalf("%s, %+v: told in %d reports, want %d", fate.name, ask, len(reports), len(want))
			}
			for i, f := range reports {
				checkReport(t, fmt.Sprintf("%s, %+v", fate.name, ask), h.report(f.Message), ask, want[i])
			}
			h.clear()
		}
	}
}

// of makes an entry of what the sender asked, of some age.
func (a asked) of(e *queue.Entry, age time.Duration, warned bool) {
	e.Accepted = e.Accepted.Add(-age)
	e.Envelope.Return, e.Envelope.EnvelopeID = a.ret, a.envid
	if a.null {
		e.Envelope.From = mail.Address{}
	}
	r := &e.Deliveries[0].Recipients[0]
	r.Notify, r.Original = a.notify, a.original
	if warned {
		r.Warned = e.Accepted
	}
}

// wants is the actions of the reports that are due, by the words of RFC 3461:
// without NOTIFY, the sender hears of failure and of delay.
func (a asked) wants(action dsn.Action, keyword mail.Notify) []dsn.Action {
	notify := a.notify
	if notify == 0 {
		notify = mail.NotifyFailure | mail.NotifyDelay
	}
	if a.null || action == "" || notify&keyword == 0 {
		return nil
	}
	return []dsn.Action{action}
}

// entryReport is a report as it lies in the queue.
type entryReport struct {
	queue.Entry
	text string
}

func (h *harness) report(id mail.ID) entryReport {
	h.Helper()
	e, err := h.store.Get(h.Context(), id)
	if err != nil {
		h.Fatal(err)
	}
	return entryReport{e, h.body(e.Body)}
}

func checkReport(t *testing.T, name string, r entryReport, ask asked, action dsn.Action) {
	t.Helper()
	recipient := r.Deliveries[0].Recipients[0].Recipient
	if !r.Envelope.From.IsNull() || recipient.Notify != mail.NotifyNever || recipient.Address.String() != "joe@sender.example" {
		t.Errorf("%s: the report goes from %s to %+v", name, r.Envelope.From.Path(), recipient)
	}
	full := action == dsn.Failed && ask.ret != mail.ReturnHeaders
	// Nothing says that the sender takes SMTPUTF8.
	original := strings.ReplaceAll(ask.original, "ö", `\x{F6}`)
	for line, want := range map[string]bool{
		"Action: " + string(action):                          true,
		"Final-Recipient: rfc822; a@one.example":             true,
		"Original-Envelope-Id: " + ask.envid:                 ask.envid != "",
		"Original-Recipient: " + original:                    ask.original != "",
		"Will-Retry-Until: ":                                 action == dsn.Delayed,
		"Subject: Test":                                      true,
		"Content-Type: message/delivery-status":              true,
		"text\r\n":                                           full,
		"Content-Type: message/rfc822":                       full,
		"Content-Type: text/rfc822-headers":                  !full,
		"Status: 4.2.0":                                      action != dsn.Relayed,
		"Status: 2.2.0":                                      action == dsn.Relayed,
		"Diagnostic-Code: smtp; 450 4.2.0 as the test wants": true,
	} {
		if got := strings.Contains(r.text, "\r\n"+line); got != want {
			t.Errorf("%s: %q is there: %v, in\n%s", name, line, got, r.text)
		}
	}
}

// clear takes everything out of the queue.
func (h *harness) clear() {
	h.Helper()
	if _, err := h.store.Edit(h.Context(), queue.Filter{}, queue.Change{Kind: queue.ChangeRemove}, "test"); err != nil {
		h.Fatal(err)
	}
	if err := h.store.ForgetFacts(h.Context(), 1<<40); err != nil {
		h.Fatal(err)
	}
}

// busy is a server that takes mail from nobody but the null sender.
func busy(t *testing.T) *mailtest.Peer {
	return answering(t, func(line string) string {
		if strings.HasPrefix(line, "MAIL FROM:<joe@") {
			return "451 4.3.2 later"
		}
		return ""
	})
}

// TestDelayWarning: the sender is told once of those who wait, in one report,
// and a restart does not make the server forget whom it has told.
func TestDelayWarning(t *testing.T) {
	router := routes{"": to("site", busy(t).Addr())}
	o := Options{Settings: Settings{DelayWarning: 4 * time.Hour}}
	h := start(t, router, o)
	id := h.submit("joe@sender.example", "a@one.example", "b@two.example DELAY", "c@one.example FAILURE")
	h.awaitFacts(id, mail.ReasonDeferred, 2)
	h.advance(4 * time.Hour)
	f := h.awaitFacts(id, mail.ReasonAccepted, 1)[0]
	if f.About != id || f.Text != "report: delayed" || f.To[0] != "joe@sender.example" {
		t.Errorf("the report is accepted as %+v", f)
	}
	h.awaitFacts(f.Message, mail.ReasonDelivered, 1)
	h.finish()
	entry := h.wantStates(id, "a@one.example deferred 2", "b@two.example deferred 2", "c@one.example deferred 2")
	for _, d := range entry.Deliveries {
		for _, r := range d.Recipients {
			if warned := r.Warned.Equal(h.clock.Now()); warned != r.Notify.Wants(mail.Deferred) {
				t.Errorf("%s: warned at %v", r.Address, r.Warned)
			}
		}
	}

	again := newHarness(t, router, o)
	again.clock, again.Clock = h.clock, h.clock
	var err error
	if again.store.Memory, err = h.store.Reopen(); err != nil {
		t.Fatal(err)
	}
	again.start()
	again.advance(time.Hour)
	again.awaitFacts(id, mail.ReasonDeferred, 6)
	again.awaitFacts(id, mail.ReasonAccepted, 1)
	again.advance(mail.DefaultSchedule.Until)
	again.awaitFacts(id, mail.ReasonExpired, 2)
	failed := again.awaitFacts(id, mail.ReasonAccepted, 2)[1]
	if failed.Text != "report: failed" {
		t.Errorf("the second report is accepted as %+v", failed)
	}
}

// TestOneReportOfEachKind: what became of one transaction is told in as few
// reports as there are things to say.
func TestOneReportOfEachKind(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"gone": "550 5.1.1 no", "full": "452 4.2.2 full"}))
	h := start(t, routes{"": to("site", peer.Addr()), "sender.example": to("nowhere")}, Options{Settings: Settings{DelayWarning: time.Hour}})
	id := h.submitWith("joe@sender.example", func(e *queue.Entry) { e.Accepted = e.Accepted.Add(-time.Hour) },
		"gone@one.example", "gone@two.example", "full@one.example", "full@two.example SUCCESS,DELAY",
		"ok@one.example SUCCESS", "ok@two.example SUCCESS,FAILURE", "fine@one.example", "gone@three.example NEVER")
	want := map[string][]string{
		"report: failed":  {"gone@one.example", "gone@two.example"},
		"report: delayed": {"full@one.example", "full@two.example"},
		"report: relayed": {"ok@one.example", "ok@two.example"},
	}
	for _, f := range h.awaitFacts(id, mail.ReasonAccepted, len(want)) {
		text := h.report(f.Message).text
		if n := strings.Count(text, "\r\nFinal-Recipient: "); n != 2 {
			t.Errorf("%s: %d recipients", f.Text, n)
		}
		for _, to := range want[f.Text] {
			wantContains(t, text, "\r\nFinal-Recipient: rfc822; "+to+"\r\n")
		}
		delete(want, f.Text)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// TestNoRoomForReport: nothing is sent twice for want of a report, and
// the next attempt warns of a delay that this one could not.
func TestNoRoomForReport(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"full": "452 4.2.2 full"}))
	h := newHarness(t, routes{"": to("site", peer.Addr()), "sender.example": to("nowhere")}, Options{Settings: Settings{DelayWarning: time.Hour}})
	h.store.failCreate(queue.ErrFull)
	h.start()
	id := h.submitWith("joe@sender.example", func(e *queue.Entry) { e.Accepted = e.Accepted.Add(-time.Hour) },
		"full@one.example", "ok@one.example SUCCESS")
	for _, reason := range []mail.Reason{mail.ReasonRelayed, mail.ReasonDeferred} {
		if f := h.awaitFacts(id, reason, 1)[0]; f.Text != "cannot report: "+queue.ErrFull.Error() {
			t.Errorf("%s, text %q", brief(f), f.Text)
		}
	}
	entry := h.wantStates(id, "full@one.example deferred 1")
	if r := entry.Deliveries[0].Recipients[0]; !r.Warned.IsZero() {
		t.Errorf("warned at %v, in no report", r.Warned)
	}
	h.store.failCreate(nil)
	h.advance(time.Minute)
	if f := h.awaitFacts(id, mail.ReasonAccepted, 1)[0]; f.Text != "report: delayed" {
		t.Errorf("%+v", f)
	}
}

// TestCopy: the responsible person gets a copy of what failed, without the
// text; of nothing else, and not twice where the sender is that person. Each is of the
// company whose mail it is about.
func TestCopy(t *testing.T) {
	peer := answering(t, refusing(map[string]string{"gone": "550 5.1.1 no such user"}))
	h := start(t, routes{"": to("site", peer.Addr()), "sender.example": to("nowhere")}, Options{Settings: Settings{CopyFailures: true, Company: func(sender mail.Address) mail.Company {
		return mail.Company{Hostname: "mail." + sender.Domain, Postmaster: mail.Address{Local: "admin", Domain: sender.Domain}}
	}}})
	for from, want := range map[string]string{"joe": "joe admin", "admin": "admin"} {
		id := h.submit(from+"@sender.example", "gone@one.example", "ok@one.example SUCCESS", "gone@two.example NEVER")
		var told []string
		h.awaitFacts(id, mail.ReasonRelayed, 1)
		for _, f := range h.facts(id) {
			if f.Reason != mail.ReasonAccepted || f.Text != "report: failed" {
				continue
			}
			local, _, _ := strings.Cut(f.To[0], "@")
			told = append(told, local)
			isCopy := len(told) > 1
			text := h.report(f.Message).text
			if strings.Contains(text, "\r\nSubject: Copy: ") != isCopy || strings.Contains(text, "\r\ntext\r\n") == isCopy ||
				!strings.Contains(text, "\r\nTo: <"+f.To[0]+">\r\n") || !strings.Contains(text, "\r\nReporting-MTA: dns; mail.sender.example\r\n") {
				t.Errorf("to %s:\n%s", f.To[0], text)
			}
		}
		if got := strings.Join(told, " "); got != want {
			t.Errorf("told: %s, want %s", got, want)
		}
	}
}
