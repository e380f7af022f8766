package smtpclient

import (
	"context"
	"crypto/tls"
	"time"

	"postern/internal/mail"
	"postern/internal/tlspolicy"
)

// This file brings a connection to the TLS that its policy asks for. That a server
// offers AUTH is no reason for it.

// startTLS starts TLS if the policy has it and the server offers it (RFC 3207), and fails if the server
// does not although the policy demands it.
func (c *Conn) startTLS(ctx context.Context) *Error {
	policy := c.options.TLS
	switch {
	case c.tls != nil: // from the first octet on
		return nil
	case policy.Level == tlspolicy.None:
		c.judged = policy.Clear("TLS is not wanted")
		return nil
	case c.options.InClear != nil && !policy.Demanded():
		c.judged = policy.Clear("TLS is not demanded, and failed: " + c.options.InClear.Error())
		return nil
	case !c.extensions.StartTLS && c.options.Socket != "" && !policy.Demanded():
		c.judged = policy.Clear("the server is behind a Unix socket, which does not leave this machine")
		return nil
	case !c.extensions.StartTLS:
		c.judged = policy.Clear("the server does not offer TLS")
		if policy.Demanded() {
			return c.local("STARTTLS", mail.NewReply(451, "4.7.4", "TLS is required, but %s does not offer it", c.host), nil)
		}
		return nil
	}
	if started, err := c.askForTLS(ctx); !started || err != nil {
		return err
	}
	if c.br.Buffered() > 0 {
		// What came in clear must not be taken for what comes under TLS.
		c.judged = policy.Unmet(errInjection)
		return c.local("STARTTLS", mail.NewReply(451, "4.7.5", "TLS with %s failed", c.host), errInjection)
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	if policy.Begin == tlspolicy.Unspoken {
		return nil
	}
	return c.hello(ctx)
}

// askForTLS says STARTTLS, and reports whether the server goes along.
func (c *Conn) askForTLS(ctx context.Context) (started bool, err *Error) {
	c.put("STARTTLS")
	reply, err := c.ask(ctx, "STARTTLS", c.options.Timeouts.Hello)
	if err != nil || reply.Success() {
		return err == nil, err
	}
	refused := unexpectedReply{reply}
	c.judged = c.options.TLS.Clear("the server refused to start TLS: " + reply.String())
	switch {
	case c.options.TLS.Demanded():
		return false, c.local("STARTTLS", mail.NewReply(451, "4.7.4", "TLS is required, but %s refused to start it", c.host), refused)
	case reply.Intermediate():
		return false, c.unexpected("STARTTLS", reply)
	}
	c.options.Logger.Info("server offers TLS but refused to start it, continuing in clear",
		"host", c.host, "address", c.address, "reply", reply.String())
	return false, nil
}

// handshake begins TLS, and judges it by the policy.
func (c *Conn) handshake(ctx context.Context) *Error {
	policy := c.options.TLS
	check, config := policy.Check(c.host, c.options.TLSConfig, c.options.Clock.Now)
	if err := c.socket.SetDeadline(time.Now().Add(c.options.Timeouts.Handshake)); err != nil {
		return c.broken(ctx, "STARTTLS", err)
	}
	client := tls.Client(c.socket, config)
	if err := client.HandshakeContext(ctx); err != nil {
		return c.handshakeFailed(ctx, check, err)
	}
	c.judged = check.Told(nil)
	state := client.ConnectionState()
	c.tls = &mail.TLS{
		Version:    tls.VersionName(state.Version),
		Cipher:     tls.CipherSuiteName(state.CipherSuite),
		ServerName: config.ServerName,
		Verified:   policy.Authenticates(),
	}
	c.setStream(client)
	return nil
}

// handshakeFailed returns the failure that a handshake failed, for the reason that the check
// knows if it does.
func (c *Conn) handshakeFailed(ctx context.Context, check *tlspolicy.Check, err error) *Error {
	if ctx.Err() != nil {
		return c.broken(ctx, "STARTTLS", err)
	}
	if failure := c.options.TLS.Broken(c.host, err); failure != nil {
		c.judged = check.Told(failure)
		return c.local("STARTTLS", failure.Reply, failure)
	}
	c.judged = check.Told(err)
	return c.local("STARTTLS", mail.NewReply(451, "4.7.5", "TLS with %s failed", c.host), err)
}
