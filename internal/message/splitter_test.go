package message

import (
	"slices"
	"strings"
	"testing"
)

func TestBareFinder(t *testing.T) {
	for _, tt := range []struct {
		pieces []string
		want   bool
	}{
		{[]string{"a\r\n", "b\r\n"}, false},
		{[]string{"\r\n", "\r\n"}, false},
		{[]string{"a", "b\r\n"}, false},
		{[]string{"a\r", "\n"}, false},
		{[]string{"a", "\r", "\n", "b\r\n"}, false},
		{[]string{"a\r", "\n", "\n"}, true},
		{[]string{"a\n"}, true},
		{[]string{"\n"}, true},
		{[]string{"a\rb\r\n"}, true},
		{[]string{"\ra\r\n"}, true},
		{[]string{"a\r\r\n"}, true},
		{[]string{"a\r", "b\r\n"}, true},
		{[]string{"a\r", "\r\n"}, true},
		{[]string{"a", "\n"}, true},
		{[]string{""}, false},
	} {
		var f bareFinder
		got := false
		for _, piece := range tt.pieces {
			got = f.find([]byte(piece)) || got
		}
		if got != tt.want {
			t.Errorf("%q: %v, want %v", tt.pieces, got, tt.want)
		}
	}
}

func TestDelimiters(t *testing.T) {
	var d delimiters
	for _, tt := range []struct {
		boundaries []string
		alike      bool
	}{{[]string{"b"}, false}, {[]string{"a", "c"}, false}, {[]string{"bb"}, true}, {[]string{"b"}, true}, {[]string{"\xff"}, false}, {[]string{"cc", "ca"}, true}} {
		if _, alike := d.push(tt.boundaries...); alike != tt.alike {
			t.Errorf("%q: alike %v", tt.boundaries, alike)
		}
	}
	match := func(line string) []int {
		t.Helper()
		found, looked := d.match([]byte(line))
		if looked > len(line) {
			t.Errorf("%q: looked at %d octets", line, looked)
		}
		var levels []int
		for _, f := range found {
			levels = append(levels, f.level)
		}
		return levels
	}
	for line, want := range map[string][]int{
		"--": nil, "--b": {3, 0}, "--bb": {3, 2, 0}, "--bbb": {3, 2, 0}, "--a": {1}, "--ca": {5, 1}, "--\xff\xff": {4}, "--d": nil, "-b": nil, "": nil,
	} {
		if got := match(line); !slices.Equal(got, want) {
			t.Errorf("%q: levels %v, want %v", line, got, want)
		}
	}
	d.pop()
	d.pop()
	if !d.abandon() {
		t.Error("no room for one")
	}
	if got := match("--b"); !slices.Equal(got, []int{0, abandoned}) {
		t.Errorf("levels %v", got)
	}
	if got := match("--ca"); !slices.Equal(got, []int{1}) {
		t.Errorf("levels %v", got)
	}
	for range maxAbandoned - 1 {
		d.push("x" + strings.Repeat("y", len(d.sorted)))
		if !d.abandon() {
			t.Fatalf("no room for %d", d.abandoned)
		}
	}
	d.push("z")
	if d.abandon() {
		t.Errorf("room for %d", d.abandoned)
	}
}
