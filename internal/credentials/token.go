package credentials

import (
	"errors"
	"time"

	"postern/internal/mail"
)

// request is a request for a token that is under way. What came of it can be read when done
// is closed.
type request struct {
	begun time.Time
	done  chan struct{}
	token mail.Secret
	err   error
}

// tokens are what one login knows of its tokens. Times are monotonic, as they
// were when the token was asked for: how long it is good is what the issuer says, and not
// until when. Whoever uses it holds mu of the Login.
type tokens struct {
	token mail.Secret
	got   time.Time
	// renewAt is from when on another is asked for while this one is used, until how long
	// it is used.
	renewAt, until time.Time
	// forRefusal says that the token was asked for because the one before was refused.
	forRefusal bool
	dropped    bool // the next one will be

	under *request // nil: nothing is under way
	// err is why the last request has failed; nobody is asked again before next.
	err      error
	failures int
	next     time.Time

	// skew is by how much the clock of the issuer is before that of this machine.
	skew time.Duration
	// refresh is the refresh token that the issuer has given last, if it was not recorded;
	// swapped is the one that was recorded last by the login itself, as sealed.
	refresh mail.Secret
	swapped string
}

// Margins: a token is renewed when a quarter of its life is left, or less than these five
// minutes, and not used any more in its last tenth, or half minute.
const (
	earlyMargin = 5 * time.Minute
	lastMargin  = 30 * time.Second
)

// Pauses: how long an issuer is left alone that does not answer; twice as long each time, up to
// the second. One that refuses is left alone as a server that does.
const (
	firstPause   = 5 * time.Second
	longestPause = 5 * time.Minute
)

// freshFor is how long a token is fresh: one that is refused then, although it was issued
// because another was refused, would not be followed by a better one.
const freshFor = time.Minute

// good reports whether there is a token that can be shown.
func (t *tokens) good(now time.Time) bool { return t.token != "" && now.Before(t.until) }

// due reports whether another is to be asked for now.
func (t *tokens) due(now time.Time) bool {
	needed := t.token == "" || !now.Before(t.renewAt)
	return needed && t.under == nil && !now.Before(t.next)
}

// ended notes what came of a request.
func (t *tokens) ended(now time.Time, r *request, got issued, err error) {
	t.under = nil
	r.token, r.err = got.token, err
	if err != nil {
		t.err = err
		t.failures++
		t.next = now.Add(pause(err, t.failures))
		return
	}
	t.token, t.got, t.err, t.failures, t.next = got.token, r.begun, nil, 0, time.Time{}
	t.renewAt = r.begun.Add(got.life - min(earlyMargin, got.life/4))
	t.until = r.begun.Add(got.life - min(lastMargin, got.life/10))
	t.forRefusal, t.dropped = t.dropped, false
}

// pause is how long an issuer is left alone.
func pause(err error, failures int) time.Duration {
	first, longest := firstPause, longestPause
	refused, is := errors.AsType[*refusal](err)
	if is && refused.final() {
		first, longest = firstRefused, longestRefused
	}
	p := min(first<<min(failures-1, 10), longest)
	if is {
		p = max(p, refused.retryAfter)
	}
	return p
}

// taken notes that a server has taken a token: when it is refused later, another may be better.
func (t *tokens) taken(token mail.Secret) {
	if token == t.token {
		t.forRefusal = false
	}
}

// refused gives a token up that a server did not take. It reports whether another would be of
// no use now.
func (t *tokens) refused(token mail.Secret, now time.Time) (useless bool) {
	if token != t.token {
		return false // which is another already
	}
	fresh := t.forRefusal && now.Sub(t.got) < freshFor
	t.token, t.dropped = "", true
	return fresh
}
