package deliver

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"postern/internal/mail"
)

// This file decides how many transactions a site may have in hand, and when it
// is left alone.
//
// A site that answers gets more, one after the other; one that cannot be
// reached gets half as many. After some failures in a row it is down: it is
// left alone for a while, and its mail is deferred without a connection, so
// that the mail keeps its schedule, its warnings and its end. When the while
// is over, one transaction finds out whether the site is back; the other mail
// waits for what it finds.

const (
	// unheardWindow is how many transactions a site may have in hand before a
	// server of it was heard: many sites that say nothing must not have many
	// slots each until that is known of them.
	unheardWindow = 2
	// firstWindow is how many they are when one was: enough for five
	// connections, while as many are being settled.
	firstWindow = 10
	// probeWindow is how many they are while it is found out whether a site that
	// was down is back.
	probeWindow = 1
	// downAfter is after how many failures in a row a site is down.
	downAfter = 5
	// firstPause and lastPause bound how long a site that is down is left
	// alone; each failure doubles it.
	firstPause = time.Minute
	lastPause  = 15 * time.Minute
)

// health is how a site answers.
type health struct {
	// window is how many transactions it may have in hand, and most the bound
	// of that. Up to calm it grows by one with each success, from there by one
	// with a whole window of them (as TCP does).
	window, most, calm float64
	failures           int // to reach it, one after the other
	heard              int // how often a server of it was heard to work
	// retryAt is when a site that is down since downSince may be tried again;
	// probing says that this is being done.
	retryAt, downSince time.Time

	pause    time.Duration
	probing  bool
	failure  string    // the last
	failedAt time.Time // by the time that passes
}

func newHealth(most int) health {
	return health{window: float64(min(unheardWindow, most)), most: float64(most), calm: float64(most)}
}

// bound changes how many transactions the site may have at most.
func (h *health) bound(most int) {
	if h.calm == h.most { // it never shrank
		h.calm = float64(most)
	}
	h.most = float64(most)
	h.calm, h.window = min(h.calm, h.most), min(h.window, h.most)
}

// down reports whether the site is left alone.
func (h *health) down() bool { return h.pause > 0 }

// grow lets the site have more in hand.
func (h *health) grow() {
	if h.window < h.calm {
		h.window++
	} else {
		h.window += 1 / h.window
	}
	h.window = min(h.window, h.most)
}

// shrink lets it have half as many.
func (h *health) shrink() {
	h.calm = max(1, h.window/2)
	h.window = h.calm
}

// unreachable reports whether an attempt to connect failed for what other mail
// would fail for, too. A certificate or a credential is a matter of the lane,
// and what this machine runs short of says nothing of the other.
func unreachable(err error) bool {
	return slices.Contains([]string{"connect", "greeting", "EHLO", "HELO", "LHLO"}, connectOutcome(err).Command) &&
		!ours(err) && !errors.Is(err, errNoRoom)
}

// ours reports whether an attempt to connect failed for what this machine lacks.
func ours(err error) bool {
	return slices.ContainsFunc(
		[]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL},
		func(short error) bool { return errors.Is(err, short) })
}

// errLeftAlone is the reply for mail to a site that is left alone.
var errLeftAlone = mail.Refuse(451, "4.4.1", "None of the servers can be reached; none was tried this time")

// try asks whether a site may be tried now. If it is down, the outcome says
// what becomes of a transaction instead; or the transaction is the one that
// finds out whether the site is back.
func (p *place) try(now time.Time) (suspended mail.Outcome, may bool) {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	x := p.site
	switch {
	case !x.down():
		return mail.Outcome{}, true
	case !x.probing && (!now.Before(x.retryAt) || x.retryAt.Sub(now) > lastPause): // the latter was noted before a step
		x.probing, p.probing = true, true
		x.window = probeWindow
		p.sites.fix(x)
		return mail.Outcome{}, true
	}
	p.untried = true
	when := "until " + x.retryAt.UTC().Format(time.RFC3339)
	if x.probing {
		when = "while one is being tried"
	}
	return mail.Outcome{
		State: mail.Deferred, Command: "connect", Reply: errLeftAlone.Reply,
		Cause: fmt.Sprintf("not tried %s, after %d failures in a row, the last: %s", when, x.failures, x.failure),
	}, false
}

// describe is an outcome in a line.
func describe(o *mail.Outcome) string {
	s := o.Command + ": " + o.Reply.String()
	if o.Host != "" {
		s = fmt.Sprintf("%s [%s]: %s", o.Host, o.Address, s)
	}
	if o.Cause != "" {
		s += ": " + o.Cause
	}
	return s
}

// reached notes that a server of the site has taken a connection, or has
// answered over one. It reports whether that is new: the site was down, or was
// never heard before. Then it may have more in hand.
func (p *place) reached() (back, first bool) {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	x := p.site
	back, first = x.down(), x.heard == 0
	switch {
	case back:
		x.window, x.calm = probeWindow, firstWindow
		p.sites.fix(x)
	case first:
		x.window, x.calm = min(firstWindow, x.most), x.most
		p.sites.fix(x)
	}
	x.heard++
	x.failures, x.pause, x.retryAt, x.downSince = 0, 0, time.Time{}, time.Time{}
	return back, first
}

// answered notes how a server has answered a transaction.
func (p *place) answered(o *mail.Outcome) {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	if o.Command == "MAIL" && o.Reply.Code == 421 { // it has no time for us
		p.site.shrink()
	} else {
		p.site.grow()
	}
	p.sites.fix(p.site)
}

// seek notes that a connection is looked for.
func (p *place) seek() {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	p.heard, p.failures = p.site.heard, p.site.failures
}

// failed notes that no server of the site could be reached. When that makes it
// be down, retryAt is when it may be tried again; else it is zero. If others
// have reached one meanwhile, the site has only no room for more: many servers
// refuse connections beyond a number. That is why those that were looked for at
// the same time count as one failure, too.
func (p *place) failed(o *mail.Outcome, now time.Time) (retryAt time.Time) {
	p.sites.mu.Lock()
	defer p.sites.mu.Unlock()
	x := p.site
	if x.heard != p.heard {
		x.shrink()
		p.sites.fix(x)
		return time.Time{}
	}
	if x.failures == p.failures {
		x.failures++
	}
	x.failure, x.failedAt = describe(o), time.Now()
	switch {
	case p.probing:
		x.pause = min(2*x.pause, lastPause)
		x.retryAt = now.Add(x.pause)
		x.window = x.most // its mail needs no connection
		p.sites.fix(x)
		return time.Time{}
	case x.down():
		return time.Time{} // began before it was
	}
	x.shrink()
	if x.failures >= downAfter {
		x.pause = firstPause
		x.downSince, x.retryAt = now, now.Add(x.pause)
		x.window = x.most // its mail needs no connection
		retryAt = x.retryAt
	}
	p.sites.fix(x)
	return retryAt
}
