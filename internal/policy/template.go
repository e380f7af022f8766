package policy

import (
	"fmt"
	"strings"
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"postern/internal/config"
)

// template is a text in which "${…}" stands for the value of an expression, and "$$"
// for a dollar sign.
type template struct {
	parts []part
}

// part is plain text, or an expression.
type part struct {
	text       string
	expression *expression
}

// template reads a template for a command; bounded is as with compile.
func (e *expressions) template(at config.Command, text string, bounded bool) (*template, []mistake) {
	var t template
	var wrong []mistake
	for i := 0; i < len(text); {
		dollar := strings.IndexByte(text[i:], '$')
		if dollar < 0 {
			t.plain(text[i:])
			break
		}
		t.plain(text[i : i+dollar])
		i += dollar
		switch {
		case strings.HasPrefix(text[i:], "$$"):
			t.plain("$")
			i += 2
		case strings.HasPrefix(text[i:], "${"):
			length, closed := inBraces(text[i+2:])
			if !closed {
				return nil, append(wrong, mistakef(i, "close it with }", "${ is not closed"))
			}
			x, mistakes := e.compile(at, text[i+2:i+2+length], bounded)
			for _, m := range mistakes {
				m.offset += i + 2
				wrong = append(wrong, m)
			}
			if x != nil && !hasText(x.kind) {
				wrong = append(wrong, mistakef(i+2, "", "%s has no text: it is of type %s", x.text, x.kind))
			}
			t.parts = append(t.parts, part{expression: x})
			i += 2 + length + 1
		default:
			return nil, append(wrong, mistakef(i, "write $$ for a dollar sign, ${…} for a value", "a $ stands alone"))
		}
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	return &t, nil
}

func (t *template) plain(text string) {
	if text != "" {
		t.parts = append(t.parts, part{text: text})
	}
}

// inBraces returns the length of what stands before the brace that closes; braces
// within quotes do not count.
func inBraces(text string) (length int, closed bool) {
	var quote byte
	open, escaped := 0, false
	for i := range len(text) {
		switch c := text[i]; {
		case escaped:
			escaped = false
		case quote != 0:
			escaped = c == '\\'
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{':
			open++
		case c == '}' && open > 0:
			open--
		case c == '}':
			return i, true
		}
	}
	return 0, false
}

// hasText reports whether values of a type can stand in a text.
func hasText(kind *cel.Type) bool {
	switch kind.Kind() {
	case types.StringKind, types.IntKind, types.UintKind, types.DoubleKind, types.BoolKind, types.TimestampKind, types.DurationKind:
		return true
	}
	return kind.IsExactType(textList)
}

// maxText bounds what a template makes, in octets.
const maxText = 4096

// render fills the template in. What comes from outside cannot break lines, nor do
// other things that control characters do.
func (t *template) render(s *Session) (string, error) {
	if len(t.parts) == 1 && t.parts[0].expression == nil {
		return t.parts[0].text, nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.expression == nil {
			b.WriteString(p.text)
			continue
		}
		value, err := p.expression.evaluate(s)
		if err != nil {
			return "", fmt.Errorf("${%s}: %w", p.expression.text, err)
		}
		b.WriteString(printable(textOf(value)))
	}
	return clip(b.String(), maxText), nil
}

// textOf writes a value as text.
func textOf(value ref.Val) string {
	switch v := value.(type) {
	case types.String:
		return string(v)
	case types.Timestamp:
		return formatTime(v.Time)
	case traits.Lister:
		var items []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			items = append(items, textOf(it.Next()))
		}
		return strings.Join(items, ", ")
	}
	return fmt.Sprint(value.Value())
}

// printable puts a space where a character cannot be printed.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// clip cuts a text off, between characters.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}
