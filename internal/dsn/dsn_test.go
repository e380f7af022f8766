package dsn

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

var update = flag.Bool("update", false, "write the golden files anew")

const testContent = "Received: from client.example.org by mx.example.com; Mon, 5 Feb 2024 09:00:00 +0000\r\n" +
	"From: Ann <ann@example.org>\r\n" +
	"To: joe@example.net\r\n" +
	"Message-ID: <1@example.org>\r\n" +
	"Subject: hello\r\n" +
	"\r\n" +
	"Hello,\r\n" +
	"--\r\n" +
	"Ann\r\n"

// testReport is a report about one recipient whom the next server refused.
func testReport() *Report {
	accepted := time.Date(2024, 2, 5, 9, 0, 0, 0, time.UTC)
	return &Report{
		ID: "0123456789reprt0", Host: "mx.example.com", Now: accepted.Add(time.Minute),
		About:    "0123456789abcdef",
		Envelope: mail.Envelope{From: mail.Address{Local: "ann", Domain: "example.org"}},
		Origin:   mail.Origin{Hello: "client.example.org"},
		Accepted: accepted,
		Recipients: []Recipient{{
			Recipient: mail.Recipient{Address: mail.Address{Local: "joe", Domain: "example.net"}},
			Outcome: mail.Outcome{
				State: mail.Bounced, Attempt: 1, At: accepted.Add(2 * time.Second),
				Host: "mx.example.net", Address: netip.MustParseAddrPort("192.0.2.25:25"), Command: "RCPT",
				Reply: mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "<joe@example.net>: no such user"}, Remote: true,
			},
		}},
		Content: strings.NewReader(testContent), Size: int64(len(testContent)),
	}
}

func (r *Report) setContent(s string) { r.Content, r.Size = strings.NewReader(s), int64(len(s)) }

func compose(t *testing.T, r *Report) (string, mail.Envelope) {
	t.Helper()
	var b bytes.Buffer
	envelope, err := r.Compose(&b)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), envelope
}

// goldenReports are reports of every form, by the name of their golden file.
func goldenReports() map[string]*Report {
	several := testReport()
	several.From = mail.Address{Local: "help desk", Domain: "example.com"}
	several.Envelope.EnvelopeID = "QQ 314159"
	several.Envelope.Return = mail.ReturnHeaders
	several.Recipients[0].Original = "rfc822;joe+list@example.org"
	several.Recipients[0].Outcome.Reply.Text = strings.Repeat("This is a long explanation of a rule.\n", 4) + "See https://rules.example.net/" + strings.Repeat("x", 80)
	several.Recipients = append(several.Recipients, Recipient{
		Recipient: mail.Recipient{Address: mail.Address{Local: "j b", Domain: "example.net"}},
		Outcome: mail.Outcome{State: mail.Expired, Attempt: 12, At: several.Now, Command: "connect",
			Reply: mail.Reply{Code: 451, Enhanced: "4.4.1", Text: "no answer from mx.example.net"}},
	})

	utf8 := testReport()
	utf8.Envelope = mail.Envelope{From: mail.Address{Local: "änne", Domain: "bücher.example"}, UTF8: true, Body: mail.Body8BitMIME}
	utf8.Recipients[0].Address = mail.Address{Local: "jörg", Domain: "example.net"}
	utf8.Recipients[0].Original = "utf-8;jörg@example.net"
	utf8.Recipients[0].Outcome.Reply.Text = "unbekannt: jörg"
	utf8.setContent("From: Änne <änne@bücher.example>\r\nSubject: x\r\n\r\nGrüße\r\n")

	eightBit := testReport()
	eightBit.Recipients[0].Outcome.Reply = mail.Reply{Code: 550, Text: "unbekannt: j\xc3\xb6rg"}
	eightBit.setContent("Subject: x\r\n\r\nGr\xfc\xdfe\r\n")

	reports := map[string]*Report{"refused": testReport(), "several": several, "utf8": utf8, "eightbit": eightBit}
	for state, name := range map[mail.State]string{mail.Deferred: "delayed", mail.Delivered: "delivered", mail.Relayed: "relayed", mail.Expanded: "expanded"} {
		reports[name] = testReportOf(state)
	}
	reports["utf8-unasked"] = testReportToASCII()
	reports["copy"] = testReport()
	reports["copy"].CopyTo = mail.Address{Local: "postmaster", Domain: "example.com"}
	return reports
}

// testReportToASCII is a report about a recipient whose address is UTF-8, to a
// sender of whom nobody knows that it takes SMTPUTF8.
func testReportToASCII() *Report {
	r := testReport()
	r.Recipients[0].Address = mail.Address{Local: "jörg+€", Domain: "bücher.example"}
	r.Recipients[0].Original = "UTF-8;jörg@bücher.example"
	r.Recipients[0].Outcome.Reply.Text = "unbekannt: jörg"
	return r
}

// testReportOf is testReport about another state, as the sender asked for it.
func testReportOf(s mail.State) *Report {
	r := testReport()
	r.Envelope.Return, r.Envelope.EnvelopeID = mail.ReturnFull, "QQ314159"
	rcpt := &r.Recipients[0]
	rcpt.Original = "rfc822;Joe.Doe@example.net"
	rcpt.Outcome.State, rcpt.Outcome.Command = s, "end of data"
	rcpt.Outcome.Reply = mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "Ok: queued as 8A3F"}
	if s == mail.Deferred {
		r.RetryUntil = r.Accepted.Add(5 * 24 * time.Hour)
		rcpt.Outcome.Reply = mail.Reply{Code: 450, Enhanced: "4.7.1", Text: "Greylisted, see https://grey.example.net/"}
	}
	return r
}

// TestGolden: reports are multipart/report (RFC 6522 3) with the fields of RFC 3464.
func TestGolden(t *testing.T) {
	for name, report := range goldenReports() {
		t.Run(name, func(t *testing.T) {
			got, _ := compose(t, report)
			if lone := strings.ReplaceAll(got, "\r\n", ""); strings.ContainsAny(lone, "\r\n") {
				t.Error("a CR or LF stands alone")
			}
			got = strings.ReplaceAll(got, "\r\n", "\n")
			file := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnvelope(t *testing.T) {
	reports := goldenReports()
	global := goldenReports()["utf8"]
	global.Envelope.From = testReport().Envelope.From
	reports["UTF-8 recipient only"] = global
	for name, want := range map[string]mail.Envelope{
		"refused":              {},
		"several":              {},
		"utf8":                 {Body: mail.Body8BitMIME, UTF8: true},
		"eightbit":             {Body: mail.Body8BitMIME},
		"delayed":              {},
		"utf8-unasked":         {Body: mail.Body8BitMIME},
		"UTF-8 recipient only": {Body: mail.Body8BitMIME},
	} {
		if _, got := compose(t, reports[name]); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestReturned(t *testing.T) {
	header, _, _ := strings.Cut(testContent, "\r\n\r\n")
	header += "\r\n"
	long := testContent + strings.Repeat("x\r\n", DefaultMaxReturn)
	huge := testContent[:len(header)] + strings.Repeat("X: "+strings.Repeat("y", 70000)+"\r\n", 20) + "\r\nbody\r\n"
	const eightBitText = "Subject: x\r\n\r\nGr\xfc\xdfe\r\n"
	tests := []struct {
		name      string
		ret       mail.Return
		content   string
		max       int64
		mediaType string
		want      string
	}{
		{"not asked", "", testContent, 0, "message/rfc822", testContent},
		{"full", mail.ReturnFull, testContent, 0, "message/rfc822", testContent},
		{"header only", mail.ReturnHeaders, testContent, 0, "text/rfc822-headers", header},
		{"full but large", mail.ReturnFull, long, 0, "text/rfc822-headers", header},
		{"large but allowed", mail.ReturnFull, long, 1 << 20, "message/rfc822", long},
		{"at the limit", "", testContent, int64(len(testContent)), "message/rfc822", testContent},
		{"over the limit", "", testContent, int64(len(testContent)) - 1, "text/rfc822-headers", header},
		{"no header", "", "just text\r\n", 0, "message/rfc822", "just text\r\n"},
		{"empty", "", "", 0, "message/rfc822", ""},
		{"no final CRLF", "", "A: b\r\n\r\nc", 0, "message/rfc822", "A: b\r\n\r\nc"},
		{"8-bit", "", eightBitText, 0, "message/rfc822", eightBitText},
		{"8-bit, signed", "", "DKIM-Signature: v=1\r\n" + eightBitText, 0, "text/rfc822-headers", "DKIM-Signature: v=1\r\nSubject: x\r\n"},
		{"8-bit header", mail.ReturnFull, "X: \xfc\r\n\r\ntext\r\n", 0, "text/rfc822-headers", "X: \xfc\r\n"},
		{"header too large", mail.ReturnHeaders, huge, 0, "text/rfc822-headers",
			huge[:len(header)+14*len("X: \r\n")+14*70000]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := testReport()
			r.Envelope.Return, r.MaxReturn = tt.ret, tt.max
			r.setContent(tt.content)
			text, _ := compose(t, r)
			part := parse(t, text).parts[2]
			if part.mediaType != tt.mediaType || part.body != tt.want {
				t.Errorf("%s of %d octets, want %s of %d", part.mediaType, len(part.body), tt.mediaType, len(tt.want))
			}
		})
	}
}

func TestReferences(t *testing.T) {
	for id, want := range map[string]string{
		"<1@example.org>":                    "<1@example.org>",
		" <1@example.org>\r\n ":              "<1@example.org>",
		"":                                   "",
		"<>":                                 "",
		"1@example.org":                      "",
		"<1@example.org> <2@example.org>":    "",
		"<1@\xc3\xa4>":                       "",
		"<" + strings.Repeat("x", 500) + ">": "",
	} {
		r := testReport()
		r.setContent("Message-ID:" + id + "\r\n\r\n")
		text, _ := compose(t, r)
		header := parse(t, text).header
		if got := header.Get("In-Reply-To"); got != want || header.Get("References") != want {
			t.Errorf("Message-ID %q: In-Reply-To %q, References %q", id, got, header.Get("References"))
		}
	}
}

// TestStatus: a status of another class than the action, or none, becomes the
// general one (RFC 3461 6.3).
func TestStatus(t *testing.T) {
	for want, replies := range map[string][]mail.Reply{
		"5.1.1":   {{Code: 550, Enhanced: "5.1.1"}},
		"4.4.1":   {{Code: 451, Enhanced: "4.4.1"}},
		"5.7.509": {{Code: 550, Enhanced: "5.7.509"}},
		"5.0.0":   {{Code: 554}, {}, {Code: 250, Enhanced: "2.0.0"}, {Code: 550, Enhanced: "5.1"}, {Code: 550, Enhanced: "5.1.1\r\nX: y"}, {Code: 550, Enhanced: "5..1"}, {Code: 550, Enhanced: "5.1.1111"}},
		"4.0.0":   {{Code: 421}, {Code: 421, Enhanced: "4.x.1"}},
	} {
		for _, reply := range replies {
			if got := kinds[Failed].status(reply); got != want {
				t.Errorf("%#v: %s, want %s", reply, got, want)
			}
		}
	}
	for _, tt := range []struct {
		action Action
		reply  mail.Reply
		want   string
	}{
		{Delayed, mail.Reply{Code: 451, Enhanced: "4.2.1"}, "4.2.1"},
		{Delayed, mail.Reply{Code: 554, Enhanced: "5.3.2"}, "4.3.2"}, // a greeting is never final
		{Delayed, mail.Reply{Code: 554}, "4.0.0"},
		{Relayed, mail.Reply{Code: 250, Enhanced: "2.1.5"}, "2.1.5"},
		{Relayed, mail.Reply{Code: 250}, "2.0.0"},
		{Delivered, mail.Reply{}, "2.0.0"},
	} {
		if got := kinds[tt.action].status(tt.reply); got != tt.want {
			t.Errorf("%s, %#v: %s, want %s", tt.action, tt.reply, got, tt.want)
		}
	}
}

func TestRemoteMTA(t *testing.T) {
	for host, want := range map[string]string{
		"mx.example.net": "dns; mx.example.net", "192.0.2.25": "dns; [192.0.2.25]", "2001:db8::25": "dns; [IPv6:2001:db8::25]", "": "",
	} {
		r := testReport()
		r.Recipients[0].Outcome.Host = host
		text, _ := compose(t, r)
		if got := groups(t, parse(t, text).parts[1].body)[1].Get("Remote-Mta"); got != want {
			t.Errorf("of %q: %q, want %q", host, got, want)
		}
	}
}

// TestKinds: every state has the action that says what became of it, and every
// action can be told.
func TestKinds(t *testing.T) {
	used := map[Action]bool{}
	for _, s := range mail.States {
		a := ActionFor(s)
		used[a] = true
		if _, told := kinds[a]; told != (a != "") {
			t.Errorf("%s: the action %q is told: %v", s, a, told)
		}
	}
	for _, a := range Actions {
		if !used[a] {
			t.Errorf("%s is of no state", a)
		}
	}
}

// TestCopyOfUTF8: a copy for an address in US-ASCII can be sent without
// SMTPUTF8, whatever the sender's.
// RFC 6533 3 has the form of the address.
func TestCopyOfUTF8(t *testing.T) {
	r := goldenReports()["utf8"]
	r.CopyTo = mail.Address{Local: "postmaster", Domain: "example.com"}
	text, envelope := compose(t, r)
	if want := (mail.Envelope{Body: mail.Body8BitMIME}); envelope != want {
		t.Errorf("%+v, want %+v", envelope, want)
	}
	p := parse(t, text)
	if p.parts[1].mediaType != "message/delivery-status" || !strings.Contains(p.parts[1].body, `Final-Recipient: utf-8; j\x{F6}rg@example.net`) {
		t.Errorf("%s:\n%s", p.parts[1].mediaType, p.parts[1].body)
	}
	if !strings.HasPrefix(p.parts[0].body, "This is a copy of what änne@bücher.example was told:\r\n") || p.parts[2].mediaType != "message/global-headers" {
		t.Errorf("%s, text %q", p.parts[2].mediaType, p.parts[0].body)
	}
}

// TestWhoTakesUTF8: a status in UTF-8 goes to whoever has an address in UTF-8, or
// has sent a message that needs it; to others it is US-ASCII, every field of it.
func TestWhoTakesUTF8(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Report)
		want   string
	}{
		{"nothing known", func(*Report) {}, "message/delivery-status"},
		{"message", func(r *Report) { r.Envelope.UTF8 = true }, "message/global-delivery-status"},
		{"address", func(r *Report) { r.Envelope.From.Local = "änne" }, "message/global-delivery-status"},
		{"author", func(r *Report) { r.From = mail.Address{Local: "postmästare", Domain: "example.com"} }, "message/global-delivery-status"},
		{"copy", func(r *Report) {
			r.Envelope.UTF8, r.CopyTo = true, mail.Address{Local: "postmaster", Domain: "example.com"}
		}, "message/delivery-status"},
		{"no address", func(r *Report) {
			r.Envelope.UTF8, r.Recipients[0].Recipient = true, testReport().Recipients[0].Recipient
		}, "message/delivery-status"},
	} {
		r := testReportToASCII()
		tt.change(r)
		text, _ := compose(t, r)
		status := parse(t, text).parts[1]
		if status.mediaType != tt.want || (status.encoding == "8bit") != (tt.want == "message/global-delivery-status") {
			t.Errorf("%s: %s, encoding %q, want %s", tt.name, status.mediaType, status.encoding, tt.want)
		}
	}
}

// TestHeaderOnly: RET is about failures (RFC 3461 4.3).
func TestHeaderOnly(t *testing.T) {
	for _, s := range []mail.State{mail.Deferred, mail.Delivered, mail.Relayed, mail.Expanded} {
		text, _ := compose(t, testReportOf(s))
		if part := parse(t, text).parts[2]; part.mediaType != "text/rfc822-headers" || strings.Contains(part.body, "Hello,") {
			t.Errorf("%s: the report brings back %s:\n%s", s, part.mediaType, part.body)
		}
	}
}

func TestSubject(t *testing.T) {
	const failed = "Your message could not be delivered"
	for _, tt := range []struct{ subject, from, want string }{
		{"hello", "ann", failed + ": hello"},
		{"", "ann", failed},
		{" folded\r\n\tup ", "ann", failed + ": folded up"},
		{"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "ann", failed + ": =?utf-8?q?Gr=C3=BC=C3=9Fe?="},
		{"Gr\xc3\xbc\xc3\x9fe", "ann", failed},
		{"Gr\xc3\xbc\xc3\x9fe", "\xc3\xa4nne", failed + ": Gr\xc3\xbc\xc3\x9fe"},
	} {
		r := testReport()
		r.Envelope.From.Local = tt.from
		r.setContent("Subject:" + tt.subject + "\r\n\r\n")
		text, _ := compose(t, r)
		if got := parse(t, text).header.Get("Subject"); got != tt.want {
			t.Errorf("of %q: %q, want %q", tt.subject, got, tt.want)
		}
	}
}

// TestExplain: by the class and subject of RFC 3463 3 and the registry of RFC 5248;
// a reply without a status by its code (RFC 5321 4.2.3).
func TestExplain(t *testing.T) {
	for key, replies := range map[string][]mail.Reply{
		"1.1":   {{Code: 550, Enhanced: "5.1.1"}, {Code: 450, Enhanced: "4.1.1"}},
		"1.0":   {{Code: 550, Enhanced: "5.1.99"}},
		"7.10":  {{Code: 550, Enhanced: "5.7.10"}},
		"7.1":   {{Code: 550, Enhanced: "5.7.1"}},
		"4.7.1": {{Code: 450, Enhanced: "4.7.1"}},
		"3.0":   {{Code: 451, Enhanced: "4.3.0"}},
		"550":   {{Code: 550}},
		"0.0":   {{Code: 554}, {}, {Code: 550, Enhanced: "5.9.9"}},
	} {
		for _, reply := range replies {
			m := meanings[key]
			if got, want := explain(mail.Outcome{State: mail.Bounced, Remote: true, Reply: reply}), m.why+" "+m.todo; got != want {
				t.Errorf("%#v: %q, want %q", reply, got, want)
			}
			if got := explain(mail.Outcome{State: mail.Deferred, Remote: true, Reply: reply}); got != m.why {
				t.Errorf("%#v, for now: %q, want %q", reply, got, m.why)
			}
		}
	}
	local := mail.Outcome{State: mail.Deferred, Reply: mail.LocalError}
	if got := explain(local); got != meanings["local"].why {
		t.Errorf("our own trouble: %q", got)
	}
	if got := explain(mail.Outcome{State: mail.Relayed, Reply: mail.Reply{Code: 250}}); got != "" {
		t.Errorf("a success is explained: %q", got)
	}
	for attempt, want := range map[int]string{0: "tried once,", 1: "tried once,", 7: "tried 7 times,"} {
		if got := explain(mail.Outcome{State: mail.Expired, Attempt: attempt}); !strings.Contains(got, want) {
			t.Errorf("expired at attempt %d: %q", attempt, got)
		}
	}
}

func TestLongReply(t *testing.T) {
	r := testReport()
	r.Recipients[0].Outcome.Reply.Text = strings.Repeat("word ", 1000) + strings.Repeat("x", 1<<20)
	text, _ := compose(t, r)
	if len(text) > 10<<10 || !strings.Contains(text, "[...]") {
		t.Errorf("the report has %d octets; cut: %v", len(text), strings.Contains(text, "[...]"))
	}
}

func TestRefusals(t *testing.T) {
	for want, change := range map[error]func(*Report){
		ErrNullSender:   func(r *Report) { r.Envelope.From = mail.Address{} },
		ErrNoRecipients: func(r *Report) { r.Recipients = nil },
		ErrState:        func(r *Report) { r.Recipients[0].Outcome.State = mail.Removed },
		ErrMixed: func(r *Report) {
			r.Recipients = append(r.Recipients, r.Recipients[0])
			r.Recipients[1].Outcome.State = mail.Deferred
		},
	} {
		r := testReport()
		change(r)
		var b bytes.Buffer
		if _, err := r.Compose(&b); !errors.Is(err, want) || b.Len() > 0 {
			t.Errorf("error %v after %d octets, want %v", err, b.Len(), want)
		}
	}
}

// failingAt fails to read at an offset and beyond.
type failingAt struct {
	io.ReaderAt
	offset int64
	err    error
}

func (f failingAt) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= f.offset {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p[:min(int64(len(p)), f.offset-offset)], offset)
}

func TestErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, offset := range []int64{0, 10, int64(len(testContent)) - 3} {
		r := testReport()
		r.Content = failingAt{r.Content, offset, broken}
		if _, err := r.Compose(io.Discard); !errors.Is(err, broken) {
			t.Errorf("content fails at %d: error %v", offset, err)
		}
	}
	r := testReport()
	r.Size++
	if _, err := r.Compose(io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("content too short: error %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if _, err := testReport().Compose(failingWriter{broken}); !errors.Is(err, broken) {
		t.Errorf("the writer fails: error %v", err)
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }
