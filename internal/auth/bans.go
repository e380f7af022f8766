package auth

import (
	"context"
	"net/netip"
	"time"
)

// Ban keeps a network or an account out for a while.
type Ban struct {
	Subject      string
	Since, Until time.Time
	Reason       string
	Count        int
}

// Active reports whether it is in force.
func (b *Ban) Active(now time.Time) bool { return b.Until.IsZero() || now.Before(b.Until) }

// BanStore is where bans are kept, over restarts.
type BanStore interface {
	// Ban returns the last ban of a subject, also one that has ended.
	Ban(subject string) (Ban, bool)
	// BanOf returns the ban that an address is under at the moment.
	BanOf(client netip.Addr) (Ban, bool)
	// PutBans stores bans, all or none, durably.
	PutBans(ctx context.Context, bans []Ban) error
	// LiftBan ends one. It fails when there is none.
	LiftBan(ctx context.Context, actor, subject string) error
}

// The subjects of bans, as the directory writes them.
const (
	ofAddress = "address:"
	ofAccount = "account:"
)

func networkSubject(network netip.Prefix) string {
	if network.IsSingleIP() {
		return ofAddress + network.Addr().String()
	}
	return ofAddress + network.String()
}

func accountSubject(user string) string { return ofAccount + user }

// mostPending is how many bans wait for the store at most, should it fail.
const mostPending = 10_000

func (g *Guard) bannedNetwork(client netip.Addr) bool {
	if g.never(client) {
		return false
	}
	if b, is := g.o.Bans.BanOf(client); is && b.Active(g.o.Clock.Now()) {
		return true
	}
	return g.isPending(networkSubject(networkOf(client)))
}

func (g *Guard) bannedAccount(user string) bool {
	subject := accountSubject(user)
	if b, is := g.o.Bans.Ban(subject); is && b.Active(g.o.Clock.Now()) {
		return true
	}
	return g.isPending(subject)
}

func (g *Guard) isPending(subject string) bool {
	now := g.o.Clock.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	b, is := g.pending[subject]
	return is && b.Active(now)
}

// banOf is how long a ban lasts the first time, and at most; and why it is.
type banOf struct {
	first, most time.Duration
	reason      string
}

// ban bans a subject, unless it is banned. It is in force at once, and in the store a
// moment later: whoever guesses does not wait for the disk.
func (g *Guard) ban(subject string, of banOf) {
	now := g.o.Clock.Now()
	before, is := g.o.Bans.Ban(subject)
	if is && before.Active(now) || g.isPending(subject) {
		return
	}
	b := Ban{Subject: subject, Since: now, Reason: of.reason, Count: 1}
	if is && now.Sub(before.Until) < banRemembered {
		b.Count = before.Count + 1
	}
	b.Until = now.Add(min(of.first<<min(b.Count-1, 20), of.most))
	g.o.Logger.Warn("banned", "subject", subject, "until", b.Until, "reason", of.reason, "count", b.Count)
	g.o.Metrics.banned(subject)
	g.mu.Lock()
	if len(g.pending) < mostPending {
		g.pending[subject] = b
	}
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Lift ends a ban, and forgets what led to it.
func (g *Guard) Lift(ctx context.Context, actor, subject string) error {
	if err := g.o.Bans.LiftBan(ctx, actor, subject); err != nil {
		return err
	}
	set := g.set.Load()
	set.networks.Forget(subject)
	set.accounts.Forget(subject)
	return nil
}

// store stores the bans that wait for it.
func (g *Guard) store(ctx context.Context) error {
	g.mu.Lock()
	list := make([]Ban, 0, len(g.pending))
	for _, b := range g.pending {
		list = append(list, b)
	}
	g.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	if err := g.o.Bans.PutBans(ctx, list); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range list {
		delete(g.pending, b.Subject)
	}
	return nil
}
