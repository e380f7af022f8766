package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/route"
)

// This file is what an operator can do to a site.

// SuspendSite lets the mail for a site wait, or ends that. Attempts that are
// under way end as they would. It is not stored here.
func (d *Deliverer) SuspendSite(name string, suspend bool) {
	d.sites.suspend(name, suspend)
	d.free()
}

func (s *sites) suspend(name string, suspend bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.get(name)
	x.suspended = suspend
	s.fix(x)
}

// TryNow ends the time for which sites that are down are left alone: with the
// next mail that is due for it each is tried once, and other mail waits for
// what that finds. Without names it does so with all. What is not due is not
// made due.
func (d *Deliverer) TryNow(names ...string) {
	if n := d.sites.tryNow(d.Clock.Now(), names); n > 0 {
		d.Logger.Info("sites that are down are tried before their time", "sites", n)
	}
	d.free()
}

func (s *sites) tryNow(now time.Time, names []string) (tried int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, x := range s.byName {
		if x.down() && (len(names) == 0 || slices.Contains(names, name)) {
			x.retryAt = now
			x.window = probeWindow
			s.fix(x)
			tried++
		}
	}
	return tried
}

// ErrNoSite says that nothing is known by the name of a site.
var ErrNoSite = errors.New("no such site")

// maxShown is how many names an error has.
const maxShown = 5

// FindSite returns the name of the site that a person means: by its name, by
// the beginning of that, or by a destination that leads there. Where one led at
// its last attempt counts; of one that had none the router is asked. It fails
// with ErrNoSite, and what to do, when it is none or more than one.
func (d *Deliverer) FindSite(ctx context.Context, text string) (string, error) {
	if name, known := d.sites.known(text); known {
		return name, nil
	}
	var unroutable error
	if destination, wrong := mail.ParseDestination(text); wrong == nil {
		r, err := d.settings.Load().Router.Route(ctx, route.Question{Destination: destination})
		if err == nil || r.Site != "" { // one that has no server now
			return r.Site, nil
		}
		unroutable = err
	}
	names := d.sites.beginning(text)
	switch {
	case len(names) == 1:
		return names[0], nil
	case len(names) > 1:
		more := ""
		if len(names) > maxShown {
			names, more = names[:maxShown], fmt.Sprintf(" and %d more", len(names)-maxShown)
		}
		return "", fmt.Errorf("%w: more than one begins with %q: %s%s", ErrNoSite, text, strings.Join(names, ", "), more)
	case unroutable != nil:
		return "", fmt.Errorf("%w: none begins with %q, and it has no way as a destination: %w", ErrNoSite, text, unroutable)
	}
	return "", fmt.Errorf("%w: none is known that begins with %q; name a destination that leads there, or a name of `postern site list`", ErrNoSite, text)
}

// known returns the site of that name, or that a destination led to.
func (s *sites) known(text string) (name string, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName[text] != nil {
		return text, true
	}
	if x := s.siteOf[mail.Destination(strings.ToLower(text))]; x != nil {
		return x.name, true
	}
	return "", false
}

// beginning returns the names that begin with a text, in order.
func (s *sites) beginning(text string) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.byName {
		if text != "" && strings.HasPrefix(name, text) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// SiteOf returns the site to which a destination led at its last attempt; ""
// when that is not known.
func (d *Deliverer) SiteOf(destination mail.Destination) string {
	d.sites.mu.Lock()
	defer d.sites.mu.Unlock()
	if x := d.sites.siteOf[destination]; x != nil {
		return x.name
	}
	return ""
}
