package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/directory"
	"postern/internal/limit"
	"postern/internal/mail"
)

// What the guard remembers, at most and for how long.
const (
	// A client that was verified is known for a week; 200 octets each.
	knownFor  = 7 * 24 * time.Hour
	mostKnown = 100_000
	// So often a client that is known may be wrong in a row before it is a stranger.
	wrongOfKnown = 5
	// A password that was wrong is known to be the same one for a day; 100 octets each.
	wrongFor  = 24 * time.Hour
	mostWrong = 100_000
	// So many networks and accounts have their wrong passwords counted.
	mostCounted = 50_000
	// So many are kept waiting for their refusal at a time, each for at most mostDelay.
	mostDelayed = 200
	mostDelay   = 8 * time.Second
	// A ban is remembered for so long after its end: the next one is longer.
	banRemembered = 30 * 24 * time.Hour
)

// GuardSettings are what a configuration says of those who guess.
type GuardSettings struct {
	// BanAfter wrong passwords within BanWithin from one network ban it for BanTime; each
	// further ban lasts twice as long as the one before it, up to MaxBanTime. 0: never.
	BanAfter            int
	BanWithin           time.Duration
	BanTime, MaxBanTime time.Duration
	// AccountBanAfter wrong passwords within BanWithin for one account, from wherever,
	// close it for AccountBanTime to clients that are not known. 0: never.
	AccountBanAfter int
	AccountBanTime  time.Duration
	// Never are networks that are not banned.
	Never []netip.Prefix
	// Delay is how long the first refusal takes; each further one of a network takes
	// twice as long, up to eight seconds. 0: none is delayed.
	Delay time.Duration
}

// GuardOptions are what a Guard needs.
type GuardOptions struct {
	Bans   Bans
	Clock  mail.Clock
	Record func(mail.Fact)
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// Guard is what is done about those who guess passwords. It lives as long as the
// process; Run must run as long. Its means, in this order:
//
//   - A refusal takes its time, and takes the longer the more there were. It takes the
//     same for a user that there is as for one that there is not. Whoever waits holds a
//     connection and nothing else, and only so many wait.
//   - A network from which too many wrong passwords came is banned: an address of IPv4, a
//     /64 of IPv6. The same wrong password again is no guess, and does not count. An
//     address with which everybody may appear is not banned.
//   - An account for which too many came is closed to strangers for a while.
//   - A client that is known, that is, one account from one network within a week of its
//     last success, is never delayed, and neither ban is for it. So nobody can lock a
//     user out, and an office in which one machine guesses goes on working. That it is
//     wrong five times in a row makes it a stranger.
//
// A ban of an account is the one means by which strangers can harm a user: one who comes
// from a network where he was not seen for a week must wait (454 4.7.0) while his account
// is under attack, or have a certificate or a token, of which none is guessed.
type Guard struct {
	o    GuardOptions
	key  [32]byte
	set  atomic.Pointer[guardState]
	wait chan struct{} // a token that whoever is delayed holds

	known    *recent[pair, *atomic.Int32]    // wrong passwords since
	networks *recent[netip.Prefix, struct{}] // of those that are known
	wrong    *recent[[sha256.Size]byte, struct{}]
	times    *recent[string, int] // how often a subject was banned

	mu       sync.Mutex
	failures map[netip.Prefix]*failures // that are not told yet
}

// guardState are settings, and what is counted by them.
type guardState struct {
	GuardSettings
	networks, accounts *limit.Keyed
}

// pair is one account from one network.
type pair struct {
	user    string // as bans have it
	network netip.Prefix
}

func pairOf(user string, client netip.Addr) pair { return pair{banName(user), limit.Network(client)} }

// banName is the name of an account as bans have it, which must be a login. That of
// another source need not be one: what no login can have is escaped.
func banName(user string) string {
	name := canonical(user)
	if _, err := directory.Login(name); err == nil || name == "" {
		return name
	}
	if name = url.PathEscape(name); len(name) > directory.MaxLogin {
		sum := sha256.Sum256([]byte(name))
		name = "sha256-" + hex.EncodeToString(sum[:])
	}
	return name
}

// NewGuard returns a Guard.
func NewGuard(o GuardOptions, s GuardSettings) *Guard {
	g := &Guard{
		o:        o,
		wait:     make(chan struct{}, mostDelayed),
		known:    newRecent[pair, *atomic.Int32](mostKnown, knownFor, o.Clock),
		networks: newRecent[netip.Prefix, struct{}](mostKnown, knownFor, o.Clock),
		wrong:    newRecent[[sha256.Size]byte, struct{}](mostWrong, wrongFor, o.Clock),
		times:    newRecent[string, int](mostCounted, banRemembered, o.Clock),
		failures: map[netip.Prefix]*failures{},
	}
	if g.o.Logger == nil {
		g.o.Logger = slog.New(slog.DiscardHandler)
	}
	if g.o.Record == nil {
		g.o.Record = func(mail.Fact) {}
	}
	if g.o.Metrics == nil {
		g.o.Metrics = NewMetrics(nil)
	}
	for _, b := range o.Bans.Bans() {
		g.times.put(b.Subject, b.Count)
	}
	rand.Read(g.key[:])
	g.Set(s)
	return g
}

// Set puts other settings in force. What was counted counts on, unless it is counted in
// another way.
func (g *Guard) Set(s GuardSettings) {
	next := &guardState{GuardSettings: s}
	before := g.set.Load()
	counts := func(old *limit.Keyed, most int) *limit.Keyed {
		rate := limit.Rate{Max: int64(max(most, 1)), Per: s.BanWithin}
		if old != nil && old.Rate() == rate {
			return old
		}
		return limit.New(limit.Options{Rate: rate, MaxKeys: mostCounted, Clock: g.o.Clock})
	}
	if before == nil {
		before = &guardState{}
	}
	next.networks = counts(before.networks, s.BanAfter)
	next.accounts = counts(before.accounts, s.AccountBanAfter)
	g.set.Store(next)
}

// errBanned refuses to verify anything at present.
var errBanned = &mail.Error{
	Reply: mail.NewReply(454, "4.7.0", "Too many failed authentications, please try again later"),
	Cause: errors.New("banned"),
}

// Refuse refuses a client that connects while its network is banned, unless there is
// somebody in it who is known. It is told to come again (421 4.7.0): a ban ends, and a
// permanent refusal would send back the mail of whoever has the address next.
func (g *Guard) Refuse(client netip.Addr) mail.Reply {
	network := limit.Network(client)
	if _, known := g.networks.get(network); known || !g.bannedNetwork(client) {
		return mail.Reply{}
	}
	g.o.Metrics.refused.Add(1)
	return mail.NewReply(421, "4.7.0", "Too many failed authentications from your address, please try again later")
}

// admit says whether a password may be verified for an account from an address.
func (g *Guard) admit(user string, client netip.Addr) error {
	p := pairOf(user, client)
	switch {
	case g.isKnown(p):
		return nil
	case g.bannedNetwork(client), g.bannedAccount(p.user):
		return errBanned
	}
	return nil
}

// admitToken is admit for what is not guessed, so that guesses at the password of an
// account do not matter.
func (g *Guard) admitToken(user string, client netip.Addr) error {
	if !g.isKnown(pairOf(user, client)) && g.bannedNetwork(client) {
		return errBanned
	}
	return nil
}

func (g *Guard) isKnown(p pair) bool {
	_, known := g.known.get(p)
	if known {
		g.o.Metrics.known.Add(1)
	}
	return known
}

func (g *Guard) never(client netip.Addr) bool {
	return slices.ContainsFunc(g.set.Load().Never, func(n netip.Prefix) bool { return n.Contains(client.Unmap().WithZone("")) })
}

// succeeded notes that an account was verified.
func (g *Guard) succeeded(guess guess) {
	for _, p := range guess.pairs() {
		g.known.put(p, new(atomic.Int32))
		g.networks.put(p.network, struct{}{})
	}
}

// guess is one password that was verified.
type guess struct {
	// user is the name of the account, and said what the client calls it.
	user, said string
	client     netip.Addr
	// secret is what was wrong; empty where it is not known.
	secret string
	// exists says that a source knows the user.
	exists bool
	// masked says that everybody may appear with the address: a ban of it would be one of
	// all.
	masked bool
}

// pairs are the account by its names; it is one account, the first.
func (guess *guess) pairs() []pair {
	list := []pair{pairOf(guess.user, guess.client)}
	if said := pairOf(guess.said, guess.client); said != list[0] {
		list = append(list, said)
	}
	return list
}

// missed counts a wrong password of a client that is known, and reports whether it was.
func (g *Guard) missed(p pair) bool {
	wrong, known := g.known.get(p)
	if known && wrong.Add(1) >= wrongOfKnown {
		g.known.forget(p)
	}
	return known
}

// failed counts a guess, and bans whoever has guessed too often.
func (g *Guard) failed(guess guess) {
	pairs := guess.pairs()
	p := pairs[0]
	g.note(p, guess.exists)
	if g.again(p, guess.secret) {
		return
	}
	known := false
	for _, name := range pairs {
		known = g.missed(name) || known
	}
	set := g.set.Load()
	if set.BanAfter > 0 && !g.never(guess.client) && set.networks.Take(networkSubject(p.network), 1).Left == 0 && !guess.masked {
		g.banNetwork(guess.client, banOf{set.BanTime, set.MaxBanTime, "too many wrong passwords from there"})
	}
	if set.AccountBanAfter > 0 && !known && p.user != "" && set.accounts.Take(accountSubject(p.user), 1).Left == 0 {
		g.banAccount(p.user, banOf{set.AccountBanTime, set.AccountBanTime, "too many wrong passwords for it"})
	}
}

// again reports whether the same wrong password came before: a device that was not told
// of a new one tries the old one for ever, and does not guess.
func (g *Guard) again(p pair, secret string) bool {
	if secret == "" {
		return false
	}
	mac := hmac.New(sha256.New, g.key[:])
	mac.Write([]byte(p.user + "\x00" + p.network.String() + "\x00" + secret))
	var sum [sha256.Size]byte
	mac.Sum(sum[:0])
	_, known := g.wrong.get(sum)
	if !known {
		g.wrong.put(sum, struct{}{})
	}
	return known
}

// slow waits before a refusal is told: until so long after the attempt began as the
// network has deserved. It waits for nobody else, and not at all when too many wait.
func (g *Guard) slow(ctx context.Context, client netip.Addr, began time.Time) {
	set := g.set.Load()
	left := set.networks.Look(networkSubject(limit.Network(client)), 0).Left
	delay := min(set.Delay<<min(max(int64(set.BanAfter)-left-1, 0), 10), mostDelay)
	rest := delay - time.Since(began)
	if rest <= 0 {
		return
	}
	select {
	case g.wait <- struct{}{}:
	default:
		return
	}
	g.o.Metrics.delayed.Add(1)
	defer func() {
		<-g.wait
		g.o.Metrics.delayed.Add(-1)
	}()
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
