package policy

import (
	"context"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/message"
)

// Session is one SMTP session, as policy sees it. A nil Session is one of a
// listener that no rule is for: it accepts everything. A Session is not safe for
// use by several goroutines.
//
// An effect of connect, helo and auth holds for the session, one of mail for the
// transaction, one of rcpt for the recipient, and one of data for the recipients
// with the same handler.
type Session struct {
	engine *Engine
	rules  *listenerRules
	origin mail.Origin
	// user is who the client is: an account, or the user of this host; account has all
	// that is known of an account, and is zero without.
	user    string
	account account
	// ctx is that of the command at hand, for attributes that are looked up.
	ctx context.Context

	from       mail.Address
	size       int64
	recipients []mail.Address // accepted so far
	to         mail.Address   // the one at hand
	message    Message        // at data

	// What was worked out, and is not again: content and block lists, addresses as
	// they are compared, conditions by the index of their rule.
	found    *message.Inspection
	content  map[string]any // attributes of the message, by name
	listed   *Listings
	sender   subject
	receiver subject
	known    []truth

	// lasting are the effects of connect, helo, auth and mail; frame those of the
	// command at hand, which may be one of them.
	lasting [4]frame
	frame   *frame

	record *Explanation // nil but for explain
}

// frame is what the steps of one command have done.
type frame struct {
	treatment  Treatment
	attributes map[string]string
	relay      bool
	removed    []pattern // recipients that are discarded
}

// inForce yields the effects that hold for the command at hand, the oldest first.
func (s *Session) inForce(yield func(*frame) bool) {
	own := true
	for i := range s.lasting {
		own = own && s.frame != &s.lasting[i]
		if !yield(&s.lasting[i]) {
			return
		}
	}
	if own {
		yield(s.frame)
	}
}

// Connect decides whether the client is greeted.
func (s *Session) Connect(ctx context.Context) Decision {
	if s == nil {
		return Decision{}
	}
	return s.last(ctx, config.AtConnect)
}

// Helo decides about EHLO or HELO, which is in o, as TLS is by now. Without an account
// in o the client is nobody, whoever it was: TLS has begun (RFC 3207 4.2).
func (s *Session) Helo(ctx context.Context, o mail.Origin) Decision {
	if s == nil {
		return Decision{}
	}
	before, user, was := s.origin, s.user, s.account
	s.origin = o
	if o.Account == nil && o.User == nil {
		s.user, s.account = "", account{}
	}
	d := s.last(ctx, config.AtHelo)
	if d.Verdict != Accept {
		s.origin, s.user, s.account = before, user, was
	}
	d.Greeting = s.attribute("smtp.helo.greeting")
	return d
}

// Auth decides about a client who has proved to be somebody.
func (s *Session) Auth(ctx context.Context, p mail.Principal) Decision {
	if s == nil {
		return Decision{}
	}
	user, before := s.user, s.account
	s.Know(p)
	d := s.last(ctx, config.AtAuth)
	if d.Verdict != Accept {
		s.user, s.account = user, before
	}
	return d
}

// Know says who the client is without asking what is decided at auth: one that is
// known by its certificate or its address has not said AUTH.
func (s *Session) Know(p mail.Principal) {
	if s != nil {
		s.user, s.account = p.Name, account{Principal: p}
	}
}

// MaxSize is how large a message may be, in octets, by the limits of the account; 0
// when they say nothing.
func (s *Session) MaxSize() int64 {
	if s == nil {
		return 0
	}
	return s.account.Limits.MaxSize
}

// Mail decides about a transaction. size is what the client said of it, in octets,
// and 0 when it said nothing.
func (s *Session) Mail(ctx context.Context, from mail.Address, size int64) Decision {
	if s == nil {
		return Decision{}
	}
	s.Reset()
	s.from, s.size = from, size
	d := s.last(ctx, config.AtMail)
	if d.Verdict != Accept {
		s.Reset()
	}
	return d
}

// last runs a command whose effects last. What an earlier one of the same kind has
// done is over; but if the command is refused, all stays as it was before (RFC 5321
// 4.1.4).
func (s *Session) last(ctx context.Context, at config.Command) Decision {
	s.frame = &s.lasting[rank(at)]
	before := *s.frame
	*s.frame = frame{}
	d := s.decide(ctx, at)
	if d.Verdict != Accept {
		*s.frame = before
	}
	return d
}

// Rcpt decides about one recipient, as it stands after percent routing. With Accept
// it returns how its mail is treated so far.
func (s *Session) Rcpt(ctx context.Context, to mail.Recipient) (Decision, Treatment) {
	if s == nil {
		return Decision{}, Treatment{}
	}
	s.setRecipient(to.Address)
	defer s.setRecipient(mail.Address{})
	var own frame
	s.frame = &own
	d := s.decide(ctx, config.AtRcpt)
	if d.Verdict == Accept && own.treatment.Rewritten {
		s.checkRelay(own.treatment.Address, &d)
	}
	if d.Verdict != Accept {
		s.frame = &s.lasting[rank(config.AtMail)]
		return d, Treatment{}
	}
	var t Treatment
	for f := range s.inForce {
		t.add(&f.treatment)
	}
	s.frame = &s.lasting[rank(config.AtMail)]
	s.recipients = append(s.recipients, to.Address)
	return d, t
}

// Withdraw takes back the recipient that Rcpt accepted last: the server has refused it.
func (s *Session) Withdraw() {
	if s != nil && len(s.recipients) > 0 {
		s.recipients = s.recipients[:len(s.recipients)-1]
	}
}

// Reset ends the transaction, if there is one.
func (s *Session) Reset() {
	if s == nil {
		return
	}
	s.lasting[rank(config.AtMail)] = frame{}
	s.frame = &s.lasting[rank(config.AtMail)]
	s.from, s.size, s.sender = mail.Address{}, 0, subject{}
	s.recipients = nil
	s.message, s.found, s.content = nil, nil, nil
}

func (s *Session) setRecipient(a mail.Address) { s.to, s.receiver = a, subject{} }

// senderSubject and recipientSubject are the addresses as patterns see them.
func (s *Session) senderSubject() *subject { return s.sender.of(s.from) }

func (s *Session) recipientSubject() *subject { return s.receiver.of(s.to) }

func (c *subject) of(a mail.Address) *subject {
	if c.whole == "" {
		*c = subjectOf(a)
	}
	return c
}

// discarded reports whether all mail of session or transaction is dropped: nothing
// more is to be decided about it.
func (s *Session) discarded() bool {
	for i := range s.lasting {
		if s.lasting[i].treatment.Discard {
			return true
		}
	}
	return false
}

// decide runs the layers of a command, until one refuses or discards.
func (s *Session) decide(ctx context.Context, at config.Command) Decision {
	var d Decision
	s.ctx = ctx
	clear(s.known)
	s.record.begin(at, s.about()...)
	if s.discarded() {
		return d
	}
	list := s.rules.at[at]
	content := layer(-1) // the layer in which a rule has accepted
	for i := range list {
		if list[i].layer == content {
			continue
		}
		switch s.runLayer(&list[i], &d) {
		case stop:
			return d
		case layerDone:
			content = list[i].layer
		}
	}
	return d
}

// about is the recipient at hand, if there is one.
func (s *Session) about() []mail.Address {
	if s.record == nil || s.to.IsNull() {
		return nil
	}
	return []mail.Address{s.to}
}

// progress is what is to be asked after a rule.
type progress int

const (
	goOn      progress = iota // the next rule
	layerDone                 // the next layer
	stop                      // nothing: it is decided
)

// runLayer chooses a rule of a layer and does what it says.
func (s *Session) runLayer(l *layerRules, d *Decision) progress {
	r, err := s.choose(l)
	switch {
	case err != nil:
		s.fail(r, "when", err, d)
		return stop
	case r == nil:
		return goOn
	}
	return s.perform(r, d)
}

// perform does what a rule says, and counts what came of it.
func (s *Session) perform(r *rule, d *Decision) progress {
	next, err := s.take(r, d)
	if s.record == nil && err == nil {
		s.engine.metrics.decided(r, d.Verdict, next != stop)
	}
	return next
}

// take takes the steps of a rule until one decides. An error is in the decision already.
func (s *Session) take(r *rule, d *Decision) (next progress, err error) {
	for i := range r.steps {
		step := &r.steps[i]
		o := step.take(s, r)
		if o.err != nil {
			s.fail(r, step.name, o.err, d)
			return stop, o.err
		}
		s.note(d, r, step.name, o.effect)
		if o.decides {
			s.conclude(d, r, o.verdict, o.reply)
			if o.verdict == Accept && !o.discards {
				return layerDone, nil
			}
			return stop, nil
		}
	}
	s.note(d, r, "default", r.ending.String())
	if r.ending == Accept {
		return goOn, nil
	}
	s.conclude(d, r, r.ending, defaultReply(r.at, r.ending))
	return stop, nil
}

// conclude is what a rule decides.
func (s *Session) conclude(d *Decision, r *rule, v Verdict, reply mail.Reply) {
	d.Verdict, d.Reply = v, reply
	if v != Accept {
		s.record.refused(r, v)
	}
}

// checkRelay asks the relay layer about a recipient that a rule has rewritten.
func (s *Session) checkRelay(to mail.Address, d *Decision) {
	before := s.to
	s.setRecipient(to)
	clear(s.known)
	for i, list := 0, s.rules.at[config.AtRcpt]; i < len(list); i++ {
		if list[i].layer == relay {
			s.runLayer(&list[i], d)
		}
	}
	s.setRecipient(before)
}
