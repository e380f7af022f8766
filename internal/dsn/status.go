package dsn

import (
	"net/netip"
	"strings"

	"postern/internal/mail"
	"postern/internal/message"
)

// writeStatus writes the part for programs: the fields about the message,
// then those about each recipient (RFC 3464 2.1, RFC 6533 3).
func (c *composer) writeStatus() {
	c.line("")
	mediaType := "message/delivery-status"
	if c.statusUTF8() {
		mediaType = "message/global-delivery-status"
	}
	c.part(mediaType, "Delivery report", c.statusUTF8())
	c.field("Reporting-MTA", "dns; "+c.Host)
	if id := c.Envelope.EnvelopeID; id != "" {
		// Without the xtext in which it came (RFC 3461 6.3 a).
		c.field("Original-Envelope-Id", id)
	}
	if mail.CheckDomain(c.Origin.Hello) == nil {
		c.field("Received-From-MTA", "dns; "+c.Origin.Hello)
	}
	c.field("Arrival-Date", message.FormatDate(c.Accepted))
	for _, rcpt := range c.Recipients {
		c.line("")
		c.writeRecipientStatus(rcpt)
	}
}

// writeRecipientStatus writes the fields of RFC 3464 2.3. Diagnostic-Code
// is for what another server said; our own words are in the first part.
func (c *composer) writeRecipientStatus(rcpt Recipient) {
	o := rcpt.Outcome
	if kind, address, found := strings.Cut(rcpt.Original, ";"); found {
		c.field("Original-Recipient", kind+";"+c.address(kind, address))
	}
	kind := rcpt.Address.Type()
	c.field("Final-Recipient", kind+"; "+c.address(kind, rcpt.Address.String()))
	c.field("Action", string(c.action))
	c.field("Status", c.kind.status(o.Reply))
	if o.Remote {
		if o.Host != "" {
			c.field("Remote-MTA", "dns; "+mtaName(o.Host))
		}
		if !o.Reply.IsZero() {
			c.folded("Diagnostic-Code", "smtp; "+o.Reply.String())
		}
	}
	if !o.At.IsZero() {
		c.field("Last-Attempt-Date", message.FormatDate(o.At))
	}
	if c.action == Delayed && !c.RetryUntil.IsZero() {
		c.field("Will-Retry-Until", message.FormatDate(c.RetryUntil))
	}
}

// address writes an address of a type: in a part that is US-ASCII, one of the
// type "utf-8" stands in the form that is (RFC 6533 3).
func (c *composer) address(kind, s string) string {
	if !c.utf8 && strings.EqualFold(kind, "utf-8") {
		return mail.UTF8Xtext(s)
	}
	return s
}

// mtaName names a server in the type "dns" of RFC 3464: by its name, or for want
// of one by the literal of its address.
func mtaName(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return message.AddressLiteral(ip)
	}
	return host
}
