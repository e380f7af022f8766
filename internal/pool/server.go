package pool

import (
	"time"

	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// State is how a server stands.
type State string

// The states.
const (
	Unknown   State = "unknown"    // nothing was heard of it yet
	Active    State = "active"     // it takes mail
	NotUsable State = "not usable" // it does not; it is probed until it does
)

// trial is how much of a server that was not usable is believed.
type trial int

const (
	noTrial  trial = iota // as its state says
	oneTrial              // its probe went well: one transaction may show that all is
)

// server is one address of a pool. Its pool's set guards it.
type server struct {
	pool *Pool
	found
	// edition is what connections are of that may go on.
	edition *edition

	state State
	since time.Time
	// reason is why it is not usable, and cause what kind of failure it was.
	reason string
	cause  cause
	trial  trial
	// failures are those in a row.
	failures int
	// faults are why mail that demands this of TLS cannot go there although other mail can.
	faults map[tlspolicy.Level]fault
	// learned says that capabilities are what it offered the last time.
	learned      bool
	capabilities route.Capabilities
	heardAt      time.Time // when, on the clock that is never set
	// changes are how often it has offered something else than the time before.
	changes int
	// asked says that mail waits for what it offers now.
	asked bool
	// drained says who lets nothing go there; "": nobody.
	drained string

	probeAt time.Time // when it is probed next; zero: not at all
	probing bool

	open   int // connections
	credit int // in the sharing by weights
	counts Counts
}

// fault is what is wrong with TLS of a server.
type fault struct {
	reason string
	since  time.Time
}

// Counts are what came of mail at a server since it is in the pool, or since the start.
type Counts struct {
	// Attempts are messages that were sent to it, or that it was tried with.
	Attempts uint64 `json:"mail_attempts" doc:"Messages that were sent to it, or with which that was tried (MAIL ATTEMPTS)"`
	// Sent are messages that it took for one recipient at least.
	Sent uint64 `json:"mail_sent" doc:"Messages that it took, for one recipient at least (MAIL SENT)"`
	// ConnectFailures are connections for mail that could not be made.
	ConnectFailures uint64 `json:"connect_failures" doc:"Connections for mail that could not be made or could not be used (CONNECT FAIL)"`
}

// cause is what kind of failure made a server not usable.
type cause int

const (
	byConnecting cause = iota // found out again by a probe
	byMessage                 // found out again by a message alone
)

func newServer(p *Pool, f found, now time.Time) *server {
	v := &server{pool: p, found: f, state: Unknown, since: now, faults: make(map[tlspolicy.Level]fault)}
	v.edition = newEdition(v)
	v.probeAt = time.Now()
	return v
}

// level is what all mail to the server demands of TLS.
func (v *server) level() tlspolicy.Level { return v.lane().TLS.Level }

func (v *server) lane() route.Lane {
	return v.target.lane(v.pool.settings.Lane, v.pool.settings.Name, v.host)
}

// limit is how many connections there may be.
func (v *server) limit() int {
	if v.trial == oneTrial {
		return 1
	}
	return v.target.MaxConnections
}

// room reports whether there may be a connection more.
func (v *server) room() bool { return v.open < v.limit() }

// usable reports whether mail may go there that demands a level of TLS, as far as is
// known.
func (v *server) usable(l tlspolicy.Level) bool {
	_, faulty := v.faults[l]
	return v.drained == "" && !faulty && (v.state != NotUsable || v.trial == oneTrial)
}

// heard notes that the server has answered, and what it offers.
func (v *server) heard(c route.Capabilities) {
	c.Auth = append([]string(nil), c.Auth[:min(len(c.Auth), maxMechanisms)]...)
	if v.learned && !sameOffer(v.capabilities, c) {
		v.changes++
	}
	v.learned, v.capabilities, v.heardAt = true, c, time.Now()
	if v.asked {
		v.asked = false
		v.pool.back()
	}
	if v.state == Unknown {
		v.become(Active, "")
		v.calm()
	}
}

// sameOffer reports whether two offers are the same as far as mail is chosen by them.
func sameOffer(a, b route.Capabilities) bool {
	return a.ESMTP == b.ESMTP && a.StartTLS == b.StartTLS && a.Size == b.Size
}

// varies reports whether the server has offered one thing, then another, and then the first or a
// third: more servers seem to be behind its address. One that was changed has changed once.
func (v *server) varies() bool { return v.changes > 1 }

// maxMechanisms bounds what is kept of AUTH.
const maxMechanisms = 20

// answered notes that a probe went well. What only a message can find out is left to
// one; whatever it was, there is only one at first.
func (v *server) answered() {
	if v.state != NotUsable {
		return
	}
	v.trial = oneTrial
	if v.cause == byConnecting {
		v.become(Active, "")
	}
	v.pool.back()
}

// worked notes that the server has answered to a transaction.
func (v *server) worked() {
	v.failures = 0
	if v.state == NotUsable {
		v.become(Active, "")
	}
	if v.trial == oneTrial {
		v.trial = noTrial
		v.pool.back()
	}
	v.calm()
}

// failed notes that the server cannot be used.
func (v *server) failed(why cause, reason string) {
	v.failures++
	v.trial = noTrial
	v.probeAt = time.Now().Add(v.pool.settings.ConnectRetry)
	v.cause, v.reason = why, reason
	if v.state != NotUsable {
		v.become(NotUsable, reason)
	}
}

// unreached notes a failure to connect, for mail that demands a level of TLS.
func (v *server) unreached(what verdict, l tlspolicy.Level, reason string) {
	switch {
	case what == ofLacking:
		c := v.capabilities
		c.ESMTP, c.StartTLS = true, false
		v.heard(c)
	case what == ofTLS && demands(l):
		v.failedTLS(l, reason)
	case what == ofTLS:
		// The caller goes on in clear.
	case what == ofRefusal && v.open > 1 && v.state == Active:
		// The others over which it is heard show that it has only no room for more.
	case what == ofLogin:
		v.failed(byMessage, reason) // probes do not log in
	default:
		v.failed(byConnecting, reason)
	}
}

// failedTLS notes that mail which demands a level cannot go there. It is all mail, when
// that is the level of all.
func (v *server) failedTLS(l tlspolicy.Level, reason string) {
	if l == v.level() {
		v.failed(byConnecting, reason)
		return
	}
	if _, known := v.faults[l]; !known {
		v.pool.set.tell(v, mail.ReasonTargetDown, "for mail with the TLS policy "+string(l)+": "+reason)
		v.faults[l] = fault{since: v.pool.set.Clock.Now(), reason: reason}
	}
	v.probeAt = time.Now().Add(v.pool.settings.ConnectRetry)
}

// mended notes that TLS works as a level demands it.
func (v *server) mended(l tlspolicy.Level) {
	if _, was := v.faults[l]; was {
		delete(v.faults, l)
		v.pool.set.tell(v, mail.ReasonTargetUp, "for mail with the TLS policy "+string(l))
		v.pool.back()
	}
}

// become notes another state, and tells of it.
func (v *server) become(s State, reason string) {
	v.state, v.reason, v.since = s, reason, v.pool.set.Clock.Now()
	switch s {
	case Active:
		v.pool.set.tell(v, mail.ReasonTargetUp, "")
	case NotUsable:
		v.pool.set.tell(v, mail.ReasonTargetDown, reason)
	}
}

// adjust gives the server the settings that its target has now. When they matter to
// what a connection is worth, it begins anew.
func (v *server) adjust(t *Target, tls tlspolicy.Policy) {
	was := v.edition.level
	v.target = t
	if now := t.lane(route.Lane{TLS: tls}, "", "").TLS.Level; now != was {
		v.renew("its settings for TLS have changed")
	}
}

// renew lets the server begin anew: what is known of it is forgotten, and connections to
// it end, those that carry a message when it is sent or its time is over.
func (v *server) renew(why string) {
	v.retire(why)
	v.edition = newEdition(v)
	v.state, v.since, v.reason, v.trial, v.failures = Unknown, v.pool.set.Clock.Now(), "", noTrial, 0
	v.learned, v.capabilities, v.changes = false, route.Capabilities{}, 0
	clear(v.faults)
	v.probeAt = time.Now()
}

// drain lets no mail go there.
func (v *server) drain(by string) {
	v.drained = by
	v.retire("drained by " + by)
	v.edition = newEdition(v)
}

// undrain ends that. Meanwhile it may have become another, so that it is probed.
func (v *server) undrain(by string) {
	v.drained = ""
	v.pool.set.tell(v, mail.ReasonTargetChanged, "no longer drained, by "+by)
	v.probeAt = time.Now()
	v.pool.back()
}

// retire ends the edition.
func (v *server) retire(why string) {
	v.pool.set.retire(v.edition, v.pool.settings.Drain)
	v.pool.set.tell(v, mail.ReasonTargetChanged, why)
}

// tell records a fact about a server. mu is held.
func (s *Set) tell(v *server, r mail.Reason, text string) {
	p := v.pool
	s.Record(mail.Fact{Reason: r, Time: s.Clock.Now(), Route: p.settings.Name, Host: v.host, Address: v.at, Text: text})
	log := s.Logger.Info
	if r == mail.ReasonTargetDown {
		log = s.Logger.Warn
	}
	log(string(r), "pool", p.settings.Name, "host", v.host, "address", v.at, "why", text)
}

// back tells that mail for the pool may go again.
func (p *Pool) back() { p.set.recovered = append(p.set.recovered, p.site()) }
