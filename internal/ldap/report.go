package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	ldap3 "github.com/go-ldap/ldap/v3"

	"postern/internal/auth"
	"postern/internal/mail"
)

// Report is what a directory says when it is tried.
type Report struct {
	Name    string         `json:"name"`
	Servers []ServerReport `json:"servers"`
	User    *UserReport    `json:"user,omitempty"`
	Address *AddressReport `json:"address,omitempty"`
}

// ServerReport is how one server answers.
type ServerReport struct {
	Server string `json:"server"`
	TLS    string `json:"tls,omitempty"`
	// Error is why it cannot be used; empty if it can.
	Error string `json:"error,omitempty"`
}

// UserReport is what there is for a login.
type UserReport struct {
	Login string `json:"login"`
	// Error is why nobody was found, or would be let in.
	Error string `json:"error,omitempty"`
	// Admitted says that a password was tried, and is right.
	Admitted     bool           `json:"admitted,omitempty"`
	Entry        string         `json:"entry,omitempty"`
	Name         string         `json:"name,omitempty"`
	Addresses    []string       `json:"addresses,omitempty"`
	Groups       []string       `json:"groups,omitempty"`
	Services     *mail.Services `json:"services,omitempty"`
	Language     string         `json:"language,omitempty"`
	Expires      time.Time      `json:"expires,omitzero"`
	Certificates []string       `json:"certificates,omitempty"` // their fingerprints
}

// AddressReport is whose an address is.
type AddressReport struct {
	Address string `json:"address"`
	Error   string `json:"error,omitempty"`
	Entry   string `json:"entry,omitempty"`
	Login   string `json:"login,omitempty"`
	Group   bool   `json:"group,omitempty"`
	// Targets are where mail for it goes instead, or the members of a group.
	Targets []string `json:"targets,omitempty"`
}

// Failed reports whether anything is not as it should be.
func (r *Report) Failed() bool {
	failed := r.User != nil && r.User.Error != "" && (r.Address == nil || r.Address.Error != "")
	for _, s := range r.Servers {
		failed = failed || s.Error != ""
	}
	return failed
}

// Try asks every server whether it can be used, and what the directory has for who: a
// login, or an address; nothing if it is empty. A password is tried unless it is empty.
func (d *Directory) Try(ctx context.Context, who string, password mail.Secret) Report {
	r := Report{Name: d.Name(), Servers: make([]ServerReport, len(d.servers))}
	var trying sync.WaitGroup
	for i, s := range d.servers {
		trying.Go(func() { r.Servers[i] = d.trial(ctx, s) })
	}
	trying.Wait()
	if who == "" {
		return r
	}
	r.User = d.tryUser(ctx, who)
	if password != "" && r.User.Error == "" {
		_, err := d.Password(ctx, who, string(password))
		if r.User.Admitted = err == nil; err != nil {
			r.User.Error = err.Error()
		}
	}
	if a, err := mail.ParseAddress(who); err == nil && a.Domain != "" {
		r.Address = d.tryAddress(ctx, a)
	}
	return r
}

// trial looks whether a server has the base of the configuration.
func (d *Directory) trial(ctx context.Context, s *server) ServerReport {
	r := ServerReport{Server: s.name}
	seconds := int(d.timeout() / time.Second)
	request := ldap3.NewSearchRequest(d.plan.Base, ldap3.ScopeBaseObject, ldap3.NeverDerefAliases, 1, seconds, false, "(objectClass=*)", []string{"1.1"}, nil)
	err := s.searchers.use(ctx, d.timeout(), func(l *ldap3.Conn) error {
		if state, is := l.TLSConnectionState(); is {
			r.TLS = tls.VersionName(state.Version)
		}
		result, err := l.Search(request)
		if err == nil && len(result.Entries) == 0 {
			err = errors.New("it does not show the entry")
		}
		return err
	})
	if err != nil {
		r.Error = err.Error()
		if isAnswer(err) || r.TLS != "" {
			r.Error = fmt.Sprintf("base %q: %v", d.plan.Base, err)
		}
	}
	return r
}

func (d *Directory) tryUser(ctx context.Context, login string) *UserReport {
	u, _, err := d.user(ctx, login)
	if err != nil {
		return &UserReport{Login: login, Error: d.told(err)}
	}
	p := &u.principal
	r := &UserReport{
		Login: login, Entry: u.dn, Name: p.Name, Addresses: p.Addresses, Groups: p.Groups, Services: &p.Services,
		Language: p.Language, Expires: u.expires, Certificates: u.certificates,
	}
	if err := u.usable(d.options.Clock.Now()); err != nil {
		_, r.Error, _ = strings.Cut(err.Error(), ": ")
	}
	return r
}

func (d *Directory) tryAddress(ctx context.Context, a mail.Address) *AddressReport {
	r := &AddressReport{Address: a.String()}
	f, err := d.find(ctx, a)
	if err != nil {
		r.Error = d.told(err)
		return r
	}
	r.Entry, r.Login, r.Group = f.dn, f.login, f.group
	for _, t := range f.targets {
		r.Targets = append(r.Targets, t.String())
	}
	return r
}

// told is an error for whoever tries a directory.
func (d *Directory) told(err error) string {
	if errors.Is(err, auth.ErrUnknown) {
		return "the directory has no such entry"
	}
	return err.Error()
}
