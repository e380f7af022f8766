package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"postern/internal/mail"
)

// ACMEOptions are what a Manager has for good.
type ACMEOptions struct {
	// Dir is where accounts, keys and certificates are kept.
	Dir string
	// CheckEvery is how often it is looked what is to be renewed.
	CheckEvery time.Duration
	// Failed is told, from any goroutine, that there is no certificate for a name, or that
	// it could not be renewed. It may be nil.
	Failed func(name string, err error)
	Clock  mail.Clock
	Logger *slog.Logger
}

// Authority says from whom certificates are had, and how.
type Authority struct {
	Directory string // the URL
	Email     string // may be empty
	// TLSALPN says that the challenge is tls-alpn-01 (RFC 8737), and not http-01
	// (RFC 8555 8.3); At is where it is answered.
	TLSALPN bool
	At      netip.AddrPort
	// Roots are those by which the authority's server is known; nil means the system's.
	Roots *x509.CertPool
	// Resolver is the name server that knows the authority; "" for the machine's.
	Resolver string
}

// same reports whether two are one, whose account and certificates are the same.
func (a Authority) same(b Authority) bool {
	roots := a.Roots == b.Roots || a.Roots != nil && a.Roots.Equal(b.Roots)
	a.Roots, b.Roots = nil, nil
	return roots && a == b
}

// Manager has certificates from an authority by ACME (RFC 8555), one for each name, and
// renews them in time (when a third of their life is left, or when the authority says, RFC 9773).
// What an authority refuses is asked again, less and less often, without end. Nothing
// waits for it: a name without a certificate has none.
//
// It agrees to the terms of the authority; who makes it has done so.
type Manager struct {
	options ACMEOptions
	logger  *zap.Logger
	cache   atomic.Pointer[certmagic.Cache] // nil until something is wanted
	config  atomic.Pointer[certmagic.Config]
	tasks   sync.WaitGroup

	mu        sync.Mutex
	authority Authority
	wanted    map[string]context.CancelFunc // ends what is done for a name
	last      map[string]*tls.Certificate   // what was found last
	failures  map[string]Stale              // of names, until it goes well
	closed    bool
}

// NewManager returns a Manager that has nothing to do until Want is called.
func NewManager(o ACMEOptions) *Manager {
	if o.Failed == nil {
		o.Failed = func(string, error) {}
	}
	if o.Clock == nil {
		o.Clock = mail.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Manager{
		options: o, logger: zap.New(bridge{logger: o.Logger}),
		wanted: make(map[string]context.CancelFunc), last: make(map[string]*tls.Certificate), failures: make(map[string]Stale),
	}
}

// start starts what renews. mu is held.
func (m *Manager) start() {
	m.cache.Store(certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return m.config.Load(), nil },
		RenewCheckInterval: m.options.CheckEvery,
		Logger:             m.logger,
	}))
}

// Want says for which names there are to be certificates from now on, and from whom. Those
// of names that are wanted no more are not renewed. It returns at once.
func (m *Manager) Want(a Authority, names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(names)+len(m.wanted) == 0 {
		return
	}
	if m.cache.Load() == nil {
		m.start()
	}
	other := !m.authority.same(a)
	if other {
		m.authority = a
		m.config.Store(m.newConfig(a))
	}
	for name, end := range maps.Clone(m.wanted) {
		if other || !slices.Contains(names, name) {
			end()
			delete(m.wanted, name)
			delete(m.failures, name)
			m.cache.Load().RemoveManaged([]certmagic.SubjectIssuer{{Subject: name}}) // last has it, until there is another
		}
	}
	for _, name := range names {
		if m.wanted[name] == nil {
			ctx, end := context.WithCancel(context.Background())
			m.wanted[name] = end
			config := m.config.Load()
			m.tasks.Go(func() { m.have(ctx, config, name) })
		}
	}
}

func (m *Manager) newConfig(a Authority) *certmagic.Config {
	config := certmagic.New(m.cache.Load(), certmagic.Config{
		Storage:   &certmagic.FileStorage{Path: m.options.Dir},
		KeySource: certmagic.StandardKeyGenerator{KeyType: certmagic.P256},
		OCSP:      certmagic.OCSPConfig{DisableStapling: true},
		OnEvent:   m.event,
		Logger:    m.logger,
		Issuers:   []certmagic.Issuer{}, // set below: it needs the config
	})
	issuer := certmagic.ACMEIssuer{
		CA: a.Directory, TestCA: a.Directory, Email: a.Email, Agreed: true,
		DisableHTTPChallenge: a.TLSALPN, DisableTLSALPNChallenge: !a.TLSALPN,
		ListenHost: a.At.Addr().String(), AltHTTPPort: int(a.At.Port()), AltTLSALPNPort: int(a.At.Port()),
		TrustedRoots: a.Roots, Resolver: a.Resolver, Logger: m.logger,
		HTTPProxy: func(r *http.Request) (*url.URL, error) { return http.ProxyFromEnvironment(r) },
	}
	config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(config, issuer)}
	return config
}

// have sees to it that there is a certificate for a name: it reads the one of before, or
// asks for one until it is there, or ctx ends. From then on the cache renews it.
func (m *Manager) have(ctx context.Context, config *certmagic.Config, name string) {
	for ctx.Err() == nil {
		_, err := config.CacheManagedCertificate(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			err = config.ObtainCertAsync(ctx, name) // which tries it again and again for a month
			if err == nil {
				continue
			}
		}
		if err == nil {
			m.succeeded(name)
			m.renewNow(ctx)
			return
		}
		m.fail(ctx, name, err)
		select {
		case <-ctx.Done():
		case <-time.After(m.options.CheckEvery):
		}
	}
}

// renewNow renews what is to be renewed already when it was read, such as after a long
// stop.
func (m *Manager) renewNow(ctx context.Context) {
	if err := m.cache.Load().RenewManagedCertificates(ctx); err != nil {
		m.options.Logger.Debug("acme: renewing", "error", err)
	}
}

// event is told what the library does.
func (m *Manager) event(ctx context.Context, what string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	switch what {
	case "cert_failed":
		err, _ := data["error"].(error)
		m.fail(ctx, name, cmp.Or(err, errors.New("the authority gave no certificate")))
	case "cert_obtained":
		m.succeeded(name)
	}
	return nil
}

// fail notes that there is no certificate for a name, unless that is because nobody
// wants one any more.
func (m *Manager) fail(ctx context.Context, name string, err error) {
	m.mu.Lock()
	if ctx.Err() != nil || m.closed || m.wanted[name] == nil {
		m.mu.Unlock()
		return
	}
	since := m.options.Clock.Now()
	if before, is := m.failures[name]; is {
		since = before.Since
	}
	m.failures[name] = Stale{Name: name, Since: since, Err: err}
	m.mu.Unlock()
	m.options.Failed(name, err)
}

func (m *Manager) succeeded(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.failures, name)
}

// Stale returns the names for which the last try failed, in order.
func (m *Manager) Stale() []Stale {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Stale
	for _, name := range slices.Sorted(maps.Keys(m.failures)) {
		list = append(list, m.failures[name])
	}
	return list
}

// Look tells which certificates are others than when it was called last.
func (m *Manager) Look() []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	var events []Event
	for _, name := range slices.Sorted(maps.Keys(m.wanted)) {
		now := m.cached(name)
		if now == nil || m.last[name] != nil && sameChain(now, m.last[name]) {
			continue
		}
		events = append(events, Event{Name: name, Old: m.last[name], New: now})
		m.last[name] = now
	}
	return events
}

// cached is what the library has for a name, nil if it has nothing.
func (m *Manager) cached(name string) *tls.Certificate {
	cache := m.cache.Load()
	if cache == nil {
		return nil
	}
	var newest *tls.Certificate
	for _, c := range cache.AllMatchingCertificates(name) {
		if newest == nil || c.Leaf.NotAfter.After(newest.Leaf.NotAfter) {
			newest = &c.Certificate
		}
	}
	return newest
}

// For is the Source of the certificates for names.
func (m *Manager) For(names []string) Source { return byACME{m, names} }

type byACME struct {
	manager *Manager
	names   []string
}

// Certificates returns those that are there.
func (b byACME) Certificates() []*tls.Certificate {
	var list []*tls.Certificate
	for _, name := range b.names {
		if c := b.manager.certificate(name); c != nil {
			list = append(list, c)
		}
	}
	return list
}

func (m *Manager) certificate(name string) *tls.Certificate {
	if c := m.cached(name); c != nil {
		return c
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last[name]
}

// Close ends all that is done, and waits for what the Manager itself does. What the
// library does for a renewal that is under way ends soon after.
func (m *Manager) Close() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.closed = true
	for _, end := range m.wanted {
		end()
	}
	m.mu.Unlock()
	m.tasks.Wait()
	if cache := m.cache.Load(); cache != nil {
		cache.Stop()
	}
	certmagic.CleanUpOwnLocks(context.Background(), m.logger)
}
