package mail

import (
	"errors"
	"strings"
	"testing"
)

func TestParseHostPort(t *testing.T) {
	for in, want := range map[string]string{
		"relay.example.com":         "relay.example.com:25",
		"Relay.Example.COM:587":     "relay.example.com:587",
		"relay":                     "relay:25",
		"192.0.2.1":                 "192.0.2.1:25",
		"192.0.2.1:2525":            "192.0.2.1:2525",
		"[2001:db8::1]":             "[2001:db8::1]:25",
		"[2001:DB8:0::1]:65535":     "[2001:db8::1]:65535",
		"xn--bcher-kva.example:465": "xn--bcher-kva.example:465",
	} {
		got, err := ParseHostPort(in, 25)
		if err != nil || got.String() != want {
			t.Errorf("ParseHostPort(%q) = %v, %v; want %s", in, got, err, want)
		}
	}
}

func TestParseHostPortRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "no host",
		":25":                  "no host",
		"relay.example.com:":   "no port after the colon",
		"relay:0":              "from 1 to 65535",
		"relay:65536":          "from 1 to 65535",
		"relay:+25":            "from 1 to 65535",
		"relay:smtp":           "from 1 to 65535",
		"2001:db8::1":          "in brackets, [2001:db8::1]",
		"[2001:db8::1":         "bracket not closed",
		"[192.0.2.1]:25":       "brackets are for IPv6",
		"[2001:db8::1]25":      "not a colon and a port",
		"[2001:db8::1]:":       "not a colon and a port",
		"192.0.2.256":          "neither an IPv4 address nor a name",
		"bücher.example":       "xn--",
		"smtp://relay.example": "",
		"relay..example":       "empty label",
	} {
		_, err := ParseHostPort(in, 25)
		if !errors.Is(err, ErrHostPort) || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseHostPort(%q) fails with %v, want ErrHostPort with %q", in, err, want)
		}
	}
}

func TestHostPortIP(t *testing.T) {
	if ip, ok := (HostPort{Host: "2001:db8::1"}).IP(); !ok || ip.String() != "2001:db8::1" {
		t.Errorf("an address: %v, %v", ip, ok)
	}
	if ip, ok := (HostPort{Host: "relay.example"}).IP(); ok {
		t.Errorf("a name: %v, %v", ip, ok)
	}
}
