package policy

import (
	"log/slog"
	"net/netip"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
)

// Options are what an Engine is made of.
type Options struct {
	// Config has the handlers, and the settings that stand for some.
	Config *config.Config
	Lists  Lists
	Limits Limits
	// Local reports whether an address means this host, for a client that
	// connected to the given address of it.
	Local func(a mail.Address, connected netip.Addr) bool

	Logger *slog.Logger
	Clock  mail.Clock
}

// Lists are the lists that the configuration names.
type Lists interface {
	// Kind returns what a list holds: "networks", "domains", "addresses" or
	// "patterns"; empty when there is no such list.
	Kind(name string) string
	// Names are the names of all lists.
	Names() []string
	// Contains reports whether a value is on a list, as its kind has it.
	Contains(name, value string) bool
}

// Limits count what happens, by keys.
type Limits interface {
	// Take counts n under a key of the limit named. When that is more than rate
	// allows, it counts nothing and returns the time after which it would not be.
	Take(limit, key string, rate Rate, n int64) (wait time.Duration, ok bool)
}

// Rate is how many there may be in a time: "100/1h".
type Rate struct {
	Count int64
	Per   time.Duration
}

// Engine has all rules of a configuration. It does not change, and any number of
// sessions may use it.
type Engine struct {
	options Options
}

// Compile makes an Engine of what a configuration says. It finds all that is wrong
// at once; with problems there is no Engine.
func Compile(o Options) (*Engine, []config.Problem) {
	return &Engine{options: o}, nil
}
