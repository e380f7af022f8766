package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

func TestSourceNames(t *testing.T) {
	if diff := cmp.Diff([]string{"directory", "corp", "company", "intranet"}, load(t, everything).SourceNames()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"directory"}, load(t, minimal).SourceNames()); diff != "" {
		t.Errorf("without tables (-want +got):\n%s", diff)
	}
}

func TestServices(t *testing.T) {
	grants := []Grant{{Service: ServiceSubmit}, {Service: ServiceRelay, Group: "senders"}, {Service: ServicePOP, Group: "readers"}}
	for _, c := range []struct {
		groups []string
		want   mail.Services
	}{
		{nil, mail.Services{Submit: true}},
		{[]string{"Senders"}, mail.Services{Submit: true}}, // another name
		{[]string{"others", "senders"}, mail.Services{Submit: true, Relay: true}},
		{[]string{"senders", "readers"}, mail.Services{Submit: true, Relay: true, POP: true}},
	} {
		if got := Services(grants, c.groups); got != c.want {
			t.Errorf("in groups %q: %+v, want %+v", c.groups, got, c.want)
		}
	}
	if got := Services(nil, []string{"senders"}); got != (mail.Services{}) {
		t.Errorf("without grants: %+v", got)
	}
}

// TestWebURL: secrets are shown to nobody in clear but to this machine.
func TestWebURL(t *testing.T) {
	for url, good := range map[string]bool{
		"https://a.example/":              true,
		"https://a.example:8443/x?y=z":    true,
		"http://127.0.0.1/":               true,
		"http://127.9.8.7:81/x":           true,
		"http://[::1]:8080/":              true,
		"http://LOCALHOST/":               true,
		"http://localhost.example.com/":   false,
		"http://127.0.0.1.example.com/":   false,
		"http://192.0.2.1/":               false,
		"http://0.0.0.0/":                 false,
		"http://[::ffff:192.0.2.1]/":      false,
		"https://user:hunter2@a.example/": false,
		"https://a.example/#x":            false,
		"https://":                        false,
		"https://:443/":                   false,
		"ftp://a.example/":                false,
		"//a.example/":                    false,
		"https://a.example/\x7f":          false,
	} {
		if _, wrong := webURL.read(node{kind: nodeText, text: url}); (wrong == nil) != good {
			t.Errorf("%q: %+v, want good %v", url, wrong, good)
		}
	}
	if _, wrong := issuerURL.read(node{kind: nodeText, text: "https://a.example/?x"}); wrong == nil {
		t.Error("an issuer with a query is taken")
	}
}
