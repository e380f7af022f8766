package certs

import (
	"crypto/tls"
	"errors"
	"os"
	"testing"
	"time"

	"postern/internal/mail"
)

// pairOf are files that were written long ago, as the clock has it.
type pairOf struct {
	*testing.T
	pair  Pair
	clock *mail.ManualClock
	files *Files
}

func newPair(t *testing.T) *pairOf {
	t.Helper()
	certificate, key := savedPair(t)
	p := &pairOf{T: t, pair: Pair{certificate, key}, clock: mail.NewManualClock(now)}
	p.age()
	var err error
	if p.files, err = OpenFiles("it", p.pair, p.clock); err != nil {
		t.Fatal(err)
	}
	return p
}

// age makes what is there now look as if it had changed long ago.
func (p *pairOf) age() { p.touch(now.Add(-10 * time.Minute)) }

func (p *pairOf) touch(at time.Time) {
	p.Helper()
	for _, file := range []string{p.pair.Certificate, p.pair.Key} {
		if err := os.Chtimes(file, at, at); err != nil && !errors.Is(err, os.ErrNotExist) {
			p.Fatal(err)
		}
	}
}

// replace puts other files in the place of these, as certbot would: another file, renamed.
func (p *pairOf) replace(certificate, key bool) tls.Certificate {
	p.Helper()
	c := selfSigned(p.T)
	next := Pair{p.pair.Certificate + ".new", p.pair.Key + ".new"}
	if err := Save(c, next.Certificate, next.Key); err != nil {
		p.Fatal(err)
	}
	for file, wanted := range map[string]bool{p.pair.Certificate: certificate, p.pair.Key: key} {
		if err := errors.Join(os.Chtimes(file+".new", now, now)); err != nil {
			p.Fatal(err)
		}
		if wanted {
			if err := os.Rename(file+".new", file); err != nil {
				p.Fatal(err)
			}
		}
	}
	return c
}

// wantTold looks once, and wants to be told of a reason, of a new certificate if that is
// nil, and of nothing if it is errNothing.
func (p *pairOf) wantTold(when string, want error) {
	p.Helper()
	before := p.files.Certificate()
	e := p.files.Look()
	switch {
	case want == errNothing && e == nil:
	case e == nil || want == errNothing:
		p.Errorf("%s: told %+v, want %v", when, e, want)
	case want == nil && (e.Err != nil || e.Old != before || e.New != p.files.Certificate() || e.New == before):
		p.Errorf("%s: told %+v", when, e)
	case want != nil && (!errors.Is(e.Err, want) || p.files.Certificate() != before || e.New != before):
		p.Errorf("%s: told %v, want %v; changed %v", when, e.Err, want, p.files.Certificate() != before)
	}
}

var errNothing = errors.New("nothing")

// TestFilesFollow: what changes is in use, and told once.
func TestFilesFollow(t *testing.T) {
	p := newPair(t)
	p.wantTold("unchanged", errNothing)
	p.touch(now)
	p.wantTold("touched", errNothing)
	next := p.replace(true, true)
	p.wantTold("replaced", nil)
	if !p.files.Certificate().Leaf.Equal(next.Leaf) {
		t.Error("another is in use")
	}
	p.wantTold("replaced, again", errNothing)
}

// TestFilesHalfReplaced: a certificate without its key waits for it, and is wrong only when
// that does not come.
func TestFilesHalfReplaced(t *testing.T) {
	p := newPair(t)
	p.replace(true, false)
	p.wantTold("at once", errNothing)
	if p.files.Stale() != nil {
		t.Error("it is wrong at once")
	}
	p.clock.Advance(halfReplaced - time.Second)
	p.wantTold("within the time", errNothing)
	p.clock.Advance(2 * time.Second)
	p.wantTold("after it", ErrMismatch)
	p.wantTold("after it, again", errNothing)
	if s := p.files.Stale(); s == nil || !errors.Is(s.Err, ErrMismatch) {
		t.Errorf("stale: %+v", s)
	}
	p.replace(true, true)
	p.wantTold("whole", nil)
	if p.files.Stale() != nil {
		t.Error("it is wrong when it is whole")
	}
}

// TestFilesWrong: what cannot be used is told once for each reason, and what was before
// stays.
func TestFilesWrong(t *testing.T) {
	p := newPair(t)
	old, err := os.ReadFile(p.pair.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.pair.Certificate, "nothing")
	p.wantTold("damaged", ErrFormat)
	write(t, p.pair.Certificate, "nothing else")
	p.wantTold("damaged in the same way", errNothing)
	os.Remove(p.pair.Certificate)
	p.wantTold("gone", ErrMissing)
	write(t, p.pair.Certificate, string(old))
	p.wantTold("as it was", nil)
	p.replace(true, true)
	p.clock.Advance(2 * time.Hour)
	p.wantTold("expired", ErrExpired)
}
