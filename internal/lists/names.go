package lists

import (
	"strings"

	"postern/internal/mail"
)

// domains are the lines of domains, as DNS knows them: those that are meant
// themselves, and those below which all are meant. A look-up takes a step for each
// label.
type domains struct {
	exact, below map[string]int
}

func newDomains() *domains {
	return &domains{exact: make(map[string]int), below: make(map[string]int)}
}

func (d *domains) add(text string, line int) *fault {
	const hint = `write "example.com" for the domain itself, ".example.com" for all below it`
	to, name := d.exact, text
	for _, prefix := range []string{"*.", "."} {
		if rest, found := strings.CutPrefix(text, prefix); found {
			to, name = d.below, rest
			break
		}
	}
	domain, err := domainOf(name)
	switch {
	case strings.HasPrefix(name, "["):
		return faultAt(0, hint, "%q is an address, not a domain", clip(text))
	case strings.Contains(name, "*"):
		return faultAt(len(text)-len(name)+strings.Index(name, "*"), hint+`; other patterns are for a list of the kind "patterns"`,
			"%q has a * that is not its first label", clip(text))
	case strings.Contains(name, "@"):
		return faultAt(0, hint+`; addresses are for a list of the kind "addresses"`, "%q is an address, not a domain", clip(text))
	case err != nil:
		return faultAt(0, hint, "%q is not a domain: %v", clip(text), err)
	}
	put(to, domain, line)
	return nil
}

// put keeps the first line of what is written twice.
func put[K comparable](to map[K]int, key K, line int) {
	if _, twice := to[key]; !twice {
		to[key] = line
	}
}

func (d *domains) len() int { return len(d.exact) + len(d.below) }

func (d *domains) find(q query, steps *int) int {
	if q.domain == "" {
		return 0
	}
	*steps++
	if line := d.exact[q.domain]; line > 0 {
		return line
	}
	for _, rest, more := strings.Cut(q.domain, "."); more; _, rest, more = strings.Cut(rest, ".") {
		*steps++
		if line := d.below[rest]; line > 0 {
			return line
		}
	}
	return 0
}

// addresses are the lines of mail addresses. The local part is compared as it is
// (RFC 5321 2.4), the domain as DNS does; a look-up takes one step.
type addresses map[mail.Address]int

func (a addresses) add(text string, line int) *fault {
	const hint = `write local-part@domain, such as "joe@example.com"`
	parsed, err := mail.ParseAddress(text)
	switch {
	case strings.Contains(text, "*") && err != nil:
		return faultAt(0, hint+`; patterns are for a list of the kind "patterns"`, "%q is not an address", clip(text))
	case err != nil:
		return faultAt(0, hint, "%q: %v", clip(text), err)
	case parsed.Domain == "":
		return faultAt(0, hint, "%q has no domain", clip(text))
	}
	if _, err := domainOf(parsed.Domain); err != nil {
		return faultAt(0, hint, "%q: %v", clip(text), err)
	}
	put(a, addressOf(parsed), line)
	return nil
}

func (a addresses) len() int { return len(a) }

func (a addresses) find(q query, steps *int) int {
	*steps++
	return a[q.address]
}
