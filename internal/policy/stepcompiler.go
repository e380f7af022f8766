package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"postern/internal/config"
	"postern/internal/limit"
	"postern/internal/mail"
)

// stepCompiler reads one step of a handler.
type stepCompiler struct {
	*compiler
	draft *draft
	step  *config.Step
	kind  *stepKind
	index int // of the step in its handler
}

// steps reads the steps of a handler, and refuses those that nothing leads to.
func (c *compiler) steps(d *draft) []step {
	table := kinds()
	var list []step
	var decided string
	for i := range d.Steps {
		s := &d.Steps[i]
		if decided != "" {
			c.problem("steps", s.Name, mistakef(0, "put it before, or leave it out", "%s comes after %s, which decides: it is never taken", s.Name.Text, decided))
			break
		}
		at := slices.IndexFunc(table, func(k stepKind) bool { return k.name == s.Name.Text })
		if at < 0 {
			c.problem("steps", s.Name, mistakef(0, stepHint(s, table), "there is no step %q", s.Name.Text))
			continue
		}
		sc := stepCompiler{compiler: c, draft: d, step: s, kind: &table[at], index: i}
		if take := sc.read(); take != nil {
			list = append(list, step{name: s.Name.Text, take: take})
		}
		if table[at].final {
			decided = s.Name.Text
		}
	}
	return list
}

// stepHint says which step was perhaps meant: one whose name is near, or one of the
// other keys of the table, which is then not the first.
func stepHint(s *config.Step, table []stepKind) string {
	var names []string
	for _, k := range table {
		names = append(names, k.name)
	}
	for _, o := range s.Options {
		if slices.Contains(names, o.Name.Text) {
			return "put " + o.Name.Text + " first: the first key is the step"
		}
	}
	return config.DidYouMean(s.Name.Text, names)
}

// read checks what all steps have in common, and reads the step.
func (c *stepCompiler) read() action {
	before := len(c.problems)
	name := c.step.Name
	if len(c.kind.at) > 0 && !slices.Contains(c.kind.at, c.draft.At) {
		c.problem("steps", name, mistakef(0, "it can stand at "+commandList(c.kind.at), "%s has no meaning at %s", name.Text, c.draft.At))
	}
	switch {
	case c.step.Argument == nil && !c.kind.word:
		c.problem("steps", name, mistakef(0, "write { "+name.Text+" = … } with "+c.kind.value, "%s needs a value", name.Text))
	case c.step.Argument != nil && c.kind.value == "" && !(c.step.Argument.Kind == config.BooleanArgument && c.step.Argument.Boolean):
		c.wrong(c.step.Argument, name.Text, `write the word alone: "`+name.Text+`"`, "has no value")
	}
	c.checkOptions()
	if len(c.problems) > before {
		return nil
	}
	return c.kind.compile(c)
}

func commandList(list []config.Command) string {
	names := make([]string, len(list))
	for i, at := range list {
		names[i] = string(at)
	}
	return strings.Join(names, ", ")
}

func (c *stepCompiler) checkOptions() {
	var names []string
	for _, o := range c.kind.options {
		names = append(names, o.name)
		if o.required && c.option(o.name) == nil {
			c.problem("steps", c.step.Name, mistakef(0, "write { "+c.kind.name+" = …, "+o.name+" = … }: "+o.text, "%s needs %s", c.kind.name, o.name))
		}
	}
	for _, o := range c.step.Options {
		if !slices.Contains(names, o.Name.Text) {
			hint := config.DidYouMean(o.Name.Text, names)
			if hint == "" && len(names) > 0 {
				hint = "it has " + strings.Join(names, ", ")
			}
			c.problem("steps."+c.kind.name, o.Name, mistakef(0, hint, "%s has no option %q", c.kind.name, o.Name.Text))
		}
	}
}

// wrong notes that an argument is not right.
func (c *stepCompiler) wrong(a *config.Argument, key, hint, format string, args ...any) {
	c.mistaken(a, key, mistakef(0, hint, format, args...))
}

func (c *stepCompiler) mistaken(a *config.Argument, key string, m mistake) {
	c.problem("steps."+key, a.Text, m)
}

func (c *stepCompiler) value() *config.Argument { return c.step.Argument }

// option returns the value of an option, or nil.
func (c *stepCompiler) option(name string) *config.Argument {
	i := slices.IndexFunc(c.step.Options, func(o config.StepOption) bool { return o.Name.Text == name })
	if i < 0 {
		return nil
	}
	return &c.step.Options[i].Argument
}

// text returns the text of an argument; ok is false when it is none.
func (c *stepCompiler) text(a *config.Argument, key string) (text string, ok bool) {
	if a.Kind != config.TextArgument {
		c.wrong(a, key, "write text in quotes", "is not text")
		return "", false
	}
	return a.Text.Text, true
}

// items returns the texts of an argument that is one text or a list of them.
func (c *stepCompiler) items(a *config.Argument, key string) []*config.Argument {
	if a.Kind != config.ListArgument {
		if _, ok := c.text(a, key); !ok {
			return nil
		}
		return []*config.Argument{a}
	}
	var list []*config.Argument
	for i := range a.Items {
		if _, ok := c.text(&a.Items[i], key); ok {
			list = append(list, &a.Items[i])
		}
	}
	if len(a.Items) == 0 {
		c.wrong(a, key, "", "is an empty list")
	}
	return list
}

// template reads the value as a template; that of a word is empty.
func (c *stepCompiler) template() *template {
	if c.step.Argument == nil {
		return &template{}
	}
	return c.templateOf(c.step.Argument, c.kind.name, 0)
}

func (c *stepCompiler) optionTemplate(name string) *template {
	return c.templateOf(c.option(name), c.kind.name+"."+name, 0)
}

// templateOf reads a text, from an octet on, as a template.
func (c *stepCompiler) templateOf(a *config.Argument, key string, from int) *template {
	text, ok := c.text(a, key)
	if !ok {
		return &template{}
	}
	t, wrong := c.expressions.template(c.draft.At, text[from:], !c.draft.ours || c.draft.writtenSteps)
	for _, m := range wrong {
		m.offset += from
		c.mistaken(a, key, m)
	}
	if t == nil {
		return &template{}
	}
	if i := strings.IndexFunc(text, unicode.IsControl); i >= 0 && !(key == "reject" || key == "defer") {
		c.mistaken(a, key, mistakef(i, "", "has a control character"))
	}
	return t
}

func (c *stepCompiler) texts() []string {
	var list []string
	for _, a := range c.items(c.value(), c.kind.name) {
		if strings.TrimSpace(a.Text.Text) == "" || strings.ContainsFunc(a.Text.Text, unicode.IsControl) {
			c.wrong(a, c.kind.name, "", "%q is not a word", a.Text.Text)
			continue
		}
		list = append(list, a.Text.Text)
	}
	return list
}

// address reads a fixed address.
func (c *stepCompiler) address(a *config.Argument) mail.Address {
	text, ok := c.text(a, c.kind.name)
	if !ok {
		return mail.Address{}
	}
	parsed, err := mail.ParseAddress(text)
	switch {
	case strings.Contains(text, "${"):
		c.wrong(a, c.kind.name, "write one address; rewrite_recipient takes parts of the old one", "cannot be put together from attributes")
	case err != nil:
		c.wrong(a, c.kind.name, `write local-part@domain, such as "joe@example.com"`, "%q: %v", text, err)
	case parsed.Domain == "":
		c.wrong(a, c.kind.name, `write local-part@domain, such as "joe@example.com"`, "%q has no domain", text)
	case c.engine.options.Nobody != nil && c.engine.options.Nobody(parsed) && !c.hasRoute():
		c.wrong(a, c.kind.name, "write an address elsewhere, or give the mail a route with route_via", "%q is of this host, where there is nobody of that name", text)
	}
	return parsed
}

// hasRoute reports whether a handler gives mail a route, by which that for addresses
// of this host can go as well.
func (c *compiler) hasRoute() bool {
	return slices.ContainsFunc(c.config.Handlers, func(h config.Handler) bool {
		return slices.ContainsFunc(h.Steps, func(s config.Step) bool { return s.Name.Text == "route_via" })
	})
}

func (c *stepCompiler) addresses() []mail.Address {
	var list []mail.Address
	for _, a := range c.items(c.value(), c.kind.name) {
		list = append(list, c.address(a))
	}
	return list
}

// addressForm reads an address in which stars stand for parts of another.
func (c *stepCompiler) addressForm(null bool) mail.Address {
	text, ok := c.text(c.value(), c.kind.name)
	if !ok || null && text == nullSender {
		return mail.Address{}
	}
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		c.wrong(c.value(), c.kind.name, `write it as "*@new.example.com"`, "%q is not an address", text)
		return mail.Address{}
	}
	form := mail.Address{Local: text[:at], Domain: text[at+1:]}
	if form.Domain != "*" && strings.Contains(form.Domain, "*") {
		c.wrong(c.value(), c.kind.name, "write the domain whole, or a star alone", "%q has a star within the domain", text)
		return mail.Address{}
	}
	if _, err := rewriteAddress(form, mail.Address{Local: "a", Domain: "example.com"}); err != nil {
		c.wrong(c.value(), c.kind.name, `write it as "*@new.example.com"`, "%q: %v", text, err)
	}
	return form
}

func (c *stepCompiler) patternValues() []pattern {
	var list []pattern
	for _, a := range c.items(c.value(), c.kind.name) {
		p, wrong := readPattern(a.Text.Text)
		if wrong != nil {
			c.mistaken(a, c.kind.name, *wrong)
			continue
		}
		list = append(list, p)
	}
	return list
}

// field reads the value as a header field.
func (c *stepCompiler) field() (name string, value *template) {
	text, ok := c.text(c.value(), c.kind.name)
	if !ok {
		return "", &template{}
	}
	name, _, found := strings.Cut(text, ":")
	if !found || !isFieldName(name) {
		c.wrong(c.value(), c.kind.name, `write it as "X-Name: text"`, "%q is not a header field", text)
		return "", &template{}
	}
	return name, c.templateOf(c.value(), c.kind.name, len(name)+1)
}

func (c *stepCompiler) fieldNames() []string {
	var list []string
	for _, a := range c.items(c.value(), c.kind.name) {
		if !isFieldName(a.Text.Text) {
			c.wrong(a, c.kind.name, `write the name alone, such as "X-Name"`, "%q is not the name of a header field", a.Text.Text)
		}
		list = append(list, a.Text.Text)
	}
	return list
}

// isFieldName reports whether s can name a field (RFC 5322 3.6.8).
func isFieldName(s string) bool {
	other := func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }
	return s != "" && !strings.ContainsFunc(s, other)
}

// way reads the name of a transport, or a server.
func (c *stepCompiler) way() mail.RouteKey {
	text, ok := c.text(c.value(), c.kind.name)
	if !ok {
		return ""
	}
	key, err := mail.ParseRouteKey(text)
	if err != nil {
		c.wrong(c.value(), c.kind.name, `write the name of a transport, or host:port, such as "relay.example.com:587"`, "%q: %v", text, err)
	}
	known := c.config.TransportNames()
	if name, named := key.Transport(); named && !slices.Contains(known, name) {
		c.wrong(c.value(), c.kind.name, fmt.Sprintf(`the transports are %s; write "%s:25" for a server of that name`, strings.Join(known, ", "), name), "there is no transport %q", name)
	}
	return key
}

// rate reads a rate, such as "100/1h".
func (c *stepCompiler) rate() limit.Rate {
	text, ok := c.text(c.value(), c.kind.name)
	if !ok {
		return limit.Rate{}
	}
	r, err := limit.Parse(text)
	if err != nil {
		c.mistaken(c.value(), c.kind.name, rateMistake(err))
	}
	return r
}

// expressionList reads an option that is an expression or a list of them, of values
// that can be written as text.
func (c *stepCompiler) expressionList(name string) []*expression {
	return c.optionExpressions(name, "")
}

// optionExpressions reads expressions; those of another type than kind are refused,
// if it is given. There are none when the option is not.
func (c *stepCompiler) optionExpressions(name, kind string) []*expression {
	a := c.option(name)
	if a == nil {
		return nil
	}
	key := c.kind.name + "." + name
	var list []*expression
	for _, item := range c.items(a, key) {
		x, wrong := c.expressions.compile(c.draft.At, item.Text.Text, true)
		for _, m := range wrong {
			c.mistaken(item, key, m)
		}
		switch {
		case x == nil:
		case kind != "" && x.kind.String() != kind:
			c.wrong(item, key, "", "is of type %s, not %s", x.kind, kind)
		case !hasText(x.kind):
			c.wrong(item, key, "", "has no text: it is of type %s", x.kind)
		default:
			list = append(list, x)
		}
	}
	return list
}

// octets is what a rate of octets counts when that is not said.
func (c *stepCompiler) octets() *expression {
	x, wrong := c.expressions.compile(c.draft.At, "message.size", true)
	if len(wrong) > 0 {
		c.wrong(c.value(), c.kind.name, `set count, or use it in a handler at mail or data`, "counts octets, and the size of the message is not known at %s", c.draft.At)
	}
	return x
}

// optionWord reads an option that is one of a few words, of which the first is the
// default.
func (c *stepCompiler) optionWord(name string, words ...string) string {
	a := c.option(name)
	if a == nil {
		return words[0]
	}
	return c.word(a, c.kind.name+"."+name, words...)
}

// word reads one of a few words.
func (c *stepCompiler) word(a *config.Argument, key string, words ...string) string {
	text, ok := c.text(a, key)
	if ok && !slices.Contains(words, text) {
		c.wrong(a, key, "write one of "+strings.Join(words, ", "), "%q is not one of its words", text)
	}
	return text
}
