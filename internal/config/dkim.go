package config

import "time"

// DKIM is the table [dkim].
type DKIM struct {
	Sign      []string // domains in lower case; nil: all that have a key
	Headers   []string
	Expiry    time.Duration // 0: never
	Overlap   time.Duration
	Subdomain bool
	Envelope  bool
}

// Sign says whose mail at a listener is signed.
type Sign string

// Whose mail is signed.
const (
	SignClients   Sign = "clients"
	SignEverybody Sign = "everybody"
	SignNobody    Sign = "nobody"
)

// checkDKIM refuses a list of no domains, which would be taken for all.
func (d *decoder) checkDKIM() {
	for _, t := range d.tables["dkim"] {
		if domains, is := t.given["sign"]; is && domains.node.kind == nodeList && len(domains.node.items) == 0 {
			d.fault(domains.value, "dkim.sign", faultf(`name a domain, or leave it out; sign = "nobody" at each listener signs for nobody`, "is empty"))
		}
	}
}
