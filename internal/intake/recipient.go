package intake

import "postern/internal/mail"

// Recipient returns the recipient to store for one that a client named, or
// why there is none. trusted says that the client may send to anywhere; all
// may write to the postmaster. A user of this host is trusted.
//
// It fails with a mail.Error: 550 5.1.1 or 5.7.1.
func (in *Intake) Recipient(o *mail.Origin, trusted bool, r mail.Recipient) (mail.Recipient, error) {
	resolve := in.Local.Resolve
	if o.User != nil {
		resolve, trusted = in.Local.ResolveUser, true
	}
	given := r.Address
	resolved, err := resolve(given, o.Local.Addr())
	if err != nil {
		return r, err
	}
	redirected := resolved != given
	if !redirected && !trusted {
		return r, mail.Refuse(550, "5.7.1", "Relaying denied: %s may not send to this domain from here", o.Client.Addr())
	}
	return r.Readdressed(resolved), nil
}
