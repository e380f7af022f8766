package policy

import (
	"slices"
	"strconv"
	"strings"

	"postern/internal/config"
	"postern/internal/limit"
)

// rateCommands are the commands at which is counted what.
var rateCommands = map[limit.Unit]config.Command{
	limit.Connections: config.AtConnect, limit.Messages: config.AtMail, limit.Recipients: config.AtRcpt, limit.Octets: config.AtData,
}

// rateKeys are the expressions of what is counted apart.
var rateKeys = map[config.RatePer]string{
	config.PerClient: "client.address", config.PerNetwork: "client.network", config.PerListener: "listener.name", config.PerSender: "lower(smtp.mail.from)",
}

// rates are the handlers that the rates stand for, one for each.
func (c *compiler) rates() []draft {
	var drafts []draft
	for i := range c.config.Rates {
		r := &c.config.Rates[i]
		d, ok := c.rate(r)
		if !ok {
			c.checkListeners(r.Listeners, rateDraftKeys)
			continue
		}
		drafts = append(drafts, d)
	}
	return drafts
}

// rateDraftKeys are the keys under which mistakes of rates are told.
var rateDraftKeys = map[string]string{"listeners": "rate.listeners", "steps": "rate.limit", "when": "rate.exempt"}

func (c *compiler) rate(r *config.Rate) (draft, bool) {
	before := len(c.problems)
	if _, set := r.Places["rate.listeners"]; set && len(r.Listeners) == 0 {
		c.problems = append(c.problems, r.Problem("rate.listeners", "is empty: the rate would be for nobody", "leave it out for all listeners"))
	}
	rate, err := limit.Parse(r.Limit.Text)
	if err != nil {
		c.mistake("rate.limit", r.Limit, rateMistake(err))
		return draft{}, false
	}
	if rate.Of == "" {
		rate.Of = limit.Messages
	}
	if rate.Of == limit.Connections && r.Over == config.OverHold {
		c.problems = append(c.problems, r.Problem("rate.over", "connections cannot be held: there is no mail yet", `write "defer", or count messages`))
	}
	if rate.Of == limit.Connections && r.Per == config.PerSender {
		c.problems = append(c.problems, r.Problem("rate.per", "connections have no sender", `write "client", or count messages`))
	}
	exempt := c.exempt(r)
	if len(c.problems) > before {
		return draft{}, false
	}
	place := r.Limit.Place
	step := madeStep("limit", place)
	step.Argument = &config.Argument{Text: madeText(rate.String(), place)}
	for _, o := range [][2]string{{"per", rateKeys[r.Per]}, {"over", string(r.Over)}} {
		step.Options = append(step.Options, config.StepOption{Name: madeText(o[0], place), Argument: config.Argument{Text: madeText(o[1], place)}})
	}
	return draft{layer: rates, ours: true, keys: rateDraftKeys, Handler: &config.Handler{
		Placed: config.Placed{Place: r.Place}, Name: "rate " + r.Name, At: rateCommands[rate.Of], Listeners: r.Listeners, When: madeText(exempt, r.Place), Steps: []config.Step{step},
	}}, true
}

// rateMistake says what is wrong with a rate, and apart from it how one is written.
func rateMistake(err error) mistake {
	what, _, _ := strings.Cut(err.Error(), ": write it as")
	return mistakef(0, limit.ErrRate.Error(), "%s", what)
}

// exempt is the condition that a client is counted; empty for all.
func (c *compiler) exempt(r *config.Rate) string {
	const key = "rate.exempt"
	var is []string
	for _, t := range r.Exempt {
		name, isList := strings.CutPrefix(t.Text, listPrefix)
		if isList {
			is = append(is, c.networkListing(key, t, name))
			continue
		}
		if _, err := parseNetwork(t.Text); err != nil {
			c.mistake(key, t, mistakef(0, `write it as "10.0.0.0/8"`, "%q is not a network", t.Text))
		}
		is = append(is, "in_network(client.address, "+strconv.Quote(t.Text)+")")
	}
	if len(is) == 0 {
		return ""
	}
	return "!(" + strings.Join(is, " || ") + ")"
}

// networkListing is the condition that the client is on a list of networks.
func (c *compiler) networkListing(key string, t config.Text, name string) string {
	kind := ""
	if c.engine.options.Lists != nil {
		kind = c.engine.options.Lists.Kind(name)
	}
	switch kind {
	case string(config.ListNetworks):
	case "":
		var names []string
		if c.engine.options.Lists != nil {
			names = c.engine.options.Lists.Names()
		}
		c.mistake(key, t, mistakef(0, config.DidYouMean(name, names), "there is no list %q", name))
	default:
		c.mistake(key, t, mistakef(0, "name one of networks", "the list %q has %s: no client can be on it", name, kind))
	}
	return "listed(" + strconv.Quote(name) + ", client.address)"
}

// blockLists refuse, for a listener, the clients that block lists have.
func (c *compiler) blockLists(l *config.Listener) []draft {
	ofClients := func(b config.BlockList) bool { return b.Kind == config.BlockAddresses }
	if l.BlockListScore == 0 || !slices.ContainsFunc(c.config.BlockLists, ofClients) {
		return nil
	}
	when := "!client.trusted && " + noAccount + " && !" + postmaster + " && "
	if may := relayed(l); may != "" { // nobody need be asked about who is refused anyway
		when += may + " && "
	}
	when += "dnsbl.score >= " + strconv.Itoa(l.BlockListScore)
	d := settingDraft(l, "block_list_score", connections, when, "554 5.7.1 No mail is taken from you: ${dnsbl.text}")
	d.At = config.AtRcpt // so that a postmaster can be asked, and the log says who was written to
	return []draft{d}
}
