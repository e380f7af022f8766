package policy

import (
	"strings"

	"postern/internal/mail"
	"postern/internal/message"
)

// account is who a client has proved to be.
type account struct {
	mail.Principal
	// Its own addresses: whole ones, and domains of which all are, both as they are
	// compared. They are made when they are asked for.
	addresses, domains map[string]bool
}

// isNobody reports whether there is no account.
func (a *account) isNobody() bool { return a.Name == "" }

// maySubmit reports whether the account may send at all: who may send to anywhere may
// send to this host.
func (s *Session) maySubmit() bool {
	may := s.account.Services
	return may.Submit || may.Relay
}

// owns reports whether an address is one of the account's own. Local parts are
// compared whatever their case, domains as DNS has them.
func (a *account) owns(address mail.Address) bool {
	if len(a.Addresses) == 0 || address.Domain == "" {
		return false
	}
	if a.addresses == nil {
		a.index()
	}
	c := subjectOf(address)
	return a.addresses[c.whole] || a.domains[c.whole[c.at+1:]]
}

// index makes the addresses ready to be compared. What is neither an address nor
// "*@domain" is nobody's.
func (a *account) index() {
	a.addresses, a.domains = make(map[string]bool), make(map[string]bool)
	for _, text := range a.Addresses {
		if domain, all := strings.CutPrefix(text, "*@"); all {
			a.domains[asciiDomain(domain)] = true
			continue
		}
		if address, err := mail.ParseAddress(text); err == nil && address.Domain != "" {
			a.addresses[subjectOf(address).whole] = true
		}
	}
}

// ownsAuthors reports whether a message is the account's own. Sender says who has sent
// it when that is not its author, or there are several (RFC 5322 3.6.2): where it
// stands, it must be the account's own, and answers for the authors (RFC 6409 8.1).
// Without it each author must be. Nobody owns what can be read in different ways.
func (s *Session) ownsAuthors(i *message.Inspection) bool {
	if !i.ReadableAuthors() {
		return false
	}
	from := i.From
	if i.Header.Count("Sender") > 0 {
		from = i.Sender
		if len(from) != 1 {
			return false
		}
	}
	for _, text := range from {
		if a, err := mail.ParseAddress(text); err != nil || !s.account.owns(a) {
			return false
		}
	}
	return len(from) > 0
}
