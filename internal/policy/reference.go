package policy

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common/types"
)

// Reference returns the parts of docs/policy.md that are made of the tables of this
// package, by the names of their marks.
func Reference() map[string]string {
	return map[string]string{"functions": functionReference(), "steps": stepReference(), "attributes": attributeReference()}
}

func functionReference() string {
	var b strings.Builder
	b.WriteString("| function | |\n|---|---|\n")
	for _, f := range functions {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.form, f.text)
	}
	return b.String()
}

func stepReference() string {
	var b strings.Builder
	b.WriteString("| step | with | at | decides | |\n|---|---|---|---|---|\n")
	for _, k := range kinds() {
		with, at, final := k.value, "all", ""
		if k.word {
			with = strings.TrimSuffix("nothing, or "+with, ", or ")
		}
		if len(k.at) > 0 {
			at = commandList(k.at)
		}
		if k.final {
			final = "yes"
		}
		text := k.text
		for _, o := range k.options {
			text += fmt.Sprintf(" `%s`: %s.", o.name, o.text)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.name, with, at, final, text)
	}
	return b.String()
}

func attributeReference() string {
	var b strings.Builder
	b.WriteString("| attribute | type | known | |\n|---|---|---|---|\n")
	for i := range attributes {
		a := &attributes[i]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", a.name, typeText(a), a.since(), a.text)
	}
	return b.String()
}

// typeText names the type of an attribute for people.
func typeText(a *attribute) string {
	switch a.kind.Kind() {
	case types.ListKind:
		return "list of text"
	case types.MapKind:
		return "lists of text by name"
	case types.IntKind:
		return "number"
	case types.BoolKind:
		return "true or false"
	case types.TimestampKind:
		return "time"
	}
	return "text"
}
