package policy

import (
	"strings"
	"testing"

	"postern/internal/mail"
)

// filter writes a table [[filter]] with settings as TOML.
func filter(name string, settings ...string) string {
	return "[[filter]]\nname = \"" + name + "\"\n" + strings.Join(settings, "\n") + "\n"
}

// became says in a word what became of a message, and by which rules.
func became(t *testing.T, e *Engine, from string, m Message) (what, note string, trail []mail.Decided) {
	t.Helper()
	s := begin(t, e, "192.0.2.1")
	s.mail(from)
	s.rcpt("ann@example.org")
	s.rcpt("bob@example.org")
	d := s.data(m)
	if d.Verdict != Accept {
		return d.Verdict.String(), "", d.Trail
	}
	if len(d.Recipients) != 2 || d.Recipients[0].Treatment.Hold != d.Recipients[1].Treatment.Hold || d.Recipients[0].Treatment.Discard != d.Recipients[1].Treatment.Discard {
		t.Fatalf("not all recipients alike: %+v", d.Recipients)
	}
	r := d.Recipients[0]
	switch {
	case r.Treatment.Discard:
		return "discard", "", r.Trail
	case r.Treatment.Hold != "":
		return string(r.Treatment.Hold), r.Treatment.Note, r.Trail
	case len(r.Treatment.Tags) > 0:
		return "tag " + strings.Join(r.Treatment.Tags, " "), "", r.Trail
	}
	return "pass", "", r.Trail
}

// plainFrom is a message with a header and a text.
func plainFrom(header string) *bytesMessage { return content(header + "\n\nHello\n") }

// attached is a message with one attachment, which has the fields.
func attached(fields string) *bytesMessage {
	return content("From: joe@example.com\nSubject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\n" + fields + "\n\nx\n--b--\n")
}

// TestFilters: what each setting looks for, and what becomes of it.
func TestFilters(t *testing.T) {
	const vbs = "Content-Type: application/octet-stream; name=\"Love.VBS\""
	nested := attached("Content-Type: message/rfc822\n\nFrom: a@x.example\nContent-Type: image/gif\nContent-Disposition: attachment; filename*=utf-8''a%2Evbs")
	for _, c := range []struct {
		name, filters, from string
		message             *bytesMessage
		want, note          string
	}{
		{"a name", filter("f", `attachment = ["*.exe", "*.vbs"]`), "", attached(vbs), "quarantine", "filter f: Love.VBS"},
		{"no such name", filter("f", `attachment = ["*.exe"]`), "", attached(vbs), "pass", ""},
		{"a star is not nothing", filter("f", `attachment = ["Love.VBS*"]`), "", attached(vbs), "pass", ""},
		{"a name in a message within", filter("f", `attachment = ["*.vbs"]`), "", nested, "quarantine", "filter f: a.vbs"},
		{"a type", filter("f", `type = ["image/*"]`, `then = "discard"`), "", attached("Content-Type: IMAGE/Gif"), "discard", ""},
		{"a type in a message within", filter("f", `type = ["image/*"]`), "", nested, "quarantine", "filter f: image/gif"},
		{"another type", filter("f", `type = ["image/*"]`), "", attached("Content-Type: text/html"), "pass", ""},
		{"a subject", filter("f", `subject = ["ILOVEYOU"]`), "", plainFrom("From: a@b.example\nSubject: =?utf-8?q?iloveyou?="), "quarantine", "filter f: iloveyou"},
		{"a longer subject", filter("f", `subject = ["ILOVEYOU"]`), "", plainFrom("From: a@b.example\nSubject: I love you, ILOVEYOU"), "pass", ""},
		{"From", filter("f", `originator = ["*@us.example.com"]`), "x@y.example", plainFrom("From: Ann <ann@US.example.com>"), "quarantine", "filter f: ann@US.example.com, ann@us.example.com"},
		{"Sender", filter("f", `originator = ["*@us.example.com"]`), "x@y.example", plainFrom("From: a@b.example\nSender: ann@us.example.com"), "quarantine", "filter f: ann@us.example.com"},
		{"MAIL", filter("f", `originator = ["*@us.example.com"]`), "ann@us.example.com", plainFrom("From: a@b.example"), "quarantine", "filter f: ann@us.example.com"},
		{"below the domain", filter("f", `originator = ["*@us.example.com"]`), "ann@a.us.example.com", plainFrom("From: a@b.example"), "pass", ""},
		{"IDN as it is", filter("f", `originator = ["*@bücher.example"]`), "", plainFrom("From: a@xn--bcher-kva.example"), "quarantine", "filter f: a@xn--bcher-kva.example"},
		{"IDN as DNS has it", filter("f", `originator = ["*@xn--bcher-kva.example"]`), "", plainFrom("From: a@bücher.example"), "quarantine", "filter f: a@xn--bcher-kva.example"},
		{"a list", filter("f", `originator = ["x@y.example", "list:friends"]`), "", plainFrom("From: joe@example.com"), "quarantine", "filter f: joe@example.com"},
		{"not on the list", filter("f", `originator = ["list:friends"]`), "", plainFrom("From: jim@example.com"), "pass", ""},
		{"any", filter("f", `subject = ["a"]`, `attachment = ["*.vbs"]`), "", attached(vbs), "quarantine", "filter f: Love.VBS"},
		{"not all", filter("f", `subject = ["a"]`, `attachment = ["*.vbs"]`, `match = "all"`), "", attached(vbs), "pass", ""},
		{"all", filter("f", `subject = ["x"]`, `attachment = ["*.vbs"]`, `match = "all"`), "", attached(vbs), "quarantine", "filter f: x, Love.VBS"},
		{"steps", filter("f", `type = ["image/*"]`, `then = [{ tag = "pictures" }]`), "", attached("Content-Type: image/gif"), "tag pictures", ""},
		{"steps that reject", filter("f", `type = ["image/*"]`, `then = [{ reject = "No ${message.types[2]}" }]`), "", attached("Content-Type: image/gif"), "reject", ""},
		{"steps do not end it", filter("f", `type = ["image/*"]`, `then = [{ tag = "pictures" }]`) + filter("g", `type = ["image/gif"]`, `then = "discard"`), "", attached("Content-Type: image/gif"), "discard", ""},
		{"kept, so not dropped", filter("f", `type = ["image/*"]`) + filter("g", `type = ["image/gif"]`, `then = "discard"`), "", attached("Content-Type: image/gif"), "quarantine", "filter f: image/gif"},
		{"the first one in the file", filter("g", `type = ["image/gif"]`, `then = "discard"`) + filter("f", `type = ["image/*"]`), "", attached("Content-Type: image/gif"), "discard", ""},
		{"of another listener", filter("f", `type = ["image/*"]`, `listeners = ["inside"]`), "", attached("Content-Type: image/gif"), "pass", ""},
		{"escapes", filter("f", `subject = ['a\*\\']`), "", plainFrom("From: a@b.example\nSubject: a*\\"), "quarantine", `filter f: a*\`},
		{"a name with a dollar", filter("$f ${", `subject = ["x"]`), "", attached(vbs), "quarantine", "filter $f ${: x"},
	} {
		what, note, _ := became(t, compile(t, c.filters), c.from, c.message)
		if what != c.want || note != c.note {
			t.Errorf("%s: %s %q, want %s %q", c.name, what, note, c.want, c.note)
		}
	}
}

// TestFiltersOfUnreadable: what cannot be read never passes a filter that looks where
// it cannot be read, unless that is said.
func TestFiltersOfUnreadable(t *testing.T) {
	parts := attached("Content-Type: application/x; name=\"=?x-none?q?a?=\"")
	header := plainFrom("From: a@b.example\nSubject: =?x-none?q?a?=")
	twice := plainFrom("From: a@b.example\nFrom: c@d.example\nSubject: x")
	const why = "filter f: cannot be read: part 1"
	for _, c := range []struct {
		name, filters string
		message       *bytesMessage
		want, note    string
	}{
		{"kept", filter("f", `attachment = ["*.vbs"]`), parts, "quarantine", why},
		{"kept, not dropped", filter("f", `attachment = ["*.vbs"]`, `then = "discard"`), parts, "quarantine", why},
		{"kept, not passed on", filter("f", `type = ["image/*"]`, `then = [{ tag = "x" }]`), parts, "quarantine", why},
		{"certain in spite of it", filter("f", `subject = ["x"]`, `type = ["image/*"]`, `then = [{ tag = "x" }]`), parts, "tag x", ""},
		{"ignored", filter("f", `attachment = ["*.vbs"]`, `unreadable = "ignore"`), parts, "pass", ""},
		{"looked for", filter("f", `attachment = ["*.vbs"]`, `unreadable = "match"`, `then = "discard"`), parts, "discard", ""},
		{"looked for alone", filter("f", `unreadable = "match"`), parts, "quarantine", "filter f: part 1"},
		{"looked for with more", filter("f", `subject = ["y"]`, `unreadable = "match"`, `match = "all"`), parts, "pass", ""},
		{"looked for with more that is there", filter("f", `subject = ["x"]`, `unreadable = "match"`, `match = "all"`), parts, "quarantine", "filter f: x, part 1"},
		{"readable where it looks", filter("f", `subject = ["y"]`, `originator = ["*@z.example"]`), parts, "pass", ""},
		{"a header", filter("f", `subject = ["y"]`), header, "quarantine", why},
		{"a header, of parts", filter("f", `attachment = ["*.vbs"]`), header, "pass", ""},
		{"a header, with parts that are not there", filter("f", `subject = ["y"]`, `type = ["image/*"]`, `match = "all"`), header, "pass", ""},
		{"a header, with parts that are there", filter("f", `subject = ["y"]`, `type = ["text/*"]`, `match = "all"`), header, "quarantine", why},
		{"two authors", filter("f", `originator = ["*@z.example"]`), twice, "quarantine", why},
		{"two authors, one looked for", filter("f", `originator = ["*@d.example"]`, `then = "discard"`), twice, "discard", ""},
		{"what is certain goes first", filter("f", `attachment = ["*.vbs"]`) + filter("g", `subject = ["x"]`, `then = "discard"`), parts, "discard", ""},
		{"readable", filter("f", `unreadable = "match"`), plainFrom("From: a@b.example"), "pass", ""},
	} {
		what, note, _ := became(t, compile(t, c.filters), "", c.message)
		if what != c.want || !strings.HasPrefix(note, c.note) || c.note == "" && note != "" {
			t.Errorf("%s: %s %q, want %s %q", c.name, what, note, c.want, c.note)
		}
	}
}

// TestFiltersInspectOnce: one look for any number of filters and recipients, and none
// when no filter is for the listener.
func TestFiltersInspectOnce(t *testing.T) {
	many := ""
	for _, name := range []string{"a", "b", "c", "d"} {
		many += filter(name, `attachment = ["*.`+name+`"]`, `subject = ["`+name+`"]`)
	}
	for listeners, want := range map[string]int{`["smtp"]`: 1, `["inside"]`: 0} {
		m := plainFrom("From: a@b.example\nSubject: x")
		became(t, compile(t, strings.ReplaceAll(many, "attachment =", "listeners = "+listeners+"\nattachment =")), "", m)
		if m.inspected != want {
			t.Errorf("filters for %s: looked %d times", listeners, m.inspected)
		}
	}
}

// TestFilterTrail: the trail has the filter with its place.
func TestFilterTrail(t *testing.T) {
	_, _, trail := became(t, compile(t, filter("scripts", `attachment = ["*.pdf"]`)), "", content(sample))
	want := mail.Decided{Rule: "filter scripts", Place: "f:12", Step: "quarantine", Effect: "held (quarantine) filter scripts: bill.pdf"}
	if len(trail) != 2 || trail[0] != want || trail[1].Step != "accept" {
		t.Errorf("the trail is %v", trail)
	}
}
