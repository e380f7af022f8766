package senders

import (
	"net/netip"
	"strings"

	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/message"
)

// nullSender stands for the domain of the null sender, which has none.
const nullSender = "<>"

// details is how a source speaks: what its last message was like, unless said otherwise. A
// copy of it stays as it is: what it points to is replaced, and never changed.
type details struct {
	// From are the domains of senders, in MAIL and in From of the header, in the order in
	// which they came; MoreFrom counts those of others, for which there was no room.
	From     []string `json:"from,omitempty"`
	MoreFrom int64    `json:"more_from,omitempty"`
	// Account is the source of the account, and Mechanism how it was authenticated.
	Account   string `json:"account,omitempty"`
	Mechanism string `json:"mechanism,omitempty"`
	Listener  string `json:"listener,omitempty"`
	// Client is the address, and Name the one that DNS had for it.
	Client   string `json:"client,omitempty"`
	Name     string `json:"name,omitempty"`
	Hello    string `json:"hello,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	// TLS and Cipher are empty in clear.
	TLS    string `json:"tls,omitempty"`
	Cipher string `json:"cipher,omitempty"`
	// Certificate is the one of the client, with names only if it was Verified.
	Certificate *mail.Certificate `json:"certificate,omitempty"`
	Verified    bool              `json:"verified,omitempty"`
	// Habits are those that the source has ever shown.
	Habits habitCounts `json:"habits,omitzero"`

	client netip.Addr // that Client is of
	header string     // the From field that was looked at last
}

// note takes in what a message was like. It allocates nothing for one like the last.
func (d *details) note(m *intake.Sent) {
	domain := m.From.Domain
	if m.From.IsNull() {
		domain = nullSender
	}
	d.noteFrom(domain)
	d.noteHeader(m.HeaderFrom)
	o := m.Origin
	account, mechanism := "", ""
	if o.Account != nil {
		account, mechanism = o.Account.Source, o.Account.Mechanism
	}
	version, cipher := "", ""
	if o.TLS != nil {
		version, cipher = o.TLS.Version, o.TLS.Cipher
	}
	for _, t := range [...]struct {
		to *string
		is string
	}{
		{&d.Account, account}, {&d.Mechanism, mechanism}, {&d.Listener, o.Listener}, {&d.Name, o.ClientName},
		{&d.Hello, o.Hello}, {&d.Protocol, o.Protocol}, {&d.TLS, version}, {&d.Cipher, cipher},
	} {
		set(t.to, t.is)
	}
	if ip := o.Client.Addr(); ip.IsValid() && ip != d.client {
		d.client, d.Client = ip, ip.Unmap().String()
	}
	d.noteCertificate(o.TLS)
	d.Habits.note(m)
}

// set sets a text that a client has said, without whatever lies around it in memory.
func set(to *string, is string) {
	if is = cut(is); *to != is {
		*to = strings.Clone(is)
	}
}

func (d *details) noteCertificate(t *mail.TLS) {
	if t == nil || t.Certificate == nil {
		d.Certificate, d.Verified = nil, false
		return
	}
	if c := d.Certificate; c != nil && c.Fingerprint == t.Certificate.Fingerprint && d.Verified == t.Verified {
		return
	}
	c := *t.Certificate
	if !t.Verified { // anybody can write any name into one
		c.Names = nil
	}
	d.Certificate, d.Verified = &c, t.Verified
}

// noteHeader takes in the domain of the first sender in a From field, if there is one.
func (d *details) noteHeader(from string) {
	if from == d.header {
		return
	}
	d.header = strings.Clone(from)
	if found, _ := message.ParseMailboxes(from, 1); len(found) > 0 { // what is wrong behind it does not matter
		d.noteFrom(found[0].Domain)
	}
}

// noteFrom takes in the domain of a sender; empty for none.
func (d *details) noteFrom(domain string) {
	octets := len(domain)
	for _, known := range d.From {
		if mail.SameDomain(known, domain) {
			return
		}
		octets += len(known)
	}
	if domain == "" {
		return
	}
	if len(d.From) == MaxFrom || octets > MaxFromOctets {
		d.MoreFrom++
		return
	}
	// A copy has the same memory, and sees nothing of what is added.
	d.From = append(d.From, strings.Clone(domain))
}
