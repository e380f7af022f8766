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
	// Setting is the one that the findings are about: "hostname", "company.hostname".
	Setting string
	// Hostname is the name in EHLO.
	Hostname string
	// Addresses are those of this host. Only public ones are looked at: the
	// others are seen by nobody. None means that nobody knows, as behind NAT.
	Addresses []netip.Addr
	// Sources are those from which its mail leaves, as others see them; none: not known.
	Sources []netip.Addr
}

// Check asks DNS whether the name leads to the addresses from which mail leaves
// (RFC 5321 4.1.4: a server may look it up) and each of these back to the name
// (RFC 1912 2.1), which large receivers want, of IPv6 in particular. It returns what is wrong;
// nothing when all is well.
func (i Identity) Check(ctx context.Context) []config.Problem {
	own, sources := publicOnes(i.Addresses), publicOnes(i.Sources)
	at, err := i.Resolver.LookupAddr(ctx, i.Hostname+".")
	switch {
	case errors.Is(err, dns.ErrNotFound):
		return i.about(fmt.Sprintf("%s has no address in DNS, and many servers refuse mail from such a name", i.Hostname),
			fmt.Sprintf("let DNS hold %s, the address from which this host sends", addressRecord(i.Hostname, slices.Concat(sources, own))))
	case err != nil:
		return i.unknown(i.Hostname, err)
	}
	ours := among(at, own)
	if len(own) > 0 && len(ours) == 0 {
		return i.about(fmt.Sprintf("%s leads to %s, and this host has %s", i.Hostname, list(at), list(own)),
			fmt.Sprintf("let DNS hold %s; or name %s in own_addresses, if it is a router before this host", addressRecord(i.Hostname, own), list(at)))
	}
	if len(own) == 0 {
		ours = at
	}
	var findings []config.Problem
	for _, ip := range sources {
		if !slices.Contains(at, ip) {
			findings = append(findings, i.about(fmt.Sprintf("mail leaves from %s, and %s leads to %s: what says that it is another host is refused by many servers", ip, i.Hostname, list(at)),
				fmt.Sprintf("let DNS hold %s; or let mail leave from %s", addressRecord(i.Hostname, []netip.Addr{ip}), list(at)))...)
		}
		if !slices.Contains(ours, ip) {
			ours = append(ours, ip)
		}
	}
	for _, ip := range ours {
		findings = append(findings, i.checkBack(ctx, ip)...)
	}
	return findings
}

// publicOnes are those of some addresses that others can see.
func publicOnes(all []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return !public(a) })
}

// among are those of some addresses that are among others, too.
func among(all, others []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return !slices.Contains(others, a) })
}

// checkBack asks whether an address leads back to the name.
func (i Identity) checkBack(ctx context.Context, ip netip.Addr) []config.Problem {
	names, err := i.Resolver.LookupName(ctx, ip)
	fix := fmt.Sprintf("let whoever gave you the address set its name: %s PTR %s.", dns.ReverseName(ip), i.Hostname)
	switch {
	case errors.Is(err, dns.ErrNotFound):
		return i.about(fmt.Sprintf("its address %s has no name in DNS, and many servers refuse mail from such an address", ip), fix)
	case err != nil:
		return i.unknown("its address "+ip.String(), err)
	case !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, i.Hostname) }):
		return i.about(fmt.Sprintf("its address %s leads to %s, not to %s", ip, strings.Join(names, " and "), i.Hostname), fix)
	case generic(i.Hostname, ip):
		return i.about(fmt.Sprintf("%s is a name such as providers give to the connections of their customers, and many servers take no mail from those", i.Hostname),
			"give this host a name of its own, such as mail."+registered(i.Hostname)+", in hostname and in DNS, both ways")
	}
	return nil
}

// generic reports whether a name has the octets of its IPv4 address in it, in either order:
// "192-0-2-1.dsl.provider.test".
func generic(name string, ip netip.Addr) bool {
	if !ip.Is4() {
		return false
	}
	octets := strings.Split(ip.String(), ".")
	numbers := "." + strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r < '0' || r > '9' }), ".") + "."
	for range 2 {
		if strings.Contains(numbers, "."+strings.Join(octets, ".")+".") {
			return true
		}
		slices.Reverse(octets)
	}
	return false
}

// registered is the end of a name: about what somebody has registered.
func registered(name string) string {
	labels := strings.Split(name, ".")
	return strings.Join(labels[max(0, len(labels)-2):], ".")
}

// about is one problem with the setting; its place is not known here.
func (i Identity) about(message, hint string) []config.Problem {
	return about(i.Setting, message, hint)
}

func (i Identity) unknown(what string, err error) []config.Problem {
	return unknown(i.Setting, what, err)
}

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
