package deliver

import (
	"cmp"
	"context"
	"errors"
	"net/netip"

	"postern/internal/route"
	"postern/internal/smtpclient"
	"postern/internal/tlspolicy"
)

// dial connects to one address of a hop, and proves who this server is with if it is to. When
// the server does not take a token, it is tried once more with another, if there is one.
func (c *carrier) dial(ctx context.Context, hop route.Hop, address netip.AddrPort) (*smtpclient.Conn, error) {
	options, err := c.options(ctx, hop)
	if err != nil {
		return nil, err
	}
	conn, err := c.dialAs(ctx, hop, address, options)
	if !c.refused(err) || options.Credentials.Token == "" {
		return conn, err
	}
	c.Logger.Info("a token was refused, trying once more with another", "message", c.t.entry.ID, "error", err)
	if options, err = c.options(ctx, hop); err != nil {
		return nil, err
	}
	conn, err = c.dialAs(ctx, hop, address, options)
	c.refused(err)
	return conn, err
}

// refused reports whether a server has refused the credentials, and notes which the message waits
// for then.
func (c *carrier) refused(err error) bool {
	failure, is := errors.AsType[*smtpclient.Error](err)
	if !is || failure.Command != "AUTH" {
		return false
	}
	c.t.credential = cmp.Or(failure.Credential, c.t.credential)
	return failure.CredentialsRefused()
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
	var err error
	if o.Credentials, err = hop.Login.Credentials(ctx); err != nil {
		err := smtpclient.NoCredentials(hop.Host, err)
		c.refused(err)
		return o, err
	}
	o.Login = hop.Login
	return o, nil
}
