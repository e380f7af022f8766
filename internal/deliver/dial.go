package deliver

import (
	"cmp"
	"context"
	"errors"
	"net/netip"

	"postern/internal/mail"
	"postern/internal/route"
	"postern/internal/smtpclient"
	"postern/internal/tlspolicy"
)

// dial connects to one address of a hop, and proves who this server is with if it is to. When
// the server does not take that, and there is something else to show, such as the next
// token, it is tried once more.
func (c *carrier) dial(ctx context.Context, hop route.Hop, address netip.AddrPort) (*smtpclient.Conn, error) {
	options, err := c.options(ctx, hop)
	if err != nil {
		return nil, err
	}
	conn, err := c.dialAs(ctx, hop, address, options)
	if !refusedLogin(hop, options, err) {
		return conn, err
	}
	again, failed := c.options(ctx, hop)
	switch {
	case failed != nil:
		return nil, failed
	case again.Credentials == options.Credentials:
		return nil, err
	}
	c.Logger.Info("credentials were refused, trying once more with others", "message", c.t.entry.ID, "error", err)
	conn, err = c.dialAs(ctx, hop, address, again)
	refusedLogin(hop, again, err)
	return conn, err
}

// refusedLogin tells a login that what it has shown was not taken, and reports whether it was so.
func refusedLogin(hop route.Hop, options smtpclient.Options, err error) bool {
	failure, is := errors.AsType[*smtpclient.Error](err)
	if !is || hop.Login == nil || !failure.CredentialsRefused() {
		return false
	}
	hop.Login.Refused(options.Credentials)
	return true
}

// dialAs connects with what is to be shown. TLS that is only opportunistic must
// not stand between the mail and its recipient: when the handshake fails, the
// mail goes in clear, over a connection on which nothing of TLS was said
// (RFC 7435 3).
func (c *carrier) dialAs(ctx context.Context, hop route.Hop, address netip.AddrPort, options smtpclient.Options) (*smtpclient.Conn, error) {
	if address.IsValid() {
		options.LocalAddr = hop.From.Source(address.Addr())
	}
	conn, err := smtpclient.Dial(ctx, hop.Host, address, options)
	failure, ok := errors.AsType[*smtpclient.Error](err)
	if !ok || !ofTLS(failure) || options.TLS.Level != tlspolicy.Opportunistic {
		return conn, err
	}
	options.InClear = cmp.Or(failure.Cause, error(failure))
	c.Logger.Info("TLS failed and is not demanded, connecting in clear", "host", hop.Host, "address", address, "error", options.InClear)
	return smtpclient.Dial(ctx, hop.Host, address, options)
}

// options are how to connect to a hop.
func (c *carrier) options(ctx context.Context, hop route.Hop) (smtpclient.Options, error) {
	o := c.t.settings.transport(hop.Transport).Client
	o.Hostname = cmp.Or(hop.From.Hostname, o.Hostname)
	o.Socket = hop.Socket
	o.MaxMessages = cmp.Or(hop.MaxMessages, o.MaxMessages)
	o.NoChunking = o.NoChunking || c.sites.avoidsChunks(c.site)
	o.TLS = hop.TLS
	if hop.Login == nil {
		return o, nil
	}
	shown, err := hop.Login.Credentials(ctx)
	if err != nil {
		return o, &smtpclient.Error{Host: hop.Host, Command: "AUTH", Reply: mail.NewReply(451, "4.7.0", "There are no credentials for %s at present", hop.Host), Cause: err}
	}
	o.Credentials = shown
	return o, nil
}
