package intake

import (
	"context"

	"postern/internal/mail"
)

// sending is who sends in the session.
func (s *Session) sending() Sending { return Sending{Origin: &s.origin, From: s.envelope.From} }

// recipient returns for whom a recipient stands that a client named; nil for itself.
// Whom a client may send to elsewhere is decided by policy; without any, none but
// users of this host may. All may write to the postmaster.
//
// It fails with a mail.Error, as Expand does, and with 550 5.7.1.
func (in *Intake) recipient(ctx context.Context, to mail.Address, by Sending) (*Expansion, error) {
	x, err := in.Local.Expand(ctx, to, by)
	if err == nil && x == nil && in.Policy == nil && by.Origin.User == nil {
		err = mail.Refuse(550, "5.7.1", "Relaying denied: %s may not send to this domain from here", by.Origin.Client.Addr())
	}
	return x, err
}

// stored is a recipient as it is stored if it stands for one address, or for itself.
func stored(r mail.Recipient, x *Expansion) mail.Recipient {
	if x == nil || !x.Single() {
		return r
	}
	return r.Readdressed(x.Members[0].Address)
}
