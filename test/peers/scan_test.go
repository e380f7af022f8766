package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"postern/test/harness"
)

// scanned are the listeners that are scanned; all but the last are as they are by default.
const scanned = `
[[listener]]
name = "starttls"
address = "%s"
certificates = ["mail"]

[[listener]]
name = "implicit"
address = "%s"
tls = "implicit"
certificates = ["mail-rsa"]

[[listener]]
name = "weak"
address = "%s"
certificates = ["mail"]
tls_ciphers = ["TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"]
`

// scanArguments have testssl.sh look at versions of TLS, kinds of suites, forward secrecy,
// what the server prefers, its certificate and all vulnerabilities that it knows. Left out
// are its simulation of browsers (-c), headers of HTTP (-h), the list of suites by version
// (-E), which finds the same suites slower, and how bugs of others are tolerated (-g).
var scanArguments = []string{"-p", "-s", "-f", "-P", "-S", "-U"}

// excepted are the findings that a small authority cannot help: it has no service that
// tells of revoked certificates, and no DNS.
var excepted = []string{"cert_revocation", "cert_ocspURL", "cert_crlDistributionPoints", "OCSP_stapling", "DNS_CAArecord"}

// looked are findings without which a scan has not looked.
var looked = []string{
	"SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3", "cipherlist_NULL", "cipherlist_aNULL", "cipherlist_EXPORT", "cipherlist_LOW",
	"cipherlist_3DES_IDEA", "cipherlist_AVERAGE", "cipherlist_STRONG", "PFS", "PFS_ECDHE_curves", "cipher_order", "cipherorder_TLSv1_2",
	"TLS_session_ticket", "sessionresumption_ticket", "cert_signatureAlgorithm", "cert_keySize", "cert_trust", "cert_chain_of_trust",
	"cert_expirationStatus", "cert_revocation", "heartbleed", "CCS", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS", "POODLE_SSL",
	"fallback_SCSV", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4",
}

// finding is a line of the JSON that testssl.sh writes.
type finding struct{ ID, Severity, Finding string }

// good reports whether a finding is nothing to mend. WARN and FATAL tell of a scan
// that failed.
func (f *finding) good() bool {
	return slices.Contains([]string{"OK", "INFO", "DEBUG", "LOW"}, f.Severity) || slices.Contains(excepted, f.ID)
}

// TestTLSScan: testssl.sh finds nothing of medium weight or worse at a listener with
// STARTTLS and one with implicit TLS, with certificates of both kinds that an authority of
// Postern has issued; and it does find what is weak where a weak suite is set.
func TestTLSScan(t *testing.T) {
	t.Parallel()
	s := startScanned(t, program(t, "testssl"))
	var scans sync.WaitGroup
	var starttls, implicit, weak map[string]finding
	scans.Go(func() { starttls = s.scan(t, "starttls", append(scanArguments, "-t", "smtp")...) })
	scans.Go(func() { implicit = s.scan(t, "implicit", scanArguments...) })
	scans.Go(func() { weak = s.scan(t, "weak", "-4", "-t", "smtp") })
	scans.Wait()
	checkScan(t, "starttls", starttls)
	checkScan(t, "implicit", implicit)
	if f := weak["RC4"]; f.good() {
		t.Errorf("of RC4 the scan says %+v", f)
	}
}

// checkScan wants a scan to have looked at everything, and to have found nothing.
func checkScan(t *testing.T, listener string, found map[string]finding) {
	t.Helper()
	for _, id := range looked {
		if _, has := found[id]; !has {
			t.Errorf("the scan of %s tells nothing of %s", listener, id)
		}
	}
	for _, f := range found {
		if !f.good() {
			t.Errorf("%s: %+v", listener, f)
		}
	}
	for id, want := range map[string]string{
		"TLS1": "not offered", "TLS1_1": "not offered", "TLS_session_ticket": "no ", "sessionresumption_ticket": "not supported",
		"cert_chain_of_trust": "passed", "cipherlist_AVERAGE": "not offered", "LUCKY13": "not vulnerable",
	} {
		if f := found[id]; !strings.HasPrefix(f.Finding, want) {
			t.Errorf("%s: %s is %q, want %q", listener, id, f.Finding, want)
		}
	}
}

// scannedServer is a Postern with the listeners that are scanned.
type scannedServer struct {
	ctx       context.Context
	testssl   string
	dir       string
	addresses map[string]string
}

func startScanned(t *testing.T, testssl string) *scannedServer {
	t.Helper()
	s := &scannedServer{ctx: bounded(t), testssl: testssl, dir: directory(t), addresses: map[string]string{}}
	binary, err := harness.BuildPostern(s.ctx, s.dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := harness.NewPostern(harness.PosternOptions{Binary: binary, Dir: filepath.Join(s.dir, "instance"), NextHop: harness.Loopback(9)})
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"cert ca init", "cert ca issue mail --name mail.test.example", "cert ca issue mail-rsa --name mail.test.example --key-type rsa",
		"cert export ca --to " + s.authority(),
	} {
		if out, err := p.Command(s.ctx, strings.Fields(command)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", command, err, out)
		}
	}
	for _, name := range []string{"starttls", "implicit", "weak"} {
		port, err := harness.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		s.addresses[name] = harness.Loopback(port)
	}
	err = p.Change(func(o *harness.PosternOptions) {
		o.Settings = fmt.Sprintf(scanned, s.addresses["starttls"], s.addresses["implicit"], s.addresses["weak"])
	})
	start(s.ctx, t, p, err)
	return s
}

func (s *scannedServer) authority() string { return filepath.Join(s.dir, "ca.pem") }

// scan runs testssl.sh, and returns what it has found, by its ids.
func (s *scannedServer) scan(t *testing.T, listener string, arguments ...string) map[string]finding {
	host, port, _ := net.SplitHostPort(s.addresses[listener])
	to := filepath.Join(s.dir, listener+".json")
	arguments = append(slices.Clone(arguments), "--quiet", "--color", "0", "--warnings", "off", "--connect-timeout", "20", "--openssl-timeout", "20",
		"--nodns", "none", "--ip", host, "--add-ca", s.authority(), "--jsonfile", to, net.JoinHostPort("mail.test.example", port))
	out, err := exec.CommandContext(s.ctx, s.testssl, arguments...).CombinedOutput() // the code counts findings
	text, missing := os.ReadFile(to)
	var list []finding
	if wrong := json.Unmarshal(text, &list); missing != nil || wrong != nil {
		t.Errorf("the scan of %s: %v, %v, %v\n%s", listener, err, missing, wrong, out)
	}
	found := map[string]finding{}
	for _, f := range list {
		found[f.ID] = f
	}
	return found
}
