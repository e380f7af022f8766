package dsn

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"net/textproto"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/message"
)

// parsed is a report as a reader of mail sees it.
type parsed struct {
	header netmail.Header
	parts  []parsedPart
}

type parsedPart struct {
	mediaType string
	encoding  string
	body      string
}

func parse(t *testing.T, text string) parsed {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	mediaType, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("Content-Type: %q %v, %v", mediaType, params, err)
	}
	p := parsed{header: m.Header}
	for reader := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return p
		}
		if err != nil {
			t.Fatalf("part %d: %v", len(p.parts)+1, err)
		}
		body, err := io.ReadAll(part)
		if err != nil {
			t.Fatalf("part %d: %v", len(p.parts)+1, err)
		}
		mediaType, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			t.Errorf("part %d: %v", len(p.parts)+1, err)
		}
		p.parts = append(p.parts, parsedPart{mediaType, part.Header.Get("Content-Transfer-Encoding"), string(body)})
	}
}

// groups reads the groups of fields of a delivery-status part.
func groups(t *testing.T, body string) []textproto.MIMEHeader {
	t.Helper()
	var list []textproto.MIMEHeader
	for group := range strings.SplitSeq(strings.TrimSuffix(body, "\r\n"), "\r\n\r\n") {
		header, err := netmail.ReadMessage(strings.NewReader(group + "\r\n\r\n"))
		if err != nil {
			t.Fatalf("group %q: %v", group, err)
		}
		list = append(list, textproto.MIMEHeader(header.Header))
	}
	return list
}

func TestParsesInGo(t *testing.T) {
	text, _ := compose(t, goldenReports()["several"])
	p := parse(t, text)
	if from, err := p.header.AddressList("From"); err != nil || from[0].Address != "help desk@example.com" || from[0].Name != "Mail Delivery System" {
		t.Errorf("From: %v, %v", from, err)
	}
	if to, err := p.header.AddressList("To"); err != nil || to[0].Address != "ann@example.org" {
		t.Errorf("To: %v, %v", to, err)
	}
	if date, err := p.header.Date(); err != nil || !date.Equal(testReport().Now) {
		t.Errorf("Date: %v, %v", date, err)
	}
	want := []textproto.MIMEHeader{
		{"Reporting-Mta": {"dns; mx.example.com"}, "Original-Envelope-Id": {"QQ 314159"}, "Received-From-Mta": {"dns; client.example.org"},
			"Arrival-Date": {"Mon, 5 Feb 2024 09:00:00 +0000"}},
		{"Original-Recipient": {"rfc822;joe+list@example.org"}, "Final-Recipient": {"rfc822; joe@example.net"}, "Action": {"failed"},
			"Status": {"5.1.1"}, "Remote-Mta": {"dns; mx.example.net"}, "Last-Attempt-Date": {"Mon, 5 Feb 2024 09:00:02 +0000"},
			"Diagnostic-Code": {"smtp; 550 5.1.1 " + strings.Repeat("This is a long explanation of a rule. ", 4) + "See https://rules.example.net/" + strings.Repeat("x", 80)}},
		{"Final-Recipient": {`rfc822; "j b"@example.net`}, "Action": {"failed"}, "Status": {"4.4.1"}, "Last-Attempt-Date": {"Mon, 5 Feb 2024 09:01:00 +0000"}},
	}
	if diff := cmp.Diff(want, groups(t, p.parts[1].body)); diff != "" {
		t.Errorf("delivery-status (-want +got):\n%s", diff)
	}
}

// pythonScript parses a message as Python's email package does and prints
// what it found, with every defect. Values are looked at only in a report
// whose header is US-ASCII: to Python, UTF-8 in a header is a defect.
const pythonScript = `
import email, email.policy, json, sys
m = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
defects = [repr(d) for part in m.walk() for d in part.defects]
if sys.argv[1] == "ascii":
    defects += [repr(d) for part in m.walk() for v in part.values() for d in v.defects]
status = m.get_payload(1)
fields = [dict(g.items()) for g in status.get_payload()] if status.get_content_type() == "message/delivery-status" else []
json.dump({"type": m.get_content_type(), "parts": [p.get_content_type() for p in m.get_payload()],
           "defects": defects, "groups": fields, "text": m.get_payload(0).get_content()}, sys.stdout)
`

func TestParsesInPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	for name, report := range goldenReports() {
		text, envelope := compose(t, report)
		header := map[bool]string{false: "ascii", true: "utf-8"}[envelope.UTF8]
		cmd := exec.Command(python, "-c", pythonScript, header)
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("%s: %s", name, exit.Stderr)
		} else if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Type, Text     string
			Parts, Defects []string
			Groups         []map[string]string
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if got.Type != "multipart/report" || len(got.Parts) != 3 || len(got.Defects) != 0 {
			t.Errorf("%s: %s of %v, defects %v", name, got.Type, got.Parts, got.Defects)
		}
		if want := map[bool]string{true: "Your message ", false: "This is a copy of what "}[report.CopyTo.IsNull()]; !strings.HasPrefix(got.Text, want) {
			t.Errorf("%s: text %q", name, got.Text)
		}
		if got.Parts[1] == "message/delivery-status" &&
			(len(got.Groups) != 1+len(report.Recipients) || got.Groups[1]["Action"] != string(ActionFor(report.Recipients[0].Outcome.State))) {
			t.Errorf("%s: delivery-status %v", name, got.Groups)
		}
	}
}

// allowed are the fields that a report may have; In-Reply-To and References
// among others depend on the message.
var allowed = []string{
	"From", "To", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Auto-Submitted", "Mime-Version", "Content-Type", "Content-Transfer-Encoding",
	"Reporting-Mta", "Original-Envelope-Id", "Received-From-Mta", "Arrival-Date",
	"Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-Mta", "Diagnostic-Code", "Last-Attempt-Date", "Will-Retry-Until",
}

func checkFields(t *testing.T, header map[string][]string) {
	t.Helper()
	for name, values := range header {
		if !slices.Contains(allowed, name) || len(values) != 1 {
			t.Errorf("field %s: %q", name, values)
		}
	}
}

// reported are states that can be reported, one of each action.
var reported = []mail.State{mail.Bounced, mail.Deferred, mail.Delivered, mail.Relayed, mail.Expanded}

// FuzzReport lets strangers choose all they can choose. The report has three
// parts, none of its fields is theirs, the third part is theirs octet for octet
// as far as it comes back, and the envelope says what the octets are.
func FuzzReport(f *testing.F) {
	f.Add("no such user", "joe", "example.net", testContent, "QQ314159", "rfc822;joe@example.net", "client.example.org")
	f.Add("x\r\n--=_0123456789reprt0_\r\nContent-Type: text/html\r\n\r\n", "a\r\nBcc: x", "y\r\n\r\n", "\r\n--=_0123456789reprt0_--\r\n", "\r\nX: y", "\nX: y", "\r\n")
	f.Add("j\xc3\xb6rg \xff \xe2\x80\xae", "j\xc3\xb6rg", "\xff", "Message-ID: <a\r\n b>\r\nS: \xc3\xb6\r\n\r\n\xff", "\x00", "utf-8;\xc3\xb6", "a b")
	f.Fuzz(func(t *testing.T, reply, local, domain, content, envid, orcpt, host string) {
		r := testReport()
		if len(content) > DefaultMaxReturn || len(local)+len(domain) > mail.MaxAddress || local+domain == "" {
			t.Skip("accepted from nobody")
		}
		r.Envelope = mail.Envelope{From: mail.Address{Local: local, Domain: domain}, EnvelopeID: envid, UTF8: len(reply)%2 == 0}
		r.Origin.Hello = host
		rcpt := &r.Recipients[0]
		rcpt.Recipient = mail.Recipient{Address: mail.Address{Local: domain, Domain: local}, Original: orcpt}
		rcpt.Outcome.Reply, rcpt.Outcome.Host, rcpt.Outcome.Command = mail.Reply{Code: 550, Enhanced: orcpt, Text: reply}, host, envid
		rcpt.Outcome.State = reported[len(orcpt)%len(reported)]
		if len(envid)%2 == 1 {
			r.CopyTo = mail.Address{Local: "postmaster", Domain: "example.com"}
		}
		r.setContent(content)

		text, envelope := compose(t, r)
		p := parse(t, text)
		if len(p.parts) != 3 {
			t.Fatalf("%d parts in\n%s", len(p.parts), text)
		}
		checkFields(t, p.header)
		status := groups(t, p.parts[1].body)
		if len(status) != 2 {
			t.Errorf("%d groups in %q", len(status), p.parts[1].body)
		}
		for _, group := range status {
			checkFields(t, group)
		}
		_, never := message.ToSevenBit(r.Content, r.Size)
		full := rcpt.Outcome.State == mail.Bounced && r.CopyTo.IsNull() && (never == nil || p.parts[2].mediaType == "message/global")
		if back := p.parts[2].body; full && back != content || !full && !strings.HasPrefix(content, strings.TrimSuffix(back, "\r\n")) {
			t.Errorf("the content came back as %q", p.parts[2].body)
		}
		checkOctets(t, text, p, envelope)
	})
}

func checkOctets(t *testing.T, text string, p parsed, envelope mail.Envelope) {
	t.Helper()
	header, _, _ := strings.Cut(text, "\r\n\r\n")
	eightBit := func(s string) bool { return strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) }
	if eightBit(text) && envelope.Body != mail.Body8BitMIME || eightBit(header) && !envelope.UTF8 {
		t.Errorf("the envelope is %+v for\n%q", envelope, text)
	}
	if !envelope.UTF8 {
		if _, err := message.ToSevenBit(strings.NewReader(text), int64(len(text))); err != nil {
			t.Errorf("a server without 8BITMIME cannot take the report: %v", err)
		}
	}
	for i, part := range p.parts {
		if eightBit(part.body) && part.encoding != "8bit" {
			t.Errorf("part %d has the encoding %q", i+1, part.encoding)
		}
	}
	for line := range strings.SplitSeq(header+p.parts[0].body+p.parts[1].body, "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("line of %d octets: %q", len(line), line)
		}
	}
}
