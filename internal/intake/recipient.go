package intake

import "postern/internal/mail"

// Recipient returns the recipient to store for one that a client named, or
// why there is none. Whom a client may send to elsewhere is decided by policy;
// without any, none but users of this host may. All may write to the postmaster.
//
// It fails with a mail.Error: 550 5.1.1 or 5.7.1.
func (in *Intake) Recipient(o *mail.Origin, r mail.Recipient) (mail.Recipient, error) {
	resolve, mayRelay := in.Local.Resolve, in.Policy != nil
	if o.User != nil {
		resolve, mayRelay = in.Local.ResolveUser, true
	}
	given := r.Address
	resolved, err := resolve(given, o.Local.Addr())
	if err != nil {
		return r, err
	}
	redirected := resolved != given
	if !redirected && !mayRelay {
		return r, mail.Refuse(550, "5.7.1", "Relaying denied: %s may not send to this domain from here", o.Client.Addr())
	}
	return r.Readdressed(resolved), nil
}
