package oidc

import (
	"fmt"

	"postern/internal/auth"
)

// Refusal is why a token is no good.
type Refusal struct {
	// Status is "invalid_token", or "insufficient_scope" for a good one that may do too
	// little (RFC 6750 3.1). Scope is what is needed then; Configuration is the URL of
	// the document that tells a client of the issuer. These a client may be told
	// (RFC 7628 3.2.2).
	Status, Scope, Configuration string
	// Why is for the log.
	Why string
	// cause is auth.ErrInvalid or auth.ErrUnknown.
	cause error
}

// The words for what is wrong.
const (
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
)

// Error says why.
func (r *Refusal) Error() string { return r.Why }

// Unwrap returns auth.ErrInvalid, or auth.ErrUnknown.
func (r *Refusal) Unwrap() error { return r.cause }

// Challenge is what a client may be told.
func (r *Refusal) Challenge() (status, scope, configuration string) {
	return r.Status, r.Scope, r.Configuration
}

// refuse returns the refusal of a token.
func (s *Source) refuse(format string, args ...any) *Refusal {
	return &Refusal{Status: invalidToken, Configuration: s.Configuration(), Why: fmt.Sprintf(format, args...), cause: auth.ErrInvalid}
}
