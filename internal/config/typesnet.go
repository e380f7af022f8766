package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/internal/mail"
)

// This file has the types of what is found on a network: names, addresses, servers.

var hostname = textType("host name", "host names", `write the full name that this host has in DNS, such as "mail.example.com"`,
	func(s string) (string, *fault) {
		name := strings.ToLower(strings.TrimSuffix(s, "."))
		if _, err := netip.ParseAddr(name); err == nil || strings.HasPrefix(name, "[") {
			return "", faultf("", "%q is an address, not a name", clip(s))
		}
		if err := mail.CheckDomain(name); err != nil {
			return "", faultf("", "%q: %v", clip(s), err)
		}
		if !strings.Contains(name, ".") {
			return "", faultf("", "%q has no dot", clip(s))
		}
		if len(name) != utf8.RuneCountInString(name) {
			return "", faultf("write its xn-- form", "%q is not ASCII", clip(s))
		}
		if last := name[strings.LastIndexByte(name, '.')+1:]; slices.Contains(neverInDNS, last) {
			return "", faultf("", "%q is a name that nobody else can look up", clip(s))
		}
		return name, nil
	})

// neverInDNS are top-level domains that machines give themselves (RFC 6761 6.3,
// 6.4; RFC 6762 3; the last by habit). Servers refuse mail from such names.
var neverInDNS = []string{"localhost", "invalid", "local", "localdomain"}

var domain = textType("domain", "domains", `write a domain, such as "example.com"`,
	func(s string) (string, *fault) {
		if strings.HasPrefix(s, "[") {
			return "", faultf("", "%q is an address, not a domain", clip(s))
		}
		if err := mail.CheckDomain(s); err != nil {
			return "", faultf("", "%q: %v", clip(s), err)
		}
		return strings.ToLower(s), nil
	})

var mailAddress = textType("mail address", "mail addresses", `write local-part@domain, such as "postmaster@example.com"`,
	func(s string) (mail.Address, *fault) {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return mail.Address{}, faultf("", "%q: %v", clip(s), err)
		}
		if a.Domain == "" {
			return mail.Address{}, faultf("", "%q has no domain", clip(s))
		}
		return a, nil
	})

var ipAddress = textType("IP address", "IP addresses", `write an IPv4 or IPv6 address, such as "192.0.2.1"`,
	func(s string) (netip.Addr, *fault) {
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.Zone() != "" {
			return netip.Addr{}, faultf("", "%q is not an IP address", clip(s))
		}
		return ip.Unmap(), nil
	})

var network = textType("network", "networks", `write a network such as "10.0.0.0/8", or one address`,
	func(s string) (netip.Prefix, *fault) {
		if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
			ip = ip.Unmap()
			return netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Addr().Is4In6() {
			return netip.Prefix{}, faultf("", "%q is not a network", clip(s))
		}
		if p != p.Masked() {
			return netip.Prefix{}, faultf(fmt.Sprintf("write %q for the network, or the address alone", p.Masked()),
				"%q is an address within a network", s)
		}
		return p, nil
	})

// smtpPort is the port of a server that is named without one (RFC 5321 4.5.4.2).
const smtpPort = 25

var server = serverAt(smtpPort)

// serverAt is a server, with the port that it has if none is named.
func serverAt(port uint16) scalar[mail.HostPort] {
	return textType("server", "servers", `write host or host:port, such as "relay.example.com:587" or "[2001:db8::1]:25"`,
		func(s string) (mail.HostPort, *fault) {
			h, err := mail.ParseHostPort(s, port)
			if err != nil {
				return mail.HostPort{}, faultf("", "%q: %v", clip(s), err)
			}
			return h, nil
		})
}

// dnsPort is the port of a name server that is named without one (RFC 1035 4.2).
const dnsPort = 53

var nameServer = textType("name server", "name servers", `write an IP address, and a port unless it is 53, such as "192.0.2.53" or "[2001:db8::53]:5353"`,
	func(s string) (netip.AddrPort, *fault) {
		ip, err := netip.ParseAddr(s)
		if err == nil {
			return netip.AddrPortFrom(ip.Unmap(), dnsPort), nil
		}
		a, err := netip.ParseAddrPort(s)
		if err != nil || a.Port() == 0 {
			return netip.AddrPort{}, faultf("", "%q is not the address of a name server", clip(s))
		}
		return a, nil
	})

// tlsPolicy is the type of a TLS policy, under which a certificate must be for
// a name, if for any, as whom says.
func tlsPolicy(whom string) scalar[TLSPolicy] {
	return oneOf(
		choice[TLSPolicy]{"none", TLSNone, "in clear, even if the server offers TLS"},
		choice[TLSPolicy]{"opportunistic", TLSOpportunistic, "with TLS if the server offers it and it works, else in clear"},
		choice[TLSPolicy]{"required", TLSRequired, "with TLS or not at all; the certificate may be anyone's"},
		choice[TLSPolicy]{"verify", TLSVerify, "with TLS, and a certificate " + whom + " by an authority that the system trusts"},
	)
}

var listenAddress = textType("listen address", "listen addresses", `write address:port, such as "127.0.0.1:2525", "[::1]:2525", or ":25" for all addresses`,
	func(s string) (netip.AddrPort, *fault) {
		text := s
		if strings.HasPrefix(text, ":") {
			text = "[::]" + text
		}
		a, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.AddrPort{}, faultf("", "%q is not an IP address and a port", clip(s))
		}
		return a, nil
	})

// maybeAddress is an address that need not be there.
func maybeAddress(s scalar[netip.AddrPort]) scalar[netip.AddrPort] {
	show := s.show
	s.show = func(a netip.AddrPort) string {
		if !a.IsValid() {
			return filePath.show("")
		}
		return show(a)
	}
	return s
}
