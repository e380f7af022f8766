package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/dns"
)

// Resolver is what Identity asks: DNS alone, without a file of host names, in
// which every machine finds itself.
type Resolver interface {
	LookupAddr(ctx context.Context, host string) ([]netip.Addr, error)
	LookupName(ctx context.Context, ip netip.Addr) ([]string, error)
}

// Identity is what other servers find out about this one before they take
// mail from it.
type Identity struct {
	Resolver Resolver
	// Hostname is the name in EHLO.
	Hostname string
	// Addresses are those of this host. Only public ones are looked at: the
	// others are seen by nobody. None means that nobody knows, as behind NAT.
	Addresses []netip.Addr
}

// Check asks DNS whether the name leads to an address of this host
// (RFC 5321 4.1.4: a server may look it up) and the address back to the name
// (RFC 1912 2.1), and returns what is wrong; nothing when all is well.
func (i Identity) Check(ctx context.Context) []config.Problem {
	own := slices.DeleteFunc(slices.Clone(i.Addresses), func(a netip.Addr) bool { return !public(a) })
	at, err := i.Resolver.LookupAddr(ctx, i.Hostname+".")
	switch {
	case errors.Is(err, dns.ErrNotFound):
		return about(hostname, fmt.Sprintf("%s has no address in DNS, and many servers refuse mail from such a name", i.Hostname),
			fmt.Sprintf("let DNS hold %s, the address from which this host sends", addressRecord(i.Hostname, own)))
	case err != nil:
		return unknown(hostname, i.Hostname, err)
	}
	ours := slices.DeleteFunc(slices.Clone(at), func(a netip.Addr) bool { return !slices.Contains(own, a) })
	if len(own) > 0 && len(ours) == 0 {
		return about(hostname, fmt.Sprintf("%s leads to %s, and this host has %s", i.Hostname, list(at), list(own)),
			fmt.Sprintf("let DNS hold %s; or name %s in own_addresses, if it is a router before this host", addressRecord(i.Hostname, own), list(at)))
	}
	if len(own) == 0 {
		ours = at
	}
	var findings []config.Problem
	for _, ip := range ours {
		findings = append(findings, i.checkBack(ctx, ip)...)
	}
	return findings
}

// checkBack asks whether an address leads back to the name.
func (i Identity) checkBack(ctx context.Context, ip netip.Addr) []config.Problem {
	names, err := i.Resolver.LookupName(ctx, ip)
	fix := fmt.Sprintf("let whoever gave you the address set its name: %s PTR %s.", dns.ReverseName(ip), i.Hostname)
	switch {
	case errors.Is(err, dns.ErrNotFound):
		return about(hostname, fmt.Sprintf("its address %s has no name in DNS, and many servers refuse mail from such an address", ip), fix)
	case err != nil:
		return unknown(hostname, "its address "+ip.String(), err)
	case !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, i.Hostname) }):
		return about(hostname, fmt.Sprintf("its address %s leads to %s, not to %s", ip, strings.Join(names, " and "), i.Hostname), fix)
	}
	return nil
}

const hostname = "hostname" // the setting

// about is one problem with a setting; its place is not known here.
func about(key, message, hint string) []config.Problem {
	return []config.Problem{{Key: key, Message: message, Hint: hint}}
}

func unknown(key, what string, err error) []config.Problem {
	return about(key, fmt.Sprintf("%s could not be looked up: %v", what, err), "look at dns.servers, or ask again later")
}

// addressRecord is the record that a name should have.
func addressRecord(name string, own []netip.Addr) string {
	if len(own) == 0 {
		return name + ". A or AAAA"
	}
	kind := "A"
	if own[0].Is6() {
		kind = "AAAA"
	}
	return fmt.Sprintf("%s. %s %s", name, kind, own[0])
}

func list(addresses []netip.Addr) string {
	var s []string
	for _, a := range addresses {
		s = append(s, a.String())
	}
	return strings.Join(s, " and ")
}

// public reports whether others can see an address.
func public(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsPrivate() }
