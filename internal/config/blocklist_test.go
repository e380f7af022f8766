package config

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseBlockAnswer(t *testing.T) {
	for text, want := range map[string]struct {
		counts, not string
		weight      int
	}{
		"127.0.0.2":       {"127.0.0.2", "127.0.0.1 127.0.0.3 ::1 ::ffff:127.0.0.2", 0},
		"127.0.0.1":       {"127.0.0.1", "127.0.0.2", 0},
		"127.0.0.2-11=3":  {"127.0.0.2 127.0.0.11", "127.0.0.1 127.0.0.12 127.0.1.5", 3},
		"127.0.0.2-2":     {"127.0.0.2", "127.0.0.1 127.0.0.3", 0},
		"127.0.0.4/30=1":  {"127.0.0.4 127.0.0.7", "127.0.0.3 127.0.0.8", 1},
		"127.0.0.0/16":    {"127.0.0.0 127.0.255.255", "127.1.0.0", 0},
		"&0.0.0.6=1000":   {"127.0.0.2 127.0.0.4 127.0.0.255", "127.0.0.1 127.0.0.8", 1000},
		"&0.1.0.0":        {"127.1.0.0", "127.0.1.0", 0},
		"127.255.254.255": {"127.255.254.255", "127.255.255.0", 0},
	} {
		a, err := ParseBlockAnswer(text)
		if err != nil || a.Weight != want.weight || a.String() != text {
			t.Errorf("%q: %+v, %v", text, a, err)
			continue
		}
		for _, ip := range strings.Fields(want.counts) {
			if !a.Counts(netip.MustParseAddr(ip)) {
				t.Errorf("%q: %s does not count", text, ip)
			}
		}
		for _, ip := range strings.Fields(want.not) {
			if a.Counts(netip.MustParseAddr(ip)) {
				t.Errorf("%q: %s counts", text, ip)
			}
		}
	}
}

func TestParseBlockAnswerWrong(t *testing.T) {
	const never = "says that something is wrong"
	for text, want := range map[string]string{
		"": "is not an answer", "x": "is not an answer", "2": "is not an answer", "::1": "is not an answer", "::1/64": "is not an answer",
		"127.0.0.2-1": "is not an answer", "127.0.0.2-256": "is not an answer", "127.0.0.2-127.0.0.4": "is not an answer", "127.0.0.5/30": "is not an answer",
		"&0.0.0.0": "is not an answer", "&127.0.0.2": "is not an answer", "&2": "is not an answer", "&::2": "is not an answer",
		"127.0.0.2=0": "is not a weight", "127.0.0.2=1001": "is not a weight", "127.0.0.2=x": "is not a weight", "127.0.0.2=": "is not a weight", "127.0.0.2=1=2": "is not a weight",
		"128.0.0.1": never, "127.255.255.254": never, "127.255.255.0/24": never, "127.0.0.0/8": never, "0.0.0.0/0": never,
	} {
		if _, err := ParseBlockAnswer(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestIsBlockAnswer(t *testing.T) {
	for ip, want := range map[string]bool{
		"127.0.0.2": true, "127.0.0.1": true, "127.255.254.255": true,
		"127.255.255.254": false, "127.255.255.0": false, "128.0.0.0": false, "126.255.255.255": false, "::1": false,
	} {
		if got := IsBlockAnswer(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v, want %v", ip, got, want)
		}
	}
}
