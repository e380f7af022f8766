package daemon

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/journal"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/internal/queue"
)

const scopeHead = `version = 1
hostname = "gate.example"
postmaster = "admin@corp.example"
data_dir = "data"
[delivery]
smarthosts = ["127.0.0.1:1"]
[[listener]]
address = "127.0.0.1:2525"
trust = ["127.0.0.0/8"]
tls_certificate = "crt"
tls_key = "key"
`

// scopeHandlers mark what comes of each command: one that leaks marks the wrong mail.
const scopeHandlers = `
[[handler]]
at = "helo"
when = 'smtp.helo.domain == "marked"'
steps = [{ tag = "helo" }, { add_header = "X-Helo: yes" }]
[[handler]]
at = "helo"
when = 'smtp.helo.domain == "refused"'
priority = 1
steps = [{ tag = "refused" }, "allow_relay", "reject"]
[[handler]]
at = "mail"
sender = ["marked@*"]
steps = [{ tag = "mail" }, { require_tls = "verify" }]
[[handler]]
at = "mail"
sender = ["refused@*"]
steps = [{ tag = "refused" }, "reject"]
[[handler]]
at = "rcpt"
recipient = ["marked@*"]
steps = [{ tag = "rcpt" }, { redirect = "other@x.example" }]
[[handler]]
at = "rcpt"
recipient = ["refused@*"]
steps = [{ tag = "refused" }, "reject"]
[[handler]]
at = "data"
when = 'message.subject == "marked"'
steps = [{ tag = "data" }, { add_header = "X-Data: yes" }]
[[handler]]
at = "data"
when = 'message.subject == "dropped"'
priority = 2
steps = ["discard"]
[[handler]]
at = "data"
recipient = ["removed@*"]
when = 'message.subject == "removed"'
steps = [{ remove_recipient = "removed@*" }, { add_recipient = "added@x.example" }]
[[handler]]
at = "data"
when = 'message.subject == "removed"'
priority = 3
steps = [{ add_recipient = "added@y.example" }]
[[handler]]
at = "data"
when = 'message.subject == "refused"'
priority = 1
steps = [{ tag = "refused" }, "reject"]
`

// scopes are dialogues, a command and the code of its reply at a time; commands in one
// line are sent at once. Of each, the mail that is stored.
var scopes = []struct {
	name  string
	says  []string
	wants []string
}{
	{"dropped for all", []string{
		"EHLO a > 250", "MAIL FROM:<a@c.example> > 250", "RCPT TO:<b@x.example> > 250", "RCPT TO:<c@x.example> > 250", "DATA > 354", "Subject: dropped > 250",
		"MAIL FROM:<a@c.example> > 250", "RCPT TO:<d@x.example> > 250", "DATA > 354", "Subject: x > 250",
	}, []string{"d@x.example:", "discarded b@x.example c@x.example"}},
	{"removed for some", []string{
		"EHLO a > 250", "MAIL FROM:<a@c.example> > 250", "RCPT TO:<removed@x.example> > 250", "RCPT TO:<c@x.example> > 250", "DATA > 354", "Subject: removed > 250",
	}, []string{"c@x.example:", "added@y.example:", "discarded removed@x.example"}},
	{"a message is marked", []string{
		"EHLO marked > 250", "MAIL FROM:<marked@c.example> > 250", "RCPT TO:<marked@x.example> > 250", "RCPT TO:<b@x.example> > 250", "DATA > 354", "Subject: marked > 250",
	}, []string{"other@x.example: helo mail rcpt data verify X-Helo X-Data", "b@x.example: helo mail data verify X-Helo X-Data"}},
	{"the next one is not", []string{
		"EHLO marked > 250", "MAIL FROM:<marked@c.example> > 250", "RCPT TO:<marked@x.example> > 250", "DATA > 354", "Subject: marked > 250",
		"MAIL FROM:<a@c.example> > 250", "RCPT TO:<b@x.example> > 250", "DATA > 354", "Subject: x > 250",
	}, []string{"other@x.example: helo mail rcpt data verify X-Helo X-Data", "b@x.example: helo X-Helo"}},
	{"nor one behind RSET", []string{
		"EHLO a > 250", "MAIL FROM:<marked@c.example> > 250", "RCPT TO:<marked@x.example> > 250", "RSET > 250",
		"MAIL FROM:<a@c.example> > 250", "RCPT TO:<b@x.example> > 250", "DATA > 354", "Subject: x > 250",
	}, []string{"b@x.example:"}},
	{"nor behind another EHLO", []string{
		"EHLO marked > 250", "MAIL FROM:<marked@c.example> > 250", "RCPT TO:<marked@x.example> > 250", "EHLO b > 250",
		"MAIL FROM:<a@c.example> > 250", "RCPT TO:<b@x.example> > 250", "DATA > 354", "Subject: x > 250",
	}, []string{"b@x.example:"}},
	{"a refused EHLO changes nothing", []string{
		"EHLO marked > 250", "MAIL FROM:<a@c.example> > 250", "RCPT TO:<b@x.example> > 250", "EHLO refused > 550", "RCPT TO:<c@x.example> > 250", "DATA > 354", "Subject: x > 250",
	}, []string{"b@x.example: helo X-Helo", "c@x.example: helo X-Helo"}},
	{"refused commands mark nothing", []string{
		"EHLO a > 250", "MAIL FROM:<refused@c.example> > 550", "MAIL FROM:<a@c.example> > 250", "RCPT TO:<refused@x.example> > 550", "RCPT TO:<b@x.example> > 250", "DATA > 354", "Subject: refused > 554",
		"MAIL FROM:<a@c.example> > 250", "RCPT TO:<b@x.example> > 250", "DATA > 354", "Subject: x > 250",
	}, []string{"b@x.example:"}},
	{"nor does what came too early", []string{
		"EHLO a > 250", "MAIL FROM:<marked@c.example> > 250", "MAIL FROM:<a@c.example> > 503", "DATA > 554", "RCPT TO:<b@x.example> > 250", "DATA > 354", "Subject: x > 250",
	}, []string{"b@x.example: mail verify"}},
	{"commands sent at once", []string{
		"EHLO a > 250", "MAIL FROM:<marked@c.example>, RCPT TO:<marked@x.example>, RSET, MAIL FROM:<a@c.example>, RCPT TO:<refused@x.example>, RCPT TO:<b@x.example>, DATA > 250 250 250 250 550 250 354", "Subject: x > 250",
	}, []string{"b@x.example:"}},
	{"behind STARTTLS nothing is known of before", []string{
		"EHLO marked > 250", "MAIL FROM:<marked@c.example> > 250", "RCPT TO:<b@x.example> > 250", "STARTTLS", "MAIL FROM:<a@c.example> > 503",
		"EHLO a > 250", "MAIL FROM:<a@c.example> > 250", "RCPT TO:<b@x.example> > 250", "DATA > 354", "Subject: x > 250",
	}, []string{"b@x.example:"}},
	{"chunks", []string{
		"EHLO a > 250", "MAIL FROM:<marked@c.example> > 250", "RCPT TO:<marked@x.example> > 250", "BDAT 20 LAST > 554", "MAIL FROM:<a@c.example> > 250", "RCPT TO:<b@x.example> > 250", "DATA > 354", "Subject: x > 250",
	}, []string{"b@x.example:"}},
}

// TestScopesOnTheWire: what policy does at a command holds as long as it must, and not
// for mail that comes after it, however transactions and sessions go on.
func TestScopesOnTheWire(t *testing.T) {
	for _, c := range scopes {
		t.Run(c.name, func(t *testing.T) {
			r := scoped(t)
			client, _ := mailtest.NewClient(t, r.smtp())
			for _, line := range c.says {
				say(t, client, line)
			}
			client.Command("QUIT")
			got := r.marks(t)
			r.end(t)
			got = append(got, r.discarded(t)...)
			slices.Sort(got)
			slices.Sort(c.wants)
			if diff := cmp.Diff(c.wants, got); diff != "" {
				t.Errorf("the queue (-want +got)\n%s", diff)
			}
		})
	}
}

// scoped starts a server with the handlers, and a certificate.
func scoped(t *testing.T) *run {
	t.Helper()
	dir := withConfig(t, scopeHead+scopeHandlers)
	c, err := config.Load(os.DirFS(dir), "postern.toml")
	if err != nil {
		t.Fatal(err)
	}
	l := &c.Listeners[0]
	l.Address, c.DataDir = netip.MustParseAddrPort("127.0.0.1:0"), filepath.Join(dir, "data")
	l.TLSCertificate, l.TLSKey = filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	made, err := certs.SelfSigned(certs.Options{Names: []string{"gate.example"}})
	if err := errors.Join(err, certs.Save(made, l.TLSCertificate, l.TLSKey)); err != nil {
		t.Fatal(err)
	}
	return start(t, c)
}

// say says a line of a dialogue, and wants its replies.
func say(t *testing.T, c *mailtest.Client, line string) {
	t.Helper()
	if line == "STARTTLS" {
		c.StartTLS(&tls.Config{InsecureSkipVerify: true}) // it is our own
		return
	}
	commands, codes, _ := strings.Cut(line, " > ")
	text := strings.ReplaceAll(commands, ", ", "\r\n") + "\r\n"
	switch {
	case strings.HasPrefix(text, "Subject"):
		text += "\r\nx\r\n.\r\n"
	case strings.HasPrefix(text, "BDAT"):
		text += "Subject: refused\r\n\r\n"
	}
	c.SendRaw(text)
	var got []string
	for range strings.Fields(codes) {
		got = append(got, c.Reply().String()[:3])
	}
	if heard := strings.Join(got, " "); heard != codes {
		t.Fatalf("to %q the server says %s, want %s", commands, heard, codes)
	}
}

// discarded are the recipients that the journal of a server that has ended says were
// dropped, which each were accepted before.
func (r *run) discarded(t *testing.T) []string {
	t.Helper()
	var list []string
	accepted := map[string]bool{}
	err := journal.Read(t.Context(), filepath.Join(r.graph.config.DataDir, "journal"), journal.Query{}, func(f mail.Fact) error {
		for _, to := range f.To {
			if f.Reason == mail.ReasonAccepted {
				accepted[to] = true
			}
		}
		if f.Reason != mail.ReasonDiscarded {
			return nil
		}
		for _, to := range f.To {
			if !accepted[to] || len(f.Trail) == 0 {
				t.Errorf("%s is dropped and was not accepted, or for no reason: %+v", to, f)
			}
		}
		list = append(list, "discarded "+strings.Join(f.To, " "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// marks are the recipients in the queue with what marks their mail.
func (r *run) marks(t *testing.T) []string {
	t.Helper()
	entries, err := r.store.List(t.Context(), queue.Filter{}, queue.Page{})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		marks := slices.Clone(e.Tags)
		if e.TLS != "" {
			marks = append(marks, string(e.TLS))
		}
		body, err := r.store.Body(t.Context(), e.Body)
		if err != nil {
			t.Fatal(err)
		}
		content := make([]byte, body.Size())
		if _, err := body.ReadAt(content, 0); err != nil {
			t.Fatal(err)
		}
		body.Close()
		for _, field := range []string{"X-Helo", "X-Data"} {
			if strings.Contains(string(content), field+": yes\r\n") {
				marks = append(marks, field)
			}
		}
		for _, to := range e.Addresses() {
			list = append(list, strings.TrimSpace(to+": "+strings.Join(marks, " ")))
		}
	}
	return list
}
