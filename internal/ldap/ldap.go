// Package ldap is directories that are asked by LDAP (RFC 4511), Active Directory
// among them, as a source of users: it checks passwords by a bind (RFC 4513 5.1), and
// tells the addresses, groups and certificates of users, and whose an address is.
//
// It writes nothing, follows no referral, and keeps no password. All that a client has
// said is escaped before it becomes part of a filter (RFC 4515 3).
//
// What fails says so in one of three ways, and never one for another. auth.ErrUnknown:
// the directory has answered, and there is no such user or address. auth.ErrInvalid: it
// has answered, and this user must not be let in. Anything else is for the moment: no server
// answers, an answer is too large or makes no sense, or two entries were found where
// there must be one.
package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
)

// The ways in which a directory fails for the moment.
var (
	errDown      = errors.New("no server of the directory answers")
	errAmbiguous = errors.New("several entries were found where there must be one")
	errBusy      = errors.New("all connections to the directory are in use")
	errSlow      = errors.New("it does not answer in time")
	errTooLarge  = errors.New("the answer of the directory is too large")
)

// Options are what a Directory needs. Settings is required.
type Options struct {
	Settings config.LDAP
	// Password is that of Settings.BindDN.
	Password mail.Secret
	// TLS has the authorities that are trusted; nil for those of the system.
	TLS *tls.Config
	// Tell is told when no server of the directory answers any more, and when one does
	// again. It may be called by several goroutines at a time.
	Tell    func(Event)
	Clock   mail.Clock
	Logger  *slog.Logger
	Metrics *Metrics
}

// Directory is a directory with its servers. It is safe for use by several goroutines.
type Directory struct {
	options Options
	plan    plan
	servers []*server
	state   state
	retired atomic.Bool // another one tells what becomes of the servers

	users     *memo[*user]
	addresses *memo[*found]
	asking    sync.WaitGroup // questions that several may wait for
	ctx       context.Context
	end       context.CancelFunc
}

// New returns a Directory that has asked nobody yet. It fails with config.Problem, one
// for each setting that is wrong. Close must be called at its end.
func New(o Options) (*Directory, error) {
	plan, err := newPlan(&o.Settings)
	if err != nil {
		return nil, err
	}
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	d := &Directory{options: o, plan: plan}
	d.ctx, d.end = context.WithCancel(context.Background())
	for _, h := range o.Settings.Addresses() {
		d.servers = append(d.servers, newServer(h, d.dialing(h)))
	}
	d.users = newMemo(o.Settings.CacheTime, o.Clock, (*user).weight)
	d.addresses = newMemo(o.Settings.CacheTime, o.Clock, (*found).weight)
	return d, nil
}

// Name is what the configuration calls the directory.
func (d *Directory) Name() string { return d.options.Settings.Name }

// Retire keeps no connection and no answer from now on, and tells of nothing. The Directory can still be
// asked, by those who have not heard of the one after it.
func (d *Directory) Retire() {
	d.retired.Store(true)
	for _, s := range d.servers {
		s.close()
	}
	d.users.clear()
	d.addresses.clear()
}

// Close ends questions that are under way, and closes all connections.
func (d *Directory) Close() {
	d.end()
	d.asking.Wait()
	for _, s := range d.servers {
		s.close()
	}
}

// timeout bounds the dealings with one server: a connection, or an answer.
func (d *Directory) timeout() time.Duration { return d.options.Settings.Timeout }

// patience bounds a question, whatever the servers do.
func (d *Directory) patience() time.Duration { return 3 * d.timeout() }

// wrap names the directory in an error.
func (d *Directory) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("ldap %s: %w", d.Name(), err)
}
