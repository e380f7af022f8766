package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/test/harness"
)

// submission is a message with what its sender asks of reports.
type submission struct {
	From    string      `json:"from"`
	Options []string    `json:"options"`
	To      []addressee `json:"to"`
	Content string      `json:"content"`
}

type addressee struct {
	Address string   `json:"address"`
	Options []string `json:"options"`
}

// envelopeID names the submission in its reports.
func (s submission) envelopeID() string { return strings.TrimPrefix(s.Options[0], "ENVID=") }

// report is what Python's email package finds in a report.
type report struct {
	Type       string              `json:"type"`
	ReportType string              `json:"report_type"`
	Parts      []string            `json:"parts"`
	Defects    []string            `json:"defects"`
	Header     map[string]string   `json:"header"`
	Text       string              `json:"text"`
	Message    map[string]string   `json:"message"`
	Recipients []map[string]string `json:"recipients"`
	Returned   struct{ ID, Subject, Body string }
}

// told is what a test wants of a report. Of each recipient it is: the address
// as the sender gave it (if it did), that in the end, action and status.
type told struct {
	Subject    string
	Parts      []string // behind the text
	Recipients []string
	Body       bool // the message's text came back
}

// told says what a report tells.
func (r *report) told() told {
	t := told{Subject: r.Header["Subject"], Parts: r.Parts[1:], Body: strings.Contains(r.Returned.Body, "Hello")}
	for _, f := range r.Recipients {
		words := []string{f["Original-Recipient"], f["Final-Recipient"], f["Action"], f["Status"]}
		t.Recipients = append(t.Recipients, strings.TrimSpace(strings.Join(words, " ")))
	}
	return t
}

var plainParts = []string{"message/delivery-status", "text/rfc822-headers"}

// reportCases are messages, and what their senders must be told. The server
// that gets them refuses gone@, has no time for late@, takes all else, and
// knows no DSN.
var reportCases = []struct {
	submission
	want []told
}{
	{submission{"me@sender.example", []string{"ENVID=failed+2Bfull", "RET=FULL"}, []addressee{
		{"gone@there.example", []string{"NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Gone+2BAway@there.example"}},
	}, ""}, []told{{"Your message could not be delivered: Test", []string{"message/delivery-status", "message/rfc822"},
		[]string{"rfc822;Gone+Away@there.example rfc822; gone@there.example failed 5.1.1"}, true}}},

	{submission{"me@sender.example", []string{"ENVID=failed-hdrs", "RET=HDRS"}, []addressee{
		{"gone@there.example", nil}, {"fine@there.example", nil}, {"gone@elsewhere.example", []string{"NOTIFY=NEVER"}},
	}, ""}, []told{{"Your message could not be delivered: Test", plainParts,
		[]string{"rfc822; gone@there.example failed 5.1.1"}, false}}},

	{submission{"me@sender.example", []string{"ENVID=delayed", "RET=FULL"}, []addressee{
		{"late@there.example", nil}, {"late@elsewhere.example", []string{"NOTIFY=DELAY"}}, {"late@third.example", []string{"NOTIFY=FAILURE"}},
	}, ""}, []told{{"Your message is delayed: Test", plainParts,
		[]string{"rfc822; late@elsewhere.example delayed 4.3.2", "rfc822; late@there.example delayed 4.3.2"}, false}}},

	{submission{"me@sender.example", []string{"ENVID=relayed", "RET=FULL"}, []addressee{
		{"fine@there.example", []string{"NOTIFY=SUCCESS", "ORCPT=rfc822;fine@there.example"}}, {"well@there.example", []string{"NOTIFY=FAILURE,DELAY"}},
	}, ""}, []told{{"Your message was passed on: Test", plainParts,
		[]string{"rfc822;fine@there.example rfc822; fine@there.example relayed 2.0.0"}, false}}},

	{submission{"me@sender.example", []string{"ENVID=all", "RET=HDRS"}, []addressee{
		{"gone@there.example", []string{"NOTIFY=FAILURE,DELAY,SUCCESS"}}, {"late@there.example", []string{"NOTIFY=FAILURE,DELAY,SUCCESS"}},
		{"fine@there.example", []string{"NOTIFY=FAILURE,DELAY,SUCCESS"}},
	}, ""}, []told{
		{"Your message could not be delivered: Test", plainParts, []string{"rfc822; gone@there.example failed 5.1.1"}, false},
		{"Your message is delayed: Test", plainParts, []string{"rfc822; late@there.example delayed 4.3.2"}, false},
		{"Your message was passed on: Test", plainParts, []string{"rfc822; fine@there.example relayed 2.0.0"}, false},
	}},

	{submission{"mich@grüße.example", []string{"ENVID=utf8-full", "RET=FULL", "SMTPUTF8"}, []addressee{
		{"gone@bücher.example", []string{`ORCPT=utf-8;j\x{F6}rg@bücher.example`}},
	}, "Schöne "}, []told{{"Your message could not be delivered: Schöne Test", []string{"message/global-delivery-status", "message/global"},
		[]string{"utf-8;jörg@bücher.example utf-8; gone@bücher.example failed 5.1.1"}, true}}},

	{submission{"mich@grüße.example", []string{"ENVID=utf8-hdrs", "RET=HDRS", "SMTPUTF8"}, []addressee{
		{"fine@bücher.example", []string{"NOTIFY=SUCCESS"}},
	}, "Schöne "}, []told{{"Your message was passed on: Schöne Test", []string{"message/global-delivery-status", "message/global-headers"},
		[]string{"utf-8; fine@bücher.example relayed 2.0.0"}, false}}},

	{submission{"me@sender.example", []string{"ENVID=utf8-orcpt", "RET=HDRS"}, []addressee{
		{"gone@there.example", []string{`ORCPT=utf-8;j\x{F6}rg@b\x{FC}cher.example`}},
	}, ""}, []told{{"Your message could not be delivered: Test", plainParts,
		[]string{`utf-8;j\x{F6}rg@b\x{FC}cher.example rfc822; gone@there.example failed 5.1.1`}, false}}},

	{submission{"me@sender.example", []string{"ENVID=utf8-rcpt", "RET=HDRS", "SMTPUTF8"}, []addressee{
		{"gone@bücher.example", nil}, {"fine@there.example", nil},
	}, ""}, []told{{"Your message could not be delivered: Test", plainParts,
		[]string{`utf-8; gone@b\x{FC}cher.example failed 5.1.1`}, false}}},

	{submission{"", []string{"ENVID=null", "RET=FULL"}, []addressee{
		{"fine@there.example", []string{"NOTIFY=SUCCESS,FAILURE,DELAY"}}, {"late@there.example", []string{"NOTIFY=SUCCESS,FAILURE,DELAY"}},
	}, ""}, nil},
}

// TestReports sends all of these, and lets Python's email package read the
// reports that come back.
func TestReports(t *testing.T) {
	python := program(t, "python3")
	ctx := bounded(t)
	inbox := &inbox{}
	sink := listen(t, &harness.Sink{Take: inbox.take, Rcpt: func(_, to string) string {
		switch local, _, _ := strings.Cut(to, "@"); local {
		case "gone":
			return "550 5.1.1 no such user"
		case "late":
			return "451 4.3.2 not now"
		}
		return ""
	}})
	postern := startPosternWith(ctx, t, sink.Addr(), `delay_warning = "1s"`)

	var messages []submission
	want := map[string][]told{}
	reports := 0
	for _, c := range reportCases {
		c.Content = "From: <me@sender.example>\r\nSubject: " + c.Content + "Test\r\n\r\nHello\r\n"
		messages = append(messages, c.submission)
		want[strings.ReplaceAll(c.envelopeID(), "+2B", "+")] = c.want
		reports += len(c.want)
	}
	run(ctx, t, messages, nil, python, "testdata/submit.py", postern.Addr())
	if err := harness.Until(ctx, "all reports have come", func() (bool, error) { return len(inbox.reports()) >= reports, nil }); err != nil {
		t.Fatal(err)
	}
	var parsed []report
	run(ctx, t, inbox.reports(), &parsed, python, "testdata/parse.py")
	got := map[string][]told{"null": nil}
	for i := range parsed {
		r := &parsed[i]
		id := r.Message["Original-Envelope-Id"]
		got[id] = append(got[id], r.told())
		checkReportForm(t, r)
	}
	for _, lists := range []map[string][]told{got, want} { // which delivery of a message is claimed first is chance
		for _, list := range lists {
			slices.SortFunc(list, func(a, b told) int { return strings.Compare(a.Subject, b.Subject) })
			for i := range list {
				slices.Sort(list[i].Recipients)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, to := range inbox.senders() {
		if to != "me@sender.example" && to != "mich@grüße.example" {
			t.Errorf("a report went to %q", to)
		}
	}
}

// checkReportForm checks what all reports have in common.
func checkReportForm(t *testing.T, r *report) {
	t.Helper()
	if r.Type != "multipart/report" || r.ReportType != "delivery-status" || r.Parts[0] != "text/plain" || len(r.Defects) > 0 {
		t.Errorf("%s of %s with %v, defects %v", r.Type, r.ReportType, r.Parts, r.Defects)
	}
	if r.Header["Auto-Submitted"] != "auto-replied" || r.Message["Reporting-MTA"] != "dns; postern.test.example" ||
		r.Message["Received-From-MTA"] != "dns; client.example" || r.Message["Arrival-Date"] == "" || r.Header["Message-ID"] == "" {
		t.Errorf("header %v, message %v", r.Header, r.Message)
	}
	if !strings.HasPrefix(r.Text, "Your message ") || !strings.HasSuffix(r.Returned.Subject, "Test") {
		t.Errorf("text %q, returned %q", r.Text, r.Returned.Subject)
	}
	for _, f := range r.Recipients {
		_, address, _ := strings.Cut(f["Final-Recipient"], "; ")
		if f["Last-Attempt-Date"] == "" || f["Remote-MTA"] != "dns; [127.0.0.1]" || !strings.HasPrefix(f["Diagnostic-Code"], "smtp; ") ||
			(f["Will-Retry-Until"] != "") != (f["Action"] == "delayed") || !strings.Contains(r.Text, "<"+decoded(address)+">") {
			t.Errorf("recipient %v, text %q", f, r.Text)
		}
	}
}

// decoded undoes utf-8-addr-xtext (RFC 6533 3).
func decoded(address string) string {
	return regexp.MustCompile(`\\x\{[0-9A-F]+\}`).ReplaceAllStringFunc(address, func(s string) string {
		n, _ := strconv.ParseUint(s[len(`\x{`):len(s)-1], 16, 32)
		return string(rune(n))
	})
}

// inbox keeps the reports that come, and to whom.
type inbox struct {
	mu       sync.Mutex
	contents [][]byte
	to       []string
}

func (b *inbox) take(a *harness.Arrival) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if isReport(a) {
		b.contents = append(b.contents, bytes.Clone(a.Content))
		b.to = append(b.to, a.To...)
	}
	return ""
}

func isReport(a *harness.Arrival) bool {
	return a.From == "" && bytes.Contains(a.Content, []byte("multipart/report"))
}

func (b *inbox) reports() [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.contents)
}

func (b *inbox) senders() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.to)
}

// run runs a program with a value in JSON on its standard input, and reads
// what it prints, in JSON too, unless out is nil.
func run(ctx context.Context, t *testing.T, in, out any, name string, args ...string) {
	t.Helper()
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &stderr
	output, err := cmd.Output()
	if err == nil && out != nil {
		err = json.Unmarshal(output, out)
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.String())
	}
}

// delivering makes the Postfix at the end of the line deliver what is for
// there.example, and refuse some of it.
const delivering = transparent + `
transport_maps = inline:{ { there.example = discard:silently } }
smtpd_recipient_restrictions = check_recipient_access inline:{ { gone@there.example = 550 5.1.1 no such user } }
`

// TestReportsBetweenPostfixes: what a sender asks of Postfix comes through
// Postern to Postfix, which reports a delivery; Postern reports what that one
// refuses. Both name the envelope and the recipient as the sender did.
func TestReportsBetweenPostfixes(t *testing.T) {
	python := program(t, "python3")
	ctx := bounded(t)
	inbox := &inbox{}
	sink := startSink(t, inbox.take)
	receiver := startPostfixWith(ctx, t, "receiver", sink.Addr(), delivering)
	postern := startPostern(ctx, t, receiver.Addr())
	sender := startPostfix(ctx, t, "sender", postern.Addr())

	run(ctx, t, []submission{
		{"me@sender.example", []string{"ENVID=quiet", "RET=HDRS"}, []addressee{
			{"fine@there.example", nil}, {"gone@there.example", []string{"NOTIFY=NEVER"}}}, "Subject: quiet\r\n\r\nHello\r\n"},
		{"me@sender.example", []string{"ENVID=taken+3D", "RET=HDRS"}, []addressee{
			{"fine@there.example", []string{"NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Fine+2B@there.example"}}}, "Subject: taken\r\n\r\nHello\r\n"},
		{"me@sender.example", []string{"ENVID=refused", "RET=FULL"}, []addressee{
			{"gone@there.example", []string{"NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Gone@there.example"}}}, "Subject: refused\r\n\r\nHello\r\n"},
	}, nil, python, "testdata/submit.py", sender.Addr())
	for _, relay := range []harness.Relay{sender, postern, receiver} {
		if err := harness.UntilEmpty(ctx, relay); err != nil {
			t.Fatal(err)
		}
	}
	if err := harness.Until(ctx, "both reports have come", func() (bool, error) { return len(inbox.reports()) >= 2, nil }); err != nil {
		t.Fatal(err)
	}
	var parsed []report
	run(ctx, t, inbox.reports(), &parsed, python, "testdata/parse.py")
	got := map[string][]string{}
	for _, r := range parsed {
		id := r.Message["Original-Envelope-Id"] + " by " + r.Message["Reporting-MTA"]
		for _, f := range r.Recipients {
			got[id] = append(got[id], strings.ToLower(f["Original-Recipient"])+" "+f["Action"]+" "+f["Status"])
		}
	}
	want := map[string][]string{
		"taken= by dns; receiver.test.example": {"rfc822;fine+@there.example delivered 2.0.0"},
		"refused by dns; postern.test.example": {"rfc822;gone@there.example failed 5.1.1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
