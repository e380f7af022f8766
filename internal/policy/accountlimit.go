package policy

import (
	"time"

	"postern/internal/config"
	"postern/internal/limit"
	"postern/internal/mail"
)

// Rates of accounts, by what is counted.
const (
	accountMessages   = "messages of an account"
	accountRecipients = "recipients of an account"
)

// limitsAccount is the step limit_account.
func limitsAccount(c *stepCompiler) action {
	at := c.draft.At
	return func(s *Session, _ *rule) outcome {
		if s.account.isNobody() {
			return done("no account")
		}
		most := s.account.Limits
		if at == config.AtRcpt {
			return s.countAccount(limit.Named{Name: accountRecipients, Rate: limit.Rate{Max: most.RecipientsPerDay, Per: 24 * time.Hour, Of: limit.Recipients}}, 452)
		}
		if most.MaxSize > 0 && s.size > most.MaxSize {
			return refuses(Reject, TooLarge(most.MaxSize))
		}
		return s.countAccount(limit.Named{Name: accountMessages, Rate: limit.Rate{Max: most.MessagesPerHour, Per: time.Hour, Of: limit.Messages}}, 451)
	}
}

// TooLarge is the reply to a message that is larger than the account may send.
func TooLarge(most int64) mail.Reply {
	return mail.NewReply(552, "5.3.4", "Message too large for this account: at most %d octets", most)
}

// refuses is the outcome of a step that refuses with a reply.
func refuses(v Verdict, r mail.Reply) outcome {
	return outcome{effect: r.String(), decides: true, verdict: v, reply: r}
}

// countAccount counts one more in a limit of the account, in which 0 is no limit. What
// is too much is deferred with the code: the account may send it later. No status code
// says that there were too many recipients (4.5.3), because a client would then send
// to the others at once.
func (s *Session) countAccount(l limit.Named, code int) outcome {
	if l.Rate.Max <= 0 {
		return done("no limit")
	}
	who := s.account.Source + " " + s.account.Name
	if s.record != nil || s.engine.options.AccountLimits == nil {
		return done("not counted for %s; at most %s", s.user, l.Rate)
	}
	result := s.engine.options.AccountLimits.Take(l, who, 1)
	if result.Allowed {
		return done("counted for %s; at most %s", s.user, l.Rate)
	}
	return refuses(Defer, mail.NewReply(code, "4.7.1", "Too much for this account: at most %s is allowed; please try again in %s", l.Rate, inTime(result.Wait)))
}
