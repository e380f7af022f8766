package pool

import (
	"cmp"
	"context"
	"slices"
	"time"

	"postern/internal/route"
	"postern/internal/tlspolicy"
)

// This file does what is due: it looks names up again, probes servers, and ends what runs at
// those that were taken away.

const (
	// maxProbes bounds how many servers of all pools are probed at a time.
	maxProbes = 16
	// probeTime bounds one probe.
	probeTime = 30 * time.Second
	// longest is how long Run sleeps at most.
	longest = time.Hour
)

// Run tends the pools until ctx ends, and waits then for what it has begun. What still runs
// at servers that were taken away is from then on a matter of whoever runs it.
func (s *Set) Run(ctx context.Context) {
	defer s.jobs.Wait()
	for {
		timer := time.NewTimer(s.tend(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// tend begins what is due, and returns how long there is nothing more.
func (s *Set) tend(ctx context.Context) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	wait = s.endRetired(now)
	for _, p := range s.all() {
		switch at := p.resolveAt; {
		case at.After(now):
			wait = min(wait, at.Sub(now))
		case len(p.looking) == 0: // else its end wakes Run
			s.jobs.Go(func() { _ = p.resolve(ctx, func() bool { return p.resolved && p.resolveAt != at }) }) // it fails when ctx ends
		}
		for _, v := range p.servers {
			switch {
			case v.probeAt.IsZero() || v.probing || s.around.Probe == nil || v.drained != "":
			case v.probeAt.After(now):
				wait = min(wait, v.probeAt.Sub(now))
			case s.probing < maxProbes: // else the end of one wakes Run
				s.probing++
				v.probing = true
				s.jobs.Go(func() { s.probe(ctx, v) })
			}
		}
	}
	return wait
}

// endRetired ends what still runs in editions whose time is over, and returns how long there is
// none of these. mu is held.
func (s *Set) endRetired(now time.Time) (wait time.Duration) {
	wait = longest
	s.retired = slices.DeleteFunc(s.retired, func(e *edition) bool {
		left := e.endAt.Sub(now)
		if left <= 0 {
			close(e.ended)
			return true
		}
		wait = min(wait, left)
		return false
	})
	return wait
}

// probe asks a server at each level of TLS at which something is to be found out.
func (s *Set) probe(ctx context.Context, v *server) {
	bounded, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	s.mu.Lock()
	edition, ask, to, at := v.edition, s.around.Probe, v.lane(), v.at
	levels := v.doubts()
	s.mu.Unlock()
	for _, l := range levels {
		to.TLS.Level = l
		c, err := ask(bounded, to, at)
		s.do(func() {
			if v.edition == edition && ctx.Err() == nil {
				v.probed(l, c, err)
			}
		})
		s.Metrics.probed(err)
	}
	s.do(func() {
		v.probing = false
		s.probing--
		if v.edition == edition && ctx.Err() != nil { // nothing was found out
			v.probeAt = time.Now().Add(v.pool.settings.ConnectRetry)
		}
	})
	s.hurry()
}

// doubts are the levels of TLS at which it is not known whether the server can be used.
func (v *server) doubts() []tlspolicy.Level {
	var levels []tlspolicy.Level
	for l := range v.faults {
		levels = append(levels, l)
	}
	slices.SortFunc(levels, func(a, b tlspolicy.Level) int { return cmp.Compare(a, b) })
	if v.state != Active || len(levels) == 0 {
		levels = append([]tlspolicy.Level{v.level()}, levels...)
	}
	return levels
}

// probed notes what a probe has found at a level.
func (v *server) probed(l tlspolicy.Level, c route.Capabilities, err error) {
	if err == nil {
		v.heard(c)
		v.mended(l)
		if l == v.level() {
			v.answered()
		}
	} else if what, reason := judge(err); what != ofOurs {
		v.unreached(what, l, reason)
		if what == ofLacking {
			v.answered()
		}
	}
	v.calm()
	if !v.probeAt.IsZero() {
		v.probeAt = time.Now().Add(v.pool.settings.ConnectRetry)
	}
}

// calm notes that there is nothing to be found out by a probe, if so.
func (v *server) calm() {
	if v.state == Active && len(v.faults) == 0 || v.trial == oneTrial && len(v.faults) == 0 {
		v.probeAt = time.Time{}
	}
}
