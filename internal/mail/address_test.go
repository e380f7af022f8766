package mail

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	tests := []struct {
		in            string
		local, domain string
		out           string // in when empty
	}{
		{in: "joe@example.com", local: "joe", domain: "example.com"},
		{in: "Joe.Bloggs+tag@Example.COM", local: "Joe.Bloggs+tag", domain: "Example.COM"},
		{in: "!#$%&'*+-/=?^_`{|}~@x", local: "!#$%&'*+-/=?^_`{|}~", domain: "x"},
		{in: `"joe"@x`, local: "joe", domain: "x", out: "joe@x"},
		{in: `"a b"@x`, local: "a b", domain: "x"},
		{in: `"a\"b\\c"@x`, local: `a"b\c`, domain: "x"},
		{in: `"a\b"@x`, local: "ab", domain: "x", out: "ab@x"},
		{in: `"a@b"@x`, local: "a@b", domain: "x"},
		{in: `".a..b."@x`, local: ".a..b.", domain: "x"},
		{in: "jörg@bücher.example", local: "jörg", domain: "bücher.example"},
		{in: `"j ö"@x`, local: "j ö", domain: "x"},
		{in: "joe@[192.0.2.1]", local: "joe", domain: "[192.0.2.1]"},
		{in: "joe@[IPv6:2001:db8::1]", local: "joe", domain: "[IPv6:2001:db8::1]"},
		{in: "joe@[ipv6:::ffff:192.0.2.1]", local: "joe", domain: "[ipv6:::ffff:192.0.2.1]"},
		{in: "joe@under_score.example", local: "joe", domain: "under_score.example"},
		{in: "joe@xn--bcher-kva.example", local: "joe", domain: "xn--bcher-kva.example"},
		{in: "postmaster", local: "postmaster"},
		{in: "PostMaster", local: "PostMaster"},
		{in: strings.Repeat("l", MaxLocalPart) + "@x", local: strings.Repeat("l", MaxLocalPart), domain: "x"},
		{in: "a@" + strings.Repeat("d.", 125) + "dd", local: "a", domain: strings.Repeat("d.", 125) + "dd"},
		{in: "a@" + strings.Repeat("d", 63), local: "a", domain: strings.Repeat("d", 63)},
	}
	for _, tt := range tests {
		got, err := ParseAddress(tt.in)
		if want := (Address{tt.local, tt.domain}); err != nil || got != want {
			t.Errorf("ParseAddress(%q) = %#v, %v; want %#v", tt.in, got, err, want)
		}
		if tt.out == "" {
			tt.out = tt.in
		}
		if got.String() != tt.out || got.Path() != "<"+tt.out+">" {
			t.Errorf("%q is written %q and %q", tt.in, got.String(), got.Path())
		}
	}
}

func TestParseAddressRefusals(t *testing.T) {
	for in, want := range map[string]error{
		"":                                       ErrLocalPart,
		"@x":                                     ErrLocalPart,
		".joe@x":                                 ErrLocalPart,
		"joe.@x":                                 ErrLocalPart,
		"joe..b@x":                               ErrLocalPart,
		"joe b@x":                                ErrLocalPart,
		"joe\x00@x":                              ErrLocalPart,
		"<joe@x>":                                ErrLocalPart,
		"joe(c)@x":                               ErrLocalPart,
		`""@x`:                                   ErrLocalPart,
		`"joe@x`:                                 ErrLocalPart,
		`"joe\`:                                  ErrLocalPart,
		`"a` + "\r\n" + `b"@x`:                   ErrLocalPart,
		`"a` + "\x7f" + `"@x`:                    ErrLocalPart,
		`"a\` + "\t" + `"@x`:                     ErrLocalPart,
		`"a\ö"@x`:                                ErrLocalPart,
		"joe":                                    ErrAddressSyntax,
		"postmaster2":                            ErrAddressSyntax,
		`"joe"x@y`:                               ErrAddressSyntax,
		"joe\xff@x":                              ErrAddressSyntax,
		"joe@x\xff":                              ErrAddressSyntax,
		"joe@":                                   ErrDomain,
		"postmaster@":                            ErrDomain,
		"joe@x.":                                 ErrDomain,
		"joe@.x":                                 ErrDomain,
		"joe@x..y":                               ErrDomain,
		"joe@-x":                                 ErrDomain,
		"joe@x-.y":                               ErrDomain,
		"joe@x y":                                ErrDomain,
		"joe@x@y":                                ErrDomain,
		"joe@x>":                                 ErrDomain,
		"joe@x\r\n":                              ErrDomain,
		"joe@" + strings.Repeat("d", 64):         ErrDomain,
		"joe@[192.0.2.1":                         ErrDomain,
		"joe@[192.0.2.256]":                      ErrDomain,
		"joe@[2001:db8::1]":                      ErrDomain,
		"joe@[IPv6:192.0.2.1]":                   ErrDomain,
		"joe@[IPv6:fe80::1%eth0]":                ErrDomain,
		"joe@[IPv6:]":                            ErrDomain,
		"joe@[x-tag:y]":                          ErrDomain,
		strings.Repeat("l", 65) + "@x":           ErrAddressLength,
		"joe@" + strings.Repeat("d.", 125) + "d": ErrAddressLength,
	} {
		if got, err := ParseAddress(in); !errors.Is(err, want) || got != (Address{}) {
			t.Errorf("ParseAddress(%q) = %#v, %v; want %v", in, got, err, want)
		}
	}
}

func TestCheckDomainLength(t *testing.T) {
	domain := strings.Repeat("d.", 127) + "d"
	if err := CheckDomain(domain); err != nil {
		t.Errorf("%d octets: %v", len(domain), err)
	}
	if err := CheckDomain(domain + "d"); !errors.Is(err, ErrAddressLength) {
		t.Errorf("%d octets: %v, want ErrAddressLength", len(domain)+1, err)
	}
	if err := CheckDomain("a.b\xff"); !errors.Is(err, ErrDomain) {
		t.Errorf("not UTF-8: %v, want ErrDomain", err)
	}
}

func TestAddressQuestions(t *testing.T) {
	if a := (Address{}); !a.IsNull() || a.String() != "" || a.Path() != "<>" {
		t.Errorf("the null address: %v, %q", a.IsNull(), a.Path())
	}
	joe := Address{"joe", "Example.COM"}
	if joe.IsNull() || joe.IsPostmaster() || !joe.IsASCII() || joe.Destination() != "example.com" {
		t.Errorf("%v: null %v, postmaster %v, ASCII %v, destination %v", joe, joe.IsNull(), joe.IsPostmaster(), joe.IsASCII(), joe.Destination())
	}
	if !(Address{Local: "PostMaster", Domain: "x"}).IsPostmaster() {
		t.Error("PostMaster@x is not postmaster")
	}
	if a, b := joe.Type(), (Address{"jörg", "x"}).Type(); a != "rfc822" || b != "utf-8" {
		t.Errorf("types %q and %q", a, b)
	}
	if (Address{"jörg", "x"}).IsASCII() || (Address{"joe", "bücher"}).IsASCII() {
		t.Error("an address with an umlaut is ASCII")
	}
}

func TestUTF8Xtext(t *testing.T) {
	for address, want := range map[string]string{
		"joe@example.com":        "joe@example.com",
		"jörg+€@bücher.test":     `j\x{F6}rg\x{2B}\x{20AC}@b\x{FC}cher.test`,
		"\"a b=\\\"\"@x\x01\x7f": `"a\x{20}b\x{3D}\x{5C}""@x\x{01}\x{7F}`,
		"\U0001f600@x":           `\x{1F600}@x`,
	} {
		if got := UTF8Xtext(address); got != want {
			t.Errorf("%q: %s, want %s", address, got, want)
		}
	}
}

func TestAddressLiteralIP(t *testing.T) {
	for domain, want := range map[string]string{
		"[192.0.2.1]": "192.0.2.1", "[IPv6:2001:db8::1]": "2001:db8::1", "[ipv6:2001:DB8::1]": "2001:db8::1",
	} {
		if ip, ok := (Address{"joe", domain}).LiteralIP(); !ok || ip.String() != want {
			t.Errorf("%s: %v, %v; want %s", domain, ip, ok, want)
		}
	}
	for _, domain := range []string{"", "x", "192.0.2.1", "[x]", "[2001:db8::1]"} {
		if ip, ok := (Address{"joe", domain}).LiteralIP(); ok {
			t.Errorf("%q: %v, want none", domain, ip)
		}
	}
}

func TestAddressJSON(t *testing.T) {
	for _, a := range []Address{{}, {"joe", "example.com"}, {"a b", "x"}, {Local: "postmaster"}, {"jörg", "bücher.example"}} {
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		got := Address{"left", "over"}
		if err := json.Unmarshal(text, &got); err != nil || got != a {
			t.Errorf("%#v went as %s and came back as %#v, %v", a, text, got, err)
		}
	}
	var a Address
	if err := json.Unmarshal([]byte(`"joe"`), &a); !errors.Is(err, ErrAddressSyntax) {
		t.Errorf(`"joe": %v, want ErrAddressSyntax`, err)
	}
}

// FuzzAddress: what is accepted can be written and read again, and cannot
// break out of its path.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{
		"joe@example.com", `"a b"@x`, `"a\"b\\"@x`, "postmaster", "jörg@bücher.example", "joe@[192.0.2.1]",
		"joe@[IPv6:2001:db8::1]", `"` + strings.Repeat(`\"`, 64) + `"@x`, "<joe@x>", "", "@", `"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			if a != (Address{}) {
				t.Errorf("ParseAddress(%q) gives %#v beside an error", s, a)
			}
			return
		}
		again, err := ParseAddress(a.String())
		if err != nil || again != a {
			t.Errorf("%q is %#v, written %q, read again %#v, %v", s, a, a.String(), again, err)
		}
		if len(a.String()) > MaxAddress || a.IsNull() {
			t.Errorf("%q is accepted as %q", s, a.String())
		}
		for i := range len(a.String()) {
			if c := a.String()[i]; c < ' ' || c == 0x7f {
				t.Errorf("%q: control character in %q", s, a.String())
			}
		}
	})
}
