package policy

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/mail"
)

// compiler makes an Engine.
type compiler struct {
	engine      *Engine
	config      *config.Config
	expressions *expressions
	problems    []config.Problem
	keys        map[string]string // of the draft at hand
}

// Compile makes an Engine of what a configuration says. It finds all that is wrong
// at once, in the order of the files; with problems there is no Engine.
func Compile(o Options) (*Engine, []config.Problem) {
	e := &Engine{options: o, logger: o.Logger, clock: o.Clock, monitored: o.Config.Monitoring.Address.IsValid(),
		attributes: make(map[string]*attribute), listeners: make(map[string]*listenerRules)}
	if e.logger == nil {
		e.logger = slog.New(slog.DiscardHandler)
	}
	if e.clock == nil {
		e.clock = mail.SystemClock{}
	}
	if e.metrics = o.Metrics; e.metrics == nil {
		e.metrics = NewMetrics(nil)
	}
	for i := range attributes {
		e.attributes[attributes[i].name] = &attributes[i]
	}
	c := &compiler{engine: e, config: o.Config}
	e.custom = c.customAttributes()
	var err error
	if c.expressions, err = newExpressions(o.Lists, e.custom); err != nil {
		return nil, []config.Problem{{Message: "conditions cannot be read: " + err.Error(), Cause: err}}
	}
	c.rules()
	c.arrange()
	if len(c.problems) > 0 {
		config.SortProblems(c.problems, o.Config.Files)
		return nil, slices.CompactFunc(c.problems, func(a, b config.Problem) bool { return a.String() == b.String() })
	}
	return e, nil
}

// rules makes the rules of all handlers, the written ones and those that settings
// stand for.
func (c *compiler) rules() {
	var drafts []draft
	for i := range c.config.Handlers {
		drafts = append(drafts, draft{Handler: &c.config.Handlers[i], layer: handlers})
	}
	for i := range c.config.Listeners {
		l := &c.config.Listeners[i]
		drafts = append(drafts, shorthand(l)...)
		drafts = append(drafts, c.blockLists(l)...)
		drafts = append(drafts, c.verified(l)...)
	}
	drafts = append(drafts, c.rates()...)
	drafts = append(drafts, c.filters()...)
	slices.SortStableFunc(drafts, func(a, b draft) int { return cmp.Compare(a.layer, b.layer) })
	for i := range drafts {
		r := c.rule(&drafts[i])
		r.index = len(c.engine.rules)
		c.engine.rules = append(c.engine.rules, r)
	}
}

// draft is a handler before it is checked.
type draft struct {
	*config.Handler
	layer layer
	// ours says that a setting stands for it, so that what is in it has no need of a
	// bound; writtenSteps that a person wrote its steps all the same.
	ours, writtenSteps bool
	// keys are those under which mistakes in it are told, where these are not those of
	// a handler.
	keys map[string]string
}

func (c *compiler) rule(d *draft) *rule {
	c.keys = d.keys
	r := &rule{layer: d.layer, name: d.Title(), place: d.Place, at: d.At, priority: d.Priority}
	switch d.Default {
	case config.EndReject:
		r.ending = Reject
	case config.EndDefer:
		r.ending = Defer
	}
	if d.layer != handlers {
		r.written = d.written()
	}
	r.listeners = c.listenersOf(d)
	c.patterns(d, r)
	if d.When.Text != "" {
		r.when = c.condition(d)
	}
	r.steps = c.steps(d)
	r.source = sourceOf(d.Steps)
	return r
}

// problem notes a mistake in a text of a handler.
func (c *compiler) problem(key string, t config.Text, m mistake) {
	first, rest, dotted := strings.Cut(key, ".")
	whole := "handler." + first
	if own, is := c.keys[first]; is {
		whole = own
	}
	if dotted {
		whole += "." + rest
	}
	c.mistake(whole, t, m)
}

// mistake notes a mistake in the text of a setting.
func (c *compiler) mistake(key string, t config.Text, m mistake) {
	c.problems = append(c.problems, config.Problem{Place: t.PlaceAt(m.offset), Key: key, Message: m.message, Hint: m.hint})
}

func (c *compiler) listenersOf(d *draft) []string {
	names := c.listenerNames()
	if _, set := d.Places["handler.listeners"]; set && len(d.Listeners) == 0 {
		c.problems = append(c.problems, d.Problem("handler.listeners", "is empty: the handler would be for nobody", "leave it out for all listeners"))
	}
	var list []string
	for _, t := range d.Listeners {
		if !slices.Contains(names, t.Text) {
			c.problem("listeners", t, mistakef(0, config.DidYouMean(t.Text, names), "there is no listener %q", t.Text))
		}
		list = append(list, t.Text)
	}
	return list
}

func (c *compiler) listenerNames() []string {
	var names []string
	for i := range c.config.Listeners {
		names = append(names, c.config.Listeners[i].Name)
	}
	return append(names, sendmail)
}

// maxCandidates bounds the pairs of patterns that a command has in a layer.
const maxCandidates = 5000

// patterns reads the patterns of a handler, and refuses them at commands that do
// not know what they speak of.
func (c *compiler) patterns(d *draft, r *rule) {
	r.senders = c.patternList(d.Sender, "sender", d)
	r.recipients = c.patternList(d.Recipient, "recipient", d)
	for _, side := range []struct {
		key   string
		from  config.Command
		given bool
	}{{"sender", config.AtMail, !all(r.senders)}, {"recipient", config.AtRcpt, !all(r.recipients)}} {
		if side.given && rank(d.At) < rank(side.from) {
			c.problems = append(c.problems, d.Problem("handler."+side.key, "there is no "+side.key+" at "+string(d.At),
				"leave it out, or set at to "+string(side.from)+" or later"))
		}
	}
	if n := len(r.senders) * len(r.recipients); n > maxCandidates {
		c.problems = append(c.problems, d.Problem("handler.recipient", "sender and recipient make too many pairs", "use a list, or fewer patterns"))
		r.senders = r.senders[:1] // one problem is enough
	}
}

func all(patterns []pattern) bool { return len(patterns) == 1 && patterns[0].isAny() }

func (c *compiler) patternList(texts []config.Text, key string, d *draft) []pattern {
	var list []pattern
	for _, t := range texts {
		p, wrong := readPattern(t.Text)
		if wrong != nil {
			c.problem(key, t, *wrong)
			continue
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		p, _ := readPattern(anyAddress)
		if _, set := d.Places["handler."+key]; set && len(texts) == 0 {
			c.problems = append(c.problems, d.Problem("handler."+key, "is empty: the handler would be for nobody", `leave it out, or write ["*"]`))
		}
		list = append(list, p)
	}
	return list
}

func (c *compiler) condition(d *draft) *expression {
	x, wrong := c.expressions.compile(d.At, d.When.Text, !d.ours)
	for _, m := range wrong {
		c.problem("when", d.When, m)
	}
	if x != nil && x.kind.String() != "bool" {
		c.problem("when", d.When, mistakef(0, `compare it with something, such as: message.size > 1000`, "is of type %s; a condition is true or false", x.kind))
	}
	return x
}

// arrange puts the rules into the order in which they are considered, for each
// listener, and refuses those that cannot be told apart.
func (c *compiler) arrange() {
	for _, name := range c.listenerNames() {
		c.engine.listeners[name] = &listenerRules{near: map[string]bool{}, at: map[config.Command][]layerRules{}}
	}
	for i := range c.config.Listeners {
		l := &c.config.Listeners[i]
		r := c.engine.listeners[l.Name]
		r.trust, r.reject = networks{l.Trust, c.listed(l.TrustLists)}, networks{l.RejectClients, c.listed(l.RejectLists)}
		r.trustGateway, r.nearLists = l.TrustGateway, c.listed(l.NearLists)
		r.percent, r.proxies = l.PercentRouting, l.ProxyFrom
		for _, domain := range l.Near {
			r.near[asciiDomain(domain)] = true
		}
	}
	for _, at := range config.Commands {
		for _, l := range layers {
			c.arrangeLayer(at, l)
		}
	}
}

// listed are lists by their names, which the configuration has checked.
func (c *compiler) listed(names []config.Text) []listed {
	if c.engine.options.Lists == nil {
		return nil
	}
	lists := make([]listed, len(names))
	for i, name := range names {
		lists[i] = listed{c.engine.options.Lists, name.Text}
	}
	return lists
}

func (c *compiler) arrangeLayer(at config.Command, l layer) {
	var list []candidate
	for _, r := range c.engine.rules {
		if r.at == at && r.layer == l {
			list = append(list, r.candidates()...)
		}
	}
	if len(list) > maxCandidates {
		r := list[maxCandidates].rule
		c.problems = append(c.problems, config.Problem{Place: r.place, Key: "handler", Message: "there are too many patterns at " + string(at), Hint: "use lists"})
		return
	}
	if !l.inTurn() {
		slices.SortStableFunc(list, compareCandidates)
		c.problems = append(c.problems, ties(list)...)
	}
	for name, rules := range c.engine.listeners {
		for _, k := range list {
			if k.rule.isFor(name) {
				rules.add(at, l, k)
			}
		}
	}
}

// add adds a candidate behind those that are considered before it.
func (r *listenerRules) add(at config.Command, l layer, k candidate) {
	list := r.at[at]
	if n := len(list); n == 0 || list[n-1].layer != l || l.inTurn() && list[n-1].candidates[0].rule != k.rule {
		list = append(list, layerRules{layer: l})
	}
	last := &list[len(list)-1]
	last.candidates = append(last.candidates, k)
	r.at[at] = list
}
