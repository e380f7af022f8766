package policy

import (
	"context"
	"slices"

	"postern/internal/config"
	"postern/internal/mail"
)

// Data decides about the message, with the recipients that were accepted. Handlers
// are chosen for each recipient; those with the same handler are a group, for which
// its steps are taken once. A refusal is that of the whole message, whichever group
// it comes from.
func (s *Session) Data(ctx context.Context, to []Addressee, m Message) Disposition {
	if s == nil {
		return Disposition{Recipients: to}
	}
	s.message, s.size, s.found, s.content, s.ctx = m, m.Size(), nil, nil, ctx
	s.recipients = s.recipients[:0]
	for i := range to { // those that were accepted here may be nobody's
		s.recipients = append(s.recipients, to[i].Recipient.Address)
	}
	clear(s.known)
	s.record.beginData(to)
	run := dataRun{session: s, to: slices.Clone(to), content: make([]layer, len(to))}
	defer func() { s.frame = &s.lasting[rank(config.AtMail)] }()
	for i := range s.rules.at[config.AtData] {
		if !run.layer(&s.rules.at[config.AtData][i]) {
			return Disposition{Decision: run.decision}
		}
	}
	s.record.disposed(run.to)
	return Disposition{Decision: run.decision, Recipients: run.to}
}

// AtData reports whether Data may have something to say, whatever the message is.
// If not, nobody need wait for its content.
func (s *Session) AtData() bool { return s != nil && len(s.rules.at[config.AtData]) > 0 }

// dataRun is the work of Data.
type dataRun struct {
	session  *Session
	to       []Addressee
	decision Decision
	// content is the layer that is asked in turn in which a rule has accepted a
	// recipient; the zero value is none of these.
	content []layer
}

// group are the recipients for which a rule was chosen, by their index.
type group struct {
	rule    *rule
	members []int
}

// layer runs one layer, and reports whether the message is still to be accepted.
func (run *dataRun) layer(l *layerRules) bool {
	groups, ok := run.groups(l)
	if !ok {
		return false
	}
	for _, g := range groups {
		var own frame
		run.session.frame = &own
		var d Decision
		next := run.session.perform(g.rule, &d)
		if d.Verdict != Accept {
			run.decision = d
			return false
		}
		for _, i := range g.members {
			if next == layerDone {
				run.content[i] = l.layer
			}
			a := &run.to[i]
			a.Trail = slices.Concat(a.Trail, d.Trail)
			if !run.treat(a, &own, g.rule) {
				return false
			}
		}
	}
	return true
}

// groups chooses a rule for each recipient. It fails, with the decision, when a
// condition does.
func (run *dataRun) groups(l *layerRules) (groups []group, ok bool) {
	s := run.session
	s.frame = &s.lasting[rank(config.AtMail)]
	defer s.setRecipient(mail.Address{})
	for i := range run.to {
		if run.to[i].Treatment.Discard || l.layer.inTurn() && run.content[i] == l.layer {
			continue
		}
		s.setRecipient(run.to[i].Recipient.Address)
		r, err := s.choose(l)
		if err != nil {
			s.fail(r, "when", err, &run.decision)
			return nil, false
		}
		if r == nil {
			continue
		}
		at := slices.IndexFunc(groups, func(g group) bool { return g.rule == r })
		if at < 0 {
			at = len(groups)
			groups = append(groups, group{rule: r})
		}
		groups[at].members = append(groups[at].members, i)
	}
	return groups, true
}

// treat gives a recipient what its group gets, and reports whether the message is
// still to be accepted.
func (run *dataRun) treat(a *Addressee, f *frame, r *rule) bool {
	own := f.treatment
	if own.Rewritten {
		var err error
		if own.Address, err = rewriteAddress(own.Address, a.at()); err != nil {
			run.session.fail(r, "rewrite_recipient", err, &run.decision)
			return false
		}
		run.session.checkRelay(own.Address, &run.decision)
	}
	a.Treatment.add(&own)
	who := subjectOf(a.Recipient.Address)
	if slices.ContainsFunc(f.removed, func(p pattern) bool { return p.match(&who) }) {
		a.Treatment.Discard = true
	}
	return run.decision.Verdict == Accept
}

// at is where the recipient's mail goes by now.
func (a *Addressee) at() mail.Address {
	if a.Treatment.Address.IsNull() {
		return a.Recipient.Address
	}
	return a.Treatment.Address
}
