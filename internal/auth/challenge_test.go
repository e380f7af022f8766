package auth

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"postern/internal/mail"
)

// narrow is a source whose tokens may do too little.
type narrow struct{}

func (narrow) Token(context.Context, string, string) (mail.Principal, error) {
	return mail.Principal{}, fmt.Errorf("source narrow: %w", tooNarrow{})
}

type tooNarrow struct{}

func (tooNarrow) Error() string { return "it lacks a scope" }

func (tooNarrow) Unwrap() error { return ErrInvalid }

func (tooNarrow) Challenge() (status, scope, configuration string) {
	return "insufficient_scope", "mail.send", "https://login.example/.well-known/openid-configuration"
}

// TestChallenge: a client whose token is no good is told what a source says of it (RFC
// 7628 3.2.2), and XOAUTH2 in the numbers of HTTP (RFC 6750 3.1).
func TestChallenge(t *testing.T) {
	for mechanism, c := range map[string]struct{ says, want string }{
		OAuthBearer: {"n,a=joe,\x01auth=Bearer x\x01\x01", `<{"status":"insufficient_scope","schemes":"bearer","scope":"mail.send","openid-configuration":"https://login.example/.well-known/openid-configuration"}> ` + bad},
		XOAuth2:     {"user=joe\x01auth=Bearer x\x01\x01", `<{"status":"403","schemes":"bearer","scope":"mail.send"}> ` + bad},
	} {
		w := newWorld(t)
		w.auth.Options.Sources = map[string]Methods{"people": {Tokens: narrow{}}}
		if got := w.ended(mechanism, c.says, "\x01"); !strings.HasSuffix(got, c.want) {
			t.Errorf("%s ends with\n%s, not\n%s", mechanism, got, c.want)
		}
	}
}
