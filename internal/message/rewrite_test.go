package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

const testReceived = "Received: from a by b;\r\n\tMon, 5 Feb 2024 09:08:07 +0100\r\n"

func testRewrite() Rewrite {
	return Rewrite{
		Received: testReceived, AddDate: true, AddMessageID: true,
		Drop: []string{"Bcc", "Return-Path"}, MaxReceived: 3,
		ID: "0123456789abcdef", Host: "mx.example.com", Now: testTime,
	}
}

func TestRewrite(t *testing.T) {
	const (
		date = "Date: Mon, 5 Feb 2024 09:08:07 +0100\r\n"
		id   = "Message-ID: <0123456789abcdef@mx.example.com>\r\n"
		own  = "<0123456789abcdef@mx.example.com>"
	)
	plain := func(r *Rewrite) { r.AddDate, r.AddMessageID, r.Received = false, false, "" }
	tests := []struct {
		name, in string
		change   func(*Rewrite)
		want     string
		summary  Summary
	}{
		{name: "both there", in: "DATE: x\r\nmessage-id:  <1@x>\r\nTo: y\r\n\r\nbody\r\n",
			want:    testReceived + "DATE: x\r\nmessage-id:  <1@x>\r\nTo: y\r\n\r\nbody\r\n",
			summary: Summary{MessageID: "<1@x>", LongestLine: 31}},
		{name: "both missing", in: "To: y\r\n\r\nbody\r\n",
			want: testReceived + "To: y\r\n" + id + date + "\r\nbody\r\n", summary: Summary{MessageID: own, LongestLine: 45}},
		{name: "not asked for", in: "To: y\r\n\r\nbody\r\n", change: plain, want: "To: y\r\n\r\nbody\r\n", summary: Summary{LongestLine: 5}},
		{name: "dropped", in: "bcc: a\r\n b\r\nTo: y\r\nReturn-Path: <z>\r\nBCC:\r\n\r\nBcc: body\r\n", change: plain,
			want: "To: y\r\n\r\nBcc: body\r\n", summary: Summary{LongestLine: 9}},
		{name: "no final CRLF", in: "To: y\r\n\r\nbody", change: plain, want: "To: y\r\n\r\nbody\r\n", summary: Summary{LongestLine: 5}},
		{name: "final CR", in: "To: y\r\n\r\nbody\r", change: plain, want: "To: y\r\n\r\nbody\r\n", summary: Summary{LongestLine: 5}},
		{name: "body of one octet", in: "To: y\r\n\r\n.", change: plain, want: "To: y\r\n\r\n.\r\n", summary: Summary{LongestLine: 5}},
		{name: "no empty line", in: "To: y\r\nbody text\r\n", change: plain, want: "To: y\r\n\r\nbody text\r\n", summary: Summary{LongestLine: 9}},
		{name: "header only", in: "To: y\r\n", want: testReceived + "To: y\r\n" + id + date, summary: Summary{MessageID: own, LongestLine: 45}},
		{name: "empty", in: "", want: testReceived + id + date, summary: Summary{MessageID: own, LongestLine: 45}},
		{name: "empty and untouched", in: "", change: plain},
		{name: "8-bit body", in: "To: y\r\n\r\n" + strings.Repeat("a", 50) + "\xe9\r\n", change: plain,
			want: "To: y\r\n\r\n" + strings.Repeat("a", 50) + "\xe9\r\n", summary: Summary{EightBit: true, LongestLine: 51}},
		{name: "8-bit header", in: "To: \xc3\xa4\r\n\r\n", change: plain, want: "To: \xc3\xa4\r\n\r\n",
			summary: Summary{EightBit: true, HeaderUTF8: true, LongestLine: 6}},
		{name: "8-bit field dropped", in: "Bcc: \xc3\xa4\r\n\r\n", change: plain, want: "\r\n"},
		{name: "mailbox line", in: "From joe Mon Jan 1 10:00:00 2024\r\nBcc: a\r\nTo: y\r\n\r\nbody\r\n",
			want:    testReceived + "X-Mailbox-Line: From joe Mon Jan 1 10:00:00 2024\r\nTo: y\r\n" + id + date + "\r\nbody\r\n",
			summary: Summary{MessageID: own, LongestLine: 48}},
		{name: "quoted mailbox line", in: ">From joe\nTo: y\r\n", change: plain,
			want: "X-Mailbox-Line: >From joe\r\nTo: y\r\n", summary: Summary{LongestLine: 25}},
		{name: "text that begins with From", in: "From now on:\r\nthis is text\r\n", change: plain,
			want: "\r\nFrom now on:\r\nthis is text\r\n", summary: Summary{LongestLine: 12}},
		{name: "From and nothing else", in: "From ", change: plain, want: "\r\nFrom \r\n", summary: Summary{LongestLine: 5}},
		{name: "From and a line without end", in: "From " + strings.Repeat("x", 3000), change: plain,
			want: "\r\nFrom " + strings.Repeat("x", 3000) + "\r\n", summary: Summary{LongestLine: 3005}},
		{name: "the first of each field", in: "From: a@x,\r\n b@x \r\nFrom: c@x\r\nMessage-ID:\r\nMessage-ID: <2@x>\r\n\r\n", change: plain,
			want:    "From: a@x,\r\n b@x \r\nFrom: c@x\r\nMessage-ID:\r\nMessage-ID: <2@x>\r\n\r\n",
			summary: Summary{From: "a@x, b@x", LongestLine: 17}},
		{name: "a long From", in: "From: " + strings.Repeat("x", MaxFrom) + "\r\n\r\n", change: plain,
			want: "From: " + strings.Repeat("x", MaxFrom) + "\r\n\r\n", summary: Summary{From: strings.Repeat("x", MaxFrom), LongestLine: MaxFrom + 6}},
		{name: "a From that is too long", in: "From: " + strings.Repeat("x", MaxFrom+1) + "\r\nMessage-ID: <1@x>\r\n\r\n", change: plain,
			want:    "From: " + strings.Repeat("x", MaxFrom+1) + "\r\nMessage-ID: <1@x>\r\n\r\n",
			summary: Summary{MessageID: "<1@x>", LongestLine: MaxFrom + 7}},
		{name: "hops at the limit", in: "Received: 1\r\nReceived: 2\r\nreceived: 3\r\n\r\n", change: plain,
			want: "Received: 1\r\nReceived: 2\r\nreceived: 3\r\n\r\n", summary: Summary{Hops: 3, LongestLine: 11}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := testRewrite()
			if tt.change != nil {
				tt.change(&r)
			}
			tt.summary.Size = int64(len(tt.want))
			var dst bytes.Buffer
			got, err := r.Copy(&dst, iotest.HalfReader(strings.NewReader(tt.in)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, dst.String()); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.summary, got); diff != "" {
				t.Errorf("summary (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRewriteLargeBody(t *testing.T) {
	body := strings.Repeat(strings.Repeat("x", 75)+"\r\n", 5000) + strings.Repeat("y", 2*copyBuffer) + "\r\n"
	var dst bytes.Buffer
	got, err := Rewrite{}.Copy(&dst, strings.NewReader("A: b\r\n\r\n"+body))
	if err != nil {
		t.Fatal(err)
	}
	if dst.String() != "A: b\r\n\r\n"+body {
		t.Error("the body was changed")
	}
	if want := (Summary{Size: int64(len(body)) + 8, LongestLine: 2 * copyBuffer}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestRewriteRefusals(t *testing.T) {
	hops := strings.Repeat("Received: x\r\n", DefaultMaxReceived+1)
	tests := []struct {
		name, in string
		rewrite  Rewrite
		reply    string
	}{
		{"hops", "Received: 1\r\nReceived: 2\r\nA: b\r\n\r\n", Rewrite{MaxReceived: 1}, "554 5.4.6"},
		{"default hops", hops + "\r\n", Rewrite{}, "554 5.4.6"},
		{"header", "A: b\r\nC: d\r\n\r\n", Rewrite{Limits: Limits{Octets: 8}}, "552 5.3.4"},
	}
	for _, tt := range tests {
		var dst bytes.Buffer
		_, err := tt.rewrite.Copy(&dst, strings.NewReader(tt.in))
		if refused, ok := errors.AsType[*mail.Error](err); !ok || !strings.HasPrefix(refused.Reply.String(), tt.reply) {
			t.Errorf("%s: error %v, want a reply %s", tt.name, err, tt.reply)
		}
		if dst.Len() != 0 {
			t.Errorf("%s: wrote %q", tt.name, dst.String())
		}
	}
	if _, err := (Rewrite{}).Copy(io.Discard, strings.NewReader(strings.TrimPrefix(hops, "Received: x\r\n")+"\r\n")); err != nil {
		t.Errorf("%d Received fields: %v", DefaultMaxReceived, err)
	}
	if _, err := (Rewrite{Received: "A: b\r\nC: d\r\n"}).Copy(io.Discard, strings.NewReader("")); !errors.Is(err, ErrField) {
		t.Errorf("two fields as Received: error %v, want ErrField", err)
	}
}

func TestRewriteErrors(t *testing.T) {
	gone := errors.New("gone")
	for _, in := range []string{"Fro", "From joe", "A: b", "A: b\r\n\r\nbody"} {
		src := io.MultiReader(strings.NewReader(in), iotest.ErrReader(gone))
		if _, err := (Rewrite{}).Copy(io.Discard, src); err != gone {
			t.Errorf("src fails after %q: error %v", in, err)
		}
	}
	for limit, in := range []string{"A: b\r\n\r\nbody\r\n", "A: b\r\n\r\nbody\r\n", "A: b\r\n\r\nbody"} {
		if _, err := (Rewrite{}).Copy(&failing{left: limit, err: gone}, strings.NewReader(in)); err != gone {
			t.Errorf("dst fails at write %d: error %v", limit, err)
		}
	}
}

// failing is a writer that takes some writes and then fails.
type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, f.err
	}
	return len(p), nil
}

func TestHasEightBit(t *testing.T) {
	p := bytes.Repeat([]byte{'~'}, 100)
	if HasEightBit(p) {
		t.Error("found in US-ASCII")
	}
	for i := range p {
		p[i] = 0x80
		if !HasEightBit(p) {
			t.Errorf("not found at %d", i)
		}
		p[i] = '~'
	}
}

// FuzzRewrite checks on any content that the body stays as it is, that
// dropped fields are gone, that added fields stand there once, and that a
// second pass adds nothing.
func FuzzRewrite(f *testing.F) {
	for _, s := range []string{
		"From: a\r\nBcc: b\r\n c\r\n\r\nbody\r\n", "", "\r\n", "x", "Date: d\r\n", "Bcc: x\r\n\r\n\xff", "A: b\r\nno colon\r\nBcc: body\r\n",
		"From joe\r\nBcc: b\r\n\r\nbody", "From \r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := testRewrite()
		var once, twice bytes.Buffer
		summary, err := r.Copy(&once, bytes.NewReader(in))
		if err != nil {
			if _, ok := errors.AsType[*mail.Error](err); !ok {
				t.Errorf("error without a reply: %v", err)
			}
			return
		}
		_, before := read(t, withoutMailboxLine(t, string(in)))
		h, after := read(t, once.String())
		if after != before && after != before+"\n" && after != before+"\r\n" {
			t.Errorf("body %q became %q", before, after)
		}
		if h.Has("Bcc") || h.Has("Return-Path") || !h.Has("Date") || !h.Has("Message-ID") {
			t.Errorf("wrong fields: %q", once.String())
		}
		if !bytes.HasSuffix(once.Bytes(), []byte("\r\n")) || summary.Size != int64(once.Len()) {
			t.Errorf("size %d of %q", summary.Size, once.String())
		}
		if summary.EightBit != HasEightBit(once.Bytes()) || summary.HeaderUTF8 != h.EightBit() {
			t.Errorf("%+v for %q", summary, once.String())
		}
		longest := 0
		for line := range bytes.Lines(once.Bytes()) {
			longest = max(longest, len(line)-2)
		}
		if summary.LongestLine != longest {
			t.Errorf("longest line %d, want %d", summary.LongestLine, longest)
		}
		r.Received, r.MaxReceived = "", 10
		if again, err := r.Copy(&twice, bytes.NewReader(once.Bytes())); err != nil || again.MessageID != summary.MessageID {
			t.Errorf("second pass: %+v, %v", again, err)
		}
		if !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Errorf("second pass made %q of %q", twice.String(), once.String())
		}
	})
}

func withoutMailboxLine(t *testing.T, s string) string {
	t.Helper()
	br := bufio.NewReaderSize(strings.NewReader(s), copyBuffer)
	if _, err := takeMailboxLine(br); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(br)
	if err != nil {
		t.Fatal(err)
	}
	return string(rest)
}

func benchMessage(size int) []byte {
	var b bytes.Buffer
	for _, f := range []string{"From: a@example.org", "To: b@example.net", "Subject: a subject of the usual length", "MIME-Version: 1.0",
		"Content-Type: text/plain; charset=utf-8", "X-Mailer: none", "Message-ID: <1234@example.org>"} {
		b.WriteString(f + "\r\n")
	}
	b.WriteString("\r\n")
	for b.Len() < size {
		b.WriteString(strings.Repeat("x", 74) + "\r\n")
	}
	return b.Bytes()
}

func BenchmarkRewrite(b *testing.B) {
	for name, size := range map[string]int{"4KiB": 4 << 10, "64KiB": 64 << 10, "10MiB": 10 << 20} {
		b.Run(name, func(b *testing.B) {
			message := benchMessage(size)
			r := testRewrite()
			src := bytes.NewReader(message)
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				src.Reset(message)
				if _, err := r.Copy(io.Discard, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkInspect(b *testing.B) {
	message := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n" +
		"--b\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		strings.Repeat(strings.Repeat("YmVn", 19)+"\r\n", 1<<20/78) + "--b--\r\n"
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		if _, err := Inspect(strings.NewReader(message), InspectLimits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReceived(b *testing.B) {
	r := Received{
		Origin: mail.Origin{Hello: "client.example.org", Protocol: "ESMTP"}, Host: "mx.example.com", ID: "0123456789abcdef",
		Recipients: recipients(mail.Address{Local: "joe", Domain: "example.net"}), Time: testTime,
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = r.String()
	}
}
