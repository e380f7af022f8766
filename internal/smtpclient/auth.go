package smtpclient

import (
	"context"
	"encoding/base64"
	"strings"

	"postern/internal/mail"
)

// authenticate proves who this client is (RFC 4954), by PLAIN (RFC 4616), or by
// LOGIN where there is nothing else. Both show the password to the server, so
// that the server must have shown first that it is the right one.
//
// A server that does not take the credentials says nothing of any message:
// the failure is one of the connection.
func (c *Conn) authenticate(ctx context.Context) *Error {
	err := c.prove(ctx)
	if err != nil {
		hide(c.options.Credentials, err)
	}
	return err
}

func (c *Conn) prove(ctx context.Context) *Error {
	switch {
	case !c.options.TLS.Authenticates() || c.tls == nil:
		return c.local("AUTH", mail.NewReply(451, "4.7.4", "Credentials are for %s only once it is verified", c.host), nil)
	case c.extensions.Auth.Has("PLAIN"):
		return c.authPlain(ctx)
	case c.extensions.Auth.Has("LOGIN"):
		return c.authLogin(ctx)
	}
	return c.local("AUTH", mail.NewReply(451, "4.7.4", "%s offers neither AUTH PLAIN nor AUTH LOGIN", c.host), nil)
}

// What stands for words that repeat a secret.
const hidden = "(not shown: it repeats what it was told)"

// shownOfSecret is how many characters of a secret may be repeated: errors cut
// what they quote.
const shownOfSecret = 24

// hide takes out of a failure what repeats the credentials: what echoes its
// input is no mail server, and some servers name what they did not take. Of a
// server that means to give them away nothing protects: it has them.
func hide(credentials mail.Credentials, e *Error) {
	said := strings.Join(strings.Fields(e.Error()), "")
	for _, secret := range []string{string(credentials.Password), encode(string(credentials.Password)), plainResponse(credentials)} {
		secret = strings.Join(strings.Fields(secret), "")
		if strings.Contains(said, secret[:min(len(secret), shownOfSecret)]) {
			e.Reply.Text, e.Cause = hidden, nil
			return
		}
	}
}

func plainResponse(c mail.Credentials) string {
	return encode("\x00" + c.User + "\x00" + string(c.Password))
}

// maxInitialResponse is how long a response may be that stands in the command
// itself: it must fit into 512 octets (RFC 4954 4).
const maxInitialResponse = 512 - len("AUTH PLAIN \r\n")

func (c *Conn) authPlain(ctx context.Context) *Error {
	response := plainResponse(c.options.Credentials)
	if len(response) <= maxInitialResponse {
		return c.authEnd(ctx, "AUTH PLAIN "+response)
	}
	if err := c.authStep(ctx, "AUTH PLAIN"); err != nil {
		return err
	}
	return c.authEnd(ctx, response)
}

// authLogin answers the two questions of LOGIN, which is in no RFC: for the
// user, and for the password.
func (c *Conn) authLogin(ctx context.Context) *Error {
	credentials := c.options.Credentials
	for _, line := range []string{"AUTH LOGIN", encode(credentials.User)} {
		if err := c.authStep(ctx, line); err != nil {
			return err
		}
	}
	return c.authEnd(ctx, encode(string(credentials.Password)))
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// authStep sends a line upon which the server must ask for more.
func (c *Conn) authStep(ctx context.Context, line string) *Error {
	c.put(line)
	reply, err := c.ask(ctx, "AUTH", c.options.Timeouts.Hello)
	switch {
	case err != nil:
		return err
	case reply.Code == 334:
		return nil
	case reply.Success(), reply.Intermediate():
		return c.unexpected("AUTH", reply)
	}
	return c.want(reply, "AUTH")
}

// authEnd sends the last line, upon which the server says yes (235) or no.
func (c *Conn) authEnd(ctx context.Context, line string) *Error {
	c.put(line)
	reply, err := c.ask(ctx, "AUTH", c.options.Timeouts.Hello)
	if err != nil {
		return err
	}
	return c.want(reply, "AUTH")
}
