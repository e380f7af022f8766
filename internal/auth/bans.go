package auth

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/internal/directory"
	"postern/internal/limit"
	"postern/internal/mail"
)

// Bans are those that there are. A directory.Directory keeps them, over restarts.
type Bans interface {
	// AddressBan and AccountBan return the ban under which an address or an account is now.
	AddressBan(client netip.Addr) (directory.Ban, bool)
	AccountBan(login string) (directory.Ban, bool)
	// Impose bans a subject from now on, and stores it a moment later.
	Impose(b directory.Ban) error
	// Bans are all that hold now.
	Bans() []directory.Ban
}

// Subjects of bans begin with these.
const (
	ofAddress = "address:"
	ofAccount = "account:"
)

func networkSubject(network netip.Prefix) string { return directory.AddressSubject(network) }

func accountSubject(user string) string { return ofAccount + user }

func (g *Guard) bannedNetwork(client netip.Addr) bool {
	if g.never(client) {
		return false
	}
	_, is := g.o.Bans.AddressBan(client)
	return is
}

func (g *Guard) bannedAccount(user string) bool {
	_, is := g.o.Bans.AccountBan(user)
	return is
}

// banOf is how long a ban lasts the first time, and at most; and why it is.
type banOf struct {
	first, most time.Duration
	reason      string
}

// banNetwork bans the network of a client, unless it is banned.
func (g *Guard) banNetwork(client netip.Addr, of banOf) {
	if !g.bannedNetwork(client) {
		g.ban(networkSubject(limit.Network(client)), of)
	}
}

// banAccount closes an account to strangers, unless it is closed.
func (g *Guard) banAccount(user string, of banOf) {
	if !g.bannedAccount(user) {
		g.ban(accountSubject(user), of)
	}
}

// ban bans a subject, and tells of it. What cannot be stored is counted on, and tried
// again at the next guess.
func (g *Guard) ban(subject string, of banOf) {
	now := g.o.Clock.Now()
	before, _ := g.times.get(subject)
	b := directory.Ban{Subject: subject, Since: now, Reason: of.reason, Count: before + 1}
	b.Until = now.Add(min(of.first<<min(before, 20), of.most))
	if err := g.o.Bans.Impose(b); err != nil {
		g.o.Logger.Error("cannot ban", "subject", subject, "error", err)
		return
	}
	g.times.put(subject, b.Count)
	g.o.Metrics.banned(subject)
	g.o.Logger.Warn("banned", "subject", subject, "until", b.Until, "reason", of.reason, "count", b.Count)
	g.o.Record(mail.Fact{Time: now, Reason: mail.ReasonBanned, Next: b.Until, Count: uint64(b.Count),
		Text: fmt.Sprintf("%s: %s", subject, of.reason)})
}

// Lifted says that an operator has lifted a ban: what led to it is forgotten, so that
// the next wrong password does not set it again.
func (g *Guard) Lifted(subject string) {
	set := g.set.Load()
	set.networks.Forget(subject)
	set.accounts.Forget(subject)
	g.times.forget(subject)
}

// isAccount reports whether a subject is an account.
func isAccount(subject string) bool { return strings.HasPrefix(subject, ofAccount) }
