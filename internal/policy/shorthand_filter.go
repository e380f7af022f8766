package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"postern/internal/config"
	"postern/internal/mail"
)

// A filter stands for one or two handlers at data, which are asked in turn. The first
// is for mail that is what the filter looks for. The second keeps what cannot be read
// and may be that; it comes behind the first ones of all filters, so that what is
// certain goes before what is not.

// filters returns the handlers that the filters stand for.
func (c *compiler) filters() []draft {
	var certain, uncertain []draft
	for i := range c.config.Filters {
		f := filterCompiler{compiler: c, Filter: &c.config.Filters[i]}
		if !f.read() {
			c.checkListeners(f.Listeners, filterKeys)
			continue
		}
		certain = append(certain, f.certain())
		if when := f.maybe(); when != "" && f.Unreadable == config.UnreadableKept {
			uncertain = append(uncertain, f.uncertain(when))
		}
	}
	return append(certain, uncertain...)
}

// filterCompiler makes the handlers of one filter.
type filterCompiler struct {
	*compiler
	*config.Filter
	criteria []criterion
}

// criterion is one thing that a filter looks for.
type criterion struct {
	is       string // the condition that it is there
	readable string // the attribute that tells whether that is certain; empty if it always is
	found    string // the expression of what was found, a list of text
}

// kinds of criteria, by the names of their settings.
const (
	readableHeader = "message.readable_header"
	readableParts  = "message.readable_parts"
)

// read reads the patterns of a filter, and reports whether they are right.
func (f *filterCompiler) read() bool {
	before := len(f.problems)
	if _, set := f.Places["filter.listeners"]; set && len(f.Listeners) == 0 {
		f.problems = append(f.problems, f.Problem("filter.listeners", "is empty: the filter would be for nobody", "leave it out for all listeners"))
	}
	f.add("originator", f.Originator, "message.originators", readableHeader)
	f.add("subject", f.Subject, "message.subjects", readableHeader)
	f.add("attachment", f.Attachment, "message.attachments", readableParts)
	f.add("type", f.Type, "message.types", readableParts)
	if f.Unreadable == config.UnreadableMatches {
		f.criteria = append(f.criteria, criterion{is: "!message.readable", found: "message.defects"})
	}
	return len(f.problems) == before
}

// add adds a criterion: that one of the values of an attribute is like one of the
// patterns, or on one of the lists.
func (f *filterCompiler) add(setting string, patterns []config.Text, attribute, readable string) {
	key := "filter." + setting
	if _, set := f.Places[key]; set && len(patterns) == 0 {
		f.problems = append(f.problems, f.Problem(key, "is empty: nothing is looked for", "leave it out, or name patterns"))
	}
	var like, is, found []string
	for _, t := range patterns {
		name, isList := strings.CutPrefix(t.Text, listPrefix)
		switch {
		case isList && setting == "originator":
			if of := f.listing(key, t, name, "x"); of != "" {
				is = append(is, attribute+".exists(x, "+of+")")
				found = append(found, attribute+".filter(x, "+of+")")
			}
		case isList:
			f.mistake(key, t, mistakef(0, `write the patterns here; a list can stand in originator`, "the patterns of lists are those of addresses, in which * is also none: %s has its own", setting))
		default:
			like = append(like, f.wildcards(key, t, setting == "originator")...)
		}
	}
	if len(like) > 0 {
		list := "[" + strings.Join(like, ", ") + "]"
		is = slices.Insert(is, 0, likeCall+"("+attribute+", "+list+")")
		found = slices.Insert(found, 0, attribute+".filter(x, "+likeCall+"(x, "+list+"))")
	}
	if len(is) > 0 {
		f.criteria = append(f.criteria, criterion{is: "(" + strings.Join(is, " || ") + ")", readable: readable, found: strings.Join(found, " + ")})
	}
}

// wildcards checks a pattern, and returns it as CEL has it; with a domain in two forms
// both.
func (c *compiler) wildcards(key string, t config.Text, address bool) []string {
	if _, wrong := readWildcard(t.Text); wrong.message != "" {
		c.mistake(key, t, wrong)
		return nil
	}
	list := []string{strconv.Quote(t.Text)}
	if at := strings.LastIndexByte(t.Text, '@'); address && at >= 0 && strings.ContainsFunc(t.Text[at:], func(r rune) bool { return r > unicode.MaxASCII }) {
		if domain, wrong := asciiPattern(t.Text[at+1:]); wrong == nil {
			list = append(list, strconv.Quote(t.Text[:at+1]+domain))
		}
	}
	return list
}

// listPrefix begins the name of a list where it stands among other values.
const listPrefix = "list:"

// listing returns the condition that an address, which an expression has, is on a
// list of addresses, domains or patterns; empty when that cannot be.
func (c *compiler) listing(key string, t config.Text, name, address string) string {
	var kind string
	var names []string
	if c.engine.options.Lists != nil {
		kind, names = c.engine.options.Lists.Kind(name), c.engine.options.Lists.Names()
	}
	switch config.ListKind(kind) {
	case config.ListAddresses, config.ListPatterns:
		return "listed(" + strconv.Quote(name) + ", " + address + ")"
	case config.ListDomains:
		return "listed(" + strconv.Quote(name) + ", domain(" + address + "))"
	case "":
		c.mistake(key, t, mistakef(0, config.DidYouMean(name, names), "there is no list %q", name))
	default:
		c.mistake(key, t, mistakef(0, "name one of addresses, domains or patterns", "the list %q has %s: no address can be on it", name, kind))
	}
	return ""
}

// certain is the handler for what the filter looks for.
func (f *filterCompiler) certain() draft {
	var found []string
	for _, c := range f.criteria {
		found = append(found, c.found)
	}
	steps := f.Steps
	switch {
	case len(steps) > 0:
	case f.Then == config.ThenDiscard:
		steps = []config.Step{madeStep("discard", f.Place)}
	default:
		steps = f.keep("${" + strings.Join(found, " + ") + "}")
	}
	return f.handler("", f.matches(), steps)
}

// matches is the condition that a message is what the filter looks for.
func (f *filterCompiler) matches() string {
	var is []string
	for _, c := range f.criteria {
		is = append(is, c.is)
	}
	return strings.Join(is, f.joint())
}

// joint joins what a filter looks for.
func (f *filterCompiler) joint() string {
	if f.Match == config.MatchAll {
		return " && "
	}
	return " || "
}

// maybe is the condition that a message may be what the filter looks for, as far as it
// cannot be read; empty when that is always certain.
func (f *filterCompiler) maybe() string {
	var is []string
	for _, c := range f.criteria {
		switch {
		case c.readable == "":
		case f.Match == config.MatchAll:
			is = append(is, "("+c.is+" || !"+c.readable+")")
		case !slices.Contains(is, "!"+c.readable):
			is = append(is, "!"+c.readable)
		}
	}
	return strings.Join(is, f.joint())
}

// uncertain is the handler for what cannot be read.
func (f *filterCompiler) uncertain(when string) draft {
	when = "!(" + f.matches() + ") && (" + when + ")"
	return f.handler(" (cannot be read)", when, f.keep("cannot be read: ${message.defects}"))
}

// keep are the steps that keep a message in quarantine, where the note tells why.
func (f *filterCompiler) keep(why string) []config.Step {
	step := madeStep("quarantine", f.Place)
	name := strings.ReplaceAll(f.Name, "$", "$$")
	step.Argument = &config.Argument{Text: madeText("filter "+name+": "+why, f.Place)}
	return []config.Step{step, madeStep("accept", f.Place)}
}

func madeStep(name string, place mail.Place) config.Step {
	return config.Step{Name: madeText(name, place)}
}

// checkListeners finds mistakes in the listeners of what has other mistakes, too.
func (c *compiler) checkListeners(names []config.Text, keys map[string]string) {
	c.keys = keys
	c.listenersOf(&draft{Handler: &config.Handler{Listeners: names}})
}

// filterKeys are the keys under which mistakes of filters are told.
var filterKeys = map[string]string{"listeners": "filter.listeners", "steps": "filter.then", "when": "filter", "sender": "filter", "recipient": "filter"}

func (f *filterCompiler) handler(suffix, when string, steps []config.Step) draft {
	return draft{layer: filters, ours: true, writtenSteps: len(f.Steps) > 0, keys: filterKeys, Handler: &config.Handler{
		Placed: config.Placed{Place: f.Place}, Name: fmt.Sprintf("filter %s%s", f.Name, suffix), At: config.AtData, Listeners: f.Listeners,
		When: madeText(when, f.Place), Steps: steps,
	}}
}
