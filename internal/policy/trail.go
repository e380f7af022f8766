package policy

import (
	"postern/internal/config"
	"postern/internal/mail"
)

// note adds to the trail what a step of a rule has done.
func (s *Session) note(d *Decision, r *rule, step, effect string) {
	decided := mail.Decided{Rule: r.name, Place: r.where(), Step: step, Effect: effect}
	d.Trail = append(d.Trail, decided)
	s.record.took(r, decided)
}

// where is the place of the rule, as trails have it; empty for one that no file has.
func (r *rule) where() string {
	if r.place.File == "" {
		return ""
	}
	return mail.Place{File: r.place.File, Line: r.place.Line}.String()
}

// errEngine is what a client is told when a rule cannot be worked out: the unknown is
// temporary.
var errEngine = mail.NewReply(451, "4.7.1", "Policy cannot decide now, please try again later")

// fail answers for a rule that could not be worked out.
func (s *Session) fail(r *rule, step string, err error, d *Decision) {
	s.note(d, r, step, "failed: "+err.Error())
	s.conclude(d, r, Defer, errEngine)
	if r.at == config.AtConnect {
		d.Reply.Code = 421 // the connection ends (RFC 5321 3.8)
	}
	if s.record != nil {
		return
	}
	s.engine.metrics.failed(r)
	s.engine.logger.Warn("a rule of policy failed", "session", s.origin.Session, "rule", r.name, "place", r.where(), "step", step, "error", err)
}

// refusals are the replies of steps that have none of their own, by command.
var refusals = map[config.Command]mail.Reply{
	config.AtConnect: {Code: 554, Enhanced: "5.7.1", Text: "Refused by policy"},
	config.AtHelo:    {Code: 550, Enhanced: "5.7.1", Text: "Refused by policy"},
	config.AtAuth:    {Code: 535, Enhanced: "5.7.8", Text: "Refused by policy"},
	config.AtMail:    {Code: 550, Enhanced: "5.7.1", Text: "Sender refused by policy"},
	config.AtRcpt:    {Code: 550, Enhanced: "5.7.1", Text: "Recipient refused by policy"},
	config.AtData:    {Code: 554, Enhanced: "5.7.1", Text: "Message refused by policy"},
}

// defaultReply is the reply of a verdict at a command. A client that is to come back
// later is told 421 before it is greeted, after which the connection ends (RFC 5321
// 3.1, 4.2.2), 454 at AUTH (RFC 4954 6), and 450 elsewhere.
func defaultReply(at config.Command, v Verdict) mail.Reply {
	if v == Reject {
		return refusals[at]
	}
	r := mail.Reply{Code: 450, Enhanced: "4.7.1", Text: "Not now by policy, please try again later"}
	switch at {
	case config.AtConnect:
		r.Code = 421
	case config.AtAuth:
		r.Code, r.Enhanced = 454, "4.7.0"
	case config.AtData:
		r.Code = 451
	}
	return r
}
