package credentials

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/internal/mail"
)

// This file keeps a credential from being shown again and again to a server that does not
// take it: many servers lock an account after some wrong passwords.
//
// A server that has not taken it lately is shown it by one connection at a time; the others wait
// for what comes of that, but not for long. Once the server has taken it, any number may show it. When it is refused,
// nobody shows it there for a while. Other servers, and other credentials, are none the worse.

// Pauses: how long a credential is not shown to a server, nor to an issuer, that has refused it;
// twice as long each time, up to the second.
const (
	firstRefused   = 5 * time.Minute
	longestRefused = time.Hour
)

const (
	// provedFor is how long it counts that a server has taken it. Later the secret may be another there, and
	// all connections that are made at once would show the wrong one.
	provedFor = time.Minute
	// turnTime is how long a connection waits for its turn. A server that says nothing to AUTH would else keep all
	// mail waiting that has another way, for as long as each in turn waits for it.
	turnTime = 30 * time.Second
)

// maxBrakes bounds the servers of which it is remembered how one credential stands there. What
// is forgotten costs one more attempt.
const maxBrakes = 1000

// brake is how one credential stands at one server. mu of the Login guards it.
type brake struct {
	// proved is when the server has taken it, zero when it has not, or has refused it since; by the
	// time that passes.
	proved time.Time
	// trying is closed when the server has answered to the one that shows it; nil: nobody does.
	trying chan struct{}
	// refusals is how often it was refused, one after the other: since when, why, and from when
	// on it is shown again.
	refusals int
	since    time.Time // by the clock
	reason   string
	next     time.Time // by the time that passes
	// round tells answers to what was shown before a refusal from those to what was shown after.
	round int
	// told says that whoever looks after it was told of a refusal, and not yet that it works;
	// toldBefore, that it was so of the login of before the record has changed.
	told, toldBefore bool
}

// brake returns how the login stands at a server. mu is held.
func (l *Login) brake(host string) *brake {
	if b := l.brakes[host]; b != nil {
		return b
	}
	for name, b := range l.brakes {
		if len(l.brakes) < maxBrakes {
			break
		}
		if b.trying == nil {
			delete(l.brakes, name)
		}
	}
	if l.brakes == nil {
		l.brakes = make(map[string]*brake)
	}
	b := &brake{}
	l.brakes[host] = b
	return b
}

// At is the login as it is shown to one server. It is a route.Login, and can be compared.
type At struct {
	*Login
	host string
}

// At returns the login for a server.
func (l *Login) At(host string) At { return At{l, strings.ToLower(host)} }

// Credentials returns what is shown to the server now. By tokens it may ask the issuer, until
// ctx ends. It fails with a *mail.CredentialError.
func (a At) Credentials(ctx context.Context) (mail.Credentials, error) {
	if err := a.withheld(); err != nil {
		return mail.Credentials{}, err
	}
	return a.Login.Credentials(ctx)
}

// withheld says that the server has refused it, and that it is not yet to be shown again.
func (a At) withheld() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refusedUntil(a.book.passed())
}

// refusedUntil is withheld. mu is held.
func (a At) refusedUntil(now time.Time) error {
	b := a.brakes[a.host]
	if b == nil || !now.Before(b.next) {
		return nil
	}
	a.book.metrics.logins.Add(1, withheld)
	t := a.trouble(b, a.book.clock.Now(), now)
	return &mail.CredentialError{
		Name:  t.Credential,
		Reply: mail.NewReply(451, "4.7.8", "%s does not take the credentials of this server at present", a.host),
		Cause: fmt.Errorf("%s has refused it since %s: %s; it is shown there again at %s, or when it was changed or tested",
			t.Host, inUTC(t.Since), t.Why, inUTC(t.Next)),
	}
}

func inUTC(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Begin waits until the credential may be shown to the server, and returns it as it is then. End
// must be called with what came of it: nil when the server has taken it. It fails with a
// *mail.CredentialError.
func (a At) Begin(ctx context.Context) (shown mail.Credentials, end func(error), err error) {
	t, err := a.wait(ctx)
	if err != nil {
		return mail.Credentials{}, nil, err
	}
	if t.shown, err = a.Login.Credentials(ctx); err != nil {
		t.end(err)
		return mail.Credentials{}, nil, err
	}
	return t.shown, t.end, nil
}

// turn is the right to show a credential once to a server.
type turn struct {
	at    At
	brake *brake
	round int
	alone bool // the others wait for its end
	shown mail.Credentials
}

// isProved reports whether the server has taken it lately.
func (b *brake) isProved(now time.Time) bool {
	return !b.proved.IsZero() && now.Sub(b.proved) < provedFor
}

var errNoTurn = fmt.Errorf("there was no answer within %s", turnTime)

// wait waits for a turn.
func (a At) wait(ctx context.Context) (*turn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, turnTime, errNoTurn)
	defer cancel()
	for {
		t, other, err := a.take()
		if t != nil || err != nil {
			return t, err
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, a.fails(fmt.Errorf("another connection shows it to %s, and nothing came of that in time: %w", a.host, context.Cause(ctx)))
		}
	}
}

// take takes a turn, if there may be one now; other is closed when there may be.
func (a At) take() (t *turn, other <-chan struct{}, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.book.passed()
	if err := a.refusedUntil(now); err != nil {
		return nil, nil, err
	}
	b := a.brake(a.host)
	proved := b.isProved(now)
	if !proved && b.trying != nil {
		return nil, b.trying, nil
	}
	t = &turn{at: a, brake: b, round: b.round, alone: !proved}
	if t.alone {
		b.trying = make(chan struct{})
	}
	return t, nil, nil
}

// refusalBy is a failure to log in, as smtpclient has it.
type refusalBy interface {
	error
	// CredentialsRefused reports whether the server has refused the credentials, for good.
	CredentialsRefused() bool
	Outcome() mail.Outcome
}

// refusalOf reports whether a server has refused what it was shown, for good, and in which words.
func refusalOf(came error) (words string, is bool) {
	failure, is := errors.AsType[refusalBy](came)
	if !is || !failure.CredentialsRefused() {
		return "", false
	}
	o := failure.Outcome()
	words = o.Reply.String()
	if o.Cause != "" {
		words += ": " + o.Cause
	}
	return words[:min(len(words), maxText)], true
}

// unhelped is added to the words of a server that refuses a token which was just issued.
const unhelped = ", although the token was just issued: the mailbox may not send by SMTP, or the application is not allowed to"

// end notes what came of a turn, and lets the next one have its own.
func (t *turn) end(came error) {
	news, about := t.note(came)
	if t.shown != (mail.Credentials{}) {
		t.at.book.metrics.shown(came)
	}
	switch news {
	case refusedNow:
		t.at.tellRefused(about)
	case takenAgain:
		t.at.tellTaken()
	}
}

// news is what there is to tell after a turn.
type news int

const (
	nothing news = iota
	refusedNow
	takenAgain
)

// note changes the brake, and says what there is to tell, and of which trouble.
func (t *turn) note(came error) (news, Trouble) {
	l, b := t.at.Login, t.brake
	clock, now := l.book.clock.Now(), l.book.passed()
	words, refused := refusalOf(came)
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.alone {
		close(b.trying)
		b.trying = nil
	}
	switch {
	case t.round != b.round: // it was shown before another was refused
	case came == nil:
		l.tokens.taken(t.shown.Token)
		return b.taken(now), Trouble{}
	case !refused:
	case t.shown.Token != "" && !l.tokens.refused(t.shown.Token, now):
		b.proved = time.Time{} // another token may do
	default:
		if t.shown.Token != "" {
			words += unhelped
		}
		tell := b.refused(words, clock, now)
		return tell, t.at.trouble(b, clock, now)
	}
	return nothing, Trouble{}
}

// trouble is what there is with a server that has refused the credential. mu is held.
func (a At) trouble(b *brake, clock, now time.Time) Trouble {
	return Trouble{a.record.Name, a.host, b.since, b.reason, tried(b.next, clock, now)}
}

func (b *brake) taken(now time.Time) news {
	tell := b.told || b.toldBefore
	*b = brake{proved: now, trying: b.trying, round: b.round}
	if tell {
		return takenAgain
	}
	return nothing
}

// refused puts the brake on.
func (b *brake) refused(words string, clock, now time.Time) news {
	if b.refusals == 0 {
		b.since = clock
	}
	b.proved = time.Time{}
	b.reason = words
	b.next = now.Add(min(firstRefused<<min(b.refusals, 10), longestRefused))
	b.refusals++
	b.round++
	if b.told {
		return nothing
	}
	b.told = true
	return refusedNow
}

// tellRefused tells that a server does not take the credential.
func (a At) tellRefused(t Trouble) {
	b := a.book
	if !b.has(a.Login) {
		return // it was changed meanwhile
	}
	b.log.Warn("a credential is refused: mail that needs it there waits", "error", t, "next", t.Next)
	b.record(mail.Fact{Time: b.clock.Now(), Reason: mail.ReasonCredentialFailed, Host: t.Host, Next: t.Next, Text: t.String()})
}

// tellTaken tells that the server takes it again.
func (a At) tellTaken() {
	b := a.book
	if !b.has(a.Login) {
		return
	}
	b.works(mail.Fact{Host: a.host, Text: "credential " + a.Record().Name + ": " + a.host + " takes it again"}, a.Record().Name)
}

// Lift lets the credential be shown to the server at once: somebody wants to know.
func (a At) Lift() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens.next = time.Time{}
	if b := a.brakes[a.host]; b != nil {
		b.next = time.Time{}
	}
}

// inherit notes what was told of the login of before, of which the record has changed.
func (l *Login) inherit(before *Login) {
	before.mu.Lock()
	defer before.mu.Unlock()
	l.toldBefore = before.told || before.toldBefore
	for host, b := range before.brakes {
		if b.told || b.toldBefore {
			l.brake(host).toldBefore = true
		}
	}
}
