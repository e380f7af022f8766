package config

import (
	"fmt"
	"strings"

	"postern/internal/mail"
)

// Effective is a setting with the value that is in force.
type Effective struct {
	Key string `json:"key"`
	// Name is that of the listener or handler the setting is of; empty for
	// settings of tables that are there once.
	Name string `json:"name,omitempty"`
	// Value is as TOML; of a secret, where it is kept. It is empty for a
	// default that no value can say, which Default then does in words.
	Value   Value  `json:"value,omitempty"`
	Default string `json:"default,omitempty"`
	// Place is where it was set; the zero Place if it was not.
	Place mail.Place `json:"place,omitzero"`
	// IncludedFrom is the first file, if Place is in one that it includes.
	IncludedFrom string `json:"included_from,omitempty"`
	// Secret says where the server gets the secret: "file", "env" or
	// "credential". Empty for settings without one.
	Secret SecretSource `json:"secret,omitempty"`
	Effect Effect       `json:"effect"`
}

// IsSet reports whether the setting was set, in a file.
func (e *Effective) IsSet() bool { return e.Place != mail.Place{} }

// Origin says where the value comes from.
func (e *Effective) Origin() string {
	if !e.IsSet() {
		return "default"
	}
	origin := e.Place.String()
	if e.IncludedFrom != "" {
		origin += ", included from " + e.IncludedFrom
	}
	switch e.Secret {
	case SecretFile:
		origin += "; the secret is in that file, and not shown"
	case SecretEnv:
		origin += "; the secret is in the environment, and not shown"
	case SecretCredential:
		origin += "; the secret is a credential of systemd, and not shown"
	}
	return origin
}

// Effective returns every setting, those of each listener and handler apart, in
// the order of the table.
func (c *Config) Effective() []Effective {
	var list []Effective
	for i := range sections {
		s := &sections[i]
		if !s.repeated() {
			list = append(list, c.effective(s, fields{config: c, places: c.Places}, "")...)
			continue
		}
		for _, t := range s.tables.each(c) {
			list = append(list, c.effective(s, t.fields, t.name)...)
		}
	}
	return list
}

func (c *Config) effective(s *section, f fields, name string) []Effective {
	defaults := defaultFields()
	var list []Effective
	for _, row := range s.settings() {
		e := Effective{Key: row.key, Name: name, Value: row.value.show(f), Place: f.places[row.key], Effect: row.effect}
		if !e.IsSet() && row.byDefault != "" && e.Value == row.value.show(defaults) {
			e.Value, e.Default = "", plain(row.byDefault)
		}
		if e.IsSet() && len(c.Files) > 0 && e.Place.File != c.Files[0] {
			e.IncludedFrom = c.Files[0]
		}
		if row.value.kind == secretKind && e.Value != "" {
			source, _, _ := strings.Cut(strings.Trim(string(e.Value), `"`), ":")
			e.Secret = SecretSource(source)
		}
		if row.key == "admin_socket" {
			e.Value = Value(filePath.show(c.Socket()))
		}
		list = append(list, e)
	}
	return list
}

// WriteEffective returns settings as a file that loads and means the same, each
// with its origin in a comment. What has no value, and what was included, is a
// comment as a whole.
func WriteEffective(list []Effective) string {
	var b strings.Builder
	var table, of string
	for i := range list {
		e := &list[i]
		row := findSetting(e.Key)
		in, name := row.split()
		if in != table || e.Name != of {
			table, of = in, e.Name
			b.WriteString("\n" + findSection(in).header() + "\n")
		}
		switch {
		case e.Value == "":
			fmt.Fprintf(&b, "# %s: %s\n", name, e.Default)
		case row.perFile:
			fmt.Fprintf(&b, "# %-40s # %s\n", name+" = "+string(e.Value), e.Origin())
		default:
			fmt.Fprintf(&b, "%-42s # %s\n", name+" = "+string(e.Value), e.Origin())
		}
	}
	return b.String()
}
