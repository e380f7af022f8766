package explain

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/queue"
	"postern/internal/smtp"
	"postern/internal/smtpserver"
)

// Walk takes a message through all commands, up to the one that refuses it. It fails
// when the listener is unknown, or the message cannot be brought by it.
func (s *Server) Walk(ctx context.Context, m *Mail) (*Report, error) {
	l, err := s.listener(m)
	if err != nil {
		return nil, err
	}
	if err := m.check(l); err != nil {
		return nil, err
	}
	w := &walk{server: s, mail: m, listener: l, store: &nothing{Memory: queue.NewMemory(queue.Options{Clock: s.Door.Clock})}, contents: make(map[mail.ID][]byte)}
	w.report.Mail = m.question(l)
	w.open()
	w.commands(ctx)
	w.report.Unreached = w.explanation.Unreached()
	w.outcomes()
	w.notes()
	if err := w.signatures(ctx); err != nil {
		return nil, err
	}
	return &w.report, nil
}

// check looks whether the message can be brought by a listener at all.
func (m *Mail) check(l *listener) error {
	switch {
	case len(m.To) == 0:
		return errors.New("there is no recipient")
	case l.name == SendmailListener && m.User == "":
		return errors.New("who sends by sendmail is a user of this host: name him as user")
	case l.name == SendmailListener && (m.TLS != "" || m.Client.IsValid()):
		return errors.New("who sends by sendmail has neither an address nor TLS")
	case l.name == SendmailListener && m.RequireTLS:
		return errors.New("who sends by sendmail cannot say REQUIRETLS")
	case l.name != SendmailListener && !m.Client.IsValid():
		return errors.New("the client has no address")
	}
	return nil
}

func (m *Mail) question(l *listener) Question {
	q := Question{Listener: l.name, Hello: m.hello(), User: m.User, TLS: m.TLS, RequireTLS: m.RequireTLS, From: m.From.Path(), Size: int64(len(m.content())), MadeUp: m.Content == nil}
	if m.Client.IsValid() {
		q.Client = m.Client.Addr().String()
	}
	for _, to := range m.To {
		q.To = append(q.To, to.String())
	}
	return q
}

// walk is one message on its way.
type walk struct {
	server      *Server
	mail        *Mail
	listener    *listener
	store       *nothing
	session     *intake.Session
	explanation *policy.Explanation
	origin      mail.Origin // as far as the client is known
	taken       int         // recipients that were accepted
	contents    map[mail.ID][]byte
	report      Report
}

// nothing is a store that keeps what it is given for a look, and no longer.
type nothing struct {
	*queue.Memory
	group queue.Group
}

// Accept remembers the group.
func (n *nothing) Accept(ctx context.Context, g queue.Group) error {
	n.group = g
	return n.Memory.Accept(ctx, g)
}

// open opens the session at the door.
func (w *walk) open() {
	o := w.server.Door
	o.Store, o.IDs, o.Logger, o.Metrics, o.Inspections = w.store, new(mail.IDs), nil, nil, nil
	o.Routed = w.server.Engine.Routed
	o.Policy = func(origin mail.Origin) *policy.Session {
		var p *policy.Session
		p, w.explanation = w.server.Engine.Explain(origin)
		return p
	}
	w.origin = w.mail.origin(w.listener)
	w.session = intake.New(o).Session(w.origin)
}

// commands says one command after the other, until one refuses all.
func (w *walk) commands(ctx context.Context) {
	origin := w.mail.origin(w.listener)
	if !w.say(config.AtConnect, "", func() mail.Reply { return w.session.Begin(ctx) }) {
		return
	}
	origin.Hello, origin.Protocol = w.mail.hello(), "ESMTP"
	hello := func() mail.Reply { return w.session.Hello(ctx, origin) }
	if !w.say(config.AtHelo, origin.Hello, hello) {
		return
	}
	if w.mail.TLS != "" { // begun after an EHLO in clear
		origin.TLS, origin.Protocol = &mail.TLS{Version: w.mail.TLS, Cipher: ciphers[w.mail.TLS]}, "ESMTPS"
		if !w.say(config.AtHelo, origin.Hello, hello) {
			return
		}
	}
	if w.mail.User != "" && origin.User == nil {
		who := w.account()
		if !w.say(config.AtAuth, w.mail.User, func() mail.Reply { return w.session.Auth(ctx, who) }) {
			return
		}
		w.origin.Account = &who.Account
	}
	w.transaction(ctx)
}

// account is that of the client. One that is not known is taken for one that may do
// all, and for which nothing else is recorded.
func (w *walk) account() mail.Principal {
	if w.server.Account != nil {
		if p, known := w.server.Account(w.mail.User); known {
			return p
		}
	}
	w.note("there is no account %s that may log in: one that may send to anywhere was taken, with no addresses and no limits", w.mail.User)
	return madeUpAccount(w.mail.User)
}

func madeUpAccount(name string) mail.Principal {
	return mail.Principal{Account: mail.Account{Name: name}, Services: mail.Services{Submit: true, Relay: true}}
}

func (w *walk) transaction(ctx context.Context) {
	if !w.say(config.AtMail, w.mail.From.Path(), func() mail.Reply { return w.begin(ctx) }) {
		return
	}
	for _, to := range w.mail.To {
		if w.say(config.AtRcpt, to.Path(), func() mail.Reply { return w.recipient(ctx, to) }) {
			w.taken++
		}
	}
	if w.taken > 0 {
		w.say(config.AtData, "", func() mail.Reply { return w.content(ctx) })
	}
}

// begin says MAIL, with the size if there is a message.
func (w *walk) begin(ctx context.Context) mail.Reply {
	m := smtp.Mail{Envelope: mail.Envelope{From: w.mail.From, UTF8: w.needsUTF8(), RequireTLS: w.mail.RequireTLS}}
	if w.mail.RequireTLS && !w.offersRequireTLS() {
		return mail.NewReply(555, "5.5.4", "REQUIRETLS is not offered here, or not without TLS")
	}
	if w.mail.Content != nil {
		m.Size = w.report.Mail.Size
	}
	if m.Size > w.listener.maxSize {
		return smtpserver.TooLarge(w.listener.maxSize)
	}
	return w.session.Mail(ctx, m)
}

// offersRequireTLS reports whether the client can demand TLS on the whole way (RFC 8689 2).
func (w *walk) offersRequireTLS() bool {
	return w.mail.TLS != "" && w.server.OffersRequireTLS != nil && w.server.OffersRequireTLS(w.listener.name)
}

// needsUTF8 reports whether a client would have to ask for SMTPUTF8.
func (w *walk) needsUTF8() bool {
	ascii := w.mail.From.IsASCII()
	for _, to := range w.mail.To {
		ascii = ascii && to.IsASCII()
	}
	return !ascii
}

func (w *walk) recipient(ctx context.Context, to mail.Address) mail.Reply {
	if w.taken >= w.listener.maxRecipients {
		return smtpserver.TooMany(w.listener.maxRecipients)
	}
	reply := w.session.Rcpt(ctx, smtp.Rcpt{Recipient: mail.Recipient{Address: to}})
	if login := w.server.Door.Local.Owner(to); login != "" && reply.Code == 550 && reply.Enhanced == "5.1.1" {
		w.note("%s is an address of the user %s, and there are no mailboxes here: an alias for it would say where its mail goes", to, login)
	}
	return reply
}

// content sends the message. That it was accepted says nothing with the id that it
// would not have.
func (w *walk) content(ctx context.Context) mail.Reply {
	reply := w.session.Content(ctx, arriving{bytes.NewReader(w.mail.content())})
	if reply.Success() {
		return mail.Reply{}
	}
	return reply
}

// say says a command, and notes what came of it. It reports whether it was accepted.
func (w *walk) say(at config.Command, argument string, command func() mail.Reply) bool {
	c := Command{Name: verbs[at], Argument: argument, Reply: command()}
	c.Considered = w.explanation.Command(at)
	if at == config.AtHelo {
		c.Greeting = w.session.Greeting()
	}
	ok := c.Reply.IsZero()
	if !ok {
		c.By = refuser(c.Considered)
	}
	w.report.Commands = append(w.report.Commands, c)
	if !ok && at != config.AtRcpt {
		w.report.Refused = &Refusal{Command: c.Name, Reply: c.Reply, By: c.By}
	}
	return ok
}

// verbs are the commands as a client says them.
var verbs = map[config.Command]string{
	config.AtConnect: "CONNECT", config.AtHelo: "EHLO", config.AtAuth: "AUTH",
	config.AtMail: "MAIL", config.AtRcpt: "RCPT", config.AtData: "DATA",
}

// refuser is the handler that has refused; nil when none has.
func refuser(considered []policy.Considered) *Handler {
	for i := len(considered) - 1; i >= 0; i-- {
		if c := &considered[i]; c.Verdict != "" {
			h := handlerOf(c)
			return &h
		}
	}
	return nil
}

// notes say what the report cannot know.
func (w *walk) notes() {
	q := &w.report.Mail
	if q.MadeUp {
		w.note("no message was given: an empty one was looked at")
	}
	if !w.server.BlockLists && w.uses("dnsbl.") {
		w.note("block lists were not asked: nobody is on them here")
	}
	if w.some(func(c *policy.Considered) bool { return took(c, []string{"limit"}) }) {
		w.note("limits were looked at, and neither counted nor compared with what was counted")
	}
	if q.Listener == SendmailListener {
		w.note("what it does when the server is down is not told here")
	}
}

// signatures says who signs each content, and for whom that speaks.
func (w *walk) signatures(ctx context.Context) error {
	if w.server.Signatures == nil {
		return nil
	}
	for i := range w.store.group.Submissions {
		e := &w.store.group.Submissions[i].Entry
		content, err := w.store.Body(ctx, cmp.Or(e.Body, e.ID))
		if err != nil {
			return err
		}
		for _, line := range w.server.Signatures(ctx, Leaving{&e.Origin, e.Envelope.From, content, content.Size()}) {
			if !slices.Contains(w.report.Notes, line) {
				w.note("%s", line)
			}
		}
		if err := content.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) note(format string, args ...any) {
	w.report.Notes = append(w.report.Notes, fmt.Sprintf(format, args...))
}

// uses reports whether a condition has asked for attributes that begin so.
func (w *walk) uses(attributes string) bool {
	return w.some(func(c *policy.Considered) bool {
		for _, v := range c.Values {
			if strings.HasPrefix(v.Name, attributes) {
				return true
			}
		}
		return false
	})
}

func (w *walk) some(is func(*policy.Considered) bool) bool {
	for i := range w.report.Commands {
		for j := range w.report.Commands[i].Considered {
			if is(&w.report.Commands[i].Considered[j]) {
				return true
			}
		}
	}
	return false
}
