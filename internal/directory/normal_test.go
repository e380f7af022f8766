package directory

import (
	"testing"

	"postern/internal/mail"
)

// Logins are compared as RFC 8265 3.3 has it, and stay what they are when that is done again.
func TestLogin(t *testing.T) {
	for in, want := range map[string]string{
		"joe": "joe", "Joe@Example.COM": "joe@example.com", "JÖRG": "jörg", "Jo\u0308rg": "jörg", "ｊｏｅ": "joe", "σ": "σ",
		"": "", "a b": "", "a\tb": "", "a\x00b": "", "\xff": "", "\u2163": "",
	} {
		got, err := Login(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("Login(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestAddressKey(t *testing.T) {
	for in, want := range map[string]string{
		"Joe@Example.COM": "joe@example.com", `"Joe"@example.com`: "joe@example.com", `"a B"@example.com`: `"a b"@example.com`,
		"joe@bücher.example": "joe@xn--bcher-kva.example", "JÖRG@example.com": "jörg@example.com", `"a..b"@example.com`: `"a..b"@example.com`,
		"joe@[192.0.2.1]": "joe@[192.0.2.1]", "joe@[IPv6:2001:DB8::1]": "joe@[ipv6:2001:db8::1]",
		"joe": "", "@example.com": "", "postmaster": "", "joe@": "", "joe@-a.example": "", "<joe@example.com>": "",
	} {
		got, err := AddressKey(in)
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("AddressKey(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestSubject(t *testing.T) {
	for in, want := range map[string]string{
		"address:192.0.2.1": "address:192.0.2.1", "address:192.0.2.1/24": "address:192.0.2.0/24", "address:::ffff:192.0.2.1": "address:192.0.2.1",
		"address:2001:db8::1/64": "address:2001:db8::/64", "address:2001:DB8::1": "address:2001:db8::1", "account:JOE": "account:joe",
		"address:192.0.2.1/32": "address:192.0.2.1", "address:fe80::1%eth0": "", "address:joe": "", "account:": "", "joe": "", "": "",
	} {
		got, err := Subject(in)
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("Subject(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

// A look-up makes of an address what AddressKey makes of its text; the key stays what it
// is when that is done again.
func FuzzKeys(f *testing.F) {
	for _, s := range []string{"joe@example.com", `"A b"@Example.com`, "JÖRG@bücher.example", `"a..b"@x`, `".a"@x`, "a@[192.0.2.1]", "İ@x", "ß@x", "Ǆ@x", "K@x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if login, err := Login(s); err == nil {
			again, err := Login(login)
			if err != nil || again != login {
				t.Errorf("login %q is %q when it is read again: %v", login, again, err)
			}
		}
		if subject, err := Subject(s); err == nil {
			if again, err := Subject(subject); err != nil || again != subject {
				t.Errorf("subject %q is %q when it is read again: %v", subject, again, err)
			}
		}
		key, err := AddressKey(s)
		if err != nil {
			return
		}
		if again, err := AddressKey(key); err != nil || again != key {
			t.Errorf("key %q is %q when it is read again: %v", key, again, err)
		}
		a, err := mail.ParseAddress(s)
		if err != nil {
			t.Fatalf("%q has a key, and is no address: %v", s, err)
		}
		if looked, ok := appendAddress(nil, a); !ok || string(looked) != key {
			t.Errorf("%q is looked up as %q, its key is %q", s, looked, key)
		}
	})
}
