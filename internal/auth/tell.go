package auth

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// Wrong passwords are told together, so that whoever guesses does not fill the journal:
// once in every tellEvery, a fact for each of the networks with the most, and one for all
// others.
const (
	tellEvery    = time.Minute
	toldNetworks = 20
	toldAccounts = 5
	mostFailures = 2000 // networks that are told apart meanwhile
)

// failures are the wrong passwords that came from one network.
type failures struct {
	network  netip.Prefix
	count    uint64
	accounts []string // that there are; others may be passwords in the wrong field
}

// note counts a failure, to be told.
func (g *Guard) note(p pair, exists bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.failures[p.network]
	if f == nil {
		if len(g.failures) >= mostFailures {
			p.network, exists = netip.Prefix{}, false
		}
		if f = g.failures[p.network]; f == nil {
			f = &failures{network: p.network}
			g.failures[p.network] = f
		}
	}
	f.count++
	if exists && len(f.accounts) < toldAccounts && !slices.Contains(f.accounts, p.user) {
		f.accounts = append(f.accounts, p.user)
	}
}

// tell records the failures since the last time.
func (g *Guard) tell() {
	g.mu.Lock()
	list := slices.SortedFunc(maps.Values(g.failures), func(a, b *failures) int {
		return int(min(max(int64(b.count)-int64(a.count), -1), 1))
	})
	clear(g.failures)
	g.mu.Unlock()
	now := g.o.Clock.Now()
	for i, f := range list {
		if i == toldNetworks {
			g.o.Record(others(list[i:], now))
			return
		}
		g.o.Record(f.fact(now))
	}
}

func (f *failures) fact(now time.Time) mail.Fact {
	text := "from " + strings.TrimPrefix(networkSubject(f.network), ofAddress)
	if !f.network.IsValid() {
		text = "from other networks"
	}
	if len(f.accounts) > 0 {
		text += ", for " + strings.Join(f.accounts, ", ")
	}
	return mail.Fact{Time: now, Reason: mail.ReasonLoginFailed, Count: f.count, Text: text}
}

func others(list []*failures, now time.Time) mail.Fact {
	var count uint64
	for _, f := range list {
		count += f.count
	}
	return mail.Fact{Time: now, Reason: mail.ReasonLoginFailed, Count: count, Text: fmt.Sprintf("from %d other networks", len(list))}
}

// Run tells of failures until the context ends, and then once more.
func (g *Guard) Run(ctx context.Context) {
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			g.tell()
			return
		case <-ticker.C:
			g.tell()
		}
	}
}
