package policy

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"

	"postern/internal/config"
	"postern/internal/limit"
	"postern/internal/mail"
)

// Options are what an Engine is made of. What is nil is not there: no lists, no
// block lists; steps that count let everything pass without Limits.
type Options struct {
	// Config has the handlers, and the settings that stand for some.
	Config     *config.Config
	Lists      Lists
	Limits     Limits
	BlockLists BlockLists
	// AccountLimits count what accounts send, by limits that stand in no configuration.
	// Nil: nothing is counted.
	AccountLimits Limits
	// Local reports whether an address means this host, for a client that
	// connected to the given address of it.
	Local func(a mail.Address, connected netip.Addr) bool
	// Nobody reports whether an address is one of this host at which there is nobody;
	// nil: that is not known.
	Nobody func(mail.Address) bool
	// Sources are the names of those that can verify a user. Nil: they are not known, and
	// any name is taken.
	Sources []string
	// Masks says why an address tells nobody who a client is, such as that of a
	// gateway behind which everybody appears; empty for one that tells. It is asked
	// anew at each command.
	Masks func(client netip.Addr) string

	Logger *slog.Logger
	Clock  mail.Clock
	// Metrics count what is decided. Nil: for nobody.
	Metrics *Metrics
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

// Limits count what happens, by keys. It is a limit.Set, which lasts longer than an
// Engine.
type Limits interface {
	// Take uses n of the rate of a key, in the limit named, if that is allowed. What
	// is not allowed is not counted.
	Take(l limit.Named, key string, n int64) limit.Result
	// Book is Take, but that what is not allowed now has its turn later, if that can be.
	Book(l limit.Named, key string, n int64) limit.Result
}

// BlockLists are the lists of DNS that are asked about clients.
type BlockLists interface {
	// Look asks all lists; one that does not answer in time has nobody on it.
	Look(ctx context.Context, client netip.Addr) Listings
}

// Listings are the block lists that have a client, and the sum of their weights.
type Listings struct {
	Lists []string
	Score int64
	// Text asks the list of the largest weight why, and how to be taken off; nil
	// when no list has the client.
	Text func(ctx context.Context) string
}

// Engine has all rules of a configuration. It does not change, and any number of
// sessions may use it.
type Engine struct {
	options    Options
	logger     *slog.Logger
	metrics    *Metrics
	clock      mail.Clock
	monitored  bool // whether the server can be asked for metrics
	attributes map[string]*attribute
	custom     map[string]bool // attributes that steps set

	limits []limit.Named // those that steps have

	rules     []*rule // by layer, then in the order of the file
	listeners map[string]*listenerRules
}

// listenerRules is what is decided for the clients of one listener.
type listenerRules struct {
	trust, reject networks
	nearLists     []listed
	trustGateway  bool            // also those whose address tells nobody who they are
	proxies       []netip.Prefix  // behind whose addresses anybody may be
	percent       bool            // percent_routing
	near          map[string]bool // domains as DNS has them, in lower case
	at            map[config.Command][]layerRules
}

// networks are some that a setting has, and those of the lists that it names.
type networks struct {
	own   []netip.Prefix
	lists []listed
}

// have reports whether an address, as plainAddr returns it, is in one of the networks.
func (n *networks) have(a netip.Addr) bool {
	return slices.ContainsFunc(n.own, func(p netip.Prefix) bool { return p.Contains(a) }) ||
		len(n.lists) > 0 && a.IsValid() && anyHas(n.lists, a.String())
}

// listed is a list of the configuration.
type listed struct {
	in   Lists
	name string
}

func anyHas(lists []listed, value string) bool {
	return slices.ContainsFunc(lists, func(l listed) bool { return l.in.Contains(l.name, value) })
}

// layerRules are the candidates of one layer at one command, the best first. A layer
// that is asked in turn has one of these for each rule.
type layerRules struct {
	layer      layer
	candidates []candidate
}

// layer is a group of rules of which one is chosen. Layers come one after the other.
type layer int

// The layers, in their order.
const (
	connections layer = iota // who may connect
	rates                    // how much of each
	relay                    // for whom mail to other hosts is taken
	handlers                 // what the administrator wrote
	senders                  // whether the sender is who he says
	filters                  // what is in the message
)

// layers are all of them.
var layers = []layer{connections, rates, relay, handlers, senders, filters}

// inTurn reports whether all rules of the layer are asked, one after the other, until
// one decides. Of the other layers one rule is chosen.
func (l layer) inTurn() bool { return l == rates || l == filters }

// String returns the name of the layer.
func (l layer) String() string {
	return [...]string{"connections", "rates", "relay", "handlers", "senders", "filters"}[l]
}

// rule is a handler, or what a setting stands for, ready for use.
type rule struct {
	index     int // in Engine.rules
	layer     layer
	name      string
	place     mail.Place
	written   string // as a handler, for one that a setting stands for
	at        config.Command
	listeners []string // none: all
	when      *expression
	priority  int
	steps     []step
	source    string // that the step authenticate names
	ending    Verdict
	// senders and recipients are its patterns, at least one of each.
	senders, recipients []pattern
}

// isFor reports whether the rule is for a listener.
func (r *rule) isFor(listener string) bool {
	return len(r.listeners) == 0 || slices.Contains(r.listeners, listener)
}

// sendmail is the listener of mail from programs of this host.
const sendmail = "sendmail"

// Trusts reports whether a listener trusts a client for its address. masked is why it
// does not although trust has the address, and empty otherwise.
func (e *Engine) Trusts(listener string, client netip.Addr) (trusted bool, masked string) {
	rules := e.listeners[listener]
	client = plainAddr(client)
	if rules == nil || !rules.trust.have(client) {
		return false, ""
	}
	switch {
	case rules.trustGateway:
	case slices.ContainsFunc(rules.proxies, func(p netip.Prefix) bool { return p.Contains(client) }):
		masked = "it is the address of a proxy, which did not say for whom it speaks"
	case e.options.Masks != nil:
		masked = e.options.Masks(client)
	}
	return masked == "", masked
}

// Limits are those that the steps of this engine use, for limit.Set.Keep.
func (e *Engine) Limits() []limit.Named { return slices.Clone(e.limits) }

// Begin begins a session. What is known of the client by then is in o. It returns
// nil when no rule is for the listener.
func (e *Engine) Begin(o mail.Origin) *Session {
	rules := e.listeners[o.Listener]
	if rules == nil || len(rules.at) == 0 {
		return nil
	}
	return e.begin(o, rules)
}

func (e *Engine) begin(o mail.Origin, rules *listenerRules) *Session {
	s := &Session{engine: e, rules: rules, origin: o}
	s.frame = &s.lasting[0]
	if o.User != nil {
		s.user = o.User.String()
	}
	return s
}
