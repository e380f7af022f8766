// Package credentials has what this host proves to other servers who it is with: it finds
// the record of the directory for a server, unseals what is secret in it, and has tokens
// issued, which it keeps until they end.
//
// Secrets lie sealed in the directory, under the keys of a file that lies apart from it
// (Keyring). They leave this package as mail.Credentials alone: no error, log or fact has
// one in it, nor what a server has answered as a whole.
//
// Whatever fails is temporary, and its error names the record: the key file is not there, or
// an issuer is down or refuses. Mail that needs the record waits, and nothing else does.
package credentials

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"reflect"
	"sync"
	"time"

	"postern/internal/directory"
	"postern/internal/httpclient"
	"postern/internal/mail"
)

// Settings are what a configuration says; they may change.
type Settings struct {
	// KeyFile has the keys under which secrets are sealed.
	KeyFile string
	// Authorities are those that may vouch for issuers of tokens; nil for those of the system.
	Authorities *x509.CertPool
}

// Options are what a Book needs. Directory is required.
type Options struct {
	Settings
	// Directory returns the records, nil while there are none.
	Directory func() *directory.Directory
	// Clock is the time of day, in what is signed and told; Monotonic is how long tokens
	// last, and never set: nil is time.Now, which has a monotonic reading.
	Clock     mail.Clock
	Monotonic func() time.Time
	Logger    *slog.Logger
	Metrics   *Metrics
	// Record takes facts: a credential has failed, or works again.
	Record func(mail.Fact)
	// Works is told the name of a credential that works again. It may take its time.
	Works func(name string)
}

// Book has the logins of this host. It lasts as long as the process, with the tokens that it
// keeps. It is safe for use by several goroutines.
type Book struct {
	directory func() *directory.Directory
	clock     mail.Clock
	passed    func() time.Time
	log       *slog.Logger
	metrics   *Metrics
	record    func(mail.Fact)
	tellWorks func(name string)

	ctx     context.Context // ends with Close
	end     context.CancelFunc
	running sync.WaitGroup // requests for tokens

	mu     sync.Mutex // of what follows
	keys   *Keyring
	client *http.Client
	logins map[string]*Login
	closed bool
}

// New returns a Book that has read nothing yet. Close it.
func New(o Options) *Book {
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Monotonic == nil {
		o.Monotonic = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Record == nil {
		o.Record = func(mail.Fact) {}
	}
	if o.Works == nil {
		o.Works = func(string) {}
	}
	b := &Book{
		directory: o.Directory, clock: o.Clock, passed: o.Monotonic, log: o.Logger, metrics: o.Metrics, record: o.Record, tellWorks: o.Works,
		logins: map[string]*Login{},
	}
	b.ctx, b.end = context.WithCancel(context.Background())
	b.Change(o.Settings)
	return b
}

// Bounds of a request for a token.
const (
	requestTimeout = 30 * time.Second
	maxAnswer      = 64 << 10 // octets
	maxConnections = 4        // to an issuer
)

// Change replaces the settings. Tokens that were issued stay.
func (b *Book) Change(s Settings) {
	client := httpclient.New(httpclient.Options{
		Authorities: s.Authorities, Timeout: requestTimeout, MaxBody: maxAnswer, MaxConnections: maxConnections,
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client != nil {
		b.client.CloseIdleConnections()
	}
	b.keys, b.client = NewKeyring(s.KeyFile), client
}

// Close breaks off requests for tokens and waits for their end.
func (b *Book) Close() {
	b.mu.Lock()
	b.closed = true
	b.client.CloseIdleConnections()
	b.mu.Unlock()
	b.end()
	b.running.Wait()
}

// Keys returns the keyring in use.
func (b *Book) Keys() *Keyring {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keys
}

// tools are what a request needs.
func (b *Book) tools() (*Keyring, *http.Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keys, b.client
}

// Named returns the login of a credential. If there is none of that name it has nothing to
// show, and says so. It is the same one as long as the record does not change.
func (b *Book) Named(name string) *Login {
	var r *directory.Credential
	if d := b.directory(); d != nil {
		r = d.Credential(name)
	}
	if r == nil {
		r = &directory.Credential{Name: name}
	}
	return b.login(r)
}

// For returns the login of the credential that is for a host; nil if there is none.
func (b *Book) For(host string) *Login {
	d := b.directory()
	if d == nil {
		return nil
	}
	r := d.CredentialFor(host)
	if r == nil {
		return nil
	}
	return b.login(r)
}

// login returns the login of a record: that of before, with its token, if that has not
// changed but for a refresh token that the login itself has replaced.
func (b *Book) login(r *directory.Credential) *Login {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logins[r.Name]
	if l == nil || !l.isOf(r) {
		fresh := newLogin(b, r)
		if l != nil {
			fresh.inherit(l)
		}
		l = fresh
		b.logins[r.Name] = l
	}
	return l
}

// has reports whether a login is that of its record as it is now.
func (b *Book) has(l *Login) bool {
	name := l.Record().Name
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.logins[name] == l
}

// same reports whether two records are equal but for their refresh tokens.
func same(a, b *directory.Credential) bool {
	x, y := *a, *b
	x.RefreshToken, y.RefreshToken = "", ""
	return reflect.DeepEqual(x, y)
}
