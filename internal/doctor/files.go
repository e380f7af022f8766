package doctor

import (
	"fmt"
	"net/netip"
	"os"
	"slices"

	"postern/internal/config"
	"postern/internal/mail"
)

// Files looks at who may read the keys of listeners, and who may write the
// configuration. What cannot be looked at is for others to report.
func Files(c *config.Config) []config.Problem {
	var problems []config.Problem
	for _, file := range c.Files {
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o002 != 0 {
			problems = append(problems, config.Problem{Place: mail.Place{File: file},
				Message: "every user of this machine can change this file, and with it where all mail goes", Hint: "chmod o-w " + file})
		}
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if info, err := os.Stat(l.TLSKey); err == nil && info.Mode().Perm()&0o007 != 0 {
			problems = append(problems, l.Problem("listener.tls_key",
				fmt.Sprintf("every user of this machine can read or write %s, and so pass for this server", l.TLSKey),
				"give it to the server's user, with mode 600, and get a new key if others were here"))
		}
	}
	return problems
}

// Listeners looks for addresses that this machine does not have, of which own
// are all.
func Listeners(c *config.Config, own []netip.Addr) []config.Problem {
	var problems []config.Problem
	for i := range c.Listeners {
		l := &c.Listeners[i]
		ip := l.Address.Addr().WithZone("")
		if !ip.IsUnspecified() && !ip.IsLoopback() && !slices.Contains(own, ip) {
			problems = append(problems, l.Problem("listener.address",
				fmt.Sprintf("this machine has no address %s now: the server cannot start", ip), "write one that it has, or \":PORT\" for all"))
		}
	}
	return problems
}

// Sources warns of addresses to connect from that this machine does not have now. They
// may come with a network that is brought up later; until then mail waits.
func Sources(c *config.Config, own []netip.Addr) []config.Problem {
	var problems []config.Problem
	look := func(p *config.Placed, section, name, family string, ip netip.Addr) {
		if ip.IsValid() && !ip.IsLoopback() && !slices.Contains(own, ip) {
			problems = append(problems, p.Problem(section+".source_"+family,
				fmt.Sprintf("%s %s: %s is no address of this machine now: its mail waits", section, name, ip), "write one that it has, or bring up the network that brings it"))
		}
	}
	for i := range c.Companies {
		x := &c.Companies[i]
		look(&x.Placed, "company", x.Name, "ipv4", x.SourceIPv4)
		look(&x.Placed, "company", x.Name, "ipv6", x.SourceIPv6)
	}
	for i := range c.Transports {
		x := &c.Transports[i]
		look(&x.Placed, "transport", x.Name, "ipv4", x.SourceIPv4)
		look(&x.Placed, "transport", x.Name, "ipv6", x.SourceIPv6)
	}
	return problems
}
