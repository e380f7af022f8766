package credentials

import (
	"cmp"
	"slices"
	"time"

	"postern/internal/mail"
)

// This file says how the credentials stand.

// Trouble is why a credential cannot be used.
type Trouble struct {
	Credential string `json:"-"` // in whose listing it stands
	// Host is the server that refuses it; "" when there is nothing to show to anybody.
	Host  string    `json:"host,omitempty" doc:"The server that refuses it; without one, there is nothing to show to anybody"`
	Since time.Time `json:"since"`
	Why   string    `json:"why"`
	// Next is when it is tried again; zero: when it is needed.
	Next time.Time `json:"next,omitzero" doc:"When it is tried again, if it is needed then; without one, whenever it is needed"`
}

// String says it in a line.
func (t Trouble) String() string {
	if t.Host == "" {
		return "credential " + t.Credential + ": " + t.Why
	}
	return "credential " + t.Credential + ": " + t.Host + " refuses it: " + t.Why
}

// Troubles say which credentials cannot be used at present, in the order of their names. What a
// record of before has met is not among them.
func (b *Book) Troubles() []Trouble {
	d := b.directory()
	if d == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []Trouble
	for name, l := range b.logins {
		if r := d.Credential(name); r != nil && l.isOf(r) {
			list = append(list, l.troubles()...)
		}
	}
	slices.SortFunc(list, func(x, y Trouble) int {
		return cmp.Or(cmp.Compare(x.Credential, y.Credential), cmp.Compare(x.Host, y.Host))
	})
	return list
}

// Failing is how many credentials have troubles.
func (b *Book) Failing() int {
	list := b.Troubles()
	return len(slices.CompactFunc(list, func(x, y Trouble) bool { return x.Credential == y.Credential }))
}

func (l *Login) troubles() (list []Trouble) {
	clock, now := l.book.clock.Now(), l.book.passed()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing != nil {
		list = append(list, Trouble{l.record.Name, "", l.failingSince, l.failing.Error(), tried(l.tokens.next, clock, now)})
	}
	for host, b := range l.brakes {
		if b.refusals > 0 {
			list = append(list, At{l, host}.trouble(b, clock, now))
		}
	}
	return list
}

// tried is when something is tried again by the clock, of which it is known by the time that passes.
func tried(next, clock, now time.Time) time.Time {
	if !now.Before(next) {
		return time.Time{}
	}
	return clock.Add(next.Sub(now))
}

// works tells that a credential works again.
func (b *Book) works(f mail.Fact, name string) {
	b.log.Info("a credential works again", "credential", name, "host", f.Host)
	f.Time, f.Reason = b.clock.Now(), mail.ReasonCredentialWorks
	b.record(f)
	b.tellWorks(name)
}
