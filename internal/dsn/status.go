package dsn

import (
	"net/netip"

	"postern/internal/mail"
	"postern/internal/message"
)

// writeStatus writes the part for programs: the fields about the message,
// then those about each recipient (RFC 3464 2.1, RFC 6533 3).
func (c *composer) writeStatus() {
	c.line("")
	mediaType := "message/delivery-status"
	if c.utf8 {
		mediaType = "message/global-delivery-status"
	}
	c.part(mediaType, "Delivery report", c.utf8)
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
	if rcpt.Original != "" {
		c.field("Original-Recipient", rcpt.Original)
	}
	c.field("Final-Recipient", rcpt.Address.Type()+"; "+rcpt.Address.String())
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

// mtaName names a server in the type "dns" of RFC 3464: by its name, or for want
// of one by the literal of its address.
func mtaName(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return message.AddressLiteral(ip)
	}
	return host
}
