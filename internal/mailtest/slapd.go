package mailtest

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Slapd is an LDAP server on loopback: OpenLDAP's slapd, with a configuration and a
// database of its own.
type Slapd struct {
	// Addr is where StartTLS is offered, SecureAddr where TLS begins with the first
	// octet; host:port.
	Addr, SecureAddr string

	t       testing.TB
	dir     string
	process *exec.Cmd
}

// Slapd answers below SlapdSuffix, whose SlapdAdmin may change everything.
const (
	SlapdSuffix   = "dc=example,dc=com"
	SlapdAdmin    = "cn=admin," + SlapdSuffix
	SlapdPassword = "administers"
)

// activeSchema is what Active Directory has for users, as far as it is asked for it,
// with the rules that its own filters obey. The numbers are Microsoft's.
const activeSchema = `
attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.656 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.302 NAME 'sAMAccountType' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.159 NAME 'accountExpires' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 2.16.840.1.113730.3.1.47 NAME 'mailRoutingAddress' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26{256} )
objectclass ( 1.3.6.1.4.1.55555.1.1 NAME 'activeUser' SUP top AUXILIARY MUST sAMAccountName MAY ( userPrincipalName $ sAMAccountType $ userAccountControl $ accountExpires $ proxyAddresses ) )
objectclass ( 1.3.6.1.4.1.55555.1.2 NAME 'mailEnabled' SUP top AUXILIARY MAY ( mail $ proxyAddresses $ mailRoutingAddress ) )
`

// Who has not said who he is may do nothing but say it; who has may read all but
// passwords.
const slapdConf = `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
include %[1]s/active.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile %[1]s/pid
TLSCertificateFile %[1]s/cert.pem
TLSCertificateKeyFile %[1]s/key.pem
TLSCACertificateFile %[1]s/cert.pem
sizelimit size=600 size.prtotal=unlimited
database mdb
suffix %[2]q
rootdn %[3]q
rootpw %[4]s
directory %[1]s/db
maxsize 67108864
dbnosync
index objectClass,uid,mail,sAMAccountName,proxyAddresses,member,memberUid eq
access to attrs=userPassword by anonymous auth by * none
access to * by users read by anonymous auth
overlay memberof
`

// slapdPrograms are those that it takes: the server, and what loads entries.
var slapdPrograms = []string{"slapd", "ldapadd"}

// StartSlapd starts a server with a certificate, and adds entries to it, as LDIF. It is
// stopped at the end of the test. Without the programs, which test/install brings, the
// test is skipped, or fails where they are required.
func StartSlapd(t testing.TB, c *tls.Config, entries string) *Slapd {
	t.Helper()
	for _, program := range slapdPrograms {
		if _, err := lookPath(program); err != nil && Required() {
			t.Fatalf("%v; test/install installs it", err)
		} else if err != nil {
			t.Skip(err)
		}
	}
	s := &Slapd{t: t, dir: t.TempDir(), Addr: freeAddr(t), SecureAddr: freeAddr(t)}
	for name, content := range map[string]string{
		"active.schema": activeSchema,
		"slapd.conf":    fmt.Sprintf(slapdConf, s.dir, SlapdSuffix, SlapdAdmin, SlapdPassword),
		"cert.pem":      string(CertificatePEM(c)),
		"key.pem":       string(KeyPEM(t, c)),
		"entries.ldif":  entries,
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Stop)
	s.Add(filepath.Join(s.dir, "entries.ldif"))
	return s
}

// Required reports whether a test must fail, rather than be skipped, when a program that
// it needs is missing.
func Required() bool { return os.Getenv("CI") == "true" || os.Getenv("POSTERN_REQUIRE_PEERS") == "1" }

// lookPath finds a program, in the directories of the administrator too.
func lookPath(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		if there, inSbin := exec.LookPath("/usr/sbin/" + program); inSbin == nil {
			return there, nil
		}
	}
	return path, err
}

// given are the ports that freeAddr has returned.
var given sync.Map

// freeAddr returns a loopback address that nobody has, of those that the kernel gives
// to no outgoing connection: it stays free while its server is down. It is another one each time.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		if _, was := given.LoadOrStore(port, true); was {
			continue
		}
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port in 100 attempts")
	return ""
}

// Start starts a server that was stopped; it has its addresses and entries of before.
func (s *Slapd) Start() {
	s.t.Helper()
	path, err := lookPath("slapd")
	if err != nil {
		s.t.Fatal(err)
	}
	s.process = exec.Command(path, "-d", "0", "-f", filepath.Join(s.dir, "slapd.conf"), "-h", "ldap://"+s.Addr+" ldaps://"+s.SecureAddr)
	var said strings.Builder
	s.process.Stderr = &said
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp4", s.SecureAddr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			s.Stop()
			s.t.Fatalf("slapd does not start: %v\n%s", err, said.String())
		}
	}
}

// Stop stops the server, and waits for its end.
func (s *Slapd) Stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(syscall.SIGTERM)
	_ = s.process.Wait() // it was told to end
	s.process = nil
}

// Add adds the entries of a file.
func (s *Slapd) Add(file string) {
	s.t.Helper()
	out, err := exec.Command("ldapadd", "-x", "-H", "ldap://"+s.Addr, "-D", SlapdAdmin, "-w", SlapdPassword, "-f", file).CombinedOutput()
	if err != nil {
		s.t.Fatalf("ldapadd: %v\n%s", err, out)
	}
}
