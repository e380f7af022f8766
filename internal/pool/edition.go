package pool

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// edition is a server under the same settings, and without a break: connections of one
// edition carry no mail of the next. The set guards it.
type edition struct {
	server *server
	level  tlspolicy.Level // of all mail to it
	over   bool
	ended  chan struct{} // closed when nothing may go on any more
	endAt  time.Time     // when Run closes it
}

func newEdition(v *server) *edition {
	return &edition{server: v, level: v.level(), ended: make(chan struct{})}
}

// retire lets nothing begin any more. What still runs has a while until Run ends it.
func (s *Set) retire(e *edition, drain time.Duration) {
	if !e.over {
		e.over, e.endAt = true, time.Now().Add(drain)
		s.retired = append(s.retired, e)
		s.hurry()
	}
}

// visit is a route.Target: a server for one message, with what that demands of TLS.
// Those for messages that demand the same are equal.
type visit struct {
	*edition
	demanded tlspolicy.Level
	// source is who demands it.
	source string
}

// Enter takes the right to one connection.
func (v visit) Enter() (ok bool) {
	s := v.server.pool.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.over || !v.server.usable(v.demanded) || !v.server.room() {
		return false
	}
	v.server.open++
	return true
}

// Leave gives it back.
func (v visit) Leave() {
	s := v.server.pool.set
	s.mu.Lock()
	defer s.mu.Unlock()
	v.server.open--
}

// Ended is closed when what still runs there is to be broken off, and tried elsewhere.
func (v visit) Ended() <-chan struct{} { return v.ended }

// Connected notes what the server offered.
func (v visit) Connected(c route.Capabilities) {
	v.note(func(s *server) { s.heard(c) })
}

// Failed notes why there is no connection.
func (v visit) Failed(why error) {
	what, reason := judge(why)
	if what == ofOurs || what == ofTLS && !v.ownPolicy(why) {
		return
	}
	v.server.pool.set.Metrics.connectFailures.Add(1)
	v.count(func(c *Counts) { c.ConnectFailures++ })
	v.note(func(s *server) { s.unreached(what, v.demanded, reason) })
	v.server.pool.set.hurry()
}

// ownPolicy reports whether TLS was judged by what the pool and the message demand. By what
// is demanded for the domain of a recipient, a server is none the worse for other mail.
func (v visit) ownPolicy(why error) bool {
	var failure interface{ Outcome() mail.Outcome }
	if !errors.As(why, &failure) {
		return true
	}
	judged := failure.Outcome().TLSPolicy
	return judged == nil || judged.Level == string(v.demanded) && judged.Source == v.source
}

// Settled notes what became of a message.
func (v visit) Settled(outcomes []mail.Outcome) {
	sent, heard, lost := false, false, ""
	for i := range outcomes {
		o := &outcomes[i]
		sent = sent || o.State == mail.Delivered || o.State == mail.Relayed
		heard = heard || o.Remote
		if o.State == mail.Deferred && !o.Remote && o.Reply.Enhanced == brokenStatus {
			lost = o.Command + ": " + o.Reply.Text
		}
	}
	m := v.server.pool.set.Metrics
	m.attempts.Add(1)
	if sent {
		m.sent.Add(1)
	}
	v.count(func(c *Counts) {
		c.Attempts++
		if sent {
			c.Sent++
		}
	})
	v.note(func(s *server) {
		switch {
		case lost != "":
			s.failed(byMessage, lost)
		case sent || heard:
			s.worked()
		}
	})
	v.server.pool.set.hurry()
}

// brokenStatus is what smtpclient says of a connection that broke, or on which nothing
// came in time (RFC 3463 3.5).
const brokenStatus = "4.4.2"

// note changes the server, unless that has begun anew meanwhile.
func (v visit) note(change func(*server)) {
	v.server.pool.set.do(func() {
		if v.server.edition == v.edition {
			change(v.server)
		}
	})
}

// count counts, whichever edition it is.
func (v visit) count(add func(*Counts)) {
	s := v.server.pool.set
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&v.server.counts)
}

// verdict is what a failure to connect says.
type verdict int

const (
	ofOurs    verdict = iota // nothing of the server
	ofServer                 // that it cannot be used
	ofLogin                  // that a login there fails
	ofRefusal                // that it has refused one connection
	ofLacking                // that it offers no STARTTLS
	ofTLS                    // that TLS with it does not work
)

// ours are failures of this machine, or of nobody.
var ours = []error{context.Canceled, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL}

// judge tells what a failure to connect says of the server.
func judge(why error) (verdict, string) {
	if slices.ContainsFunc(ours, func(e error) bool { return errors.Is(why, e) }) {
		return ofOurs, ""
	}
	var failure interface{ Outcome() mail.Outcome }
	if !errors.As(why, &failure) {
		return ofServer, why.Error()
	}
	o := failure.Outcome()
	reason := o.Command + ": " + o.Reply.String()
	if o.Cause != "" {
		reason += ": " + o.Cause
	}
	switch {
	case o.Command == "STARTTLS" && !o.Remote && o.Reply.Enhanced == "4.7.4" && o.Cause == "":
		return ofLacking, reason
	case o.Command == "AUTH":
		return judgeLogin(&o), reason
	case o.Command == "STARTTLS", o.TLS != nil && !o.Remote: // a handshake refused shows with the next reply
		return ofTLS, reason
	case o.Remote:
		return ofRefusal, reason
	}
	return ofServer, reason
}

// judgeLogin tells what a failure to log in says of the server. That there is nothing to show to it says
// nothing; that it refuses, offers no way to log in, breaks off, or is silent, is found out again by a login alone.
func judgeLogin(o *mail.Outcome) verdict {
	if o.Remote || o.Reply.Enhanced == brokenStatus || o.Reply.Enhanced == noLoginStatus {
		return ofLogin
	}
	return ofOurs
}

// noLoginStatus is what smtpclient says of a server at which there is no way to log in (RFC 3463 3.8).
const noLoginStatus = "4.7.4"
