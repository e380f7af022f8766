package alignment

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"blitiri.com.ar/go/spf"

	"postern/internal/dns"
)

// spf asks whether our addresses may send for the domain (RFC 7208).
func (c Checker) spf(ctx context.Context, r *Alignment) {
	texts, err := c.Resolver.LookupText(ctx, r.Domain)
	if err != nil && !errors.Is(err, dns.ErrNotFound) {
		r.find(Warning, "ask again later", "the SPF record of %s could not be looked up: %v", r.Domain, err)
		return
	}
	for _, text := range texts {
		if version, _, _ := strings.Cut(text, " "); strings.EqualFold(version, "v=spf1") {
			if r.SPF.Record != "" {
				r.find(Problem, "leave one", "%s has more than one SPF record, which is as none (RFC 7208 4.5)", r.Domain)
			}
			r.SPF.Record = text
		}
	}
	if r.SPF.Record == "" {
		hint := "publish a TXT record such as \"v=spf1 a:" + c.Hostname + " -all\""
		if c.Relayed {
			hint = relayedHint
		}
		r.find(Warning, hint, "%s has no SPF record", r.Domain)
		return
	}
	if c.Relayed {
		r.find(Note, relayedHint, "whether SPF of %s covers its mail is not known: another server sends that on", r.Domain)
		return
	}
	if len(c.Sources) == 0 {
		r.find(Note, "own_addresses names them", "whether SPF of %s covers this host is not known: its public addresses are not", r.Domain)
	}
	for _, a := range c.Sources {
		c.source(ctx, r, a)
	}
}

// relayedHint is what SPF must say where others send on what leaves.
const relayedHint = "publish what whoever runs the server that sends it on says, such as \"v=spf1 include:… -all\""

// source asks about one address.
func (c Checker) source(ctx context.Context, r *Alignment, a netip.Addr) {
	result, err := spf.CheckHostWithSender(a.AsSlice(), c.Hostname, "postmaster@"+r.Domain,
		spf.WithContext(ctx), spf.WithResolver(netResolver{c.Resolver}))
	r.SPF.Results = append(r.SPF.Results, SPFResult{a, string(result)})
	hint := "add " + mechanism(a) + " to it"
	switch result {
	case spf.Pass:
	case spf.Fail:
		r.find(Problem, hint, "SPF of %s does not cover %s, and asks for its mail to be refused (fail)", r.Domain, a)
	case spf.TempError:
		r.find(Warning, "ask again later", "SPF of %s could not be asked about %s: %v", r.Domain, a, err)
	case spf.PermError:
		r.find(Problem, "mend the record", "the SPF record of %s cannot be understood: %v", r.Domain, err)
	default:
		r.find(Warning, hint, "SPF of %s does not cover %s (%s)", r.Domain, a, result)
	}
}

// mechanism is what an SPF record has for an address (RFC 7208 5.6).
func mechanism(a netip.Addr) string {
	if a.Is4() {
		return "ip4:" + a.String()
	}
	return "ip6:" + a.String()
}

// netResolver is our Resolver in the words of package net, in which the library for SPF asks.
type netResolver struct{ in Resolver }

// failed puts an error into those words.
func failed(name string, err error) error {
	if err == nil {
		return nil
	}
	notFound := errors.Is(err, dns.ErrNotFound)
	return &net.DNSError{Err: err.Error(), Name: name, IsNotFound: notFound, IsTemporary: !notFound}
}

// LookupTXT asks for texts.
func (r netResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	texts, err := r.in.LookupText(ctx, name)
	return texts, failed(name, err)
}

// LookupMX asks for mail exchangers.
func (r netResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	list, err := r.in.LookupMX(ctx, name)
	var all []*net.MX
	for _, mx := range list {
		all = append(all, &net.MX{Host: mx.Host + ".", Pref: mx.Preference})
	}
	return all, failed(name, err)
}

// LookupIPAddr asks for addresses.
func (r netResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	list, err := r.in.LookupAddr(ctx, strings.TrimSuffix(host, ".")+".")
	var all []net.IPAddr
	for _, a := range list {
		all = append(all, net.IPAddr{IP: a.AsSlice()})
	}
	return all, failed(host, err)
}

// LookupAddr asks for the names of an address.
func (r netResolver) LookupAddr(ctx context.Context, address string) ([]string, error) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return nil, failed(address, dns.ErrNotFound)
	}
	list, err := r.in.LookupName(ctx, a)
	var all []string
	for _, name := range list {
		all = append(all, name+".")
	}
	return all, failed(address, err)
}
