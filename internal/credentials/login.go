package credentials

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"postern/internal/directory"
	"postern/internal/mail"
)

// Login is what one record proves. It is the same one as long as the record does not change.
// What is shown to a server is the login At that.
type Login struct {
	book *Book

	mu     sync.Mutex // of what follows
	record *directory.Credential
	// password is what was unsealed of one by password.
	password mail.Secret
	tokens   tokens
	// failing is why there is nothing to show to anybody, and since when, nil while there is;
	// told and toldBefore are those of a brake.
	failing          error
	failingSince     time.Time
	told, toldBefore bool
	// brakes are how it stands at each server.
	brakes map[string]*brake
}

func newLogin(b *Book, r *directory.Credential) *Login { return &Login{book: b, record: r} }

// isOf reports whether the login is that of a record. mu of the Book is held.
func (l *Login) isOf(r *directory.Credential) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.record != r && (r.RefreshToken != l.tokens.swapped || !same(l.record, r)) {
		return false
	}
	l.record = r
	return true
}

// Record returns the record. Nobody may change it.
func (l *Login) Record() *directory.Credential {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.record
}

// String says what is shown: "credential office: joe@example.com by tokens".
func (l *Login) String() string {
	r := l.Record()
	switch r.Kind {
	case directory.CredentialPassword:
		return fmt.Sprintf("credential %s: %s by password", r.Name, r.User)
	case directory.CredentialOAuth:
		return fmt.Sprintf("credential %s: %s by tokens", r.Name, r.User)
	}
	return fmt.Sprintf("credential %s, which is not there", r.Name)
}

// errUnknown says that a setting names a credential that is not there.
var errUnknown = errors.New("is not in the directory (postern credential add)")

// fails is that there is nothing to show.
func (l *Login) fails(err error) *mail.CredentialError {
	return &mail.CredentialError{Name: l.Record().Name, Cause: err}
}

// Credentials returns what is shown now. By tokens it may ask the issuer, until ctx ends.
// It fails with a *mail.CredentialError.
func (l *Login) Credentials(ctx context.Context) (mail.Credentials, error) {
	r := l.Record()
	c := mail.Credentials{Name: r.Name, User: r.User, Mechanisms: strings.Join(r.Mechanisms, " "), Unverified: r.WithoutVerification}
	var err error
	switch r.Kind {
	case directory.CredentialPassword:
		c.Password, err = l.readPassword()
	case directory.CredentialOAuth:
		c.Token, err = l.token(ctx)
	default:
		err = errUnknown
	}
	if err != nil {
		return mail.Credentials{}, l.fails(err)
	}
	return c, nil
}

// latest returns the record as it is now: it may have been sealed anew since the login was
// handed out.
func (l *Login) latest() *directory.Credential {
	r := l.Record()
	if d := l.book.directory(); d != nil {
		return cmp.Or(d.Credential(r.Name), r)
	}
	return r
}

// readPassword returns the password, which is unsealed once.
func (l *Login) readPassword() (mail.Secret, error) {
	l.mu.Lock()
	known := l.password
	l.mu.Unlock()
	if known != "" {
		return known, nil
	}
	r := l.latest()
	secrets, err := l.book.Keys().open(r.Name, map[string]string{fieldPassword: r.Password})
	l.settle(err)
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.password = secrets[fieldPassword]
	return l.password, nil
}

// settle tells who looks after it that there is nothing to show, or that there is again: once
// each.
func (l *Login) settle(err error) {
	b := l.book
	if !b.has(l) {
		return // it was changed meanwhile
	}
	l.mu.Lock()
	name, tell := l.record.Name, false
	switch {
	case err != nil:
		if l.failing == nil {
			l.failingSince = b.clock.Now()
		}
		l.failing, tell = err, !l.told
		l.told = true
	case l.failing != nil || l.toldBefore:
		tell = true
		l.failing, l.told, l.toldBefore = nil, false, false
	}
	l.mu.Unlock()
	switch {
	case !tell:
	case err != nil:
		err = l.fails(err)
		b.log.Warn("a credential fails: mail that needs it waits", "error", err)
		b.record(mail.Fact{Time: b.clock.Now(), Reason: mail.ReasonCredentialFailed, Text: err.Error()})
	default:
		b.works(mail.Fact{Text: "credential " + name + " works again"}, name)
	}
}

// token returns an access token, and waits for one if there is none.
func (l *Login) token(ctx context.Context) (mail.Secret, error) {
	now := l.book.passed()
	l.mu.Lock()
	t := &l.tokens
	good := t.good(now)
	if t.due(now) {
		l.renew(now)
	}
	token, under, err := t.token, t.under, t.err
	l.mu.Unlock()
	switch {
	case good:
		return token, nil
	case under == nil:
		return "", err // of before: it is not yet time to ask again
	}
	select {
	case <-under.done:
		return under.token, under.err
	case <-ctx.Done():
		return "", fmt.Errorf("no token came in time: %w", context.Cause(ctx))
	}
}

// renew begins a request for a token; there is one at a time. mu is held.
func (l *Login) renew(now time.Time) {
	b := l.book
	r := &request{done: make(chan struct{}), begun: now}
	l.tokens.under = r
	if b.ctx.Err() != nil {
		l.tokens.ended(now, r, issued{}, errClosed)
		close(r.done)
		return
	}
	b.running.Go(func() { l.run(r) })
}

var errClosed = errors.New("the server is stopping")

// run makes a request for a token, and hands over what came of it.
func (l *Login) run(r *request) {
	got, err := l.request(l.book.ctx)
	l.book.metrics.asked(err)
	if l.book.ctx.Err() == nil {
		l.settle(err) // before another request can end
	}
	l.mu.Lock()
	l.tokens.ended(l.book.passed(), r, got, err)
	l.mu.Unlock()
	close(r.done)
}

// minSkew is from when on the clock of an issuer is believed rather than that of this machine.
const minSkew = 30 * time.Second

// request asks the issuer. When that refuses an assertion, and its clock is another, it is asked
// once more with its own time.
func (l *Login) request(ctx context.Context) (issued, error) {
	b := l.book
	keys, client := b.tools()
	r := l.latest()
	sealed := map[string]string{}
	for _, f := range r.Sealed() {
		sealed[f.Name] = *f.Value
	}
	secrets, err := keys.open(r.Name, sealed)
	if err != nil {
		return issued{}, err
	}
	l.mu.Lock()
	skew, next := l.tokens.skew, l.tokens.refresh
	l.mu.Unlock()
	used := secrets[fieldRefreshToken]
	if next != "" {
		secrets[fieldRefreshToken] = next
	}
	a := &asker{record: r, secrets: secrets, client: client, now: b.clock.Now().Add(skew)}
	got, seen, err := a.ask(ctx, b.clock.Now)
	if refused, is := errors.AsType[*refusal](err); is && refused.final() && secrets[fieldClientKey] != "" && (seen-skew).Abs() >= minSkew {
		b.log.Warn("the clock of an issuer of tokens differs from that of this machine", "credential", r.Name, "by", seen.Round(time.Second))
		a.now = b.clock.Now().Add(seen)
		l.mu.Lock()
		l.tokens.skew = seen
		l.mu.Unlock()
		got, _, err = a.ask(ctx, b.clock.Now)
	}
	if next = cmp.Or(got.refresh, next); err == nil && next != "" {
		l.keep(ctx, used, next)
	}
	return got, err
}

// keep records the refresh token that the issuer wants to see next instead of the one that is
// recorded. As long as it cannot be recorded it is kept in memory.
func (l *Login) keep(ctx context.Context, recorded, next mail.Secret) {
	name := l.Record().Name
	if recorded == "" || recorded == next {
		return
	}
	err := l.swap(ctx, name, recorded, next)
	if err != nil {
		l.book.log.Warn("the refresh token that an issuer has given cannot be recorded, and is lost when the server stops", "credential", name, "error", err)
	} else {
		next = ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens.refresh = next
}

// swap replaces a refresh token that is recorded by another, if it still is: a person may have
// given a new one meanwhile.
func (l *Login) swap(ctx context.Context, name string, recorded, next mail.Secret) error {
	now, err := l.book.directory().Reseal(ctx, name, func(r *directory.Credential) (bool, error) {
		keys, err := l.book.Keys().keys()
		if err != nil {
			return false, err
		}
		at := place{name, fieldRefreshToken}
		if was, err := unseal(keys, r.RefreshToken, at); err != nil || was != string(recorded) {
			return false, err
		}
		if r.RefreshToken, err = keys[0].seal(string(next), at); err != nil {
			return false, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tokens.swapped = r.RefreshToken
		return true, nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && now != nil && now.RefreshToken == l.tokens.swapped {
		l.record = now
	}
	return err
}
