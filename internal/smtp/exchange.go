package smtp

import (
	"context"

	"postern/internal/mail"
)

// Exchange is one authentication exchange (RFC 4954 4), from the side of the
// server. Its methods are called one at a time.
type Exchange interface {
	// Next takes what the client has sent, decoded from base64: its initial response,
	// nil when it gave none, and then its answer to each challenge. The zero reply
	// asks for the next one with challenge. Any other ends the exchange: 235, with who
	// the client is, or a refusal.
	Next(ctx context.Context, response []byte) (challenge []byte, who *mail.Account, reply mail.Reply)
	// End says that the exchange is over, whoever has ended it. It is called once.
	End()
}
