package config

import (
	"fmt"
	"slices"
)

// Change is a setting that differs between two configurations.
type Change struct {
	// Key is the setting, such as "listener.address"; "listener" for a whole
	// listener that came or went.
	Key string `json:"key"`
	// Listener is the name of the listener the setting is of; empty for others.
	Listener string `json:"listener,omitempty"`
	// Old and New are the values as TOML; of a secret, where it is kept. Of a
	// listener that came or went one is its address, the other is empty.
	Old    Value  `json:"old,omitempty"`
	New    Value  `json:"new,omitempty"`
	Effect Effect `json:"effect"`
}

// String returns the change in a line.
func (c Change) String() string {
	key := c.Key
	if c.Listener != "" {
		key += " of " + c.Listener
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
// table; listeners are the same if they have the same name. What changed in a
// file that a setting names, such as a certificate, is not seen.
func Changed(before, after *Config) []Change {
	changes := differences("", fields{config: before}, fields{config: after})
	for i := range after.Listeners {
		l := &after.Listeners[i]
		if old := before.listener(l.Name); old != nil {
			changes = append(changes, differences(l.Name, fields{listener: old}, fields{listener: l})...)
			continue
		}
		changes = append(changes, Change{Key: "listener", Listener: l.Name, New: Value(listenAddress.show(l.Address)), Effect: AtReload})
	}
	for i := range before.Listeners {
		if l := &before.Listeners[i]; after.listener(l.Name) == nil {
			changes = append(changes, Change{Key: "listener", Listener: l.Name, Old: Value(listenAddress.show(l.Address)), Effect: AtReload})
		}
	}
	return changes
}

// listener returns the listener of that name, or nil.
func (c *Config) listener(name string) *Listener {
	i := slices.IndexFunc(c.Listeners, func(l Listener) bool { return l.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Listeners[i]
}

// differences compares all settings of listeners, or all others.
func differences(listener string, before, after fields) []Change {
	var changes []Change
	for i := range settings {
		s := &settings[i]
		if s.table().repeated != (listener != "") {
			continue
		}
		if was, is := s.value.show(before), s.value.show(after); was != is {
			changes = append(changes, Change{Key: s.key, Listener: listener, Old: was, New: is, Effect: s.effect})
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
