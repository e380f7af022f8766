package config

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestTLSMode(t *testing.T) {
	for _, c := range []struct {
		l    Listener
		want ListenerTLS
	}{
		{Listener{}, ListenerClear},
		{Listener{TLSCertificate: "c", TLSKey: "k"}, ListenerStartTLS},
		{Listener{TLSCertificate: "c", TLSKey: "k", TLS: ListenerImplicit}, ListenerImplicit},
		{Listener{TLSCertificate: "c", TLSKey: "k", TLS: ListenerClear}, ListenerClear},
	} {
		if got := c.l.TLSMode(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.l, got, c.want)
		}
	}
}

// TestCiphers: suites that old devices need come with the versions that they need.
func TestCiphers(t *testing.T) {
	const old, own = CipherSuite(tls.TLS_RSA_WITH_AES_128_CBC_SHA), CipherSuite(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	if got := (&Listener{TLSMinVersion: tls.VersionTLS12}).Ciphers(); got != nil {
		t.Errorf("by default %v", got)
	}
	if got := (&Listener{TLSMinVersion: tls.VersionTLS10}).Ciphers(); !slices.Contains(got, old) || !slices.Contains(got, own) || slices.Contains(got, CipherSuite(tls.TLS_AES_128_GCM_SHA256)) {
		t.Errorf("for old devices %v", got)
	}
	if got := (&Listener{TLSMinVersion: tls.VersionTLS10, TLSCiphers: []CipherSuite{own}}).Ciphers(); !slices.Equal(got, []CipherSuite{own}) {
		t.Errorf("chosen %v", got)
	}
}

func TestUnsafe(t *testing.T) {
	c := []CipherSuite{CipherSuite(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), CipherSuite(tls.TLS_RSA_WITH_RC4_128_SHA)}
	for _, test := range []struct {
		l    Listener
		want string
	}{
		{Listener{TLSCertificate: "c", TLSMinVersion: tls.VersionTLS12}, ""},
		{Listener{TLSMinVersion: tls.VersionTLS10, TLSCiphers: c}, ""}, // does no TLS
		{Listener{TLSCertificate: "c", TLSMinVersion: tls.VersionTLS11}, "takes TLS 1.1, which can be broken"},
		{Listener{TLSCertificate: "c", TLSMinVersion: tls.VersionTLS12, TLSCiphers: c}, "takes TLS_RSA_WITH_RC4_128_SHA, which can be broken"},
		{Listener{AuthWithoutTLS: true, Auth: AuthOff}, ""},
		{Listener{AuthWithoutTLS: true, Auth: AuthRequired}, "takes passwords in clear, which everybody on the way can read"},
		{Listener{BareNewline: BareNewlineRepair}, "repairs bare newlines for everybody"},
	} {
		if got := strings.Join(test.l.Unsafe(), "; "); got != test.want {
			t.Errorf("%+v: %q, want %q", test.l, got, test.want)
		}
	}
}

func TestReach(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:25": false, "10.0.0.1:25": false, "[fd00::1]:25": false, "[::1]:25": false,
		"0.0.0.0:25": true, "[::]:25": true, "192.0.2.1:25": true, "[2001:db8::1]:25": true,
	} {
		l := Listener{Address: netip.MustParseAddrPort(address)}
		if got := l.ReachedFromOutside(); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

func TestAdds(t *testing.T) {
	for _, c := range []struct {
		a         Addition
		asMessage bool
		want      bool
	}{
		{AddAsMessage, true, true}, {AddAsMessage, false, false}, {AddAlways, false, true}, {AddNever, true, false},
	} {
		if got := c.a.Adds(c.asMessage); got != c.want {
			t.Errorf("%s, %v: %v", c.a, c.asMessage, got)
		}
	}
}
