package route

import (
	"errors"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/lists"
	"postern/internal/mail"
)

// Rules are the explicit routes of a configuration, in their order, but those of addresses
// that are nobody's here behind all others. They are safe for use
// by several goroutines; the lists and maps that they ask may change meanwhile.
type Rules struct {
	rules []rule
	// asked are the lists and maps of all of them, each once.
	asked []*lists.Live
}

// rule is one route.
type rule struct {
	name  string
	place mail.Place
	// What must hold; empty: nothing.
	recipients, senders entries
	accounts            []mail.Pattern
	listeners, tags     []string
	onlyUnknown         bool

	lines       *lists.Live   // of its map; nil for none
	way         mail.RouteKey // without a map
	otherwise   []string
	neverBypass bool
}

// RulesOptions are of what rules are made.
type RulesOptions struct {
	Routes []config.Route
	// Lists has those that routes name, and Maps the maps, by the names of the routes.
	Lists, Maps *lists.Book
}

// NewRules makes the rules. It fails with config.Problems, joined: those of patterns that
// cannot be read, and of lists that are not there.
func NewRules(o RulesOptions) (*Rules, error) {
	r := reader{book: o.Lists}
	rules := &Rules{}
	for i := range o.Routes {
		c := &o.Routes[i]
		x := rule{name: c.Name, place: c.Place, onlyUnknown: c.OnlyUnknown, neverBypass: c.NeverBypass}
		x.recipients = r.read("route.recipients", c.Recipients, lists.Patterns, lists.Addresses, lists.Domains, lists.Patterns)
		x.senders = r.read("route.senders", c.Senders, lists.Patterns, lists.Addresses, lists.Domains, lists.Patterns)
		for _, t := range c.Accounts {
			x.accounts = append(x.accounts, mail.NewPattern(t.Text))
		}
		x.listeners, x.tags, x.otherwise = textsOf(c.Listeners), textsOf(c.Tags), textsOf(c.Otherwise)
		if c.Map != "" {
			x.lines = o.Maps.List(c.Name)
			rules.asks(x.lines)
		} else {
			x.way = x.behind(mail.RouteKey(c.Transport.Text))
		}
		for _, l := range slices.Concat(x.recipients.named, x.senders.named) {
			rules.asks(l.live)
		}
		rules.rules = append(rules.rules, x)
	}
	// An attempt does not know who is here: so whoever is here must go by the same route as
	// somebody who is not, wherever one takes both.
	slices.SortStableFunc(rules.rules, func(a, b rule) int { return order(a.onlyUnknown) - order(b.onlyUnknown) })
	return rules, errors.Join(r.problems...)
}

// asks notes a list that is asked.
func (rs *Rules) asks(l *lists.Live) {
	if !slices.Contains(rs.asked, l) {
		rs.asked = append(rs.asked, l)
	}
}

// changes counts those of the lists and maps.
func (rs *Rules) changes() uint64 {
	var n uint64
	for _, l := range rs.asked {
		n += l.Changes()
	}
	return n
}

// order is 1 for what comes last.
func order(last bool) int {
	if last {
		return 1
	}
	return 0
}

func textsOf(texts []config.Text) []string {
	var list []string
	for _, t := range texts {
		list = append(list, t.Text)
	}
	return list
}

// behind is a way with those behind it that the rule has.
func (r *rule) behind(way mail.RouteKey) mail.RouteKey {
	if len(r.otherwise) == 0 {
		return way
	}
	return way.Behind(r.otherwise...)
}

// asked is what the rules are asked about a recipient.
type asked struct {
	*mail.Routing
	// local says that its domain is one of this host, and known that somebody here has it.
	local, known bool
}

// Why a rule is not for a recipient.
const (
	missRecipient = "it is not for this recipient"
	missMap       = "its map has no line for this recipient"
	missSender    = "it is not for this sender"
	missAccount   = "it is not for mail of this account"
	missNobody    = "it is for mail of accounts, and nobody has authenticated"
	missListener  = "it is not for mail that comes in at this listener"
	missTag       = "the mail has none of its tags"
	missHere      = "it names no recipients, and mail for local domains is for this host then"
	missKnown     = "it is only for addresses of local domains that are nobody's here"
)

// miss says why the rule is not for a recipient; "" if it is, by its way then. Maps and lists come
// last: they are large.
func (r *rule) miss(q *asked) (why string, way mail.RouteKey, at mail.Place) {
	switch {
	case r.onlyUnknown && (!q.local || q.known):
		return missKnown, "", at
	case q.local && !r.onlyUnknown && r.recipients.isEmpty() && r.lines == nil:
		return missHere, "", at
	case len(r.listeners) > 0 && !contains(r.listeners, q.Listener):
		return missListener, "", at
	case len(r.accounts) > 0 && q.Account == nil:
		return missNobody, "", at
	case len(r.accounts) > 0 && !r.isForAccount(q.Account.Name):
		return missAccount, "", at
	case len(r.tags) > 0 && !r.isForTags(q.Tags):
		return missTag, "", at
	}
	if !r.senders.isEmpty() {
		if _, fits := r.senders.address(q.From); !fits {
			return missSender, "", at
		}
	}
	if !r.recipients.isEmpty() {
		if _, fits := r.recipients.address(q.To); !fits {
			return missRecipient, "", at
		}
	}
	if r.lines == nil {
		return "", r.way, r.place
	}
	way, at, found := r.lines.List().FindWay(q.To, !q.local || r.onlyUnknown)
	if !found {
		return missMap, "", at
	}
	return "", r.behind(way), at
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

func (r *rule) isForAccount(name string) bool {
	name = strings.ToLower(name)
	for i := range r.accounts {
		if r.accounts[i].Match(name) {
			return true
		}
	}
	return false
}

func (r *rule) isForTags(tags []string) bool {
	for _, tag := range tags {
		if contains(r.tags, tag) {
			return true
		}
	}
	return false
}

// Passed is a route that is not for a recipient, and why.
type Passed struct {
	Route string     `json:"route"`
	At    mail.Place `json:"at,omitzero"`
	Why   string     `json:"why"`
}

// first returns the first rule that is for a recipient, with its way and where that
// stands; nil if none is. Whoever wants to know is told of those before it.
func (rs *Rules) first(q *asked, passed func(Passed)) (r *rule, way mail.RouteKey, at mail.Place) {
	for i := range rs.rules {
		r := &rs.rules[i]
		why, way, at := r.miss(q)
		if why == "" {
			return r, way, at
		}
		if passed != nil {
			passed(Passed{Route: r.name, At: r.place, Why: why})
		}
	}
	return nil, "", mail.Place{}
}

// Take reports whether one of the rules takes the mail for an address of this host
// away from it: one of somebody here, if known, else one of nobody. What is taken from
// somebody here goes where it would go if it were nobody's. Tags are not
// asked, which mail has only once it is there.
func (rs *Rules) Take(r mail.Routing, known bool) bool {
	if len(rs.rules) == 0 {
		return false
	}
	rule, _, _ := rs.first(&asked{Routing: &r, local: true, known: known}, nil)
	return rule != nil
}
