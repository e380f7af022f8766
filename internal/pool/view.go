package pool

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// This file shows the pools to an operator, and is what one can do to them.

// View is a pool at a moment.
type View struct {
	Name     string   `json:"name" doc:"The name of the transport"`
	Site     string   `json:"site" doc:"The site of its mail, for postern site"`
	Usable   int      `json:"usable" doc:"How many of its servers mail may go to"`
	Room     int      `json:"room" doc:"How many connections there may be to these"`
	Servers  []Server `json:"servers" doc:"In the order of the configuration"`
	Warnings []string `json:"warnings" doc:"What is wrong with its names and addresses"`
	// Refreshed is when its names are looked up again.
	Refresh time.Time `json:"refresh,omitzero" doc:"When its names are looked up again"`
}

// Server is a target server at a moment.
type Server struct {
	Pool    string         `json:"pool"`
	Host    string         `json:"host" doc:"Its name; its address where it has none"`
	Address netip.AddrPort `json:"address"`
	Source  Source         `json:"source" enum:"address,name,mx" doc:"Where its address is from"`
	// From is what the target has in the configuration.
	From  string    `json:"from" doc:"The address or name in the configuration"`
	State State     `json:"state" enum:"unknown,active,not usable" doc:"How it stands (STATE)"`
	Since time.Time `json:"since" doc:"Since when"`
	// Reason is why it is not usable.
	Reason   string `json:"reason,omitempty" doc:"Why it is not usable"`
	Failures int    `json:"failures,omitempty" doc:"How often in a row it has failed"`
	// OnTrial says that one transaction decides.
	OnTrial bool `json:"on_trial,omitempty" doc:"Whether it has answered a probe, so that one message is tried"`
	// Probe is when it is probed.
	Probe   time.Time  `json:"probe,omitzero" doc:"When it is probed next"`
	Drained string     `json:"drained,omitempty" doc:"Who lets no mail go there"`
	Faults  []TLSFault `json:"faults,omitempty" doc:"Why mail that demands more of TLS cannot go there"`
	Learned *Learned   `json:"learned,omitempty" doc:"What it offered the last time; absent while that is not known"`

	Secure         bool   `json:"secure" doc:"Whether nothing goes there in clear (SECURE)"`
	Charset        string `json:"charset,omitempty" doc:"The charset to which texts are converted for it; absent for any"`
	Preference     int    `json:"preference" doc:"The lowest comes first"`
	MX             uint16 `json:"mx_preference,omitempty" doc:"That of its MX record, among those of equal preference"`
	Weight         int    `json:"weight" doc:"Its share among those of equal preference"`
	Connections    int    `json:"connections" doc:"How many there are"`
	MaxConnections int    `json:"max_connections" doc:"How many there may be"`
	Counts
}

// TLSFault is why mail cannot go to a server that demands a level of TLS.
type TLSFault struct {
	TLS    string    `json:"tls" doc:"The level"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Learned is what a server offers.
type Learned struct {
	ESMTP    bool     `json:"esmtp" doc:"Whether it knows EHLO (ESMTP)"`
	Size     int64    `json:"size" doc:"The largest message in octets: of SIZE, 0 when it names none; assumed_size where it knows no EHLO (MESSAGE SIZE)"`
	StartTLS bool     `json:"starttls" doc:"Whether it offers STARTTLS (STARTTLS)"`
	Auth     []string `json:"auth" doc:"The mechanisms of AUTH"`
}

// Pools returns all pools at this moment, in the order of their names.
func (s *Set) Pools() []View {
	s.mu.Lock()
	defer s.mu.Unlock()
	views := []View{}
	for _, p := range s.all() {
		views = append(views, p.view())
	}
	return views
}

// Count returns how many servers of all pools are in each state. One that was drained
// is "drained" alone.
func (s *Set) Count() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[string]int)
	for _, p := range s.pools {
		for _, v := range p.servers {
			if v.drained != "" {
				counts["drained"]++
			} else {
				counts[string(v.state)]++
			}
		}
	}
	return counts
}

func (p *Pool) view() View {
	view := View{Name: p.settings.Name, Site: p.site(), Servers: []Server{}, Warnings: append([]string{}, p.warnings...), Refresh: wallTime(p.set, p.resolveAt)}
	for _, v := range p.servers {
		if v.usable(v.level()) {
			view.Usable++
			view.Room += v.limit()
		}
		if v.varies() {
			view.Warnings = append(view.Warnings, v.name()+" offers now this, now that: servers behind one address must offer the same, or mail comes back that one of them would take")
		}
		view.Servers = append(view.Servers, v.view())
	}
	return view
}

func (v *server) view() Server {
	view := Server{
		Pool: v.pool.settings.Name, Host: v.host, Address: v.at, Source: v.target.Source, From: v.target.Host,
		State: v.state, Since: v.since, Reason: v.reason, Failures: v.failures, OnTrial: v.trial == oneTrial,
		Probe: wallTime(v.pool.set, v.probeAt), Drained: v.drained,
		Secure: v.target.Secure, Charset: v.target.Charset, Preference: v.target.Preference, MX: v.mx, Weight: v.target.Weight,
		Connections: v.open, MaxConnections: v.target.MaxConnections, Counts: v.counts,
	}
	for l, f := range v.faults {
		view.Faults = append(view.Faults, TLSFault{string(l), f.since, f.reason})
	}
	slices.SortFunc(view.Faults, func(a, b TLSFault) int { return strings.Compare(a.TLS, b.TLS) })
	if v.learned {
		c := &v.capabilities
		view.Learned = &Learned{ESMTP: c.ESMTP, Size: v.most(), StartTLS: c.StartTLS, Auth: append([]string{}, c.Auth...)}
	}
	return view
}

// wallTime is a moment by the clock.
func wallTime(s *Set, at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return s.Clock.Now().Add(time.Until(at)).Round(time.Second)
}

// ErrNoPool and ErrNoTarget say that there is none of that name.
var (
	ErrNoPool   = errors.New("no such pool")
	ErrNoTarget = errors.New("no such target server")
)

// find returns the servers that a person means: all of a pool, by its name; those of a
// host, by its name or address, with the port or without; or such ones of one pool alone,
// behind its name and a slash. mu is held.
func (s *Set) find(text string) ([]*server, error) {
	var meant []*server
	for _, p := range s.all() {
		for _, v := range p.servers {
			if v.named(text) {
				meant = append(meant, v)
			}
		}
	}
	if len(meant) == 0 {
		return nil, fmt.Errorf("%w: %q is no pool, and no name or address of a target server; `postern target list` shows all", ErrNoTarget, text)
	}
	return meant, nil
}

// named reports whether a person means the server.
func (v *server) named(text string) bool {
	pool := v.pool.settings.Name
	if text == pool {
		return true
	}
	text = strings.ToLower(strings.TrimPrefix(text, pool+"/"))
	address := v.at.Addr().String()
	host := strings.ToLower(v.host)
	return slices.Contains([]string{host, fmt.Sprintf("%s:%d", host, v.at.Port()), address, "[" + address + "]", v.at.String()}, text)
}

// Find returns the servers that a person means: all of a pool, by its name; those of a
// host, by its name or address, with the port or without; or such ones of one pool alone,
// behind its name and a slash. It fails with ErrNoTarget and what to do.
func (s *Set) Find(text string) ([]Server, error) {
	return s.on(text, func(*server) {})
}

// on does something to servers, and returns how they stand then.
func (s *Set) on(text string, what func(*server)) (views []Server, err error) {
	s.do(func() {
		var meant []*server
		meant, err = s.find(text)
		for _, v := range meant {
			what(v)
			views = append(views, v.view())
		}
	})
	s.hurry()
	return views, err
}

// Reconnect lets servers begin anew, as Find knows them: their connections end, as
// Settings.Drain says, they are unknown, and are probed at once.
func (s *Set) Reconnect(text, actor string) ([]Server, error) {
	return s.on(text, func(v *server) { v.renew("reconnected by " + actor) })
}

// Drain lets no more mail go to servers, until Undrain or the end of the process. What
// runs there ends as with Reconnect.
func (s *Set) Drain(text, actor string) ([]Server, error) {
	return s.on(text, func(v *server) {
		if v.drained == "" {
			v.drain(actor)
		}
	})
}

// Undrain ends that.
func (s *Set) Undrain(text, actor string) ([]Server, error) {
	return s.on(text, func(v *server) {
		if v.drained != "" {
			v.undrain(actor)
		}
	})
}
