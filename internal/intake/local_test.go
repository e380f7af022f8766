package intake

import (
	"net/netip"
	"testing"

	"postern/internal/mail"
)

func TestLocal(t *testing.T) {
	local := &Local{
		Names:      []string{"gate.example.com", "mail.example.com", "bücher.example"},
		Addresses:  []netip.Addr{netip.MustParseAddr("203.0.113.5")},
		Postmaster: mail.Address{Local: "admin", Domain: "example.com"},
	}
	connected := netip.MustParseAddr("::ffff:198.51.100.7")
	for _, c := range []struct{ address, want string }{
		{"joe@example.com", "joe@example.com"},
		{"joe@sub.gate.example.com", "joe@sub.gate.example.com"},
		{"postmaster@example.com", "postmaster@example.com"},
		{"joe@[192.0.2.1]", "joe@[192.0.2.1]"},
		{"joe@gate.example.com", ""},
		{"joe@GATE.example.com", ""},
		{"joe@mail.example.com", ""},
		{"joe@bücher.example", ""},
		{"joe@xn--bcher-kva.example", ""},
		{"joe@localhost", ""},
		{"joe@[203.0.113.5]", ""},
		{"joe@[127.0.0.1]", ""},
		{"joe@[127.1.2.3]", ""},
		{"joe@[0.0.0.0]", ""},
		{"joe@[IPv6:::1]", ""},
		{"joe@[IPv6:::ffff:203.0.113.5]", ""},
		{"joe@[198.51.100.7]", ""},
		{"postmaster", "admin@example.com"},
		{"PostMaster", "admin@example.com"},
		{"postmaster@gate.example.com", "admin@example.com"},
		{"postmaster@[198.51.100.7]", "admin@example.com"},
	} {
		address, err := mail.ParseAddress(c.address)
		if err != nil {
			t.Fatalf("%s: %v", c.address, err)
		}
		got := address
		x, err := local.Expand(t.Context(), address, Sending{Origin: &mail.Origin{Local: netip.AddrPortFrom(connected, 25)}})
		if x != nil {
			got = x.Members[0].Address
		}
		if err != nil {
			got = mail.Address{}
		}
		if err != nil && mail.ReplyOf(err).Enhanced != "5.1.1" {
			t.Errorf("%s: refused with %v", c.address, mail.ReplyOf(err))
		}
		if got.String() != c.want {
			t.Errorf("%s goes to %q, want %q", c.address, got, c.want)
		}
	}
}

func TestLocalIgnoresZones(t *testing.T) {
	connected := netip.MustParseAddr("fe80::5%eth0")
	if a := (mail.Address{Local: "joe", Domain: "[IPv6:fe80::5]"}); !new(Local).Is(a, connected) {
		t.Error("the link-local address that a client connected to is not local")
	}
}
