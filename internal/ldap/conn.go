package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	ldap3 "github.com/go-ldap/ldap/v3"

	"postern/internal/config"
	"postern/internal/mail"
)

// maxAnswer bounds what a server may say to one operation, in octets; between
// operations it may say that it closes the connection.
const (
	maxAnswer = 4 << 20
	maxNotice = 64 << 10
)

// bounded is a connection on which a server can say only so much.
type bounded struct {
	net.Conn
	left atomic.Int64
}

// Read reads, and fails with errTooLarge when the server has said too much.
func (b *bounded) Read(p []byte) (int, error) {
	left := b.left.Load()
	if left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), left)])
	b.left.Add(int64(-n))
	return n, err
}

// conn is a connection to a server.
type conn struct {
	*ldap3.Conn
	wire *bounded
	used time.Time
}

// do runs one operation, and ends it with ctx. After an error of the connection, or the
// end of ctx, the connection is good for nothing but close.
func (c *conn) do(ctx context.Context, operate func(*ldap3.Conn) error) error {
	if ctx.Err() != nil {
		return late(ctx)
	}
	c.wire.left.Store(maxAnswer)
	stop := context.AfterFunc(ctx, func() { _ = c.wire.SetDeadline(time.Unix(1, 0)) })
	err := operate(c.Conn)
	if !stop() {
		return late(ctx)
	}
	if err != nil && c.wire.left.Load() <= 0 {
		return errTooLarge
	}
	c.wire.left.Store(maxNotice)
	return err
}

// late is why an operation has ended with ctx.
func late(ctx context.Context) error {
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errSlow
}

func (c *conn) close() {
	_ = c.wire.SetDeadline(time.Unix(1, 0)) // so that the library waits for nobody
	_ = c.Conn.Close()
}

// dialing is how to connect to a server, and to say who asks.
type dialing struct {
	server   mail.HostPort
	way      config.LDAPTLS
	tls      *tls.Config
	timeout  time.Duration
	user     string
	password mail.Secret
	most     int // connections of a kind
}

// dialing returns how to connect to a server of the directory.
func (d *Directory) dialing(h mail.HostPort) dialing {
	c := &tls.Config{}
	if d.options.TLS != nil {
		c = d.options.TLS.Clone()
	}
	c.ServerName, c.MinVersion = h.Host, max(c.MinVersion, tls.VersionTLS12)
	s := &d.options.Settings
	return dialing{server: h, way: s.TLS, tls: c, timeout: s.Timeout, user: s.BindDN, password: d.options.Password, most: s.MaxConnections}
}

// dial connects, with TLS where there is to be any: without it nothing is said.
func (d dialing) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	socket, err := new(net.Dialer).DialContext(ctx, "tcp", d.server.String())
	if err != nil {
		return nil, err
	}
	c := &conn{wire: &bounded{Conn: socket}}
	c.wire.left.Store(maxAnswer)
	var over net.Conn = c.wire
	if d.way == config.LDAPS {
		secured := tls.Client(c.wire, d.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			socket.Close()
			return nil, err
		}
		over = secured
	}
	c.Conn = ldap3.NewConn(over, d.way == config.LDAPS)
	c.SetTimeout(2 * d.timeout) // each operation has a time of its own, which is shorter
	c.Start()
	if d.way == config.LDAPStartTLS {
		if err := c.do(ctx, func(l *ldap3.Conn) error { return l.StartTLS(d.tls) }); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// searching connects to search: as the user of the configuration, or nobody.
func (d dialing) searching(ctx context.Context) (*conn, error) {
	c, err := d.dial(ctx)
	if err != nil || d.user == "" {
		return c, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := c.do(ctx, func(l *ldap3.Conn) error { return l.Bind(d.user, string(d.password)) }); err != nil {
		c.close()
		return nil, bindError{d.user, err}
	}
	return c, nil
}

// bindError is that the directory lets the user of the configuration not in.
type bindError struct {
	user  string
	cause error
}

// Error says who is not let in.
func (e bindError) Error() string { return "bind_dn " + e.user + ": " + e.cause.Error() }

// Unwrap returns the cause.
func (e bindError) Unwrap() error { return e.cause }

// isAnswer reports whether an error is the answer of a server that works. What says
// that it cannot answer now is none.
func isAnswer(err error) bool {
	if errors.As(err, new(bindError)) {
		return false
	}
	said, ok := errors.AsType[*ldap3.Error](err)
	if !ok {
		return false
	}
	switch said.ResultCode {
	case ldap3.ErrorFilterCompile, ldap3.ErrorEmptyPassword: // nothing was sent
		return true
	case ldap3.LDAPResultBusy, ldap3.LDAPResultUnavailable, ldap3.LDAPResultOperationsError, ldap3.LDAPResultConfidentialityRequired:
		return false
	}
	return said.ResultCode < ldap3.ErrorNetwork // those from there on are the library's own
}
