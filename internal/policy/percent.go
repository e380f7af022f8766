package policy

import (
	"net/netip"
	"strings"

	"postern/internal/mail"
)

// Routed returns the address that a recipient at a listener stands for: with
// percent_routing user@host for user%host@local, where local is this host, for a client
// that connected to the given address of it (RFC 1123 5.2.16). The last "%" counts, and
// what comes of it may be at this host again. Any other address stands for itself.
func (e *Engine) Routed(listener string, to mail.Address, connected netip.Addr) mail.Address {
	rules := e.listeners[listener]
	if rules == nil || !rules.percent || e.options.Local == nil {
		return to
	}
	for e.options.Local(to, connected) {
		at := strings.LastIndexByte(to.Local, '%')
		if at <= 0 || mail.CheckDomain(to.Local[at+1:]) != nil {
			break
		}
		to = mail.Address{Local: to.Local[:at], Domain: to.Local[at+1:]}
	}
	return to
}
