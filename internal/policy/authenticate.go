package policy

import (
	"context"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/mail"
)

// Source returns by which source somebody is to be verified, before he is: the one in
// the step authenticate of the handler that is chosen at auth for the name that he has
// given. It is empty when no handler says. A decision that does not accept refuses the
// attempt, because a condition could not be asked.
//
// Nothing else that a handler says is done before he is verified, so that nobody learns
// by it whether there is a user. Of an account only name and mechanism are known by now.
func (s *Session) Source(ctx context.Context, user, mechanism string) (name string, d Decision) {
	if s == nil {
		return "", Decision{}
	}
	before, was := s.user, s.account
	defer func() { s.user, s.account = before, was }()
	s.Know(mail.Principal{Account: mail.Account{Name: user, Mechanism: mechanism}})
	s.ctx = ctx
	clear(s.known)
	for i := range s.rules.at[config.AtAuth] {
		r, err := s.choose(&s.rules.at[config.AtAuth][i])
		switch {
		case err != nil:
			s.fail(r, "when", err, &d)
			return "", d
		case r != nil && r.source != "":
			return r.source, Decision{}
		}
	}
	return "", Decision{}
}

// authenticates is the step that chooses the source. By the time that steps are taken,
// it has done so.
func authenticates(c *stepCompiler) action {
	name, ok := c.text(c.value(), c.kind.name)
	known := c.engine.options.Sources
	if ok && known != nil && !slices.Contains(known, name) {
		hint := config.DidYouMean(name, known)
		if hint == "" {
			hint = "there are " + strings.Join(known, ", ")
		}
		c.wrong(c.value(), c.kind.name, hint, "there is no source %q", name)
	}
	return func(*Session, *rule) outcome { return done("verified by %s", name) }
}

// sourceOf is what the step authenticate of a handler names; empty without one.
func sourceOf(steps []config.Step) string {
	for i := range steps {
		if s := &steps[i]; s.Name.Text == "authenticate" && s.Argument != nil {
			return s.Argument.Text.Text
		}
	}
	return ""
}
