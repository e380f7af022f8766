package config

import (
	"fmt"
	"slices"
	"strings"
)

// Description is all there is to know of a setting.
type Description struct {
	Key      string   `json:"key"`
	Type     string   `json:"type"`
	Range    string   `json:"range,omitempty"`
	Advised  string   `json:"advised,omitempty"`
	Default  string   `json:"default,omitempty"`
	Required bool     `json:"required,omitempty"`
	Effect   Effect   `json:"effect"`
	Since    string   `json:"since"`
	See      []string `json:"see,omitempty"`
	Text     string   `json:"text"`
	Words    []Word   `json:"words,omitempty"`
}

// Word is one of the words that a setting can be.
type Word struct {
	Word string `json:"word"`
	Text string `json:"text"`
}

// Describe returns what there is to know of the settings that a name stands
// for: a setting, such as "listener.trust"; a table, such as "delivery"; the
// begin of either, such as "listener.max"; or the last part of a setting, such
// as "trust". Without a name it returns all. It fails for a name that stands
// for none, and says which one was perhaps meant.
func Describe(name string) ([]Description, error) {
	rows := named(name)
	if len(rows) == 0 {
		return nil, noSuchName(name)
	}
	defaults := defaultFields()
	var list []Description
	for _, s := range rows {
		d := Description{
			Key: s.key, Type: s.value.kind, Range: s.value.limits, Advised: plain(s.value.advised), Required: s.required,
			Effect: s.effect, Since: s.release(), See: s.see, Text: plain(s.prose()),
		}
		if !s.required {
			d.Default = plain(s.defaultText(defaults))
		}
		for _, o := range s.value.options {
			d.Words = append(d.Words, Word{o.word, plain(o.text)})
		}
		list = append(list, d)
	}
	return list, nil
}

// named returns the settings that a name stands for.
func named(name string) []*setting {
	if s := findSetting(name); s != nil {
		return []*setting{s}
	}
	begin := name
	if s := findSection(strings.Trim(name, "[]")); s != nil && s.name != "" {
		begin = s.name + "."
	}
	var begun, ended []*setting
	for i := range settings {
		s := &settings[i]
		if strings.HasPrefix(s.key, begin) {
			begun = append(begun, s)
		}
		if _, last := s.split(); last == name {
			ended = append(ended, s)
		}
	}
	if len(begun) > 0 {
		return begun
	}
	return ended
}

func noSuchName(name string) error {
	names := sectionNames()
	for i := range settings {
		_, last := settings[i].split()
		names = append(names, settings[i].key, last)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Errorf("there is no setting or table %q (%s)", clip(name), didYouMean(near))
	}
	return fmt.Errorf("there is no setting or table %q; the tables are %s", clip(name), strings.Join(sectionNames(), ", "))
}

// WriteDescription returns what there is to know of one setting as plain text.
// Of several it returns a line for each, below the prose of their table if they
// are all of it.
func WriteDescription(list []Description) string {
	if len(list) == 1 {
		return list[0].write()
	}
	var b strings.Builder
	if s := findSetting(list[0].Key).table(); s.name != "" && len(list) == len(s.settings()) && !slices.ContainsFunc(list, func(d Description) bool { return findSetting(d.Key).table() != s }) {
		fmt.Fprintf(&b, "%s\n\n", s.header())
		writeWrapped(&b, "  ", plain(s.prose()))
		b.WriteString("\n")
	}
	for _, d := range list {
		value := d.Default
		if d.Required {
			value = "required"
		}
		fmt.Fprintf(&b, "  %-40s %s\n", d.Key, value)
	}
	return b.String()
}

func (d *Description) write() string {
	var b strings.Builder
	row := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-14s%s\n", label, text)
		}
	}
	fmt.Fprintln(&b, d.Key)
	row("type", d.Type)
	row("range", d.Range)
	row("advised", d.Advised)
	row("default", d.Default)
	if d.Required {
		row("default", "required")
	}
	row("takes effect", "at "+string(d.Effect))
	row("since", d.Since)
	row("see also", strings.Join(d.See, ", "))
	b.WriteString("\n")
	writeWrapped(&b, "  ", d.Text)
	for _, w := range d.Words {
		fmt.Fprintf(&b, "\n  %q\n", w.Word)
		writeWrapped(&b, "    ", w.Text)
	}
	return b.String()
}
