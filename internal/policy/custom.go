package policy

import (
	"regexp"
	"slices"
	"strings"

	"postern/internal/config"
)

// customName is the form of an attribute that steps can set.
var customName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$`)

// settable are the attributes of the table that steps can set, at helo.
var settable = []string{"smtp.helo.domain", "smtp.helo.greeting"}

// ownWords are those that the attributes of the table, and words of CEL, begin with.
func ownWords() []string {
	words := []string{"in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while", "true", "false", "null", "google", "cel", "math", "optional"}
	for i := range attributes {
		word, _, _ := strings.Cut(attributes[i].name, ".")
		words = append(words, word)
	}
	return words
}

// isCustom reports whether a name can be one of the administrator's own.
func isCustom(name string) bool {
	parts := strings.Split(name, ".")
	reserved := ownWords()
	return customName.MatchString(name) && !slices.Contains(reserved, parts[0]) &&
		!slices.ContainsFunc(parts, func(p string) bool { return slices.Contains(reserved[:23], p) })
}

// customAttributes are those that the steps of all handlers set.
func (c *compiler) customAttributes() map[string]bool {
	names := make(map[string]bool)
	var all [][]config.Step
	for i := range c.config.Handlers {
		all = append(all, c.config.Handlers[i].Steps)
	}
	for i := range c.config.Filters {
		all = append(all, c.config.Filters[i].Steps)
	}
	for _, steps := range all {
		for _, s := range steps {
			if s.Name.Text == "set" && s.Argument != nil && s.Argument.Kind == config.TextArgument && isCustom(s.Argument.Text.Text) {
				names[s.Argument.Text.Text] = true
			}
		}
	}
	return names
}

// attributeName reads the value of the step set.
func (c *stepCompiler) attributeName() string {
	name, ok := c.text(c.value(), c.kind.name)
	switch {
	case !ok || isCustom(name):
	case slices.Contains(settable, name) && c.draft.At == config.AtHelo:
	case slices.Contains(settable, name):
		c.wrong(c.value(), c.kind.name, "set it in a handler at helo", "%s cannot be set at %s", name, c.draft.At)
	case findAttribute(name) != nil:
		c.wrong(c.value(), c.kind.name, "", "%s cannot be set", name)
	default:
		hint := config.DidYouMean(name, settable)
		if hint == "" {
			hint = `write a name with a dot, of small letters, such as "my.department"`
		}
		c.wrong(c.value(), c.kind.name, hint, "%q is not the name of an attribute that can be set", name)
	}
	return name
}
