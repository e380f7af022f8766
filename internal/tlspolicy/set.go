package tlspolicy

import (
	"crypto/x509"
	"slices"
	"strings"

	"postern/internal/mail"
)

// Pins are a set of pins. Two that hold the same are equal.
type Pins struct{ octets string } // one behind the other, in their order

// PinsOf returns a set.
func PinsOf(pins ...mail.Pin) Pins {
	pins = slices.Clone(pins)
	slices.SortFunc(pins, func(a, b mail.Pin) int { return slices.Compare(a[:], b[:]) })
	var octets strings.Builder
	for _, p := range slices.Compact(pins) {
		octets.Write(p[:])
	}
	return Pins{octets.String()}
}

// count is how many there are.
func (p Pins) count() int { return len(p.octets) / len(mail.Pin{}) }

// has reports whether a pin is among them.
func (p Pins) has(pin mail.Pin) bool {
	for i := range p.count() {
		if p.octets[i*len(pin):][:len(pin)] == string(pin[:]) {
			return true
		}
	}
	return false
}

// of returns the pin among them that is that of a certificate, and of what of it.
func (p Pins) of(c *x509.Certificate) (pin mail.Pin, what string, found bool) {
	if pin = mail.KeyPin(c); p.has(pin) {
		return pin, "key", true
	}
	pin = mail.CertificatePin(c)
	return pin, "certificate", p.has(pin)
}

// Names are a set of host names, some with "*." before them, which stands for one label
// (as in RFC 8461 4.1). Two that hold the same are equal.
type Names struct{ text string } // in lower case and in their order, a space between two

// NamesOf returns a set.
func NamesOf(names ...string) Names {
	var lower []string
	for _, n := range names {
		lower = append(lower, strings.ToLower(strings.TrimSuffix(n, ".")))
	}
	slices.Sort(lower)
	return Names{strings.Join(slices.Compact(lower), " ")}
}

// each returns them.
func (n Names) each() []string { return strings.Fields(n.text) }

// good returns the name among them for which a certificate is, and false if it is for none.
func (n Names) good(c *x509.Certificate) (string, bool) {
	for _, name := range n.each() {
		if below, is := strings.CutPrefix(name, "*"); is {
			if slices.ContainsFunc(c.DNSNames, func(own string) bool { return isLabelBefore(own, below) }) {
				return name, true
			}
		} else if c.VerifyHostname(name) == nil {
			return name, true
		}
	}
	return "", false
}

// isLabelBefore reports whether a name of a certificate is one label, which may be "*", and
// then the rest: ".example.com".
func isLabelBefore(name, rest string) bool {
	label, found := strings.CutSuffix(strings.ToLower(strings.TrimSuffix(name, ".")), rest)
	return found && label != "" && !strings.Contains(label, ".")
}
