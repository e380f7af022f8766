package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/directory"
)

// This file puts together who verifies clients, and what is done about those who guess.

// logins is what of that lasts as long as the process.
type logins struct {
	hasher *auth.Hasher
	guard  *auth.Guard
	secret []byte
}

// openLogins makes it. The directory is open by then.
func (d *Daemon) openLogins(g *graph) error {
	secret, err := loginSecret(filepath.Join(directoryDir(g.config), secretName))
	if err != nil {
		return fmt.Errorf("cannot keep the secret of logins: %w", err)
	}
	d.logins.secret = secret
	d.logins.guard = auth.NewGuard(auth.GuardOptions{
		Bans: d.directory, Clock: d.clock, Record: d.journal.Record, Logger: d.Logger, Metrics: d.counts.auth,
	}, guardSettings(g.config))
	return nil
}

// secretName is the file with the secret by which users that there are not look like
// those that there are. Without it they would look otherwise after a restart.
const (
	secretName   = "logins.key"
	secretLength = 32
)

// loginSecret reads the secret, or makes it. One that is lost with a crash, or not whole
// because of it or of a full disk, was of no use to anybody yet.
func loginSecret(file string) ([]byte, error) {
	secret, err := os.ReadFile(file)
	switch {
	case err == nil && len(secret) == secretLength:
		return secret, nil
	case err == nil && len(secret) > secretLength:
		return nil, fmt.Errorf("%s has %d octets, not %d: remove it, and it is made anew", file, len(secret), secretLength)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	secret = make([]byte, secretLength)
	rand.Read(secret)
	return secret, os.WriteFile(file, secret, 0o600)
}

func guardSettings(c *config.Config) auth.GuardSettings {
	l := &c.Auth
	return auth.GuardSettings{
		BanAfter: l.BanAfter, BanWithin: l.BanWithin, BanTime: l.BanTime, MaxBanTime: l.MaxBanTime,
		AccountBanAfter: l.AccountBanAfter, AccountBanTime: l.AccountBanTime, Never: l.NeverBan, Delay: l.Delay,
	}
}

// authSources are those that verify clients, by name: the directory, and those that the
// configuration has.
func (g *graph) authSources(own *auth.DirectorySource) map[string]auth.Methods {
	all := g.web.methods()
	all[directory.Source] = own.Methods()
	for _, s := range g.ldap {
		all[s.Name()] = auth.Methods{Passwords: s, Certificates: s}
	}
	return all
}

// checkSources wants every source that a listener names to be there.
func (g *graph) checkSources() error {
	var errs []error
	names := g.config.SourceNames()
	for i := range g.config.Listeners {
		l := &g.config.Listeners[i]
		for _, s := range l.AuthSources {
			if slices.Contains(names, s.Text) {
				continue
			}
			problem := l.Problem("listener.auth_sources", fmt.Sprintf("there is no source %q", s.Text), config.DidYouMean(s.Text, names))
			problem.Place = s.Place
			errs = append(errs, problem)
		}
	}
	return errors.Join(errs...)
}

// authenticator verifies the clients of all listeners.
func (d *Daemon) authenticator(g *graph) *auth.Authenticator {
	listeners := make(map[string]auth.Listener, len(g.config.Listeners))
	for i := range g.config.Listeners {
		c := &g.config.Listeners[i]
		l := auth.Listener{Proxies: c.ProxyFrom}
		for _, s := range c.AuthSources {
			l.Sources = append(l.Sources, s.Text)
		}
		if c.Auth != config.AuthOff {
			l.Mechanisms = c.AuthMechanisms
		}
		listeners[c.Name] = l
	}
	own := auth.NewDirectorySource(d.directory, d.logins.hasher, d.clock, d.Logger)
	return auth.New(auth.Options{
		Sources: g.authSources(own), Listeners: listeners, Addresses: own, Masks: g.lasting.masks,
		Hasher: d.logins.hasher, Secret: d.logins.secret, Usage: d.directory, Guard: d.logins.guard,
		Logger: d.Logger, Metrics: d.counts.auth,
	})
}

// guardLogins tells of guesses until the context ends.
func (d *Daemon) guardLogins(ctx context.Context) { d.logins.guard.Run(ctx) }
