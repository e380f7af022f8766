package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern/internal/certs"
	"postern/internal/config"
	"postern/internal/mail"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := config.Default()
	c.Files = []string{write("good.toml", 0o664), write("open.toml", 0o646), filepath.Join(dir, "none.toml")}
	for name, mode := range map[string]os.FileMode{"good": 0o640, "open": 0o644} {
		l := config.DefaultListener()
		l.Name, l.TLSKey = name, write(name+".key", mode)
		l.Places = config.Places{"listener.tls_key": mail.Place{File: "x.toml", Line: 7, Column: 1}}
		c.Listeners = append(c.Listeners, l)
	}
	c.Listeners = append(c.Listeners, config.DefaultListener()) // without a key
	want := "DIR/open.toml: every user of this machine can change this file, and with it where all mail goes (chmod o-w DIR/open.toml)\n" +
		"x.toml:7:1: listener.tls_key: listener open: every user of this machine can read or write DIR/open.key, and so pass for this server " +
		"(give it to the server's user, with mode 600, and get a new key if others were here)\n"
	if diff := cmp.Diff(want, listing(dir, Files(c))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestListeners(t *testing.T) {
	c := config.Default()
	for _, address := range []string{"192.0.2.1:25", "192.0.2.2:25", "[::]:25", "127.0.0.2:25", "[fe80::1%eth0]:25"} {
		l := config.DefaultListener()
		l.Name, l.Address = address, netip.MustParseAddrPort(address)
		c.Listeners = append(c.Listeners, l)
	}
	got := Listeners(c, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1")})
	want := "listener.address: listener 192.0.2.2:25: this machine has no address 192.0.2.2 now: the server cannot start (write one that it has, or \":PORT\" for all)\n"
	if diff := cmp.Diff(want, listing("\x00", got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCertificate: the names, the time, the key and the signature (RFC 9155) of what a
// listener shows, and the certificates behind it (RFC 5280 6.1).
func TestCertificate(t *testing.T) {
	l := config.DefaultListener()
	l.TLSCertificate = "cert.pem"
	long, err := certs.SelfSigned(certs.Options{Names: []string{"mail.example.com", "*.example.net"}, Lifetime: 90 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, c := range []struct {
		hostname string
		at       time.Time
		want     string
	}{
		{"mail.example.com", now, ""},
		{"gate.example.net", now, ""},
		{"mail.example.com", now.Add(75 * 24 * time.Hour), ""},
		{"mail.example.com", now.Add(77 * 24 * time.Hour), "cert.pem expires at "},
		{"gate.example.com", now, "cert.pem is not for gate.example.com"},
	} {
		got := Certificates(&l, []Shown{{Name: "cert.pem", Blocks: true, Certificate: &long}}, c.hostname, c.at)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0].String(), "listener.tls_certificate: listener smtp: "+c.want)) {
			t.Errorf("%s at %v: %v, want %s", c.hostname, c.at, got, c.want)
		}
	}
	for bits, want := range map[int]int{1024: 1, 2048: 0} {
		weak := weakLeaf(t, bits)
		got := Certificates(&l, []Shown{{Name: "cert.pem", Certificate: weak}}, "mail.example.com", now)
		if len(got) != want || want == 1 && !strings.Contains(got[0].String(), "an RSA key of 1024 bits") {
			t.Errorf("RSA with %d bits: %v", bits, got)
		}
	}
}

// TestShownForHostname: one certificate of a listener that is for hostname is enough.
func TestShownForHostname(t *testing.T) {
	l := config.DefaultListener()
	var shown []Shown
	for _, name := range []string{"other.example.com", "mail.example.com"} {
		c, err := certs.SelfSigned(certs.Options{Names: []string{name}, Lifetime: 90 * 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, Shown{Name: name, Certificate: &c})
	}
	if got := Certificates(&l, shown, "mail.example.com", time.Now()); len(got) != 0 {
		t.Errorf("the second is for it: %v", got)
	}
	const want = "listener.certificates: listener smtp: other.example.com is not for gate.example.com: "
	if got := Certificates(&l, shown, "gate.example.com", time.Now()); len(got) != 1 || !strings.HasPrefix(got[0].String(), want) {
		t.Errorf("none is for it: %v, want %s", got, want)
	}
	if got := Certificates(&l, nil, "mail.example.com", time.Now()); len(got) != 0 {
		t.Errorf("without any: %v", got)
	}
}

// signed makes a certificate from a template; nil signs itself.
func signed(t *testing.T, template *x509.Certificate, by *tls.Certificate, edit func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotAfter = big.NewInt(1), time.Now().Add(90*24*time.Hour)
	edit(template)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey.(*ecdsa.PrivateKey)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// TestChain: the certificates of the issuers are there if a client needs them, and in
// order (RFC 5280 6.1); one of a root need not be.
func TestChain(t *testing.T) {
	asCA := func(name string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.Subject, c.IsCA, c.BasicConstraintsValid, c.KeyUsage = pkix.Name{CommonName: name}, true, true, x509.KeyUsageCertSign
		}
	}
	plain := func(*x509.Certificate) {}
	public := func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://ca.example/ca.crt"} }
	root := signed(t, &x509.Certificate{}, nil, asCA("root"))
	middle := signed(t, &x509.Certificate{}, root, asCA("middle"))
	of := func(by *tls.Certificate, edit func(*x509.Certificate), behind ...*tls.Certificate) *tls.Certificate {
		c := signed(t, &x509.Certificate{DNSNames: []string{"mail.example.com"}}, by, edit)
		for _, b := range behind {
			c.Certificate = append(c.Certificate, b.Certificate[0])
		}
		return c
	}
	damaged := of(middle, plain, middle)
	damaged.Certificate[1] = []byte("nothing")
	for name, c := range map[string]struct {
		shown *tls.Certificate
		want  string
	}{
		"whole":              {of(middle, public, middle), ""},
		"with the root":      {of(middle, public, middle, root), ""},
		"self-signed":        {of(nil, plain), ""},
		"of a private root":  {of(root, plain), ""},
		"without its issuer": {of(middle, public), "comes without the certificate of its issuer, CN=middle"},
		"another's issuer":   {of(middle, public, root), "is followed by the certificate of CN=root, which is not the issuer"},
		"wrong order":        {of(middle, public, root, middle), "is followed by the certificate of CN=root"},
		"damaged":            {damaged, "has a certificate behind the first that cannot be read"},
	} {
		if message, hint := chainFault(c.shown); !strings.HasPrefix(message, c.want) || c.want == "" && message != "" || (hint == "") != (message == "") {
			t.Errorf("%s: %q, want %q", name, message, c.want)
		}
	}
}

// TestWeakSignature: one with SHA-1 can be forged (RFC 9155).
func TestWeakSignature(t *testing.T) {
	for algorithm, weak := range map[x509.SignatureAlgorithm]bool{x509.ECDSAWithSHA1: true, x509.SHA1WithRSA: true, x509.ECDSAWithSHA256: false, x509.PureEd25519: false} {
		if slices.Contains(weakSignatures, algorithm) != weak {
			t.Errorf("%v: weak %v, want %v", algorithm, !weak, weak)
		}
	}
}

// weakLeaf makes a certificate with an RSA key.
func weakLeaf(t *testing.T, bits int) *tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mail.example.com"}, NotAfter: time.Now().Add(90 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// TestSourceAddresses: an address to connect from that the machine does not have is warned of, at its
// setting; one of loopback is always there.
func TestSourceAddresses(t *testing.T) {
	c := config.Default()
	here, away := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::7")
	c.Companies = []config.Company{
		{Name: "acme", SourceIPv4: here, SourceIPv6: away},
		{Name: "none"}, {Name: "loop", SourceIPv4: netip.MustParseAddr("127.0.0.2"), SourceIPv6: netip.IPv6Loopback()},
	}
	c.Transports = []config.Transport{{Name: "partners", SourceIPv4: netip.MustParseAddr("192.0.2.9"), SourceIPv6: away}}
	at := mail.Place{File: "x.toml", Line: 7, Column: 1}
	c.Companies[0].Places = config.Places{"company.source_ipv6": at}
	var got []string
	for _, p := range Sources(c, []netip.Addr{here}) {
		got = append(got, p.Place.String()+" "+p.Key+": "+p.Message)
	}
	want := []string{
		"x.toml:7:1 company.source_ipv6: company acme: 2001:db8::7 is no address of this machine now: its mail waits",
		" transport.source_ipv4: transport partners: 192.0.2.9 is no address of this machine now: its mail waits",
		" transport.source_ipv6: transport partners: 2001:db8::7 is no address of this machine now: its mail waits",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
