package config

import (
	"slices"
	"strings"
	"testing"
)

// TestListNames: lists stand beside values, and are shown with them.
func TestListNames(t *testing.T) {
	c := load(t, everything)
	l := &c.Listeners[0]
	for _, x := range []struct {
		key, want string
		names     []Text
	}{
		{"listener.trust", `["10.0.0.0/8", "192.0.2.7/32", "192.0.2.8/32", "list:lan"]`, l.TrustLists},
		{"listener.near", `["near.example", "list:partners"]`, l.NearLists},
		{"listener.reject_clients", `["10.9.0.0/16", "list:lan"]`, l.RejectLists},
	} {
		list := c.Effective()
		at := slices.IndexFunc(list, func(e Effective) bool { return e.Key == x.key && e.Name == "in" })
		if got := string(list[at].Value); got != x.want {
			t.Errorf("%s is shown as %s, want %s", x.key, got, x.want)
		}
		if len(x.names) != 1 || x.names[0].Place.Line == 0 {
			t.Errorf("%s: %+v", x.key, x.names)
		}
	}
	if n := len(c.Listeners[1].TrustLists); n != 0 {
		t.Errorf("the other listener has %d lists", n)
	}
	alone := load(t, strings.Replace(everything, `near = ["list:partners", "Near.example"]`, `near = ["list:partners"]`, 1))
	if got := findSetting("listener.near").value.show(fields{listener: &alone.Listeners[0]}); got != `["list:partners"]` {
		t.Errorf("a list alone is shown as %s", got)
	}
	row := findSetting("listener.trust").value
	to := &Listener{}
	row.copy(fields{listener: l}, fields{listener: to})
	if row.show(fields{listener: to}) != row.show(fields{listener: l}) {
		t.Error("a copy is another value")
	}
	row.reset(fields{listener: to})
	if len(to.TrustLists) > 0 || len(to.Trust) != 2 {
		t.Errorf("reset to %v and %v", to.Trust, to.TrustLists)
	}
}
