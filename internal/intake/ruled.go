package intake

import (
	"context"
	"slices"

	"postern/internal/mail"
	"postern/internal/policy"
	"postern/internal/smtp"
)

// rules is what a session asks policy: a policy.Session.
type rules interface {
	Connect(ctx context.Context) policy.Decision
	Helo(ctx context.Context, o mail.Origin) policy.Decision
	Auth(ctx context.Context, p mail.Principal) policy.Decision
	Know(p mail.Principal)
	Source(ctx context.Context, user, mechanism string) (string, policy.Decision)
	MaxSize() int64
	Mail(ctx context.Context, from mail.Address, size int64) policy.Decision
	Rcpt(ctx context.Context, to mail.Recipient) (policy.Decision, policy.Treatment)
	Withdraw()
	AtData() bool
	Data(ctx context.Context, to []policy.Addressee, m policy.Message) policy.Disposition
	Reset()
}

// ruled is a session about which policy has something to say: its rules, and
// what they have said so far. An effect at connect, EHLO or AUTH holds for the
// session, so that what was decided there belongs to the trail of each of its
// messages.
type ruled struct {
	rules
	greeting string

	connect, helo, user, sender []mail.Decided // what was decided at these commands
	to                          []policy.Addressee
	known                       map[mail.Recipient]bool // those in to
	changes                     bool                    // something is to be done for one of them
	last                        []mail.Decided          // behind the last reply
}

// answer returns the reply to a command, and notes its decision if it is in force from
// now on.
func (r *ruled) answer(at *[]mail.Decided, d policy.Decision) mail.Reply {
	r.last = d.Trail
	reply := replyOf(&d)
	if reply.IsZero() {
		*at = d.Trail
	}
	return reply
}

// replyOf is the reply to a command; zero where policy accepts.
func replyOf(d *policy.Decision) mail.Reply {
	switch {
	case d.Verdict == policy.Accept:
		return mail.Reply{}
	case d.Reply.IsZero(): // nobody is refused with nothing
		return mail.LocalError
	}
	return d.Reply
}

func (r *ruled) hello(ctx context.Context, o mail.Origin) mail.Reply {
	d := r.rules.Helo(ctx, o)
	r.greeting = d.Greeting
	return r.answer(&r.helo, d)
}

func (r *ruled) mail(ctx context.Context, m smtp.Mail) mail.Reply {
	r.forget()
	return r.answer(&r.sender, r.rules.Mail(ctx, m.Envelope.From, m.Size))
}

// rcpt decides about a recipient. One that is accepted is to be kept or withdrawn.
func (r *ruled) rcpt(ctx context.Context, to mail.Recipient) (policy.Addressee, mail.Reply) {
	d, t := r.rules.Rcpt(ctx, to)
	r.last = d.Trail
	return policy.Addressee{Recipient: to, Treatment: t, Trail: d.Trail}, replyOf(&d)
}

// keep notes a recipient. One that is named twice in the same way is kept once.
func (r *ruled) keep(a policy.Addressee) {
	if r.known[a.Recipient] {
		return
	}
	if r.known == nil {
		r.known = make(map[mail.Recipient]bool)
	}
	r.known[a.Recipient] = true
	r.to = append(r.to, a)
	r.changes = r.changes || !a.Treatment.IsZero()
}

// plain reports whether the message is stored as it comes: nothing is to be done
// for any recipient, and nothing can be said of the content.
func (r *ruled) plain() bool { return !r.changes && !r.rules.AtData() }

// trail is what was decided up to the content, each step once.
func (r *ruled) trail() []mail.Decided {
	v := verdict{trail: r.before()}
	return v.because(r.to)
}

// before is what was decided before there was a recipient.
func (r *ruled) before() []mail.Decided { return slices.Concat(r.connect, r.helo, r.user, r.sender) }

// data decides about the content; see judge.
func (r *ruled) data(ctx context.Context, t *taken) (verdict, error) {
	d := r.rules.Data(ctx, r.to, inspected{t.draft})
	r.last = d.Trail
	if reply := replyOf(&d.Decision); !reply.IsZero() {
		return verdict{}, &mail.Error{Reply: reply}
	}
	return verdict{recipients: d.Recipients, trail: append(r.before(), d.Trail...)}, nil
}

// reset ends the transaction.
func (r *ruled) reset() {
	r.forget()
	r.rules.Reset()
}

func (r *ruled) forget() {
	r.sender, r.to, r.known, r.changes = nil, nil, nil, false
}
