package senders

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"postern/internal/directory"
)

// Ownership is what an operator says of a source; what is nil stays.
type Ownership struct {
	// User is the login of the user of the directory to whom it is to belong: it gets the
	// address of the source, or its certificate.
	User *string `json:"user,omitempty" maxLength:"255" doc:"Login of the user who gets its address or certificate, so that mail from it is that user's"`
	// Owner is who answers for it, and Note what else is to be known; for people. Empty
	// takes it away.
	Owner *string `json:"owner,omitempty" maxLength:"200" doc:"Who answers for it, for people; empty takes it away"`
	Note  *string `json:"note,omitempty" maxLength:"1000" doc:"What else is to be known of it; empty takes it away"`
}

// Assign does what an operator says of a source: all of it or nothing, on stable storage with
// its facts when it returns nil. It fails with ErrSource or directory.ErrNotFound, wrapped,
// with directory.Problems for what is wrong, or as a Change of the directory does.
func (v *Inventory) Assign(ctx context.Context, actor, name string, a Ownership) (Sender, error) {
	v.writing.Lock()
	defer v.writing.Unlock()
	s, err := v.hold(name)
	if err != nil {
		return Sender{}, err
	}
	defer v.release(s)
	before, after, err := v.say(s, a)
	if err != nil {
		return Sender{}, err
	}
	err = v.Directory.Change(ctx, actor, func(tx *directory.Tx) error {
		if a.User != nil {
			if err := give(tx, s.key, *a.User); err != nil {
				return err
			}
		}
		return tx.AssignSender(&before, &after)
	})
	if err != nil {
		return Sender{}, err
	}
	v.keep(s, &after)
	return v.Get(name)
}

// hold returns a source that there is, which is not forgotten for another until release.
func (v *Inventory) hold(name string) (*source, error) {
	k, err := parseKey(name)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sources[k]
	if s == nil {
		return nil, notFound(k)
	}
	s.held = true
	s.leave()
	return s, nil
}

func (v *Inventory) release(s *source) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s.held = false
	v.place(s)
}

// say returns a source before and after something is said of it.
func (v *Inventory) say(s *source, a Ownership) (before, after directory.Sender, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if before, err = s.record(); err != nil {
		return before, after, err
	}
	after = before
	if a.Owner != nil {
		after.Owner = *a.Owner
	}
	if a.Note != nil {
		after.Note = *a.Note
	}
	if says := after.Owner != "" || after.Note != ""; says && !s.isAssigned() && v.assigned >= v.MaxAssigned {
		return before, after, wrong(s.key, "owner", fmt.Sprintf("of %d sources something is said already", v.assigned), "forget some of those, or take back what is said of them")
	}
	return before, after, nil
}

func wrong(k key, field, problem, hint string) error {
	return directory.Problems{{Key: directory.Key{Kind: "sender", Name: k.String()}, Field: field, Problem: problem, Hint: hint}}
}

// give lets a source belong to a user.
func give(tx *directory.Tx, k key, login string) error {
	u, found := tx.User(login)
	if !found {
		return fmt.Errorf("%w user %s", directory.ErrNotFound, login)
	}
	switch k.kind {
	case KindAddress:
		network := netip.PrefixFrom(k.address, k.address.BitLen())
		if slices.Contains(u.Networks, network) {
			return nil
		}
		u.Networks = append(slices.Clone(u.Networks), network)
	case KindCertificate:
		certificate := "sha256:" + k.name
		if slices.Contains(u.Certificates, certificate) {
			return nil
		}
		u.Certificates = append(slices.Clone(u.Certificates), certificate)
	default:
		return wrong(k, "user", "its mail is that of an account, or of a user of this host, already", "say who answers for it as its owner")
	}
	return tx.PutUser(u)
}

// keep shows what is stored of a source that is held.
func (v *Inventory) keep(s *source, stored *directory.Sender) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s.isAssigned() {
		v.assigned--
	}
	s.owner, s.note, s.stored = stored.Owner, stored.Note, true
	if s.isAssigned() {
		v.assigned++
	}
}
