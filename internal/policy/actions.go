package policy

import (
	"fmt"
	"strings"
	"time"

	"postern/internal/config"
	"postern/internal/limit"
	"postern/internal/mail"
	"postern/internal/message"
)

// step is a step of a rule, ready to be taken.
type step struct {
	name string
	take action
}

// action takes a step.
type action func(s *Session, r *rule) outcome

// outcome is what a step has done.
type outcome struct {
	effect string // in words, for the trail
	// decides says that no step comes after it, with verdict and reply.
	decides, discards bool
	verdict           Verdict
	reply             mail.Reply
	err               error
}

// done is the outcome of a step that goes on.
func done(format string, args ...any) outcome { return outcome{effect: fmt.Sprintf(format, args...)} }

func failed(err error) outcome { return outcome{err: err} }

func accept(*stepCompiler) action {
	return func(*Session, *rule) outcome { return outcome{effect: "accept", decides: true} }
}

func rejects(c *stepCompiler) action { return c.refusal(Reject) }

func defers(c *stepCompiler) action { return c.refusal(Defer) }

func (c *stepCompiler) refusal(v Verdict) action {
	reply := c.reply(v)
	return func(s *Session, r *rule) outcome {
		filled, err := reply.fill(s)
		if err != nil {
			return failed(err)
		}
		return outcome{effect: filled.String(), decides: true, verdict: v, reply: filled}
	}
}

func discards(*stepCompiler) action {
	return func(s *Session, _ *rule) outcome {
		s.frame.treatment.Discard = true
		return outcome{effect: "discard", decides: true, discards: true}
	}
}

func holds(c *stepCompiler) action { return c.holding(mail.HoldPolicy) }

func quarantines(c *stepCompiler) action { return c.holding(mail.HoldQuarantine) }

func (c *stepCompiler) holding(why mail.Hold) action {
	note := c.template()
	return func(s *Session, _ *rule) outcome {
		text, err := note.render(s)
		if err != nil {
			return failed(err)
		}
		s.frame.treatment.add(&Treatment{Hold: why, Note: text})
		return done("%s", strings.TrimSpace("held ("+string(why)+") "+text))
	}
}

func redirects(c *stepCompiler) action {
	to := c.address(c.value())
	return func(s *Session, _ *rule) outcome {
		s.frame.treatment.Address, s.frame.treatment.Rewritten = to, false
		return done("goes to %s instead", to.Path())
	}
}

func addsRecipient(c *stepCompiler) action {
	list := c.addresses()
	return func(s *Session, _ *rule) outcome {
		s.frame.treatment.add(&Treatment{Added: list})
		return done("goes to %s as well", paths(list))
	}
}

func copiesTo(c *stepCompiler) action {
	list := c.addresses()
	return func(s *Session, _ *rule) outcome {
		s.frame.treatment.add(&Treatment{Copies: list})
		return done("a copy goes to %s", paths(list))
	}
}

func paths(list []mail.Address) string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.Path()
	}
	return strings.Join(texts, ", ")
}

func removesRecipient(c *stepCompiler) action {
	patterns := c.patternValues()
	return func(s *Session, _ *rule) outcome {
		s.frame.removed = append(s.frame.removed, patterns...)
		return done("of these recipients, removes some")
	}
}

func rewritesSender(c *stepCompiler) action {
	to := c.addressForm(true)
	return func(s *Session, r *rule) outcome {
		if s.from.IsNull() {
			return done("the null sender stays")
		}
		if to.IsNull() {
			s.frame.treatment.Sender = &mail.Address{}
			return done("the sender is <>")
		}
		from, err := rewriteAddress(to, s.from)
		if err != nil {
			return failed(err)
		}
		s.frame.treatment.Sender = &from
		return done("the sender is %s", from.Path())
	}
}

// originalFrom names the From fields that a message had.
const originalFrom = "X-Original-From"

func rewritesFrom(c *stepCompiler) action {
	to := c.address(c.value())
	return func(s *Session, _ *rule) outcome {
		s.frame.treatment.Edits = append(s.frame.treatment.Edits, message.Edit{Op: message.ReplaceFrom, Name: originalFrom, Value: to.String()})
		return done("the author is %s", to.Path())
	}
}

func rewritesRecipient(c *stepCompiler) action {
	to := c.addressForm(false)
	return func(s *Session, r *rule) outcome {
		s.frame.treatment.Rewritten = true
		if r.at == config.AtData { // for each recipient of the group, later
			s.frame.treatment.Address = to
			return done("goes to %s instead", to.Path())
		}
		address, err := rewriteAddress(to, s.to)
		if err != nil {
			return failed(err)
		}
		s.frame.treatment.Address = address
		return done("goes to %s instead", address.Path())
	}
}

func addsHeader(c *stepCompiler) action { return c.fieldEdit(message.AddField, "adds") }

func replacesHeader(c *stepCompiler) action { return c.fieldEdit(message.ReplaceField, "replaces") }

func (c *stepCompiler) fieldEdit(op message.EditOp, verb string) action {
	name, value := c.field()
	return func(s *Session, _ *rule) outcome {
		text, err := value.render(s)
		if err != nil {
			return failed(err)
		}
		text = strings.TrimSpace(text)
		s.frame.treatment.Edits = append(s.frame.treatment.Edits, message.Edit{Op: op, Name: name, Value: text})
		return done("%s %s: %s", verb, name, text)
	}
}

func removesHeader(c *stepCompiler) action {
	names := c.fieldNames()
	return func(s *Session, _ *rule) outcome {
		for _, name := range names {
			s.frame.treatment.Edits = append(s.frame.treatment.Edits, message.Edit{Op: message.RemoveFields, Name: name})
		}
		return done("removes %s", strings.Join(names, ", "))
	}
}

func sets(c *stepCompiler) action {
	name, value := c.attributeName(), c.optionTemplate("to")
	return func(s *Session, _ *rule) outcome { return s.set(name, value) }
}

func greets(c *stepCompiler) action {
	value := c.template()
	return func(s *Session, _ *rule) outcome { return s.set("smtp.helo.greeting", value) }
}

func (s *Session) set(name string, value *template) outcome {
	text, err := value.render(s)
	if err != nil {
		return failed(err)
	}
	if s.frame.attributes == nil {
		s.frame.attributes = make(map[string]string)
	}
	s.frame.attributes[name] = text
	return done("%s is %q", name, text)
}

func tags(c *stepCompiler) action {
	list := c.texts()
	return func(s *Session, _ *rule) outcome {
		s.frame.treatment.add(&Treatment{Tags: list})
		return done("tagged %s", strings.Join(list, ", "))
	}
}

func routesVia(c *stepCompiler) action {
	way := c.way()
	return func(s *Session, _ *rule) outcome {
		s.frame.treatment.Route = way
		return done("goes by %s", way)
	}
}

func requiresTLS(c *stepCompiler) action {
	demand := mail.TLSRequired
	if c.value() != nil {
		demand = mail.TLSDemand(c.word(c.value(), c.kind.name, string(mail.TLSRequired), string(mail.TLSVerified)))
	}
	return func(s *Session, _ *rule) outcome {
		s.frame.treatment.TLS = demand
		return done("leaves by TLS only: %s", demand)
	}
}

func classifies(c *stepCompiler) action {
	class, _ := mail.ParseClass(c.word(c.value(), c.kind.name, mail.Bulk.String(), mail.Normal.String(), mail.Urgent.String()))
	return func(s *Session, _ *rule) outcome {
		s.frame.treatment.Class = &class
		return done("is of the class %s", class)
	}
}

func allowsRelay(*stepCompiler) action {
	return func(s *Session, _ *rule) outcome {
		s.frame.relay = true
		return done("may relay")
	}
}

func logs(c *stepCompiler) action {
	text := c.template()
	return func(s *Session, r *rule) outcome {
		line, err := text.render(s)
		if err != nil {
			return failed(err)
		}
		if s.record == nil {
			s.engine.logger.Info(line, "session", s.origin.Session, "rule", r.name)
		}
		return done("logs %q", line)
	}
}

// counter is a step limit.
type counter struct {
	limit.Named
	per   []*expression
	count *expression // nil for 1
	over  string
}

// The words of the option over.
const (
	overDefer  = "defer"
	overReject = "reject"
	overHold   = "hold"
)

func limits(c *stepCompiler) action {
	named := limit.Named{Name: fmt.Sprintf("%s/%d", c.draft.Title(), c.index), Rate: c.rate()}
	k := counter{Named: named, per: c.expressionList("per"), over: overDefer}
	if x := c.optionExpressions("count", "int"); len(x) > 0 {
		k.count = x[0]
	} else if k.Rate.Of == limit.Octets {
		k.count = c.octets()
	}
	k.over = c.optionWord("over", overDefer, overReject, overHold)
	c.engine.limits = append(c.engine.limits, k.Named)
	return k.take
}

func (k *counter) take(s *Session, r *rule) outcome {
	key, n, err := k.key(s)
	if err != nil {
		return failed(err)
	}
	if s.record != nil || s.engine.options.Limits == nil {
		return done("not counted: %d for %s; at most %s", n, key, k.Rate)
	}
	ask := s.engine.options.Limits.Take
	if k.over == overHold {
		ask = s.engine.options.Limits.Book
	}
	result := ask(k.Named, key, n)
	if result.Allowed {
		return done("%d for %s; at most %s", n, key, k.Rate)
	}
	effect := fmt.Sprintf("too much for %s: at most %s", key, k.Rate)
	if result.Booked {
		until := s.engine.clock.Now().Add(result.Wait)
		s.frame.treatment.add(&Treatment{NotBefore: until})
		return done("%s: waits until %s", effect, formatTime(until))
	}
	v := Defer
	if k.over == overReject || result.Never { // to wait would be in vain
		v = Reject
	}
	reply := defaultReply(r.at, v)
	reply.Text = "Too much: at most " + k.Rate.String() + " is allowed"
	if v == Defer {
		reply.Text = "Too much at once, please try again in " + inTime(result.Wait)
	}
	return outcome{effect: effect + ": " + reply.String(), decides: true, verdict: v, reply: reply}
}

// key returns what is counted under, and how much.
func (k *counter) key(s *Session) (key string, n int64, err error) {
	values := make([]string, len(k.per))
	for i, x := range k.per {
		value, err := x.evaluate(s)
		if err != nil {
			return "", 0, err
		}
		values[i] = printable(textOf(value))
	}
	n = 1
	if k.count != nil {
		value, err := k.count.evaluate(s)
		if err != nil {
			return "", 0, err
		}
		n, _ = value.Value().(int64)
	}
	return clip(strings.Join(values, " "), maxText), max(n, 0), nil
}

// inTime says how long to wait, in whole minutes or seconds, rounded up.
func inTime(wait time.Duration) string {
	unit, name := time.Second, "second"
	if wait > 2*time.Minute {
		unit, name = time.Minute, "minute"
	}
	n := max(int64((wait+unit-1)/unit), 1)
	if n > 1 {
		name += "s"
	}
	return fmt.Sprintf("%d %s", n, name)
}
