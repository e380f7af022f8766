package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// What is too much to trust, as the length of its prefix: shorter ones hold a
// share of the Internet, or more of it than a company has.
const (
	refused4, unwise4 = 8, 16
	refused6, unwise6 = 16, 32
)

// privateNetworks are those that no one has alone, and that nobody reaches
// from elsewhere (RFC 6890 2.2; RFC 6598 for the shared ones).
var privateNetworks = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10",
	"::1/128", "fc00::/7", "fe80::/10")

func prefixes(list ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// isPublic reports whether an address is one that everybody can reach.
func isPublic(ip netip.Addr) bool { return reachesOut(netip.PrefixFrom(ip, ip.BitLen())) }

// reachesOut reports whether a network has addresses that are not private.
func reachesOut(p netip.Prefix) bool {
	return !slices.ContainsFunc(privateNetworks, func(private netip.Prefix) bool {
		return private.Bits() <= p.Bits() && private.Contains(p.Addr())
	})
}

// checkTrust refuses an open relay, and advises against networks that are
// larger than anybody's own. A listener at a loopback address is reached by
// this host alone.
func (d *decoder) checkTrust(t *table) {
	at, is := t.given["trust"]
	l := t.fields.listener
	if !is || l.Address.IsValid() && l.Address.Addr().IsLoopback() {
		return
	}
	for _, item := range at.node.items {
		if p, wrong := network.read(item); wrong == nil {
			if f := tooMuchTrust(p); f != nil {
				d.fault(at.source.place(item.at), "listener.trust", f)
			}
		}
	}
}

// JudgeTrust says what is wrong with letting a network relay, or with refused false
// what is unwise about it; wrong is false when nothing is. It is for networks that
// stand elsewhere than in a configuration.
func JudgeTrust(p netip.Prefix) (found Problem, refused, wrong bool) {
	f := tooMuchTrust(p)
	if f == nil {
		return Problem{}, false, false
	}
	return Problem{Message: f.message, Hint: f.hint}, !f.advice, true
}

// tooMuchTrust says what is wrong or unwise about letting a network relay.
func tooMuchTrust(p netip.Prefix) *fault {
	refused, unwise := refused4, unwise4
	if p.Addr().Is6() {
		refused, unwise = refused6, unwise6
	}
	const hint = `name networks that are yours, such as "192.0.2.0/24"`
	switch {
	case !reachesOut(p):
		return nil
	case p.Bits() < refused:
		return faultf(hint, "%q is a large part of the Internet: an open relay, through which strangers would send their mail", p)
	case p.Bits() < unwise:
		return advicef(hint, "%q has %s addresses of the Internet: every one of them can send mail to anywhere", p, many(p))
	}
	return nil
}

// many says how many addresses a network has.
func many(p netip.Prefix) string { return fmt.Sprintf("2^%d", p.Addr().BitLen()-p.Bits()) }
