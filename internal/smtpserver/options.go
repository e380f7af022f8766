package smtpserver

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"time"

	"postern/internal/mail"
	"postern/internal/smtp"
)

// Options are the settings of a Server. A zero field means the default that
// stands with it; every limit is bounded, none can be switched off.
type Options struct {
	// Listener is the configured name that goes into each Origin.
	Listener string
	// Hostname is the name in the greeting (default "localhost").
	Hostname string
	// TLS offers STARTTLS when it is set. The server takes a copy, in which
	// session tickets are off: they break some clients, and resumption saves
	// little in sessions that last.
	TLS *tls.Config
	// Implicit begins TLS with the connection instead (RFC 8314 3.3).
	Implicit bool
	// TLSRequired refuses in clear what leads to mail: 530 5.7.0 to all but EHLO, HELO,
	// STARTTLS, NOOP, RSET and QUIT (RFC 3207 4).
	TLSRequired bool
	// ClientCertificates say what is asked of clients under TLS.
	ClientCertificates ClientCertificates
	// Handshakes bounds the handshakes of all servers that have it (default: those of
	// this server to one for each two processors).
	Handshakes *Handshakes

	// ProxyFrom are the networks of proxies. A connection from there begins with a PROXY
	// header, before TLS, and its client is who that says; one without is refused. From
	// elsewhere such a header is no command.
	ProxyFrom []netip.Prefix

	// RequireTLS offers REQUIRETLS under TLS (RFC 8689): what is behind the server keeps
	// the promise.
	RequireTLS bool

	// Without are extensions that are not offered, nor taken.
	Without Without

	// AuthInClear offers AUTH in clear too, where everybody on the way can read
	// passwords.
	AuthInClear bool

	// MaxSize is the largest message in octets, as RFC 1870 counts them
	// (default 50 MiB).
	MaxSize int64
	// MaxRecipients and MaxMessages are shown as RCPTMAX and MAILMAX of
	// LIMITS (RFC 9422), and hold for all clients: accepted recipients in a
	// transaction (default 1,000), MAIL commands in a session (default
	// 10,000).
	MaxRecipients int
	MaxMessages   int
	// MaxConnections is how many clients are served at a time (default
	// 1,000); MaxConnectionsPerClient how many connections from one IPv4
	// address or IPv6 /64, or of one user of this host (default 200).
	MaxConnections          int
	MaxConnectionsPerClient int
	// Sockets bounds the connections of all servers that have it (default: no
	// such bound).
	Sockets *Sockets
	// Limit says how many of MaxConnections are to be served at present
	// (default all). When that is fewer than there are, those that begin a
	// transaction are sent away until the number fits; none is in the midst of
	// one. It is asked often, and must be quick.
	Limit func() int
	// MaxErrors is how many refused commands end a session (default 20). An
	// accepted message sets the count back to 0.
	MaxErrors int

	// User says which user of this host is at the other end of a connection, for
	// a listener at a Unix socket (default: none).
	User func(net.Conn) *mail.User

	// Newlines says what becomes of bare newlines and NUL in this client's content
	// (default NewlinesRefuse for all).
	Newlines func(mail.Origin) smtp.Newlines

	// CommandTimeout is how long a client may take for one command line, or
	// to read a reply (default 5 minutes, RFC 5321 4.5.3.2.7).
	CommandTimeout time.Duration
	// DataTimeout is how long a client may be silent within content (default
	// 3 minutes). MinDataRate is the least rate of content in octets a second
	// (default 128), counted over the whole message after a grace of
	// DataTimeout; time for which the handler does not read is not counted.
	DataTimeout time.Duration
	MinDataRate int64

	IDs    *mail.IDs    // makes the session ids
	Clock  mail.Clock   // the time of ids and facts
	Logger *slog.Logger // default: no log
	// Record takes a "refused" fact for each refused connection, command and
	// message. It must not block.
	Record func(mail.Fact)
	// Metrics count for all servers of the process (default: for nobody).
	Metrics *Metrics
}

// Without are extensions that a listener can do without: for clients that choke on
// them, and where what is behind the server cannot honour them.
type Without struct{ Pipelining, EightBitMIME, SMTPUTF8, DSN, Chunking, RequireTLS bool }

func (o Options) withDefaults() Options {
	setDefault(&o.Hostname, "localhost")
	setDefault(&o.MaxSize, 50<<20)
	setDefault(&o.MaxRecipients, 1000)
	setDefault(&o.MaxMessages, 10000)
	setDefault(&o.MaxConnections, 1000)
	setDefault(&o.MaxConnectionsPerClient, 200)
	setDefault(&o.MaxErrors, 20)
	setDefault(&o.CommandTimeout, 5*time.Minute)
	setDefault(&o.DataTimeout, 3*time.Minute)
	setDefault(&o.MinDataRate, 128)
	if o.Limit == nil {
		o.Limit = func() int { return o.MaxConnections }
	}
	if o.User == nil {
		o.User = func(net.Conn) *mail.User { return nil }
	}
	if o.Newlines == nil {
		o.Newlines = func(mail.Origin) smtp.Newlines { return smtp.NewlinesRefuse }
	}
	if o.IDs == nil {
		o.IDs = new(mail.IDs)
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Record == nil {
		o.Record = func(mail.Fact) {}
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Handshakes == nil {
		o.Handshakes = NewHandshakes(runtime.GOMAXPROCS(0) / 2)
	}
	if o.ClientCertificates.Require {
		o.TLSRequired, o.ClientCertificates.Ask = true, true
	}
	o.TLS = o.ClientCertificates.prepare(o.TLS)
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// prepare returns a copy of t, and of whatever t chooses for a client, that issues no
// session tickets, and asks for certificates as it should.
func (c *ClientCertificates) prepare(t *tls.Config) *tls.Config {
	if t == nil {
		return nil
	}
	t = t.Clone()
	t.SessionTicketsDisabled = true
	if c.Ask {
		t.ClientAuth, t.ClientCAs = tls.RequestClientCert, c.Authorities
	}
	if choose := t.GetConfigForClient; choose != nil {
		t.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			return c.prepare(chosen), err
		}
	}
	return t
}
