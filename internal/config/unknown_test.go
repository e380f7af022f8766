package config

import "testing"

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"address", "address", 0},
		{"adress", "address", 1},
		{"addresss", "address", 1},
		{"adderss", "address", 1}, // two letters swapped
		{"oddress", "address", 1},
		{"kitten", "sitting", 3},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"address", "max_size", "max_errors", "trust"}
	for key, want := range map[string]string{
		"adress":   "address",
		"Max-Size": "max_size",
		"maxsize":  "max_size",
		"truts":    "trust",
		"colour":   "",
		"x":        "",
		"":         "",
	} {
		if got := nearest(key, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", key, got, want)
		}
	}
}
