// Package oidc verifies tokens of issuers that speak OpenID Connect, for the mechanisms
// OAUTHBEARER (RFC 7628) and XOAUTH2: signed JWTs (RFC 7519), whose keys the issuer
// publishes (RFC 7517). What is asked of a token goes by RFC 8725.
//
// A Source is one issuer. It needs the issuer only for its keys, which are read in the
// background (Tend) and kept: a server starts without it, and goes on without it. What
// cannot be verified because the keys are not known is temporary, and never a wrong
// token.
//
// No token, and no part of one that could be used, is in any log, error or fact.
package oidc

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"postern/internal/config"
	"postern/internal/httpclient"
	"postern/internal/mail"
)

// Options are what a Source needs. All may be left out but Account, which is needed for
// a configuration with MustExist.
type Options struct {
	// Account returns what the directory says of the account of a name; ok is false for
	// one that is not there, not enabled or expired.
	Account func(name string) (who mail.Principal, ok bool)
	// Authorities are those that may vouch for the issuer's server; nil for those of the
	// system.
	Authorities *x509.CertPool
	// Tell is told when the issuer does not answer, and when it answers again. It may be
	// called by several goroutines at a time.
	Tell    func(Event)
	Clock   mail.Clock
	Logger  *slog.Logger
	Metrics *Metrics
}

// Source verifies the tokens of one issuer. It is safe for use by several goroutines.
type Source struct {
	config  config.OIDC
	options Options
	client  *http.Client
	issuer  *issuer
}

// New returns a Source that has asked nothing yet.
func New(c config.OIDC, o Options) *Source {
	if o.Account == nil {
		o.Account = func(string) (mail.Principal, bool) { return mail.Principal{}, false }
	}
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	client := httpclient.New(httpclient.Options{Authorities: o.Authorities, Timeout: c.Timeout, MaxBody: maxDocument, MaxConnections: maxConnections})
	return &Source{config: c, options: o, client: client, issuer: new(issuer)}
}

// Name returns what the source is called.
func (s *Source) Name() string { return s.config.Name }

// Follow makes the Source the one after another: if it is the same issuer, vouched for
// by the same authorities, its keys are known. It must be called before the Source is
// used by anybody.
func (s *Source) Follow(before *Source) {
	if s.config.Issuer == before.config.Issuer && s.config.Authorities == before.config.Authorities {
		s.issuer = before.issuer
	}
}

// Close gives up the connections that nobody uses at the moment.
func (s *Source) Close() { s.client.CloseIdleConnections() }

// Configuration is the URL of the document that tells a client of the issuer.
func (s *Source) Configuration() string {
	return strings.TrimSuffix(s.config.Issuer, "/") + "/.well-known/openid-configuration"
}

// Token returns for whom a token was issued. user is the name that the client has given;
// empty when it has given none.
//
// Errors: a *Refusal, which is auth.ErrInvalid, or auth.ErrUnknown for a token of another
// issuer; any other is temporary.
func (s *Source) Token(ctx context.Context, user, text string) (mail.Principal, error) {
	r := s.Examine(ctx, user, text)
	s.options.Metrics.token(r.Err)
	if r.Err != nil {
		return mail.Principal{}, fmt.Errorf("source %s: %w", s.config.Name, r.Err)
	}
	return r.Principal, nil
}
