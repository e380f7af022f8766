package config

import "testing"

func TestMeeting(t *testing.T) {
	set := func(list ...string) *patternSet {
		var all []Text
		for _, s := range list {
			all = append(all, Text{Text: s})
		}
		s := newPatternSet(all)
		return &s
	}
	for _, c := range []struct {
		a, b *patternSet
		left int // of 1000
		want bool
	}{
		{set("joe@a.org"), set("ann@a.org", "JOE@a.org"), 999, true},
		{set("joe@a.org"), set("ann@a.org"), 999, false},
		{set("*@a.org"), set("joe@a.org"), 991, true},
		{set("joe@a.org"), set("*@a.org"), 991, true},
		{set("*@a.org"), set("joe@b.org"), 991, false},
		{set("j*@a.org"), set("*e@a.org"), 936, true},
		{set("j*@a.org"), set("k*@a.org"), 936, false},
		{set(), set("*"), 1000, false},
	} {
		m := meeting{left: 1000}
		if got := m.sets(c.a, c.b); got != c.want || m.left != c.left {
			t.Errorf("%v and %v: %v, %d left", c.a, c.b, got, m.left)
		}
		m = meeting{left: 0}
		if m.sets(c.a, c.b) {
			t.Errorf("%v and %v are compared although enough was", c.a, c.b)
		}
	}
}
