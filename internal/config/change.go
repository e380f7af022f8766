package config

import (
	"fmt"
	"slices"
)

// Change is a setting that differs between two configurations.
type Change struct {
	// Key is the setting, such as "listener.address"; "listener" or "handler" for a
	// whole one that came or went.
	Key string `json:"key"`
	// Name is that of the listener or handler the setting is of; empty for others.
	Name string `json:"name,omitempty"`
	// Old and New are the values as TOML; of a secret, where it is kept. Of a
	// listener that came or went one is its address, of a handler its command, and
	// the other is empty.
	Old    Value  `json:"old,omitempty"`
	New    Value  `json:"new,omitempty"`
	Effect Effect `json:"effect"`
}

// String returns the change in a line.
func (c Change) String() string {
	key := c.Key
	if c.Name != "" {
		key += " of " + c.Name
	}
	switch {
	case c.Old == "":
		return fmt.Sprintf("%s: new, %s", key, c.New)
	case c.New == "":
		return fmt.Sprintf("%s: gone, was %s", key, c.Old)
	}
	return fmt.Sprintf("%s: %s is now %s", key, c.Old, c.New)
}

// Changed returns what differs between two configurations, in the order of the
// table; listeners and handlers are the same if they have the same name. What
// changed in a file that a setting names, such as a certificate, is not seen.
func Changed(before, after *Config) []Change {
	var changes []Change
	for i := range sections {
		s := &sections[i]
		if !s.repeated() {
			changes = append(changes, s.differences("", fields{config: before}, fields{config: after})...)
			continue
		}
		changes = append(changes, s.changedTables(s.tables.each(before), s.tables.each(after))...)
	}
	return changes
}

// changedTables compares the tables of a repeated section.
func (s *section) changedTables(before, after []member) []Change {
	var changes []Change
	known := s.example().value
	for _, t := range after {
		if old, was := find(before, t.name); was {
			changes = append(changes, s.differences(t.name, old, t.fields)...)
			continue
		}
		changes = append(changes, Change{Key: s.name, Name: t.name, New: known.show(t.fields), Effect: AtReload})
	}
	for _, t := range before {
		if _, is := find(after, t.name); !is {
			changes = append(changes, Change{Key: s.name, Name: t.name, Old: known.show(t.fields), Effect: AtReload})
		}
	}
	return changes
}

func find(tables []member, name string) (f fields, found bool) {
	i := slices.IndexFunc(tables, func(t member) bool { return t.name == name })
	if i < 0 {
		return fields{}, false
	}
	return tables[i].fields, true
}

// differences compares the settings of one table.
func (s *section) differences(name string, before, after fields) []Change {
	var changes []Change
	for _, row := range s.settings() {
		if was, is := row.value.show(before), row.value.show(after); was != is {
			changes = append(changes, Change{Key: row.key, Name: name, Old: was, New: is, Effect: row.effect})
		}
	}
	return changes
}

// KeepUntilRestart gives next the values that a running server cannot change,
// those of AtRestart, as they are in running.
func KeepUntilRestart(running, next *Config) {
	for i := range settings {
		if s := &settings[i]; s.effect == AtRestart {
			s.value.copy(fields{config: running}, fields{config: next})
		}
	}
}
