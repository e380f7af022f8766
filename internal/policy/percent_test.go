package policy

import (
	"net/netip"
	"strings"
	"testing"

	"postern/internal/mail"
)

// TestRouted: what an address stands for, with percent_routing and without (RFC 1123
// 5.2.16).
func TestRouted(t *testing.T) {
	e := compileAll(t, strings.Replace(head, "[[listener]]\n", "[[listener]]\npercent_routing = true\n", 1))
	for _, c := range []struct{ to, want string }{
		{"joe%example.org@mail.postern.net", "joe@example.org"},
		{"joe%example.org@MAIL.postern.NET", "joe@example.org"},
		{"joe%example.org@example.com", "joe%example.org@example.com"},
		{"joe%a.example%b.example@mail.postern.net", "joe%a.example@b.example"},
		{"joe%example.org%mail.postern.net@mail.postern.net", "joe@example.org"},
		{"joe%mail.postern.net@mail.postern.net", "joe@mail.postern.net"},
		{"joe@mail.postern.net", "joe@mail.postern.net"},
		{"%example.org@mail.postern.net", "%example.org@mail.postern.net"},
		{"joe%@mail.postern.net", "joe%@mail.postern.net"},
		{"joe%-x@mail.postern.net", "joe%-x@mail.postern.net"},
		{`"a@b%example.org"@mail.postern.net`, `"a@b"@example.org`},
		{`"joe%[192.0.2.1]"@mail.postern.net`, "joe@[192.0.2.1]"},
		{`"a@b"@mail.postern.net`, `"a@b"@mail.postern.net`},
		{"example.org!joe@mail.postern.net", "example.org!joe@mail.postern.net"},
		{"postmaster", "postmaster"},
	} {
		to, err := mail.ParseAddress(c.to)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Routed("smtp", to, netip.Addr{}); got.String() != c.want {
			t.Errorf("%s stands for %s, want %s", to, got, c.want)
		}
		for _, without := range []string{"inside", "sendmail", "none"} {
			if got := e.Routed(without, to, netip.Addr{}); got != to {
				t.Errorf("%s at %s stands for %s", to, without, got)
			}
		}
	}
}
