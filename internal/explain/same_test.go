package explain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/directory"
	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/smtp"
)

// TestExplainIsWhatHappens: for random handlers and random messages, explain tells of
// each command the reply that a session at the door gets, and of each recipient what
// lies in the queue then.
func TestExplainIsWhatHappens(t *testing.T) {
	seen := map[string]int{}
	records := people(t)
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		text := strings.Replace(head, "max_recipients = 5\n", "max_recipients = 5\n"+randomAuth(r)+"\n", 1) + randomHandlers(r)
		s := server(t, text)
		s.Door.Local.Directory, s.Account = records, account
		for range 4 {
			m := randomMail(t, r)
			explained := walkIt(t, s, m)
			real := happen(t, s, m)
			if diff := cmp.Diff(real.lines, tell(explained)); diff != "" {
				t.Fatalf("seed %d: from %s to %v (-what happens +what is told)\n%s\n%s", seed, m.From, m.To, diff, text)
			}
			if diff := cmp.Diff(real.copies, copiesOf(explained)); diff != "" {
				t.Fatalf("seed %d: copies (-what happens +what is told)\n%s\n%s", seed, diff, text)
			}
			count(seen, explained)
		}
	}
	for _, what := range []string{"refused CONNECT", "refused EHLO", "refused AUTH", "refused MAIL", "refused RCPT", "refused DATA", "by nobody",
		"queued", "held", "discarded", "edits", "sender", "tags", "copies", "added", "tls", "readdressed", "routed", "variants", "expanded", "held members"} {
		if seen[what] < 5 {
			t.Errorf("%q was seen %d times: too few to show anything", what, seen[what])
		}
	}
}

// count notes what a report has.
func count(seen map[string]int, r *Report) {
	for _, c := range r.Commands {
		if !c.Reply.IsZero() {
			seen["refused "+c.Name]++
			if c.By == nil {
				seen["by nobody"]++
			}
		}
	}
	for i := range r.Recipients {
		x := &r.Recipients[i]
		seen[string(x.Outcome)]++
		for what, is := range map[string]bool{"edits": len(x.Edits) > 0, "sender": x.Sender != "", "tags": len(x.Tags) > 0, "copies": len(x.Copies) > 0,
			"added": len(x.Added) > 0, "tls": x.TLS != "", "later": !x.NotBefore.IsZero(), "readdressed": x.To != "" && x.To != x.as.String(), "routed": x.Routed != "" && x.Outcome != Refused, "variants": x.Variant > 1, "held members": x.Outcome == Held && len(x.Members) > 0} {
			if is {
				seen[what]++
			}
		}
	}
}

// happened is what came of a message that was sent.
type happened struct {
	lines  []string // the replies, then the recipients
	copies []string
}

// happen sends a message through a door of its own, as an SMTP server does.
func happen(t *testing.T, s *Server, m *Mail) happened {
	t.Helper()
	o := s.Door
	store := queue.NewMemory(queue.Options{Clock: o.Clock})
	o.Store, o.IDs, o.Policy, o.Routed = store, new(mail.IDs), s.Engine.Begin, s.Engine.Routed
	l, err := s.listener(m)
	if err != nil {
		t.Fatal(err)
	}
	origin := m.origin(l)
	session := intake.New(o).Session(origin)
	var h happened
	say := func(name, argument string, reply mail.Reply) bool {
		if reply.Success() {
			reply = mail.Reply{}
		}
		h.lines = append(h.lines, fmt.Sprintf("%s %s: %s", name, argument, reply))
		return reply.IsZero()
	}
	origin.Hello, origin.Protocol = m.hello(), "ESMTP"
	ok := say("CONNECT", "", session.Begin(t.Context())) && say("EHLO", origin.Hello, session.Hello(t.Context(), origin))
	if m.TLS != "" && ok {
		origin.TLS = &mail.TLS{Version: m.TLS, Cipher: ciphers[m.TLS]}
		origin.Protocol = "ESMTPS"
		ok = say("EHLO", origin.Hello, session.Hello(t.Context(), origin))
	}
	if m.User != "" && ok {
		ok = say("AUTH", m.User, session.Auth(t.Context(), accountOf(m.User)))
	}
	command := smtp.Mail{Envelope: mail.Envelope{From: m.From}}
	if m.Content != nil {
		command.Size = int64(len(m.content()))
	}
	taken := map[int]bool{} // by their index
	if ok && say("MAIL", m.From.Path(), session.Mail(t.Context(), command)) {
		for i, to := range m.To {
			if say("RCPT", to.Path(), session.Rcpt(t.Context(), smtp.Rcpt{Recipient: mail.Recipient{Address: to}})) {
				taken[i] = true
			}
		}
		if len(taken) > 0 && !say("DATA", "", session.Content(t.Context(), arriving{bytes.NewReader(m.content())})) {
			clear(taken)
		}
	}
	entries, err := store.List(t.Context(), queue.Filter{}, queue.Page{})
	if err != nil {
		t.Fatal(err)
	}
	for i, to := range m.To {
		line := to.String() + " refused"
		if taken[i] {
			line = inQueue(t, store, entries, to)
			if text, is := expansionOf(t, store, s.Engine.Routed(l.name, to, l.address.Addr())); is {
				line = to.String() + " " + text
			}
		}
		h.lines = append(h.lines, line)
	}
	for i := range entries {
		if e := &entries[i]; e.Envelope.From.IsNull() && strings.HasPrefix(e.Addresses()[0], "copy-") {
			h.copies = append(h.copies, e.Addresses()...)
		}
	}
	slices.Sort(h.copies)
	h.copies = slices.Compact(h.copies)
	return h
}

// inQueue tells what lies in the queue for a recipient.
func inQueue(t *testing.T, store *queue.Memory, entries []queue.Entry, to mail.Address) string {
	t.Helper()
	for i := range entries {
		e := &entries[i]
		for j := range e.Deliveries {
			d := &e.Deliveries[j]
			for k := range d.Recipients {
				x := &d.Recipients[k]
				named := x.Address.String()
				if x.Original != "" {
					_, named, _ = strings.Cut(x.Original, ";")
				}
				if named != to.String() || x.Notify == mail.NotifyNever {
					continue
				}
				r := Recipient{Address: to.String(), Outcome: Queued, To: x.Address.String(), Destination: d.Destination, TLS: e.TLS, Tags: e.Tags,
					Hold: x.Hold, Note: x.Why, Sender: e.Envelope.From.Path()}
				if x.State == mail.Held {
					r.Outcome = Held
				}
				if d.Next.After(e.Accepted) {
					r.NotBefore = d.Next
				}
				return r.line(bodyOf(t, store, e))
			}
		}
	}
	return to.String() + " discarded"
}

// line is all that is told of a recipient that gets something.
func (r *Recipient) line(body string) string {
	return fmt.Sprintf("%s %s: to %s (%s) %s %q tls %s tags %q from %s %s\n%s",
		r.Address, r.Outcome, r.To, r.Destination, r.Hold, r.Note, r.TLS, r.Tags, r.Sender, r.NotBefore, body)
}

// bodyOf is the content without the fields that have the id of the message.
func bodyOf(t *testing.T, store *queue.Memory, e *queue.Entry) string {
	t.Helper()
	b, err := store.Body(context.Background(), e.Body)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	content, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return withoutID(content)
}

func withoutID(content []byte) string {
	var kept []string
	skip := false
	for line := range strings.Lines(string(content)) {
		folded := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		if !folded {
			skip = strings.HasPrefix(line, "Received:") || strings.HasPrefix(line, "Message-ID:")
		}
		if !skip {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// tell writes a report in the form of happen.
func tell(r *Report) []string {
	var lines []string
	for _, c := range r.Commands {
		lines = append(lines, fmt.Sprintf("%s %s: %s", c.Name, c.Argument, c.Reply))
	}
	for i := range r.Recipients {
		x := &r.Recipients[i]
		if x.Outcome == Refused || x.Outcome == Discarded {
			lines = append(lines, x.Address+" "+string(x.Outcome))
			continue
		}
		if len(x.Members) > 0 {
			lines = append(lines, x.Address+" expanded: "+(&intake.Expansion{Members: make([]intake.Member, len(x.Members)), Unknown: unknownOf(x), List: x.List}).String())
			continue
		}
		told := *x
		if told.Sender == "" {
			told.Sender = r.Mail.From
		}
		lines = append(lines, told.line(withoutID(x.content)))
	}
	return lines
}

func copiesOf(r *Report) []string {
	var all []string
	for i := range r.Recipients {
		if x := &r.Recipients[i]; x.Outcome != Refused {
			all = append(all, x.Copies...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func pick(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }

// people is a directory with some for whom recipients stand.
func people(t *testing.T) *directory.Directory {
	t.Helper()
	d, err := directory.Open(t.Context(), directory.Options{Dir: t.TempDir(), Clock: mail.SystemClock{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	err = d.Change(t.Context(), "test", func(tx *directory.Tx) error {
		return errors.Join(
			tx.PutDomain(directory.Domain{Name: "gate.example"}),
			tx.PutUser(directory.User{Login: "clerk", Enabled: true, Addresses: []string{"clerk@gate.example"}}),
			tx.PutAlias(directory.Alias{Address: "sales@gate.example", Targets: []string{"seller@home.example"}}),
			tx.PutAlias(directory.Alias{Address: "two@gate.example", Targets: []string{"sales@gate.example", "second@home.example", "nobody@gate.example"}}),
			tx.PutAlias(directory.Alias{Address: "loop@gate.example", Targets: []string{"loop@gate.example"}}),
			tx.PutList(directory.List{Name: "staff", Kind: directory.Distribution, Address: "staff@gate.example", Owner: "boss@home.example", Posters: directory.Accounts, Entries: []string{"s1@home.example", "s2@home.example"}}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// accountOf is an account: joe may send as himself, to anywhere, ann to this host alone, and
// she has limits, which are not counted here.
func accountOf(name string) mail.Principal {
	p := mail.Principal{Account: mail.Account{Name: name, Source: "directory", Mechanism: "PLAIN"}, Services: mail.Services{Submit: true}}
	switch name {
	case "joe":
		p.Services.Relay, p.Addresses = true, []string{"joe@a.example"}
	case "ann":
		p.Limits = mail.AccountLimits{MessagesPerHour: 3, MaxSize: 300}
	}
	return p
}

func account(name string) (mail.Principal, bool) { return accountOf(name), true }

// randomAuth is what a listener may need accounts for.
func randomAuth(r *rand.Rand) string {
	return pick(r, "", "auth = \"optional\"", "auth = \"relay\"\nverify_from = \"account\"", "auth = \"relay_and_local\"", "auth = \"required\"\nverify_sender = \"account\"")
}

// expansionOf says for whom a recipient was expanded, by the facts.
func expansionOf(t *testing.T, store *queue.Memory, to mail.Address) (string, bool) {
	t.Helper()
	facts, err := store.NextFacts(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range facts {
		if f.Reason == mail.ReasonExpanded && slices.Contains(f.To, to.String()) {
			return "expanded: " + f.Text, true
		}
	}
	return "", false
}

func unknownOf(r *Recipient) []intake.Member {
	var list []intake.Member
	for _, text := range r.Unknown {
		a, _ := mail.ParseAddress(text)
		list = append(list, intake.Member{Address: a})
	}
	return list
}

// randomHandlers writes some, with everything that steps can do. Their priorities
// are of their own, so that none is a tie.
func randomHandlers(r *rand.Rand) string {
	var b strings.Builder
	for i := range 1 + r.IntN(9) {
		at := pick(r, "connect", "helo", "auth", "mail", "mail", "rcpt", "rcpt", "rcpt", "data", "data", "data")
		fmt.Fprintf(&b, "[[handler]]\nname = \"h%d\"\nat = %q\npriority = %d\n", i, at, i)
		if slices.Contains([]string{"mail", "rcpt", "data"}, at) && r.IntN(2) == 0 {
			fmt.Fprintf(&b, "sender = [%s]\n", pick(r, `"*@a.example"`, `"joe@*", "<>"`, `"*.example"`))
		}
		if slices.Contains([]string{"rcpt", "data"}, at) && r.IntN(2) == 0 {
			fmt.Fprintf(&b, "recipient = [%s]\n", pick(r, `"*@x.example"`, `"ann@*", "bob@*"`, `"*@gate.example"`, `"ann@x.example"`))
		}
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, "listeners = [%s]\n", pick(r, `"smtp"`, `"inside"`, `"smtp", "inside"`))
		}
		if r.IntN(2) == 0 {
			fmt.Fprintf(&b, "when = '%s'\n", randomCondition(r, at))
		}
		fmt.Fprintf(&b, "default = %q\nsteps = [%s]\n", pick(r, "accept", "accept", "accept", "reject", "defer"), randomSteps(r, at))
	}
	return b.String()
}

func randomCondition(r *rand.Rand, at string) string {
	list := []string{`client.trusted`, `tls.version == "TLS 1.3"`, `"t1" in tags`, `authentication.subject.id == "joe"`}
	if r.IntN(20) == 0 {
		return `[1, 2][client.port] == 1` // beyond the end: it cannot be worked out
	}
	switch at {
	case "data":
		list = append(list, `message.subject.contains("win")`, `message.size > 300`, `content.body.contains("gold")`, `size(smtp.rcpt.recipients) > 1`)
	case "rcpt":
		list = append(list, `smtp.rcpt.local`, `size(smtp.rcpt.recipients) > 0`, `smtp.mail.from == ""`)
	case "mail":
		list = append(list, `message.size > 100`, `smtp.helo.domain.startsWith("[")`)
	}
	return list[r.IntN(len(list))]
}

func randomSteps(r *rand.Rand, at string) string {
	all := []string{`"hold"`, `{ quarantine = "q ${client.address}" }`, `{ redirect = "desk@y.example" }`, `{ redirect = "postmaster@gate.example" }`, `{ redirect = "two@gate.example" }`, `{ add_header = "X-A: ${client.address}" }`, `{ remove_header = "X-Old" }`,
		`{ replace_header = "Subject: new" }`, `{ tag = "t1" }`, `{ tag = ["t2", "t3"] }`, `{ route_via = "relay.example:2525" }`, `"require_tls"`, `{ limit = "1000/1h", per = "client.address" }`,
		`{ copy_to = "copy-a@z.example" }`, `{ log = "x" }`, `{ set = "my.word", to = "w" }`}
	final := []string{`"accept"`, `{ reject = "no ${client.address}" }`, `"defer"`, `"discard"`}
	switch at {
	case "connect", "helo", "auth":
		all = append(all, `"allow_relay"`)
	case "mail":
		all = append(all, `"allow_relay"`, `{ rewrite_sender = "*@new.example" }`)
	case "rcpt":
		all = append(all, `{ rewrite_recipient = "*@new.example" }`, `{ add_recipient = "more@z.example" }`, `{ rewrite_sender = "<>" }`)
	case "data":
		all = append(all, `{ rewrite_recipient = "*@new.example" }`, `{ add_recipient = "more@z.example" }`, `{ remove_recipient = "bob@*" }`, `{ copy_to = ["copy-b@z.example", "copy-a@z.example"] }`)
	}
	var steps []string
	for range 1 + r.IntN(3) {
		steps = append(steps, all[r.IntN(len(all))])
	}
	if r.IntN(3) == 0 {
		steps = append(steps, final[r.IntN(len(final))])
	}
	return strings.Join(steps, ", ")
}

func randomMail(t *testing.T, r *rand.Rand) *Mail {
	m := &Mail{
		Listener: pick(r, "smtp", "smtp", "inside"), Client: client(pick(r, "10.1.1.1", "10.1.1.1", "203.0.113.7", "10.6.6.6")),
		TLS: pick(r, "", "TLS 1.3"), User: pick(r, "", "joe", "ann"), From: address(t, pick(r, "joe@a.example", "<>", "sue@b.example")),
	}
	for range 1 + r.IntN(4) {
		m.To = append(m.To, address(t, pick(r, "ann@x.example", "bob@x.example", "eve@w.example", "ann@gate.example", "postmaster@gate.example", "postmaster", "sales@gate.example", "two@gate.example", "staff@gate.example", "loop@gate.example", "zoe%x.example@gate.example", "ann%w.example@gate.example")))
	}
	if r.IntN(4) > 0 {
		m.Content = []byte("Subject: " + pick(r, "hello", "you win") + "\nX-Old: 1\n\n" + strings.Repeat("text\n", r.IntN(100)) + pick(r, "", "gold\n"))
	}
	return m
}
