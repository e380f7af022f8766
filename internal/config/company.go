package config

import (
	"net/netip"
	"slices"
	"strings"

	"postern/internal/mail"
)

// Company is one table [[company]]: one of several that share the server.
type Company struct {
	Placed

	Name string // unique
	// Domains are those of its senders, in lower case, as DNS knows them; with a dot before
	// it, all below a domain.
	Domains  []string
	Hostname string // empty: that of the server
	// From which its mail leaves; the zero one: as the system chooses. With one of them
	// alone, it leaves over that family alone.
	SourceIPv4, SourceIPv6 netip.Addr
	// Certificate is the name of the one that the next servers are shown; empty: none.
	Certificate string
	Postmaster  mail.Address
	Near        []Text // as in Routing
}

// maxDomains bounds the domains of a company.
const maxDomains = 10_000

// checkCompanies wants companies that can be told apart by the domains of their senders.
func (d *decoder) checkCompanies() {
	domains := make(map[string]mail.Place)
	for _, t := range d.tables["company"] {
		d.checkDomains(t, domains)
		d.checkElsewhere("company.postmaster", t.given["postmaster"], t.fields.company.Postmaster)
	}
}

// checkDomains wants each domain once, in one company.
func (d *decoder) checkDomains(t *table, seen map[string]mail.Place) {
	at := t.given["domains"]
	switch n := len(at.node.items); {
	case at.node.kind != nodeList: // missing, or reported already
	case n == 0:
		d.fault(at.value, "company.domains", faultf("name the domains of its senders", "is empty: no mail would be of this company"))
	case n > maxDomains:
		d.fault(at.value, "company.domains", faultf("make it several companies", "has %d domains; there can be %d", n, maxDomains))
	}
	for _, item := range at.node.items {
		name, wrong := domainOrBelow.read(item)
		if wrong != nil { // reported already
			continue
		}
		place := at.source.place(item.at)
		if first, twice := seen[name]; twice {
			d.fault(place, "company.domains", faultf("name each domain in one company alone",
				"%q is also a domain of the company %s: it would not be clear whose mail it is", name, whence(first, place)))
			continue
		}
		seen[name] = place
	}
}

// CompanyHostnames are the names that companies have in place of that of the server.
func (c *Config) CompanyHostnames() []string {
	var names []string
	for i := range c.Companies {
		if name := c.Companies[i].Hostname; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// domainOrBelow is a domain itself, or all below one.
var domainOrBelow = textType("domain", "domains", `write "example.com" for the domain itself, ".example.com" for all below it`,
	func(s string) (string, *fault) {
		name, below := strings.CutPrefix(s, ".")
		if strings.HasPrefix(name, "[") {
			return "", faultf("", "%q is an address, not a domain", clip(s))
		}
		ascii, err := mail.ASCIIDomain(name)
		if err != nil {
			return "", faultf("", "%q: %v", clip(s), err)
		}
		if ascii = strings.ToLower(ascii); below {
			ascii = "." + ascii
		}
		return ascii, nil
	})

// sourceIPv4 and sourceIPv6 are addresses from which a connection can be made.
var (
	sourceIPv4 = sourceAddress("IPv4", "192.0.2.1", netip.Addr.Is4)
	sourceIPv6 = sourceAddress("IPv6", "2001:db8::1", netip.Addr.Is6)
)

func sourceAddress(family, example string, is func(netip.Addr) bool) scalar[netip.Addr] {
	s := textType("IP address", "IP addresses", "write an "+family+" address of this machine, such as \""+example+"\"",
		func(s string) (netip.Addr, *fault) {
			ip, wrong := ipAddress.read(node{kind: nodeText, text: s})
			switch {
			case wrong != nil:
				return ip, faultf("", "%s", wrong.message)
			case !is(ip):
				return ip, faultf("", "%q is no %s address", clip(s), family)
			case ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast():
				return ip, faultf("", "%q is no address to connect from", clip(s))
			}
			return ip, nil
		})
	s.limits = "of " + family
	show := s.show
	s.show = func(ip netip.Addr) string {
		if !ip.IsValid() {
			return `""`
		}
		return show(ip)
	}
	return s
}
