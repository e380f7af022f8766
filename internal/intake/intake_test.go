package intake

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
	"postern/internal/smtp"
)

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// store is a queue that fails where it is told to, and remembers its drafts.
type store struct {
	*queue.Memory
	fail   map[string]error // "create", "write", "accept"
	drafts []*draft
}

type draft struct {
	queue.Draft
	fail      error
	discarded bool
}

func (d *draft) Write(p []byte) (int, error) {
	if d.fail != nil {
		return 0, d.fail
	}
	return d.Draft.Write(p)
}

func (d *draft) Discard() {
	d.discarded = true
	d.Draft.Discard()
}

func (s *store) Create(ctx context.Context) (queue.Draft, error) {
	if err := s.fail["create"]; err != nil {
		return nil, err
	}
	inner, err := s.Memory.Create(ctx)
	if err != nil {
		return nil, err
	}
	d := &draft{Draft: inner, fail: s.fail["write"]}
	s.drafts = append(s.drafts, d)
	return d, nil
}

func (s *store) Accept(ctx context.Context, g queue.Group) error {
	if err := s.fail["accept"]; err != nil {
		return err
	}
	g.Submissions = slices.Clone(g.Submissions)
	for i := range g.Submissions {
		if d, ok := g.Submissions[i].Draft.(*draft); ok {
			g.Submissions[i].Draft = d.Draft
		}
	}
	return s.Memory.Accept(ctx, g)
}

// door is an Intake before a store of its own.
type door struct {
	*Intake
	t     *testing.T
	store *store
}

func newDoor(t *testing.T, o Options) *door {
	clock := mail.NewManualClock(now)
	s := &store{Memory: queue.NewMemory(queue.Options{Clock: clock}), fail: map[string]error{}}
	o.Hostname, o.Store, o.IDs, o.Clock = "gate.example", s, new(mail.IDs), clock
	o.Local = &Local{Names: []string{"gate.example", "tür.example"}, Postmaster: address(t, "admin@example.com")}
	return &door{Intake: New(o), t: t, store: s}
}

var address = mailtest.Address

// arriving is content as the engine hands it over.
type arriving struct {
	io.Reader
	gone bool
}

func (a arriving) ClientGone() bool { return a.gone }

func content(text string) smtp.Content { return arriving{Reader: strings.NewReader(text)} }

// broken is content that ends in an error, when some of it is written already.
func broken(err error) smtp.Content {
	long := "Subject: x\r\n\r\n" + strings.Repeat("0123456789\r\n", 10_000)
	return arriving{Reader: io.MultiReader(strings.NewReader(long), failing{err})}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// send sends a message from a trusted client.
func (d *door) send(c smtp.Content) mail.Reply {
	d.t.Helper()
	s := d.session(inside)
	s.Mail(d.t.Context(), smtp.Mail{Envelope: mail.Envelope{From: address(d.t, "joe@sender.example")}})
	s.Rcpt(d.t.Context(), rcpt(d.t, "ann@elsewhere.example"))
	return s.Content(d.t.Context(), c)
}

func (d *door) entries() []queue.Entry {
	d.t.Helper()
	entries, err := d.store.List(context.Background(), queue.Filter{}, queue.Page{})
	if err != nil {
		d.t.Fatal(err)
	}
	return entries
}

// recipients are those of all entries.
func (d *door) recipients() []mail.Recipient {
	d.t.Helper()
	var list []mail.Recipient
	for _, e := range d.entries() {
		for _, x := range e.Deliveries {
			for _, r := range x.Recipients {
				list = append(list, r.Recipient)
			}
		}
	}
	return list
}

func (d *door) facts() []mail.Fact {
	d.t.Helper()
	facts, err := d.store.NextFacts(context.Background(), 0, 100)
	if err != nil {
		d.t.Fatal(err)
	}
	return facts
}

// wantNothing fails if the store was left with anything.
func (d *door) wantNothing() {
	d.t.Helper()
	if e, f := d.entries(), d.facts(); len(e)+len(f) > 0 {
		d.t.Errorf("%d entries and %d facts are stored", len(e), len(f))
	}
	for _, draft := range d.store.drafts {
		if !draft.discarded {
			d.t.Error("a draft was not discarded")
		}
	}
}

// stored returns the content of the only entry.
func (d *door) stored() string {
	d.t.Helper()
	b, err := d.store.Body(context.Background(), d.entries()[0].Body)
	if err != nil {
		d.t.Fatal(err)
	}
	defer b.Close()
	text, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

// TestEnvelopeSaysWhatContentIs: not what the client announced.
func TestEnvelopeSaysWhatContentIs(t *testing.T) {
	const plain, utf8Header, eightBit = "Subject: x\r\n\r\ntext\r\n", "Subject: \u00e9\r\n\r\ntext\r\n", "Subject: x\r\n\r\n\xe9\r\n"
	for _, c := range []struct {
		name, from, to, content string
		body                    mail.BodyType
		utf8                    bool
		wantBody                mail.BodyType
		wantUTF8                bool
	}{
		{"nothing said", "a@x.example", "b@x.example", plain, "", false, mail.Body7Bit, false},
		{"8BITMIME without need", "a@x.example", "b@x.example", plain, mail.Body8BitMIME, false, mail.Body7Bit, false},
		{"SMTPUTF8 without need", "a@x.example", "b@x.example", plain, mail.Body8BitMIME, true, mail.Body7Bit, false},
		{"8-bit body, nothing said", "a@x.example", "b@x.example", eightBit, "", false, mail.Body8BitMIME, false},
		{"8-bit body called 7BIT", "a@x.example", "b@x.example", eightBit, mail.Body7Bit, false, mail.Body8BitMIME, false},
		{"8-bit body with SMTPUTF8", "a@x.example", "b@x.example", eightBit, mail.Body8BitMIME, true, mail.Body8BitMIME, false},
		{"UTF-8 header", "a@x.example", "b@x.example", utf8Header, mail.Body8BitMIME, true, mail.Body8BitMIME, true},
		{"UTF-8 header without SMTPUTF8", "a@x.example", "b@x.example", utf8Header, "", false, mail.Body8BitMIME, false},
		{"UTF-8 sender", "\u00e9@x.example", "b@x.example", plain, "", true, mail.Body7Bit, true},
		{"UTF-8 domain of a recipient", "a@x.example", "b@\u00e9.example", plain, "", true, mail.Body7Bit, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoor(t, Options{})
			envelope := mail.Envelope{From: address(t, c.from), Body: c.body, UTF8: c.utf8, Return: mail.ReturnHeaders, EnvelopeID: "id 7"}
			_, err := d.Accept(t.Context(), Message{
				Envelope:   envelope,
				Origin:     mail.Origin{Protocol: "ESMTP"},
				Recipients: []mail.Recipient{{Address: address(t, "z@z.example")}, {Address: address(t, c.to)}},
				Content:    strings.NewReader(c.content),
				Gone:       func() bool { return false },
			})
			if err != nil {
				t.Fatal(err)
			}
			want := envelope
			want.Body, want.UTF8 = c.wantBody, c.wantUTF8
			if diff := cmp.Diff(want, d.entries()[0].Envelope); diff != "" {
				t.Error(diff)
			}
			protocol := " with ESMTP id "
			if c.utf8 {
				protocol = " with UTF8SMTP id "
			}
			if !strings.Contains(d.stored(), protocol) {
				t.Errorf("%q is not in %q", protocol, d.stored())
			}
		})
	}
}

// TestEntry: recipients are grouped by destination, each once, and due at once.
func TestEntry(t *testing.T) {
	d := newDoor(t, Options{})
	s := d.session(inside)
	s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: address(t, "joe@sender.example")}})
	for _, r := range []mail.Recipient{
		{Address: address(t, "a@one.example")},
		{Address: address(t, "b@two.example")},
		{Address: address(t, "c@ONE.example")},
		{Address: address(t, "a@one.example")},
		{Address: address(t, "a@one.example"), Notify: mail.NotifyNever},
		{Address: address(t, "A@one.example")},
	} {
		s.Rcpt(t.Context(), smtp.Rcpt{Recipient: r})
	}
	if r := s.Content(t.Context(), content("x\r\n")); r.Code != 250 {
		t.Fatal(r)
	}
	queued := func(a string, n mail.Notify) queue.Recipient {
		return queue.Recipient{Recipient: mail.Recipient{Address: address(t, a), Notify: n}, State: mail.Queued}
	}
	want := []queue.Delivery{
		{Destination: "one.example", Next: now, Recipients: []queue.Recipient{
			queued("a@one.example", 0), queued("c@ONE.example", 0), queued("a@one.example", mail.NotifyNever), queued("A@one.example", 0),
		}},
		{Destination: "two.example", Next: now, Recipients: []queue.Recipient{queued("b@two.example", 0)}},
	}
	if diff := cmp.Diff(want, d.entries()[0].Deliveries); diff != "" {
		t.Error(diff)
	}
}

// TestContent: what acceptance adds and takes out, and nothing else.
func TestContent(t *testing.T) {
	const body = "\r\n.body\r\nBcc: not a field\r\n"
	for _, c := range []struct {
		name    string
		options Options
		in      string
		want    string // behind the Received field; ID is the entry's id
	}{
		{"as it is", Options{}, "Subject: x\r\n" + body, "Subject: x\r\n" + body},
		{"Date and Message-ID", Options{AddDate: true, AddMessageID: true}, "Subject: x\r\n" + body,
			"Subject: x\r\nMessage-ID: <ID@gate.example>\r\nDate: Mon, 2 Mar 2026 09:00:00 +0000\r\n" + body},
		{"both are there", Options{AddDate: true, AddMessageID: true}, "date: then\r\nMESSAGE-ID: <1@x>\r\n" + body,
			"date: then\r\nMESSAGE-ID: <1@x>\r\n" + body},
		{"dropped fields", Options{DropFields: []string{"Bcc", "X-Secret"}}, "BCC: ann@x\r\n bob@x\r\nTo: c@x\r\nx-secret: 1\r\nX-Secret: 2\r\n" + body,
			"To: c@x\r\n" + body},
		{"last line without its end", Options{}, "Subject: x\r\n\r\ntext", "Subject: x\r\n\r\ntext\r\n"},
		{"empty", Options{AddMessageID: true}, "", "Message-ID: <ID@gate.example>\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoor(t, c.options)
			reply := d.send(content(c.in))
			e := d.entries()[0]
			if !strings.HasSuffix(reply.Text, string(e.ID)) {
				t.Errorf("the reply %q does not end in the id %s", reply, e.ID)
			}
			received, rest := cutField(d.stored())
			if !strings.HasPrefix(received, "Received: ") || !strings.Contains(received, " id "+string(e.ID)) || !strings.Contains(received, "by gate.example") {
				t.Errorf("on top stands %q", received)
			}
			if want := strings.ReplaceAll(c.want, "ID@", string(e.ID)+"@"); rest != want {
				t.Errorf("%q, want %q", rest, want)
			}
			if int64(len(received)+len(rest)) != e.Size {
				t.Errorf("size %d", e.Size)
			}
		})
	}
}

// cutField cuts the first field, with its folded lines, from a message.
func cutField(text string) (field, rest string) {
	for end := 0; ; {
		end += strings.Index(text[end:], "\r\n") + 2
		if !strings.HasPrefix(text[end:], "\t") && !strings.HasPrefix(text[end:], " ") {
			return text[:end], text[end:]
		}
	}
}

// TestAcceptedFact: the journal can tell who sent what to whom.
func TestAcceptedFact(t *testing.T) {
	d := newDoor(t, Options{})
	s := d.session(inside)
	origin := mail.Origin{Listener: "test", Session: "0123456789abcdef", Client: inside, Local: here, Hello: "client.example",
		Protocol: "ESMTPS", TLS: &mail.TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256"}}
	s.Hello(t.Context(), origin)
	s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: address(t, "joe@sender.example")}})
	for _, to := range []string{"ann@elsewhere.example", "postmaster", "bob@two.example"} {
		s.Rcpt(t.Context(), rcpt(t, to))
	}
	s.Content(t.Context(), content("Message-ID: <1@client.example>\r\n\r\ntext\r\n"))
	e := d.entries()[0]
	want := []mail.Fact{{
		Source: "queue", N: 1, Time: now, Reason: mail.ReasonAccepted,
		Message: e.ID, Session: origin.Session, From: "<joe@sender.example>",
		To:   []string{"ann@elsewhere.example", "postmaster", "bob@two.example"},
		Size: int64(len(d.stored())), MessageID: "<1@client.example>", Origin: &origin,
	}, {
		Source: "queue", N: 2, Time: now, Reason: mail.ReasonReaddressed, Message: e.ID, Session: origin.Session,
		From: "<joe@sender.example>", To: []string{"postmaster"}, Text: "to <admin@example.com>",
	}}
	if diff := cmp.Diff(want, d.facts(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if e.Message != e.ID || e.Body != e.ID || !e.Accepted.Equal(now) || e.Origin.Session != origin.Session {
		t.Errorf("entry %+v", e)
	}
}

// TestNullSender: reports of others are taken like any mail.
func TestNullSender(t *testing.T) {
	d := newDoor(t, Options{})
	s := d.session(inside)
	s.Mail(t.Context(), smtp.Mail{})
	s.Rcpt(t.Context(), rcpt(t, "ann@elsewhere.example"))
	if r := s.Content(t.Context(), content("x\r\n")); r.Code != 250 {
		t.Fatal(r)
	}
	if f := d.facts()[0]; f.From != "<>" {
		t.Errorf("from %q", f.From)
	}
}

func TestTooManyHops(t *testing.T) {
	const hop = "Received: from a by b; Mon, 2 Mar 2026 09:00:00 +0000\r\n"
	d := newDoor(t, Options{MaxHops: 3})
	if r := d.send(content(strings.Repeat(hop, 4) + "\r\ntext\r\n")); r.Code != 554 || r.Enhanced != "5.4.6" {
		t.Errorf("four hops: %s", r)
	}
	d.wantNothing()
	if r := d.send(content(strings.Repeat(hop, 3) + "\r\ntext\r\n")); r.Code != 250 {
		t.Errorf("three hops: %s", r)
	}
}

// TestContentErrors: the reader's own reply is the client's, and nothing is
// left behind, although much was written already.
func TestContentErrors(t *testing.T) {
	lines := strings.Repeat("0123456789\r\n", 10_000)
	for _, c := range []struct {
		name, wire, want string
		limit            int64
	}{
		{"too large", "Subject: x\r\n\r\n" + lines + ".\r\n", "552 5.3.4", 100_000},
		{"bare newline", "Subject: x\r\n\r\n" + lines + "bare\nnewline\r\n.\r\n", "550 5.6.0", 1 << 20},
		{"bare newline in the header", "Subject: x\nX: y\r\n\r\n" + lines + ".\r\n", "550 5.6.0", 1 << 20},
		{"NUL", "Subject: x\r\n\r\n" + lines + "a\x00b\r\n.\r\n", "550 5.6.0", 1 << 20},
		{"broken off", "Subject: x\r\n\r\n" + lines, "421 4.4.2", 1 << 20},
		{"header too large", "Subject: " + strings.Repeat(" x\r\n", 100_000) + "\r\n.\r\n", "552 5.3.4", 1 << 20},
	} {
		d := newDoor(t, Options{})
		data := smtp.NewDataReader(bufio.NewReader(strings.NewReader(c.wire)), smtp.NewlinesRefuse, c.limit)
		if r := d.send(arriving{Reader: data}); !strings.HasPrefix(r.String(), c.want) {
			t.Errorf("%s: %s, want %s", c.name, r, c.want)
		}
		d.wantNothing()
	}
}

// TestReaderError: an error without a reply tells the client nothing.
func TestReaderError(t *testing.T) {
	d := newDoor(t, Options{})
	if r := d.send(broken(errors.New("read tcp 10.1.2.3: oops"))); r != mail.LocalError {
		t.Errorf("%s", r)
	}
	d.wantNothing()
}

// TestClientGone: a client that has left will send the message again, so that
// it must not be taken now.
func TestClientGone(t *testing.T) {
	d := newDoor(t, Options{})
	r := d.send(arriving{Reader: strings.NewReader("Subject: x\r\n\r\ntext\r\n"), gone: true})
	if r.Code != 421 || r.Enhanced != "4.4.2" {
		t.Errorf("%s", r)
	}
	d.wantNothing()
}
