package certs

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/mail"
)

// TestExpiring: each of the times before the end is told, the nearest first, and none at
// which a certificate is renewed in the usual course.
func TestExpiring(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		life, left time.Duration
		days       int
		near       bool
	}{
		{365 * day, 31 * day, 0, false},
		{365 * day, 30 * day, 30, true},
		{365 * day, 14*day + time.Second, 30, true},
		{365 * day, 14 * day, 14, true},
		{365 * day, 3 * day, 3, true},
		{365 * day, 1, 3, true},
		{365 * day, 0, 0, true},
		{365 * day, -day, 0, true},
		{90*day + time.Hour, 30 * day, 0, false},
		{90 * day, 14 * day, 14, true},
		{47 * day, 15 * day, 0, false},
		{47 * day, 14 * day, 14, true},
		{6 * day, 2 * day, 0, false},
		{6 * day, -1, 0, true},
	} {
		cert := &x509.Certificate{NotBefore: now.Add(c.left - c.life), NotAfter: now.Add(c.left)}
		if days, near := Expiring(cert, now); days != c.days || near != c.near {
			t.Errorf("%v of %v left: %d %v, want %d %v", c.left, c.life, days, near, c.days, c.near)
		}
	}
}

func TestInfo(t *testing.T) {
	ca := authority(t)
	clock := mail.NewManualClock(now)
	server, err := Issue(ca, Options{Names: []string{"a.example"}, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	client, err := Issue(ca, Options{Emails: []string{"joe@example.com"}, Client: true, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	for name, i := range map[string]struct {
		got, want Info
	}{
		"authority": {NewInfo("ca", FromStore, ca), Info{Subject: "CN=Test CA", Issuer: "CN=Test CA", SelfSigned: true, Authority: true}},
		"server":    {NewInfo("s", FromFiles, &server), Info{Subject: "CN=a.example", Issuer: "CN=Test CA", Names: []string{"a.example"}, Uses: []string{"server"}}},
		"client":    {NewInfo("c", FromStore, &client), Info{Subject: "CN=joe@example.com", Issuer: "CN=Test CA", Emails: []string{"joe@example.com"}, Uses: []string{"client"}}},
		"none":      {NewInfo("n", FromACME, nil), Info{}},
	} {
		got := Info{Subject: i.got.Subject, Issuer: i.got.Issuer, SelfSigned: i.got.SelfSigned, Authority: i.got.Authority, Names: i.got.Names, Emails: i.got.Emails, Uses: i.got.Uses}
		if diff := cmp.Diff(i.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if has := i.got.Key == "ECDSA, P-256" && len(i.got.Fingerprint) == 64 && i.got.Chain == 1 && i.got.Serial != ""; has != (name != "none") {
			t.Errorf("%s: %+v", name, i.got)
		}
	}
	for kind, want := range map[KeyKind]string{RSA: "RSA, 3072 bits", Ed25519: "Ed25519"} {
		key, err := NewKey(kind)
		if err != nil {
			t.Fatal(err)
		}
		if got := keyName(key.Public()); !strings.HasPrefix(got, want) {
			t.Errorf("%s is called %s, want %s", kind, got, want)
		}
	}
}
