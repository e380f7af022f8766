package deliver

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

// changing is a Login that shows the next of its tokens when one was refused; behind the last it
// has none.
type changing struct {
	mu      sync.Mutex
	tokens  []mail.Secret
	refused []mail.Secret
}

func (c *changing) Credentials(context.Context) (mail.Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tokens) == 0 {
		return mail.Credentials{}, errors.New("no token is left")
	}
	return mail.Credentials{User: "joe", Token: c.tokens[0]}, nil
}

func (c *changing) Begin(ctx context.Context) (mail.Credentials, func(error), error) {
	shown, err := c.Credentials(ctx)
	return shown, func(came error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if came == nil {
			return
		}
		c.refused = append(c.refused, shown.Token)
		if len(c.tokens) > 0 && shown.Token == c.tokens[0] {
			c.tokens = c.tokens[1:]
		}
	}, err
}

// TestRefusedOnce: a token that the server does not take is followed by another, once in an
// attempt. What is left of it is the server's reply, or why there is nothing else to show.
func TestRefusedOnce(t *testing.T) {
	config, roots := mailtest.ServerTLS(t, "mx.example")
	for name, c := range map[string]struct {
		tokens  []mail.Secret
		want    mail.Reason
		refused int
		cause   string
	}{
		"the second is good":   {[]mail.Secret{"old", "good"}, mail.ReasonDelivered, 1, ""},
		"there is no second":   {[]mail.Secret{"old"}, mail.ReasonDeferred, 1, "AUTH: 451 4.7.0 There are no credentials for mx.example at present"},
		"the second is no use": {[]mail.Secret{"old", "older", "good"}, mail.ReasonDeferred, 2, "AUTH: 535 5.7.8 Credentials invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			sink := mailtest.NewSinkWith(t, mailtest.SinkOptions{TLS: config, Tokens: func(_, token string) error {
				if token != "good" {
					return errors.New("it is not")
				}
				return nil
			}})
			login := &changing{tokens: c.tokens}
			way := as("", "", "site", sink.Addr())
			way.Hops[0].Login = login
			h := start(t, routes{"joe.example": way}, trusting(roots))
			fact := h.awaitFacts(h.submit("me@sender.example", "a@joe.example"), c.want, 1)[0]
			login.mu.Lock()
			defer login.mu.Unlock()
			if got := brief(fact); !strings.Contains(got, c.cause) || len(login.refused) != c.refused {
				t.Errorf("%s, and %d were refused, want %d", got, len(login.refused), c.refused)
			}
		})
	}
}
