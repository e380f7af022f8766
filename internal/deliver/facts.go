package deliver

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/queue"
	"postern/internal/tlspolicy"
)

// wireFacts are the facts about the transaction as a whole: the route it
// took, and the server with which it ended.
func wireFacts(t *transaction, v *verdict, now time.Time) []mail.Fact {
	base := mail.Fact{
		Time:    now,
		Message: t.entry.ID,
		Attempt: t.leases[0].Attempt(),
		Route:   t.route.Name,
	}
	var facts []mail.Fact
	if t.route.Name != "" {
		routed := base
		routed.Time = t.routed
		routed.Reason = mail.ReasonRouted
		routed.Text = t.route.Site
		facts = append(facts, routed)
	}
	for i := range v.outcomes {
		o := &v.outcomes[i]
		if o.Host == "" && !o.Address.IsValid() || wasWithheld(o) || i > 0 && o.Address == v.outcomes[i-1].Address && o.Host == v.outcomes[i-1].Host {
			continue
		}
		attempted := base
		attempted.Reason = mail.ReasonAttempted
		attempted.Text = t.recodedFor(o.Address)
		attempted.Host, attempted.Address, attempted.TLS, attempted.TLSPolicy = o.Host, o.Address, o.TLS, o.TLSPolicy
		facts = append(facts, attempted)
	}
	return facts
}

// wasWithheld reports whether no server was asked, for want of something to show to it.
func wasWithheld(o *mail.Outcome) bool {
	return o.Command == "AUTH" && !o.Remote && !o.Address.IsValid()
}

// recodedFor says what was converted for the charset of a server; "" for nothing.
func (t *transaction) recodedFor(server netip.AddrPort) string {
	for _, r := range t.recoded {
		if r.at == server {
			return r.text
		}
	}
	return ""
}

// factsOf are the facts about the recipients of lease l, whose outcomes
// begin at first. Recipients for which the same was said share one.
func factsOf(t *transaction, l int, v *verdict, first int) []mail.Fact {
	var facts []mail.Fact
	for i := range t.leases[l].Delivery().Recipients {
		o := &v.outcomes[first+i]
		to := t.recipients[first+i].Address.String()
		if f := sameFact(facts, o); f != nil {
			f.To = append(f.To, to)
			continue
		}
		reply := o.Reply
		f := mail.Fact{
			Time:    o.At,
			Reason:  mail.ReasonFor(o.State),
			Message: t.entry.ID,
			From:    t.entry.Envelope.From.Path(),
			To:      []string{to},
			Attempt: o.Attempt,
			Host:    o.Host,
			Address: o.Address,
			Command: o.Command,
			Reply:   &reply,
			Remote:  o.Remote,
			Text:    o.Cause,
		}
		if o.State == mail.Deferred {
			f.Next = v.next[l]
		}
		facts = append(facts, f)
	}
	return facts
}

func sameFact(facts []mail.Fact, o *mail.Outcome) *mail.Fact {
	for i := range facts {
		f := &facts[i]
		if f.Reason == mail.ReasonFor(o.State) && *f.Reply == o.Reply && f.Remote == o.Remote && f.Address == o.Address && f.Command == o.Command {
			return f
		}
	}
	return nil
}

// siteFact is a fact about the site of a transaction.
func siteFact(r mail.Reason, t *transaction, now, next time.Time, cause string) mail.Fact {
	text := t.route.Site
	if cause != "" {
		text += ": " + cause
	}
	return mail.Fact{Time: now, Reason: r, Route: t.route.Name, Next: next, Text: text}
}

// heldFact is the fact of a dead letter, about the message it was.
func heldFact(e *queue.Entry, about mail.ID) mail.Fact {
	return mail.Fact{
		Time:    e.Accepted,
		Reason:  mail.ReasonHeld,
		Message: e.ID,
		About:   about,
		From:    e.Envelope.From.Path(),
		To:      e.Addresses(),
		Hold:    mail.HoldDeadLetter,
	}
}

// logOutcomes logs what became of the recipients, once it is settled.
func (d *Deliverer) logOutcomes(t *transaction, v *verdict) {
	for i := range v.outcomes {
		o := &v.outcomes[i]
		d.Logger.LogAttrs(context.Background(), slog.LevelInfo, string(o.State), attributes(t.entry.ID, t.recipients[i].Address, o)...)
	}
}

// attributes are what the log says of an outcome. They are of types that a handler writes
// without reflection: there is such a line for every delivery.
func attributes(id mail.ID, to mail.Address, o *mail.Outcome) []slog.Attr {
	address := ""
	if o.Address.IsValid() {
		address = o.Address.String()
	}
	list := append(make([]slog.Attr, 0, 9),
		slog.String("message", string(id)), slog.String("to", to.Path()), slog.Int("attempt", o.Attempt),
		slog.String("host", o.Host), slog.String("address", address),
		slog.String("command", o.Command), slog.String("reply", o.Reply.String()), slog.String("cause", o.Cause))
	if told := tlsOf(o); told != "" {
		list = append(list, slog.String("tls", told))
	}
	return list
}

// tlsOf says for the log what there was of TLS, and where it was demanded or failed, why it was good
// enough or was not. Of other connections the fact tells that: it would be a quarter of the line.
func tlsOf(o *mail.Outcome) string {
	var said []string
	if o.TLS != nil {
		said = append(said, o.TLS.Version)
	}
	if p := o.TLSPolicy; p != nil && (!p.Met || tlspolicy.Level(p.Level).Demands()) {
		told := *p
		if told.Because == o.Cause {
			told.Because = "" // it is the cause
		}
		said = append(said, told.String())
	}
	return strings.Join(said, ", ")
}
