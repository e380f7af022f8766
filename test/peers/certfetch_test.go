package peers

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postern/internal/certs"
	"postern/test/harness"
)

// TestCertFetch: of a server "postern cert fetch" shows the certificates that "openssl s_client
// -showcerts" does, in their order, by STARTTLS and by TLS from the first octet; and openssl verifies
// the server by the trust list that it writes, and by none before.
func TestCertFetch(t *testing.T) {
	openssl := program(t, "openssl")
	ctx := bounded(t)
	dir := directory(t)
	authority, err := certs.NewAuthority("the partner's authority", certs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := certs.Issue(&authority, certs.Options{Names: []string{"mail.partner.test"}, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	leaf, key := pemFiles(t, server)
	root, _ := pemFiles(t, authority)
	chain, keyFile := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	write(t, chain, append(leaf, root...))
	write(t, keyFile, key)
	binary := buildPostern(ctx, t)
	implicit := harness.Loopback(freePort(t))
	p, err := harness.NewPostern(harness.PosternOptions{Binary: binary, Dir: filepath.Join(dir, "instance"), NextHop: harness.Loopback(9), Certificate: chain, Key: keyFile,
		Settings: fmt.Sprintf("[[listener]]\nname = \"implicit\"\naddress = %q\ntls = \"implicit\"\ntls_certificate = %q\ntls_key = %q\n", implicit, chain, keyFile)})
	start(ctx, t, p, err)
	for _, c := range []struct {
		address, ours string
		theirs        []string
	}{
		{p.Addr(), "smtp", []string{"-starttls", "smtp"}},
		{implicit, "none", nil},
	} {
		trust := filepath.Join(dir, c.ours+".pem")
		out := said(ctx, t, binary, "cert", "fetch", c.address, "--starttls", c.ours, "--name", "mail.partner.test", "--out", trust, "--yes", "--json")
		var answer struct {
			Trusted      bool
			Version      string
			Certificates []struct{ Fingerprint, PEM string }
		}
		if err := json.Unmarshal(out, &answer); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var got []string
		for _, x := range answer.Certificates {
			got = append(got, x.Fingerprint)
			if block, _ := pem.Decode([]byte(x.PEM)); block == nil || sum(t, openssl, x.PEM) != x.Fingerprint {
				t.Errorf("openssl does not find %s in %s", x.Fingerprint, x.PEM)
			}
		}
		client := append([]string{"s_client", "-connect", c.address, "-servername", "mail.partner.test", "-verify_hostname", "mail.partner.test"}, c.theirs...)
		shown := said(ctx, t, openssl, append(client, "-showcerts")...)
		if diff := cmp.Diff(sums(t, openssl, shown), got); diff != "" || len(got) != 2 {
			t.Errorf("%s: - openssl, + postern:\n%s", c.ours, diff)
		}
		if answer.Trusted || !bytes.Contains(shown, []byte("Verify return code: 19")) {
			t.Errorf("%s: trusted without a list: %t\n%s", c.ours, answer.Trusted, shown)
		}
		if by := said(ctx, t, openssl, append(client, "-CAfile", trust)...); !bytes.Contains(by, []byte("Verify return code: 0 (ok)")) {
			t.Errorf("%s: openssl does not take the list:\n%s", c.ours, by)
		}
		if info, err := os.Stat(trust); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("the list: %v, %v", info, err)
		}
	}
	if facts, err := harness.ReadJournal(p.Journal()); err != nil || len(facts) > 0 && strings.Contains(fmt.Sprint(facts), "AUTH") {
		t.Errorf("the server was told %v, %v", facts, err)
	}
}

// said runs a program without input, and returns what it prints.
func said(ctx context.Context, t *testing.T, name string, args ...string) []byte {
	t.Helper()
	command := exec.CommandContext(ctx, name, args...)
	command.Stdin = strings.NewReader("QUIT\n")
	var out, wrong bytes.Buffer
	command.Stdout, command.Stderr = &out, &wrong
	if err := command.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s%s", name, args, err, out.Bytes(), wrong.Bytes())
	}
	return out.Bytes()
}

// sums are the SHA-256 of the certificates in a text, as openssl has them.
func sums(t *testing.T, openssl string, text []byte) []string {
	t.Helper()
	var list []string
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			list = append(list, sum(t, openssl, string(pem.EncodeToMemory(block))))
		}
	}
	return list
}

func sum(t *testing.T, openssl, certificate string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), openssl, "x509", "-noout", "-fingerprint", "-sha256")
	command.Stdin = strings.NewReader(certificate)
	out, err := command.Output()
	_, text, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
	octets, wrong := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || wrong != nil {
		t.Fatalf("openssl says %q: %v, %v", out, err, wrong)
	}
	return hex.EncodeToString(octets)
}
