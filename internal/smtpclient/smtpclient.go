// Package smtpclient is the sending end of SMTP, and of LMTP: it connects to one
// server and gives it messages.
//
// Dial connects, greets and, as the policy asks, starts TLS. Send hands over
// one message and returns one mail.Outcome for each recipient, whatever
// happens. A Conn that is still Usable takes another message.
//
// It knows no queue and no routes: which server, when, and what becomes of a
// failure is for the caller to decide. It never alters content beyond
// dot-stuffing; a server that cannot take it gets the 7-bit form that the
// caller has, or the message comes back as bounced.
//
// Each failure has two faces. Its reply is the server's own, or Postern's
// words with a code of RFC 3463, fit for a report to the sender; its cause is
// the private error, for the log. When a connection breaks, what the server
// has not answered is deferred. That includes a message whose end of data was
// sent but not answered: its outcome is unknown, and a second attempt may
// make a duplicate, which is better than a loss.
package smtpclient

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"postern/internal/mail"
	"postern/internal/tlspolicy"
)

// Options say how to connect. The zero value of each field is its default.
type Options struct {
	// Hostname is the argument of EHLO: a name or an address literal that is
	// this host's (RFC 5321 4.1.1.1). The default is "localhost".
	Hostname string
	// TLS is what the connection must have of TLS; without a level that is
	// opportunistic.
	TLS tlspolicy.Policy
	// InClear is why TLS was tried with this server, and failed: the connection
	// is in clear. It is ignored under a policy that demands TLS. Nil: it was not.
	InClear error
	// TLSConfig has what the policy does not know; nil means that of crypto/tls.
	// Its roots stand for the authorities that the system trusts.
	TLSConfig *tls.Config
	// Credentials are proved to the server before any mail. They are never
	// sent but to a server that has proved who it is, unless they allow it themselves;
	// Dial fails where they cannot be.
	Credentials mail.Credentials
	// Login, if not nil, is asked for the Credentials as they are when they are to be
	// shown, and told what came of that.
	Login Login
	// Timeouts are the limits of time of each phase.
	Timeouts Timeouts
	// NoChunking leaves BDAT alone, even if the server offers it.
	NoChunking bool
	// Without are keywords of extensions that are taken as not offered.
	Without []string
	// MaxMessages is how many messages go over one connection; 0: any number.
	MaxMessages int
	// LMTP says that the server speaks LMTP (RFC 2033): it greets as LHLO asks, and
	// answers the end of data once for each recipient.
	LMTP bool
	// Socket is the path of the Unix socket to connect to, in place of an address.
	Socket string
	// MaxReply is the size of the largest reply in octets, all its lines
	// together. The default is 16 KiB.
	MaxReply int
	// LocalAddr is the address to connect from; the zero one means any.
	LocalAddr netip.Addr
	// Logger takes a line for each event on a connection; nil means none.
	Logger *slog.Logger
	// Clock is the time at which certificates must be valid; nil means the
	// machine's.
	Clock mail.Clock
	// Metrics count connections; nil: for nobody.
	Metrics *Metrics
}

// Login says when credentials may be shown.
type Login interface {
	// Begin waits until they may be shown, at most until ctx ends. When it does not fail, end is
	// called with what came of it: nil when the server has taken them, else an *Error.
	Begin(ctx context.Context) (shown mail.Credentials, end func(error), err error)
}

// Timeouts are limits of time, one for each phase. The zero value of each
// field is its default. A server that takes content at less than 500 octets a
// second for longer than DataBlock runs out of it, whatever it has taken.
type Timeouts struct {
	Connect   time.Duration // for the connection; 30 s
	Greeting  time.Duration // RFC 5321 4.5.3.2.1; 5 min
	Hello     time.Duration // for the reply to EHLO, HELO, STARTTLS or AUTH; 5 min
	Handshake time.Duration // for the TLS handshake; 1 min
	Mail      time.Duration // RFC 5321 4.5.3.2.2; 5 min
	Rcpt      time.Duration // RFC 5321 4.5.3.2.3; 5 min
	DataStart time.Duration // RFC 5321 4.5.3.2.4; 2 min
	DataBlock time.Duration // for each 64 KiB of content (RFC 5321 4.5.3.2.5); 3 min
	DataEnd   time.Duration // RFC 5321 4.5.3.2.6; 10 min
	Reset     time.Duration // for the reply to RSET after a failure; 20 s
	Quit      time.Duration // for the reply to QUIT; 5 s
}

func (t Timeouts) withDefaults() Timeouts {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Connect, 30 * time.Second},
		{&t.Greeting, 5 * time.Minute},
		{&t.Hello, 5 * time.Minute},
		{&t.Handshake, time.Minute},
		{&t.Mail, 5 * time.Minute},
		{&t.Rcpt, 5 * time.Minute},
		{&t.DataStart, 2 * time.Minute},
		{&t.DataBlock, 3 * time.Minute},
		{&t.DataEnd, 10 * time.Minute},
		{&t.Reset, 20 * time.Second},
		{&t.Quit, 5 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return t
}

const defaultMaxReply = 16 << 10

func (o Options) withDefaults() Options {
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.TLS.Level == "" {
		o.TLS.Level = tlspolicy.Opportunistic
	}
	if o.TLSConfig == nil {
		o.TLSConfig = &tls.Config{}
	}
	if o.MaxReply <= 0 {
		o.MaxReply = defaultMaxReply
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	o.Timeouts = o.Timeouts.withDefaults()
	return o
}
