package intake

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/smtp"
)

// expansionCase is a message to recipients that stand for others.
type expansionCase struct {
	name    string
	from    string // joe@sender.example
	to      []mail.Recipient
	treat   map[string]policy.Treatment
	entries []string // without the reports
	facts   []string // likewise, but for that they were accepted
	reports []string
}

// expansionCases: an alias of one keeps all that the sender asked for (RFC 3461 5.2.7.2);
// one of several keeps it but for success, which is told of the alias (5.2.7.3 c); a list
// is where the message is delivered, and nothing goes on to its members (RFC 3461 5.2.7.1),
// whose failures are for its owner (RFC 5321 3.9.2).
func expansionCases(t *testing.T) []expansionCase {
	const success, all = mail.NotifySuccess, mail.NotifySuccess | mail.NotifyFailure | mail.NotifyDelay
	told := func(from, text string) string { return "report to " + from + ": " + text }
	return []expansionCase{
		{name: "an alias of one keeps all", to: []mail.Recipient{{Address: address(t, "sales@corp.example"), Notify: all}},
			entries: []string{"1 of 1 with 1: <joe@sender.example> to joe@elsewhere.example (elsewhere.example was rfc822;sales@corp.example SUCCESS,FAILURE,DELAY), e7"},
			facts:   []string{"accepted 1: <joe@sender.example> to sales@corp.example", "readdressed 1: <joe@sender.example> to sales@corp.example, to <joe@elsewhere.example>"}},
		{name: "an alias of several", to: []mail.Recipient{{Address: address(t, "two@corp.example"), Notify: all, Original: "rfc822;other@old.example"}},
			entries: []string{"1 of 1 with 1: <joe@sender.example> to joe@elsewhere.example (elsewhere.example was rfc822;other@old.example FAILURE,DELAY) ann@far.example (far.example was rfc822;other@old.example FAILURE,DELAY), e7"},
			facts: []string{"accepted 1: <joe@sender.example> to joe@elsewhere.example ann@far.example two@corp.example",
				"expanded 1: <joe@sender.example> to two@corp.example, 2 addresses", "accepted 2 about 1: <> to joe@sender.example, report: expanded"},
			reports: []string{told("joe@sender.example", "expanded 2.0.0 two@corp.example as rfc822;other@old.example, id e7")}},
		{name: "of success alone", to: []mail.Recipient{{Address: address(t, "two@corp.example"), Notify: success}},
			entries: []string{"1 of 1 with 1: <joe@sender.example> to joe@elsewhere.example (elsewhere.example was rfc822;two@corp.example NEVER) ann@far.example (far.example was rfc822;two@corp.example NEVER), e7"},
			reports: []string{told("joe@sender.example", "expanded 2.0.0 two@corp.example, id e7")}},
		{name: "nothing asked, nothing told", to: []mail.Recipient{{Address: address(t, "two@corp.example")}},
			entries: []string{"1 of 1 with 1: <joe@sender.example> to joe@elsewhere.example (elsewhere.example was rfc822;two@corp.example) ann@far.example (far.example was rfc822;two@corp.example), e7"},
			facts: []string{"accepted 1: <joe@sender.example> to joe@elsewhere.example ann@far.example two@corp.example",
				"expanded 1: <joe@sender.example> to two@corp.example, 2 addresses"}},
		{name: "each address once", to: []mail.Recipient{{Address: address(t, "two@corp.example")}, {Address: address(t, "ann@far.example")}, {Address: address(t, "twice@corp.example")}},
			entries: []string{"1 of 1 with 1: <joe@sender.example> to joe@elsewhere.example (elsewhere.example was rfc822;two@corp.example) ann@far.example (far.example), e7"},
			facts: []string{"accepted 1: <joe@sender.example> to ann@far.example joe@elsewhere.example two@corp.example twice@corp.example",
				"expanded 1: <joe@sender.example> to two@corp.example, 2 addresses", "expanded 1: <joe@sender.example> to twice@corp.example, 2 addresses"}},
		{name: "a list", to: []mail.Recipient{{Address: address(t, "staff@corp.example"), Notify: all, Original: "rfc822;x@y.example"}, {Address: address(t, "b@x.example")}},
			entries: []string{"1 of 1 with 1: <boss@far.example> to ann@far.example (far.example) joe@home.example (home.example)",
				"2 of 1 with 1: <joe@sender.example> to b@x.example (x.example), e7"},
			facts: []string{"accepted 1: <boss@far.example> to ann@far.example joe@home.example staff@corp.example, the client gave the sender <joe@sender.example>",
				"accepted 2 about 1: <joe@sender.example> to b@x.example",
				"expanded 1: <joe@sender.example> to staff@corp.example, list staff: 2 addresses; nobody here: gone@corp.example",
				"accepted 3 about 1: <> to joe@sender.example, report: delivered", "accepted 4 about 1: <> to boss@far.example, report: failed"},
			reports: []string{told("joe@sender.example", "delivered 2.0.0 staff@corp.example as rfc822;x@y.example, id e7"), told("boss@far.example", "failed 5.1.1 gone@corp.example")}},
		{name: "the null sender", from: "<>", to: []mail.Recipient{{Address: address(t, "staff@corp.example"), Notify: all}},
			entries: []string{"1 of 1 with 1: <> to ann@far.example (far.example was rfc822;staff@corp.example FAILURE,DELAY) joe@home.example (home.example was rfc822;staff@corp.example FAILURE,DELAY), e7"}},
		{name: "an unknown one in the midst", to: []mail.Recipient{{Address: address(t, "some@corp.example")}},
			entries: []string{"1 of 1 with 1: <joe@sender.example> to ann@far.example (far.example was rfc822;some@corp.example), e7"},
			facts: []string{"accepted 1: <joe@sender.example> to ann@far.example some@corp.example",
				"expanded 1: <joe@sender.example> to some@corp.example, 1 address; nobody here: nobody@corp.example, ann@corp.example",
				"accepted 2 about 1: <> to joe@sender.example, report: failed"},
			reports: []string{told("joe@sender.example", "failed 5.1.1 nobody@corp.example as rfc822;some@corp.example, failed 5.1.1 ann@corp.example as rfc822;some@corp.example, id e7")}},
		{name: "of which nobody is to hear", to: []mail.Recipient{{Address: address(t, "some@corp.example"), Notify: mail.NotifyNever}},
			entries: []string{"1 of 1 with 1: <joe@sender.example> to ann@far.example (far.example was rfc822;some@corp.example NEVER), e7"}},
		{name: "a sender who is an alias", from: "sales@corp.example", to: []mail.Recipient{{Address: address(t, "two@corp.example"), Notify: success}},
			entries: []string{"1 of 1 with 1: <sales@corp.example> to joe@elsewhere.example (elsewhere.example was rfc822;two@corp.example NEVER) ann@far.example (far.example was rfc822;two@corp.example NEVER), e7"},
			reports: []string{told("joe@elsewhere.example", "expanded 2.0.0 two@corp.example, id e7")}},
		{name: "a sender who is nobody here", from: "nobody@corp.example", to: []mail.Recipient{{Address: address(t, "two@corp.example"), Notify: success}},
			entries: []string{"1 of 1 with 1: <nobody@corp.example> to joe@elsewhere.example (elsewhere.example was rfc822;two@corp.example NEVER) ann@far.example (far.example was rfc822;two@corp.example NEVER), e7"}},

		// Policy decides about the address that was named, and what it decides is for all.
		{name: "held", to: []mail.Recipient{{Address: address(t, "two@corp.example"), Notify: all}}, treat: map[string]policy.Treatment{"two@corp.example": {Hold: mail.HoldPolicy, Note: "n"}},
			entries: []string{"1 of 1 with 1: <joe@sender.example> to joe@elsewhere.example (elsewhere.example held policy n was rfc822;two@corp.example FAILURE,DELAY) ann@far.example (far.example held policy n was rfc822;two@corp.example FAILURE,DELAY), e7"},
			facts: []string{"accepted 1: <joe@sender.example> to joe@elsewhere.example ann@far.example two@corp.example",
				"held 1: <joe@sender.example> to joe@elsewhere.example ann@far.example, policy, n", "expanded 1: <joe@sender.example> to two@corp.example, 2 addresses"}},
		{name: "discarded", to: []mail.Recipient{{Address: address(t, "two@corp.example"), Notify: all}}, treat: map[string]policy.Treatment{"two@corp.example": {Discard: true}},
			facts: []string{"accepted 0: <joe@sender.example> to two@corp.example", "discarded 0: <joe@sender.example> to two@corp.example"}},
		{name: "redirected", to: []mail.Recipient{{Address: address(t, "two@corp.example")}}, treat: map[string]policy.Treatment{"two@corp.example": {Address: address(t, "x@new.example")}},
			entries: []string{"1 of 1 with 1: <joe@sender.example> to x@new.example (new.example was rfc822;two@corp.example), e7"}},
		{name: "redirected to an alias", to: []mail.Recipient{{Address: address(t, "x@y.example"), Notify: success}}, treat: map[string]policy.Treatment{"x@y.example": {Address: address(t, "two@corp.example")}},
			entries: []string{"1 of 1 with 1: <joe@sender.example> to joe@elsewhere.example (elsewhere.example was rfc822;x@y.example NEVER) ann@far.example (far.example was rfc822;x@y.example NEVER), e7"},
			facts: []string{"accepted 1: <joe@sender.example> to joe@elsewhere.example ann@far.example x@y.example",
				"expanded 1: <joe@sender.example> to x@y.example, 2 addresses", "accepted 2 about 1: <> to joe@sender.example, report: expanded"},
			reports: []string{told("joe@sender.example", "expanded 2.0.0 x@y.example, id e7")}},
		{name: "redirected to a list that takes no mail from others", to: []mail.Recipient{{Address: address(t, "x@y.example")}}, treat: map[string]policy.Treatment{"x@y.example": {Address: address(t, "inner@corp.example")}},
			entries: []string{"1 of 1 with 1: <boss@far.example> to ann@far.example (far.example)"}},
		{name: "by a route", to: []mail.Recipient{{Address: address(t, "nobody@corp.example")}}, treat: map[string]policy.Treatment{"nobody@corp.example": {Route: "inside.example:25"}},
			entries: []string{"1 of 1 with 1: <joe@sender.example> to nobody@corp.example (corp.example/inside.example:25), e7"}},
		{name: "added, and copied", to: []mail.Recipient{{Address: address(t, "b@x.example")}},
			treat: map[string]policy.Treatment{"b@x.example": {Added: []mail.Address{address(t, "two@corp.example")}, Copies: []mail.Address{address(t, "plain@corp.example")}}},
			entries: []string{"1 of 1 with 1: <joe@sender.example> to joe@elsewhere.example (elsewhere.example NEVER) ann@far.example (far.example NEVER) b@x.example (x.example), e7",
				"2 of 1 with 1: <> to ann@far.example (far.example NEVER) bob@far.example (far.example NEVER)"}},
	}
}

// TestStoredExpansions: what lies in the queue and in the journal when recipients stand
// for others, with what their sender is told of it; also of what policy does with them
// (RFC 3461 5.2.7.1, RFC 3461 5.2.7.2, RFC 3461 5.2.7.3).
func TestStoredExpansions(t *testing.T) {
	for _, c := range expansionCases(t) {
		t.Run(c.name, func(t *testing.T) {
			d := newDoor(t, Options{})
			d.Local.Directory = people(t)
			s := d.under(&ruling{treat: c.treat})
			from := mail.Address{Local: "joe", Domain: "sender.example"}
			if c.from == "<>" {
				from = mail.Address{}
			} else if c.from != "" {
				from = address(t, c.from)
			}
			s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: from, EnvelopeID: "e7", Return: mail.ReturnHeaders}})
			for _, r := range c.to {
				if reply := s.Rcpt(t.Context(), smtp.Rcpt{Recipient: r}); !reply.IsZero() {
					t.Fatal(r, reply)
				}
			}
			if reply := s.Content(t.Context(), content(plainText)); reply.Code != 250 {
				t.Fatal(reply)
			}
			entries, reports := d.lines(), []string(nil)
			for i, e := range d.entries() {
				if e.Origin.Listener == "postern" {
					entries[i] = ""
					reports = append(reports, d.reportText(&e.Deliveries[0].Recipients[0].Recipient, e.Body))
				}
			}
			entries = without(entries, "")
			if diff := cmp.Diff(c.entries, entries); diff != "" {
				t.Errorf("entries (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(c.reports, reports); diff != "" {
				t.Errorf("reports (-want +got)\n%s", diff)
			}
			if c.facts != nil {
				if diff := cmp.Diff(c.facts, d.factLines()); diff != "" {
					t.Errorf("facts (-want +got)\n%s", diff)
				}
			}
		})
	}
}

func without(list []string, what string) []string {
	var rest []string
	for _, s := range list {
		if s != what {
			rest = append(rest, s)
		}
	}
	return rest
}

// reportText says what a report says of whom.
func (d *door) reportText(to *mail.Recipient, body mail.ID) string {
	d.t.Helper()
	b, err := d.store.Body(d.t.Context(), body)
	if err != nil {
		d.t.Fatal(err)
	}
	defer b.Close()
	whole, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		d.t.Fatal(err)
	}
	_, status, found := strings.Cut(string(whole), "Content-Type: message/delivery-status\r\n")
	if !found || to.Notify != mail.NotifyNever {
		d.t.Fatalf("no report, or one of which somebody hears: %s", whole)
	}
	status, _, _ = strings.Cut(status, "\r\n--")
	var list []string
	id := ""
	for _, group := range strings.Split(status, "\r\n\r\n") {
		fields := map[string]string{}
		for line := range strings.Lines(group) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			fields[name] = value
		}
		if v := fields["Original-Envelope-Id"]; v != "" {
			id = ", id " + v
		}
		if fields["Action"] == "" {
			continue
		}
		_, final, _ := strings.Cut(fields["Final-Recipient"], "; ")
		text := fmt.Sprintf("%s %s %s", fields["Action"], fields["Status"], final)
		if o := fields["Original-Recipient"]; o != "" {
			text += " as " + o
		}
		list = append(list, text)
	}
	return "report to " + to.Address.String() + ": " + strings.Join(list, ", ") + id
}

// TestExpansionRefused: what RCPT says, and that for too many members the client is to
// begin another transaction.
func TestExpansionRefused(t *testing.T) {
	d := newDoor(t, Options{})
	d.Local.Directory = people(t)
	for _, policed := range []bool{true, false} {
		s := d.session(inside)
		if policed {
			s = d.under(&ruling{})
		}
		for to, want := range map[string]string{
			"nobody@corp.example": "550 5.1.1 No such user here", "loop@corp.example": "451 4.4.6 The aliases of this address lead in a circle, or too far; please try again later",
			"inner@corp.example": "550 5.7.1 You may not send to this list", "two@corp.example": "no reply",
		} {
			s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: address(t, "joe@sender.example")}})
			if got := s.Rcpt(t.Context(), rcpt(t, to)).String(); got != want {
				t.Errorf("%s: %s, want %s", to, got, want)
			}
		}
		s.Mail(t.Context(), smtp.Mail{})
		s.members = maxMembers - 1
		if got := s.Rcpt(t.Context(), rcpt(t, "two@corp.example")); got != errMembers.Reply {
			t.Errorf("too many: %v", got)
		}
		if got := s.Rcpt(t.Context(), rcpt(t, "sales@corp.example")); !got.IsZero() {
			t.Errorf("one more: %v", got)
		}
		s.Mail(t.Context(), smtp.Mail{})
		if got := s.Rcpt(t.Context(), rcpt(t, "two@corp.example")); !got.IsZero() {
			t.Errorf("in another transaction: %v", got)
		}
	}
}

// TestReportFails: without room for the report nothing is accepted, and nothing is left
// of it.
func TestReportFails(t *testing.T) {
	for _, fails := range []string{"create", "accept"} {
		d := newDoor(t, Options{})
		d.Local.Directory = people(t)
		s := d.under(&ruling{data: func(to []policy.Addressee, _ policy.Message) policy.Disposition {
			d.store.fail[fails] = fmt.Errorf("no room")
			return policy.Disposition{Recipients: to}
		}})
		s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: address(t, "joe@sender.example")}})
		s.Rcpt(t.Context(), smtp.Rcpt{Recipient: mail.Recipient{Address: address(t, "two@corp.example"), Notify: mail.NotifySuccess}})
		if reply := s.Content(t.Context(), content(plainText)); reply != mail.LocalError {
			t.Errorf("%s: %v", fails, reply)
		}
		d.wantNothing()
	}
}

// TestClassOfCopiesAndReports: what is made of a message beside it has its class: that which policy
// gave it, or that which it came with.
func TestClassOfCopiesAndReports(t *testing.T) {
	bulk := mail.Bulk
	for name, c := range map[string]struct {
		treatment *mail.Class
		want      mail.Class
	}{"by policy": {&bulk, mail.Bulk}, "as it came": {nil, mail.Urgent}} {
		d := newDoor(t, Options{Class: func(*mail.Origin, *mail.Class) mail.Class { return mail.Urgent }})
		d.Local.Directory = people(t)
		s := d.under(&ruling{treat: map[string]policy.Treatment{"two@corp.example": {Class: c.treatment}, "b@x.example": {Class: c.treatment, Copies: []mail.Address{address(t, "plain@corp.example")}}}})
		s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: mail.Address{Local: "joe", Domain: "sender.example"}}})
		for _, to := range []string{"two@corp.example", "b@x.example"} {
			if reply := s.Rcpt(t.Context(), smtp.Rcpt{Recipient: mail.Recipient{Address: address(t, to), Notify: mail.NotifySuccess}}); !reply.IsZero() {
				t.Fatal(to, reply)
			}
		}
		if reply := s.Content(t.Context(), content(plainText)); reply.Code != 250 {
			t.Fatal(reply)
		}
		kinds := map[string]int{}
		for _, e := range d.entries() {
			kind := "message"
			switch {
			case e.Origin.Listener == "postern":
				kind = "report"
			case e.Envelope.From.IsNull():
				kind = "copy"
			}
			kinds[kind]++
			if e.Class != c.want {
				t.Errorf("%s: the class of a %s is %s, want %s", name, kind, e.Class, c.want)
			}
		}
		if diff := cmp.Diff(map[string]int{"message": 1, "report": 1, "copy": 1}, kinds); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestSentAsWellBySender: a route that takes local addresses in the mail of some senders sees the sender with which
// mail goes that policy sends somewhere as well: of a copy the null one, of who gets the message too that of the
// message, which policy may have rewritten; on a list, too.
func TestSentAsWellBySender(t *testing.T) {
	joe, staff := address(t, "joe@corp.example"), address(t, "staff@corp.example")
	boss, other := address(t, "boss@far.example"), address(t, "x@sender.example")
	for name, c := range map[string]struct {
		from  mail.Address
		treat policy.Treatment
		want  []string
	}{
		"a copy":                           {boss, policy.Treatment{Copies: []mail.Address{joe}}, []string{"<> joe@home.example", "<boss@far.example> b@x.example"}},
		"a copy, rewritten":                {other, policy.Treatment{Copies: []mail.Address{joe}, Sender: &boss}, []string{"<> joe@home.example", "<boss@far.example> b@x.example"}},
		"a copy to a list":                 {other, policy.Treatment{Copies: []mail.Address{staff}}, []string{"<> ann@far.example", "<> joe@home.example", "<x@sender.example> b@x.example"}},
		"the message":                      {boss, policy.Treatment{Added: []mail.Address{joe}}, []string{"<boss@far.example> b@x.example", "<boss@far.example> joe@corp.example"}},
		"the message, rewritten":           {boss, policy.Treatment{Added: []mail.Address{joe}, Sender: &other}, []string{"<x@sender.example> b@x.example", "<x@sender.example> joe@home.example"}},
		"the message, rewritten to theirs": {other, policy.Treatment{Added: []mail.Address{joe}, Sender: &boss}, []string{"<boss@far.example> b@x.example", "<boss@far.example> joe@corp.example"}},
		"the message to a list":            {other, policy.Treatment{Added: []mail.Address{staff}}, []string{"<x@sender.example> ann@far.example", "<x@sender.example> b@x.example", "<x@sender.example> joe@home.example"}},
	} {
		d := newDoor(t, Options{})
		d.Local.Directory = people(t)
		d.Local.Elsewhere = func(r mail.Routing, _ bool) bool { return r.To == joe && r.From == boss }
		s := d.under(&ruling{treat: map[string]policy.Treatment{"b@x.example": c.treat}})
		s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: c.from}})
		s.Rcpt(t.Context(), rcpt(t, "b@x.example"))
		if reply := s.Content(t.Context(), content(plainText)); reply.Code != 250 {
			t.Fatal(name, reply)
		}
		var got []string
		for _, e := range d.entries() {
			for i := range e.Deliveries {
				for _, r := range e.Deliveries[i].Recipients {
					got = append(got, e.Envelope.From.Path()+" "+r.Address.String())
				}
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
