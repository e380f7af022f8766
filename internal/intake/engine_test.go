package intake

import (
	"net/netip"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/smtp"
)

// handlersOfTest are what an administrator may write, an effect each.
const handlersOfTest = `version = 1
hostname = "gate.example"
postmaster = "admin@example.com"
data_dir = "/var/lib/postern"
[[listener]]
name = "test"
address = "127.0.0.1:2525"
trust = ["10.0.0.0/8"]
[[handler]]
name = "bad-host"
at = "connect"
when = 'client.address == "10.6.6.6"'
steps = [ { reject = "Not you" } ]
[[handler]]
name = "axway"
at = "mail"
sender = ["*@axway.*"]
steps = [ { tag = "axway" } ]
[[handler]]
name = "no-yahoo"
at = "rcpt"
recipient = ["d*@yahoo.*"]
steps = [ { reject = "550 5.7.1 No mail to ${smtp.rcpt.to}" } ]
[[handler]]
name = "partner"
at = "rcpt"
recipient = ["*@partner.example"]
steps = [ { route_via = "Relay2.example" }, "require_tls" ]
[[handler]]
name = "help"
at = "rcpt"
recipient = ["help@gate.example"]
steps = [ { redirect = "desk@partner.example" } ]
[[handler]]
name = "winner"
at = "data"
when = 'message.subject.contains("winner")'
steps = [ { quarantine = "too good" }, { copy_to = "abuse@example.com" } ]
[[handler]]
name = "large"
at = "data"
recipient = ["*@small.example"]
when = 'message.size > 100000'
steps = [ { reject = "552 5.3.4 Too large for ${smtp.mail.from}" } ]
[[handler]]
name = "mark"
at = "data"
recipient = ["marked@*"]
steps = [ { add_header = "X-Via: gate" } ]
`

func engineOf(t *testing.T, text string) *policy.Engine {
	t.Helper()
	c, err := config.Load(fstest.MapFS{"f": {Data: []byte(text)}}, "f")
	if err != nil {
		t.Fatal(err)
	}
	local := &Local{Names: []string{"gate.example"}}
	e, problems := policy.Compile(policy.Options{Config: c, Local: local.Is})
	for _, p := range problems {
		t.Error(p)
	}
	return e
}

// TestEngine sends through the door what handlers of a configuration decide
// about, to the queue and the facts.
func TestEngine(t *testing.T) {
	client := func(s string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(s), 4025) }
	for _, c := range []struct {
		name    string
		client  string
		from    string
		to      []string
		content string
		replies []string // of connect, MAIL, each RCPT, and the content, as far as they refuse
		entries []string
		facts   []string
	}{
		{"at connect", "10.6.6.6", "", nil, "", []string{"554 5.7.1 Not you"}, nil, nil},
		{"no relaying", "203.0.113.7", "a@b.example", []string{"x@y.example"}, "", []string{"550 5.7.1 Relaying denied: 203.0.113.7 may not send to this domain from here"}, nil, nil},
		{"a stranger writes to the postmaster", "203.0.113.7", "a@b.example", []string{"postmaster@gate.example"}, plainText, nil,
			[]string{"1 of 1 with 1: <a@b.example> to admin@example.com (example.com was rfc822;postmaster@gate.example)"},
			[]string{"accepted 1: <a@b.example> to postmaster@gate.example", "readdressed 1: <a@b.example> to postmaster@gate.example, to <admin@example.com>"}},
		{"a stranger writes to whom policy knows here", "203.0.113.7", "a@b.example", []string{"help@gate.example", "nobody@gate.example"}, plainText, []string{"550 5.1.1 No such user here"},
			[]string{"1 of 1 with 1: <a@b.example> to desk@partner.example (partner.example was rfc822;help@gate.example)"},
			[]string{"accepted 1: <a@b.example> to help@gate.example | help (f:29), redirect: goes to <desk@partner.example> instead | help (f:29), default: accept",
				"readdressed 1: <a@b.example> to help@gate.example, to <desk@partner.example> | help (f:29), redirect: goes to <desk@partner.example> instead | help (f:29), default: accept"}},
		{"one is refused", "10.1.1.1", "S1@axway.example", []string{"dan@yahoo.example", "ann@gmail.example"}, plainText, []string{"550 5.7.1 No mail to dan@yahoo.example"},
			[]string{"1 of 1 with 1: <S1@axway.example> to ann@gmail.example (gmail.example), axway"},
			[]string{"accepted 1: <S1@axway.example> to ann@gmail.example | axway (f:14), tag: tagged axway | axway (f:14), default: accept"}},
		{"a route and TLS", "10.1.1.1", "a@b.example", []string{"x@partner.example", "y@other.example"}, plainText, nil,
			[]string{"1 of 1 with 1: <a@b.example> to x@partner.example (partner.example/relay2.example:25), required", "2 of 1 with 1: <a@b.example> to y@other.example (other.example)"},
			nil},
		{"quarantine with a copy", "10.1.1.1", "a@b.example", []string{"x@x.example"}, "Subject: =?utf-8?q?you_are_a_winn=65r?=\r\n\r\n", nil,
			[]string{"1 of 1 with 1: <a@b.example> to x@x.example (x.example held quarantine too good)", "2 of 1 with 1: <> to abuse@example.com (example.com NEVER)"},
			nil},
		{"one header for some", "10.1.1.1", "a@b.example", []string{"x@x.example", "marked@x.example"}, plainText, nil,
			[]string{"1 of 1 with 1: <a@b.example> to x@x.example (x.example)", "2 of 1 with 2: <a@b.example> to marked@x.example (x.example)"},
			nil},
		{"too large for one is too large for all", "10.1.1.1", "a@b.example", []string{"x@x.example", "y@small.example"}, plainText + string(make([]byte, 100_000)), []string{"552 5.3.4 Too large for a@b.example"}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoor(t, Options{Policy: engineOf(t, handlersOfTest).Begin})
			s := d.Session(mail.Origin{Listener: "test", Client: client(c.client), Local: here})
			var replies []string
			note := func(r mail.Reply) bool {
				if r.Code >= 400 {
					replies = append(replies, r.String())
				}
				return r.Code < 400
			}
			if note(s.Begin(t.Context())) && note(s.Hello(t.Context(), s.origin)) && note(s.Mail(t.Context(), smtp.Mail{Envelope: mail.Envelope{From: address(t, c.from)}})) {
				taken := 0
				for _, to := range c.to {
					if note(s.Rcpt(t.Context(), rcpt(t, to))) {
						taken++
					}
				}
				if taken > 0 {
					note(s.Content(t.Context(), content(c.content)))
				}
			}
			if diff := cmp.Diff(c.replies, replies); diff != "" {
				t.Errorf("refusals (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(c.entries, d.lines()); diff != "" {
				t.Errorf("entries (-want +got)\n%s", diff)
			}
			if c.facts == nil {
				return
			}
			if diff := cmp.Diff(c.facts, d.factLines()); diff != "" {
				t.Errorf("facts (-want +got)\n%s", diff)
			}
		})
	}
}
