package policy

import (
	"slices"
	"strings"

	"postern/internal/mail"
)

// IsZero reports whether t changes nothing.
func (t *Treatment) IsZero() bool {
	return t.Address.IsNull() && t.Sender == nil && t.Hold == "" && t.NotBefore.IsZero() && !t.Discard && t.Route == "" && t.TLS == "" && t.Class == nil &&
		len(t.Tags) == 0 && len(t.Edits) == 0 && len(t.Copies) == 0 && len(t.Added) == 0
}

// add puts the effects of a later command onto t. What can be only once is as the
// later one has it, but a quarantine stays; all else adds up.
func (t *Treatment) add(later *Treatment) {
	if !later.Address.IsNull() {
		t.Address, t.Rewritten = later.Address, later.Rewritten
	}
	if later.Sender != nil {
		t.Sender = later.Sender
	}
	if later.Hold != "" && t.Hold != mail.HoldQuarantine {
		t.Hold, t.Note = later.Hold, later.Note
	}
	if later.NotBefore.After(t.NotBefore) {
		t.NotBefore = later.NotBefore
	}
	if later.Route != "" {
		t.Route = later.Route
	}
	t.Discard = t.Discard || later.Discard
	if later.TLS != "" {
		t.TLS = later.TLS
	}
	if later.Class != nil {
		t.Class = later.Class
	}
	t.Tags = union(t.Tags, later.Tags)
	t.Edits = slices.Concat(t.Edits, later.Edits)
	t.Copies = union(t.Copies, later.Copies)
	t.Added = union(t.Added, later.Added)
}

// union returns a with what of b is not in it. It leaves both as they are.
func union[T comparable](a, b []T) []T {
	for _, v := range b {
		if !slices.Contains(a, v) {
			a = append(slices.Clip(a), v)
		}
	}
	return a
}

// rewriteAddress fills an address in: a star in the local part of to is the local
// part of from, and a domain that is a star its domain. It fails when that is no
// address.
func rewriteAddress(to, from mail.Address) (mail.Address, error) {
	to.Local = strings.ReplaceAll(to.Local, "*", from.Local)
	if to.Domain == "*" {
		to.Domain = from.Domain
	}
	return mail.ParseAddress(to.String())
}
