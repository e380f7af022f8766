package route

import (
	"testing"
)

// TestSameWay: the order of the hops is that of chance, all else must be
// equal.
func TestSameWay(t *testing.T) {
	at := func(host string) Hop { return Hop{Lane: Lane{Host: host, Port: 25}} }
	a, b, c := at("a.test"), at("b.test"), at("c.test")
	secret := a
	secret.Login = Password{User: "somebody"}
	one := Route{Site: "site", Hops: []Hop{a, b}}
	for name, x := range map[string]struct {
		other Route
		want  bool
	}{
		"itself":            {one, true},
		"shuffled":          {Route{Site: "site", Hops: []Hop{b, a}}, true},
		"another site":      {Route{Site: "other", Hops: []Hop{a, b}}, false},
		"one less":          {Route{Site: "site", Hops: []Hop{a}}, false},
		"one more":          {Route{Site: "site", Hops: []Hop{a, b, c}}, false},
		"another":           {Route{Site: "site", Hops: []Hop{a, c}}, false},
		"other credentials": {Route{Site: "site", Hops: []Hop{secret, b}}, false},
	} {
		if got, back := one.SameWay(x.other), x.other.SameWay(one); got != x.want || back != x.want {
			t.Errorf("%s: %t, and the other way round %t", name, got, back)
		}
	}
}
