package peers

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/test/harness"
)

// offers are the extensions of a server that Postern sends to.
type offers struct{ dsn, eightBit, chunking, utf8 bool }

// passage is a way of mail from one server through Postern to another, which
// passes it on to the sink.
type passage struct {
	from, to string // eximKind or postfixKind
	offers
	// seed makes each passage's mail differ.
	seed uint64
}

const eximKind, postfixKind = "Exim", "Postfix"

var everything = offers{dsn: true, eightBit: true, chunking: true, utf8: true}

// passages are both servers on both sides, each with all extensions and without
// some: what it lacks, Postern makes up for.
var passages = []passage{
	{eximKind, eximKind, everything, 1},
	{eximKind, postfixKind, offers{eightBit: true, chunking: true, utf8: true}, 2},
	{postfixKind, eximKind, offers{dsn: true}, 3},
	{postfixKind, postfixKind, everything, 4},
	{eximKind, eximKind, offers{eightBit: true}, 5},
	{postfixKind, postfixKind, offers{dsn: true}, 6},
}

func (p passage) String() string {
	var lacks []string
	for _, extension := range []struct {
		name string
		has  bool
	}{{"DSN", p.dsn}, {"8BITMIME", p.eightBit}, {"CHUNKING", p.chunking}, {"SMTPUTF8", p.utf8}} {
		if !extension.has {
			lacks = append(lacks, extension.name)
		}
	}
	name := p.from + " to " + p.to
	if len(lacks) > 0 {
		name += " without " + strings.Join(lacks, ", ")
	}
	return name
}

// perPassage is how many messages go each way: a thousand in all.
const perPassage = 168

// TestMixedMail sends mail of all kinds from Exim and Postfix through Postern to
// Exim and Postfix. What is to be delivered must arrive as it was sent, once for
// each recipient; and each sender must be told what it asked for, once, by the
// server that had to, and nothing else.
func TestMixedMail(t *testing.T) {
	t.Parallel()
	python := program(t, "python3")
	binary := buildPostern(bounded(t), t)
	for _, p := range passages {
		t.Run(p.String(), func(t *testing.T) { p.run(t, binary, python) })
	}
}

func (p passage) run(t *testing.T, binary, python string) {
	ctx := bounded(t)
	letters := mixedMail(p, perPassage)
	arrivals, inbox := p.expect(letters), &inbox{}
	sink := startSink(t, func(a *harness.Arrival) string {
		if isReport(a) {
			return inbox.take(a)
		}
		return arrivals.take(a)
	})
	gate := filepath.Join(directory(t), "open")
	receiver := p.startReceiver(ctx, t, sink.Addr(), gate)
	postern := startBuilt(ctx, t, binary, receiver.Addr(), "delay_warning = \"2s\"")
	sender := p.startSender(ctx, t, postern.Addr())

	submit(ctx, t, sender.Addr(), letters)
	want, dead := p.notices(letters)
	p.openGate(ctx, t, gate, inbox, want)
	if err := arrivals.wait(ctx); err != nil {
		t.Error(err)
	}
	emptied(ctx, t, sender, postern, receiver, dead)
	arrivals.report(t)
	compare(ctx, t, python, arrivals.converted)
	p.checkChunks(t, sender, postern, receiver)

	var parsed []report
	run(ctx, t, inbox.reports(), &parsed, python, "testdata/parse.py")
	checkNotices(ctx, t, python, noticed{letters, want, parsed, inbox})
}

// openGate lets through what waits for it when all were told that it waits.
func (p passage) openGate(ctx context.Context, t *testing.T, gate string, inbox *inbox, want map[string][]string) {
	t.Helper()
	due := 0
	for _, rows := range want {
		for _, row := range rows {
			if strings.HasPrefix(row, "delayed ") {
				due++
			}
		}
	}
	err := harness.Until(ctx, "all were told of the delay", func() (bool, error) {
		told := 0
		for _, content := range inbox.reports() {
			told += strings.Count(string(content), "\nAction: delayed\r\n")
		}
		return told >= due, nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// emptied waits until nothing is left, one server after the other in the
// direction of the mail, but the dead letters.
func emptied(ctx context.Context, t *testing.T, sender harness.Relay, postern *harness.Postern, receiver harness.Relay, dead int) {
	t.Helper()
	if err := harness.UntilEmpty(ctx, sender); err != nil {
		t.Errorf("sender: %v", err)
	}
	var left map[mail.State]int
	err := harness.Until(ctx, "Postern has only dead letters left", func() (_ bool, err error) {
		left, err = postern.Recipients(ctx)
		maps.DeleteFunc(left, func(_ mail.State, n int) bool { return n == 0 })
		delete(left, mail.Held)
		return len(left) == 0, err
	})
	if err != nil {
		t.Errorf("%v: %v", err, left)
	}
	if left, err = postern.Recipients(ctx); left[mail.Held] != dead || err != nil {
		t.Errorf("%d recipients of dead letters, want %d; %v", left[mail.Held], dead, err)
	}
	if err := harness.UntilEmpty(ctx, receiver); err != nil {
		t.Errorf("receiver: %v", err)
	}
}

// noticed is what there was to tell, and what was told.
type noticed struct {
	letters []*harness.Message
	want    map[string][]string
	parsed  []report
	inbox   *inbox
}

// checkNotices compares each report with the message that it is about.
func checkNotices(ctx context.Context, t *testing.T, python string, n noticed) {
	t.Helper()
	sent := map[string]*harness.Message{}
	for _, m := range n.letters {
		sent[m.ID] = m
	}
	got := map[string][]string{}
	var pairs []pair
	for i := range n.parsed {
		r := &n.parsed[i]
		m := sent[harness.IDOf([]byte("\nMessage-ID: "+r.Returned.ID+"\r\n\r\n"))]
		if m == nil {
			t.Errorf("a report about no message: %v", r)
			continue
		}
		if to := n.inbox.senders()[i]; to != m.From {
			t.Errorf("%s: the report went to %q, want %q", m.ID, to, m.From)
		}
		if r.Type != "multipart/report" || r.ReportType != "delivery-status" || r.Parts[0] != "text/plain" || len(r.Defects) > 0 {
			t.Errorf("%s: %s of %s with %v, defects %v", m.ID, r.Type, r.ReportType, r.Parts, r.Defects)
		}
		for _, f := range r.Recipients {
			got[m.ID] = append(got[m.ID], noticeOf(r, f))
		}
		returned := pair{ID: m.ID, Want: m.Content, Got: n.inbox.reports()[i], Part: "message"}
		if strings.HasSuffix(r.Parts[2], "headers") {
			returned.Part = "headers"
		}
		pairs = append(pairs, returned)
	}
	for _, m := range n.letters {
		for _, row := range without(n.want[m.ID], got[m.ID]) {
			t.Errorf("%s: not told: %s", m.ID, row)
		}
		for _, row := range without(got[m.ID], n.want[m.ID]) {
			t.Errorf("%s: told, and should not be: %s", m.ID, row)
		}
	}
	compare(ctx, t, python, pairs)
}

// without returns the rows of a that b has not, as often as a has them more.
func without(a, b []string) []string {
	a = slices.Clone(a)
	for _, row := range b {
		if i := slices.Index(a, row); i >= 0 {
			a = slices.Delete(a, i, i+1)
		}
	}
	return a
}

// field is a field of a report; its name may be in any case (RFC 3464 2.1.1).
func field(fields map[string]string, name string) string {
	for have, value := range fields {
		if strings.EqualFold(have, name) {
			return value
		}
	}
	return ""
}

// noticeOf is a row of a report in the form in which it is expected.
func noticeOf(r *report, f map[string]string) string {
	_, final, _ := strings.Cut(f["Final-Recipient"], ";")
	_, original, _ := strings.Cut(f["Original-Recipient"], ";")
	_, by, _ := strings.Cut(r.Message["Reporting-MTA"], ";")
	by, _, _ = strings.Cut(strings.TrimSpace(by), ".")
	diagnostic, _, _ := strings.Cut(strings.ReplaceAll(f["Diagnostic-Code"], "; ", ";"), " ")
	row := notice{
		action: f["Action"], status: f["Status"], final: strings.TrimSpace(final), original: strings.TrimSpace(original),
		envelope: field(r.Message, "Original-Envelope-Id"), by: by, diagnostic: diagnostic, part: r.Parts[2],
	}
	return row.String()
}

// notice is what a report must say of a recipient.
type notice struct{ action, status, final, original, envelope, by, diagnostic, part string }

func (n notice) String() string {
	return fmt.Sprintf("%s %s %s (%s) of %q by %s: %s, %s", n.action, n.status, n.final, n.original, n.envelope, n.by, n.diagnostic, n.part)
}

// pair is a message as it was sent and as it came, to be compared decoded. Part
// says how much of it a report returned.
type pair struct {
	ID   string `json:"id"`
	Want []byte `json:"want"`
	Got  []byte `json:"got"`
	Part string `json:"part"`
}

// compare lets Python's email package compare them.
func compare(ctx context.Context, t *testing.T, python string, pairs []pair) {
	t.Helper()
	if len(pairs) == 0 {
		return
	}
	var differences []string
	run(ctx, t, pairs, &differences, python, "testdata/compare.py")
	for _, d := range differences {
		t.Error(d)
	}
}
