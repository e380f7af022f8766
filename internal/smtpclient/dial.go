package smtpclient

import (
	"context"
	"net"
	"net/netip"

	"postern/internal/mail"
	"postern/internal/smtp"
	"postern/internal/tlspolicy"
)

// Dial connects to the server at address, which the route calls host, and
// brings the connection to where Send can be called: past the greeting, EHLO
// (or HELO, for a server that refuses EHLO), what Options.TLS demands, and AUTH
// if there are credentials.
//
// When ctx ends, Dial does. It fails with an *Error, and then nothing is left
// open.
func Dial(ctx context.Context, host string, address netip.AddrPort, o Options) (*Conn, error) {
	o = o.withDefaults()
	socket, err := connect(ctx, address, o)
	if err != nil {
		o.Metrics.dials.Add(1, failed)
		what := "Could not connect to %s"
		if ctx.Err() != nil {
			what, err = "Connecting to %s was given up", context.Cause(ctx)
		}
		return nil, &Error{Host: host, Address: address, Command: "connect",
			Reply: mail.NewReply(451, "4.4.1", what, host), Cause: err}
	}
	c := newConn(socket, host, address, o)
	c.count(true)
	usable, err := start(ctx, c)
	if err != nil {
		o.Metrics.dials.Add(1, failed)
		return nil, err
	}
	o.Metrics.dials.Add(1, made)
	return usable, nil
}

func connect(ctx context.Context, address netip.AddrPort, o Options) (net.Conn, error) {
	dialer := net.Dialer{Timeout: o.Timeouts.Connect}
	if o.LocalAddr.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(o.LocalAddr, 0))
	}
	return dialer.DialContext(ctx, "tcp", address.String())
}

// start takes a connection from the greeting on.
func start(ctx context.Context, c *Conn) (*Conn, error) {
	if err := c.guard(ctx, func() *Error { return c.greet(ctx) }); err != nil {
		return nil, err
	}
	if c.over { // ctx ended at the last moment
		return nil, c.broken(ctx, "EHLO", net.ErrClosed)
	}
	c.options.Logger.Debug("connected", "host", c.host, "address", c.address, "tls", c.tls != nil)
	return c, nil
}

func (c *Conn) greet(ctx context.Context) *Error {
	if !c.options.TLS.Known() {
		return c.local("STARTTLS", mail.NewReply(451, "4.3.5", "Local configuration error"), errUnknownLevel)
	}
	if c.options.TLS.Begin == tlspolicy.Implicit {
		if err := c.handshake(ctx); err != nil {
			return err
		}
	}
	greeting, err := c.reply(ctx, "greeting", c.options.Timeouts.Greeting)
	if err != nil {
		return err
	}
	if err := c.want(greeting, "greeting"); err != nil {
		return err
	}
	if err := c.hello(ctx); err != nil {
		return err
	}
	if err := c.startTLS(ctx); err != nil {
		return err
	}
	if c.options.Credentials.IsZero() {
		return nil
	}
	return c.authenticate(ctx)
}

// want returns the failure that a reply is which is no success. A server that
// refuses hears a QUIT, without wait for its answer.
func (c *Conn) want(reply mail.Reply, command string) *Error {
	switch {
	case reply.Success():
		return nil
	case reply.Intermediate():
		return c.unexpected(command, reply)
	}
	c.allow(c.options.Timeouts.Quit)
	c.put("QUIT")
	_ = c.bw.Flush()
	return c.remote(command, reply)
}

// hello says EHLO, and HELO to a server that refuses EHLO (RFC 5321 3.2).
func (c *Conn) hello(ctx context.Context) *Error {
	c.put("EHLO " + c.options.Hostname)
	reply, err := c.ask(ctx, "EHLO", c.options.Timeouts.Hello)
	if err != nil {
		return err
	}
	if c.esmtp = !reply.Permanent(); c.esmtp {
		c.extensions = smtp.ParseExtensions(reply.Text)
		return c.want(reply, "EHLO")
	}
	c.extensions = smtp.Extensions{}
	c.put("HELO " + c.options.Hostname)
	reply, err = c.ask(ctx, "HELO", c.options.Timeouts.Hello)
	if err != nil {
		return err
	}
	return c.want(reply, "HELO")
}
