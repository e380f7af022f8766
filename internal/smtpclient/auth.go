package smtpclient

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/internal/mail"
)

// authenticate proves who this client is with (RFC 4954), by the first mechanism of those
// that may be used that the server offers.
//
// A server that does not take the credentials says nothing of any message:
// the failure is one of the connection.
func (c *Conn) authenticate(ctx context.Context) *Error {
	if reason := c.unfitFor(&c.options.Credentials); reason != "" {
		return c.local("AUTH", mail.NewReply(451, "4.7.4", "Credentials are for %s only once it is verified", c.host), authCause{c.options.Credentials.Name, reason})
	}
	if c.options.Login == nil {
		return c.prove(ctx)
	}
	shown, end, err := c.options.Login.Begin(ctx)
	if err != nil {
		failure := NoCredentials(c.host, err)
		failure.Address, failure.TLS, failure.TLSPolicy = c.address, c.tls, c.judged
		return failure
	}
	c.options.Credentials = shown
	failure := c.prove(ctx)
	if failure != nil {
		end(failure)
	} else {
		end(nil)
	}
	return failure
}

// NoCredentials is the failure that there is nothing to show to a host.
func NoCredentials(host string, why error) *Error {
	e := &Error{Host: host, Command: "AUTH", Reply: mail.NewReply(451, "4.7.0", "There are no credentials for %s at present", host), Cause: why}
	if named, is := errors.AsType[*mail.CredentialError](why); is {
		e.Credential = named.Name
		if !named.Reply.IsZero() {
			e.Reply = named.Reply
		}
	}
	return e
}

// prove shows the credentials. What a failure repeats of them is hidden.
func (c *Conn) prove(ctx context.Context) *Error {
	err := c.proveBy(ctx)
	if err != nil {
		err.Credential = c.options.Credentials.Name
		c.hide(err)
	}
	return err
}

func (c *Conn) proveBy(ctx context.Context) *Error {
	credentials := &c.options.Credentials
	allowed := allowedMechanisms(credentials)
	for _, name := range allowed {
		if !c.extensions.Auth.Has(name) {
			continue
		}
		if x := c.begin(name); x != nil {
			c.mechanism = name
			return c.converse(ctx, name, x)
		}
	}
	return c.local("AUTH", mail.NewReply(451, "4.7.4", "%s offers no AUTH that can be used", c.host),
		authCause{credentials.Name, fmt.Sprintf("the server offers %s, and what can be used is %s", orNone(c.extensions.Auth), strings.Join(allowed, ", "))})
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "no AUTH"
	}
	return "AUTH " + strings.Join(list, " ")
}

// authCause is why credentials were of no use.
type authCause struct{ name, reason string }

// Error names the credentials.
func (e authCause) Error() string {
	if e.name == "" {
		return e.reason
	}
	return "credential " + e.name + ": " + e.reason
}

// unfitFor says why credentials must not be shown on this connection, "" if they may be. In
// clear they go to this machine alone, whatever they allow.
func (c *Conn) unfitFor(credentials *mail.Credentials) string {
	switch {
	case c.tls != nil && c.tls.Verified:
		return ""
	case !credentials.Unverified && c.tls != nil:
		return "TLS is there, but nobody has verified that it is with the right server"
	case !credentials.Unverified:
		return "there is no TLS"
	case c.tls == nil && c.options.Socket == "" && !c.address.Addr().Unmap().IsLoopback():
		return "there is no TLS, and without verification they go in clear to this machine alone"
	}
	return ""
}

func allowedMechanisms(credentials *mail.Credentials) []string {
	switch {
	case credentials.Mechanisms != "":
		return strings.Fields(credentials.Mechanisms)
	case credentials.Token != "":
		return mail.TokenMechanisms
	}
	return mail.PasswordMechanisms
}

// Mechanism returns the one by which this client has proved who it is with; "" for none.
func (c *Conn) Mechanism() string { return c.mechanism }

// proof is the client's end of a mechanism.
type proof interface {
	// first returns the initial response; has is false where the server speaks first.
	first() (response []byte, has bool)
	// next answers a challenge. An error ends the exchange.
	next(challenge []byte) (response []byte, err error)
	// done reports whether a success may come now: what the server had to prove is proved.
	done() bool
}

// begin returns the proof by a mechanism, nil if there can be none on this connection.
func (c *Conn) begin(name string) proof {
	credentials := &c.options.Credentials
	switch name {
	case mail.AuthPlain:
		return &plainProof{response: plainResponse(*credentials)}
	case mail.AuthLogin:
		return &loginProof{answers: []string{credentials.User, string(credentials.Password)}}
	case mail.OAuthBearer, mail.XOAuth2:
		return c.beginBearer(name)
	}
	return c.beginScram(name)
}

// maxCommand is how long the line of the command may be with the initial response in it
// (RFC 4954 4, RFC 5321 4.5.3.1.4), and maxChallenges how often a server may ask.
const (
	maxCommand    = 512
	maxChallenges = 4
)

// converse says AUTH and answers what the server asks.
func (c *Conn) converse(ctx context.Context, name string, x proof) *Error {
	line := "AUTH " + name
	response, has := x.first()
	if inCommand := line + " " + initial(response); has && len(inCommand)+len("\r\n") <= maxCommand {
		line, has = inCommand, false
	}
	for range maxChallenges {
		c.put(line)
		reply, err := c.ask(ctx, "AUTH", c.options.Timeouts.Hello)
		switch {
		case err != nil:
			return err
		case reply.Success() && (has || !x.done()):
			return c.unexpected("AUTH", reply)
		case reply.Code != 334:
			return c.refusedOf(x, c.want(reply, "AUTH"))
		}
		if has { // what did not fit into the command
			line, has = encode(string(response)), false
			continue
		}
		challenge, wrong := base64.StdEncoding.DecodeString(strings.TrimSpace(reply.Text))
		if wrong == nil {
			response, wrong = x.next(challenge)
		}
		if wrong != nil {
			return c.cancel(ctx, reply, wrong)
		}
		line = encode(string(response))
	}
	return c.local("AUTH", mail.NewReply(451, "4.5.0", "Unexpected reply from %s to AUTH", c.host), errAsksWithoutEnd)
}

// initial is a response in the command, where "=" is an empty one (RFC 4954 4).
func initial(response []byte) string {
	if len(response) == 0 {
		return "="
	}
	return encode(string(response))
}

// cancel ends an exchange that has no right answer (RFC 4954 4), where the server still waits
// for one.
func (c *Conn) cancel(ctx context.Context, reply mail.Reply, cause error) *Error {
	if cause == errNoQuestion {
		return c.unexpected("AUTH", reply)
	}
	c.put("*")
	_, _ = c.ask(ctx, "AUTH", c.options.Timeouts.Hello)
	return c.local("AUTH", mail.NewReply(451, "4.7.0", "%s has not proved to know the password", c.host), cause)
}

// refusedOf adds to a refusal what the server has said of it in the exchange.
func (c *Conn) refusedOf(x proof, err *Error) *Error {
	if b, is := x.(*bearerProof); is && err != nil && b.status != "" {
		err.Cause = fmt.Errorf("the server says: %s", b.status)
	}
	return err
}

// What stands for words that repeat a secret.
const hidden = "(not shown: it repeats what it was told)"

// shownOfSecret is how many characters of a secret may be repeated: errors cut
// what they quote.
const shownOfSecret = 24

// hide takes out of a failure what repeats the credentials: what echoes its
// input is no mail server, and some servers name what they did not take. Of a
// server that means to give them away nothing protects: it has them.
func (c *Conn) hide(e *Error) {
	said := strings.Join(strings.Fields(e.Error()), "")
	if slices.ContainsFunc(c.forms(), func(secret string) bool {
		secret = strings.Join(strings.Fields(secret), "")
		return secret != "" && strings.Contains(said, secret[:min(len(secret), shownOfSecret)])
	}) {
		e.Reply.Text, e.Cause = hidden, nil
	}
}

// forms are those in which credentials go to a server.
func (c *Conn) forms() []string {
	shown := c.options.Credentials
	if shown.Token != "" {
		return []string{string(shown.Token), encode(string(shown.Token)), encode(string(xoauth2Response(shown))), encode(string(c.bearerResponse()))}
	}
	return []string{string(shown.Password), encode(string(shown.Password)), encode(plainResponse(shown))}
}

// plainProof is PLAIN (RFC 4616): the password in clear, at once.
type plainProof struct{ response string }

func plainResponse(c mail.Credentials) string { return "\x00" + c.User + "\x00" + string(c.Password) }

func (p *plainProof) first() ([]byte, bool)       { return []byte(p.response), true }
func (p *plainProof) next([]byte) ([]byte, error) { return nil, errNoQuestion }
func (p *plainProof) done() bool                  { return true }

// loginProof is LOGIN, which is in no RFC: it answers two questions, for the user and for the
// password.
type loginProof struct{ answers []string }

func (l *loginProof) first() ([]byte, bool) { return nil, false }
func (l *loginProof) done() bool            { return len(l.answers) == 0 }

func (l *loginProof) next([]byte) ([]byte, error) {
	if len(l.answers) == 0 {
		return nil, errNoQuestion
	}
	answer := l.answers[0]
	l.answers = l.answers[1:]
	return []byte(answer), nil
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
