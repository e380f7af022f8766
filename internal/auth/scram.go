package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/xdg-go/scram"

	"postern/internal/mail"
)

// scramConversation is SCRAM-SHA-256, with channel binding or without (RFC 5802, RFC
// 7677): the client proves that it knows the password, and the server that it has the
// keys. What the server proves goes as one more challenge, which the client answers with
// nothing: there is no room for it in the reply (RFC 4954 4).
type scramConversation struct {
	auth *Authenticator
	at   *Attempt

	conversation *scram.ServerConversation
	user         string
	who          *mail.Principal // as soon as the client has said its name
	trouble      error           // of a source
	proved       bool
}

func beginScram(a *Authenticator, at *Attempt) mechanism {
	return &clientFirst{mechanism: &scramConversation{auth: a, at: at}}
}

func (c *scramConversation) next(ctx context.Context, response []byte) ([]byte, *mail.Principal, error) {
	switch {
	case c.conversation == nil:
		return c.first(ctx, string(response))
	case !c.proved:
		return c.final(string(response))
	case len(response) > 0:
		return nil, nil, errMalformed
	}
	return nil, c.who, nil
}

// first takes the name of the user, and returns salt and iterations.
func (c *scramConversation) first(ctx context.Context, message string) ([]byte, *mail.Principal, error) {
	binding, err := c.binding(message)
	if err != nil {
		return nil, nil, err
	}
	server, err := scram.SHA256.NewServer(func(user string) (scram.StoredCredentials, error) { return c.lookUp(ctx, user) })
	if err != nil {
		return nil, nil, err
	}
	c.conversation = server.NewConversationWithChannelBinding(binding)
	challenge, err := c.conversation.Step(message)
	switch {
	case c.trouble != nil:
		return nil, nil, c.trouble
	case err != nil:
		return nil, nil, scramError(challenge)
	case !same(c.conversation.AuthzID(), c.user):
		return nil, nil, errForOther
	}
	return []byte(challenge), nil, nil
}

func (c *scramConversation) lookUp(ctx context.Context, user string) (scram.StoredCredentials, error) {
	c.user = user
	keys, who, err := c.auth.keys(ctx, c.at, user)
	if err != nil {
		c.trouble = err
		return scram.StoredCredentials{}, err
	}
	c.who = who
	return keys.credentials(), nil
}

// final takes the proof of the client, and returns that of the server.
func (c *scramConversation) final(message string) ([]byte, *mail.Principal, error) {
	challenge, err := c.conversation.Step(message)
	switch {
	case err != nil:
		err = scramError(challenge)
	case c.who == nil: // keys of nobody match nothing
		err = ErrInvalid
	}
	outcome := err
	if c.who == nil && errors.Is(err, ErrInvalid) {
		outcome = ErrUnknown
	}
	c.auth.settle(c.at, guess{user: c.user, said: c.user}, outcome)
	if err != nil {
		return nil, nil, err
	}
	c.proved = true
	return []byte(challenge), nil, nil
}

// scramError is why a step failed. What the conversation itself says of it repeats
// what the client has sent.
func scramError(told string) error {
	switch told {
	case "", scram.ErrInvalidEncoding, scram.ErrInvalidUsernameEncoding:
		return errMalformed
	case scram.ErrServerDoesSupportChannelBinding:
		return errDowngraded
	}
	return fmt.Errorf("%w: %s", ErrInvalid, strings.TrimPrefix(told, "e="))
}

// errDowngraded refuses a client that can bind to the channel and was not offered to,
// although it was: somebody on the way has changed what it was offered (RFC 5802 6).
var errDowngraded = fmt.Errorf("%w: the client believes that %s is not offered: somebody on the way has taken it out", ErrInvalid, ScramPlus)

// binding returns what the conversation is to be bound to: what the client names, for
// SCRAM-SHA-256-PLUS. In one without binding any is given, so that it is noticed that
// the client was not offered it, if it was.
func (c *scramConversation) binding(message string) (scram.ChannelBinding, error) {
	flag, _, _ := strings.Cut(message, ",")
	name, bound := strings.CutPrefix(flag, "p=")
	switch plus := c.at.Mechanism == ScramPlus; {
	case plus != bound:
		return scram.ChannelBinding{}, errMalformed
	case plus:
		return bindingOf(c.at.TLS, scram.ChannelBindingType(name))
	case slices.Contains(c.at.Mechanisms, ScramPlus):
		return anyBinding(c.at.TLS), nil
	}
	return scram.ChannelBinding{}, nil
}
